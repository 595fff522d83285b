import pytest

from invoices.money import Money


@pytest.mark.parametrize(
    ("cents", "text"),
    [(0, "0.00"), (5, "0.05"), (123450, "1234.50"), (-5, "-0.05"), (-250, "-2.50")],
)
def test_text(cents, text):
    assert Money(cents).text() == text


def test_sums_and_multiples_are_exact():
    assert Money(10) + Money(20) == Money(30)
    assert Money(1999) * 25 == Money(49975)
