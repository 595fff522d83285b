"""Where invoices are kept: in memory here, behind the three questions that handlers ask."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from invoices.models import Invoice, Line, Status
from invoices.money import Money


class Store:
    def __init__(self, invoices: Iterable[Invoice] = ()) -> None:
        self._invoices = {invoice.number: invoice for invoice in invoices}

    def add(self, invoice: Invoice) -> None:
        if invoice.number in self._invoices:
            raise ValueError(f"invoice {invoice.number} exists already")
        self._invoices[invoice.number] = invoice

    def issued(self) -> list[Invoice]:
        """Everything but drafts, newest first."""
        issued = [i for i in self._invoices.values() if i.status is not Status.DRAFT]
        return sorted(issued, key=lambda i: (i.issued, i.number), reverse=True)

    def get(self, number: str) -> Invoice | None:
        """An issued invoice; drafts are not found."""
        invoice = self._invoices.get(number)
        return None if invoice is None or invoice.status is Status.DRAFT else invoice

    @classmethod
    def sample(cls) -> Store:
        return cls(
            [
                Invoice("2026-001", "Alder & Sons", date(2026, 9, 1), Status.PAID,
                        (Line("Consulting, September", 12, Money(9_500)),)),
                Invoice("2026-002", 'Birch "Bee" Ltd', date(2026, 9, 14), Status.SENT,
                        (Line("Hosting", 1, Money(4_900)),
                         Line("Support, hours", 3, Money(8_000)))),
                Invoice("2026-003", "Cedar, Inc.", date(2026, 10, 2), Status.SENT,
                        (Line("Licence", 25, Money(1_999)),)),
                Invoice("2026-004", "Alder & Sons", date(2026, 10, 5), Status.DRAFT,
                        (Line("Consulting, October", 10, Money(9_500)),)),
            ]
        )
