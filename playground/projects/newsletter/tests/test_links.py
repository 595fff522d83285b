from newsletter.links import confirmed, confirmation


def test_a_link_names_the_address_it_was_made_for():
    link = confirmation("secret", "ann@example.org", "https://books.example.org")
    assert confirmed("secret", link) == "ann@example.org"


def test_a_link_of_another_secret_is_worth_nothing():
    link = confirmation("other", "ann@example.org", "https://books.example.org")
    assert confirmed("secret", link) is None
