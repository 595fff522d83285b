from datetime import date

import pytest

from invoices.models import Invoice, Line, Status
from invoices.money import Money
from invoices.store import Store


def invoice(number, status=Status.SENT, day=1):
    return Invoice(number, "Elm", date(2026, 1, day), status, (Line("Work", 2, Money(150)),))


def test_drafts_stay_inside():
    store = Store([invoice("1"), invoice("2", Status.DRAFT)])
    assert [i.number for i in store.issued()] == ["1"]
    assert store.get("2") is None


def test_a_number_is_taken_once():
    store = Store([invoice("1")])
    with pytest.raises(ValueError, match="1 exists already"):
        store.add(invoice("1"))
