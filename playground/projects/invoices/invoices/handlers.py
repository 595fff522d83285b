"""One function an endpoint: a request and the store in, a response out."""

from __future__ import annotations

from invoices.http import Request, Response
from invoices.models import Invoice, Status
from invoices.money import Money
from invoices.store import Store


def list_invoices(request: Request, store: Store) -> Response:
    customer = request.query.get("customer")
    invoices = [i for i in store.issued() if customer in (None, i.customer)]
    return Response.json([summary(invoice) for invoice in invoices])


def show_invoice(request: Request, store: Store, number: str) -> Response:
    invoice = store.get(number)
    if invoice is None:
        return Response.error(404, f"there is no invoice {number}")
    lines = [
        {"text": line.text, "quantity": line.quantity, "total": line.total.text()}
        for line in invoice.lines
    ]
    return Response.json({**summary(invoice), "lines": lines})


def totals(request: Request, store: Store) -> Response:
    by_customer: dict[str, dict[str, Money]] = {}
    for invoice in store.issued():
        sums = by_customer.setdefault(invoice.customer, {"open": Money(0), "paid": Money(0)})
        kind = "paid" if invoice.status is Status.PAID else "open"
        sums[kind] += invoice.total
    return Response.json(
        {
            customer: {kind: amount.text() for kind, amount in sums.items()}
            for customer, sums in sorted(by_customer.items())
        }
    )


def health(request: Request, store: Store) -> Response:
    return Response.json({"status": "ok"})


def summary(invoice: Invoice) -> dict[str, str]:
    return {
        "number": invoice.number,
        "customer": invoice.customer,
        "issued": invoice.issued.isoformat(),
        "status": invoice.status.value,
        "total": invoice.total.text(),
    }
