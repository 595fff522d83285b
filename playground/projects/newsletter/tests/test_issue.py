import pytest

from newsletter.issue import address_of, footer, heading, table

BOOKS = [{"title": "Momo", "price": 12.0}, {"title": "Krabat", "price": 9.5}]


def test_the_address_of_an_issue_is_readable():
    assert address_of("Über Bücher & Häuser") == "/issues/uber-bucher-hauser"


def test_the_heading_counts_the_books():
    assert heading("summer reading", BOOKS) == "Summer Reading: two new books"
    assert heading("summer reading", BOOKS[:1]) == "Summer Reading: one new book"


def test_the_table_shows_prices_with_cents():
    assert "| Momo    |   12.00 |" in table(BOOKS)


@pytest.mark.parametrize(("readers", "shown"), [(7, "7"), (1200, "1,200")])
def test_the_footer_says_how_many_read_it(readers, shown):
    assert footer(readers) == f"Sent to {shown} readers"
