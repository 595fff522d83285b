"""What an invoice is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import Enum

from invoices.money import Money


class Status(Enum):
    DRAFT = "draft"  # still being written; never leaves the service
    SENT = "sent"
    PAID = "paid"


@dataclass(frozen=True)
class Line:
    text: str
    quantity: int
    price: Money

    @property
    def total(self) -> Money:
        return self.price * self.quantity


@dataclass(frozen=True)
class Invoice:
    number: str
    customer: str
    issued: date
    status: Status
    lines: tuple[Line, ...]

    @property
    def total(self) -> Money:
        total = Money(0)
        for line in self.lines:
            total += line.total
        return total
