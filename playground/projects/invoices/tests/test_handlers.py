import json


def test_lists_issued_invoices_newest_first(get):
    numbers = [i["number"] for i in json.loads(get("/invoices").body)]
    assert numbers == ["2026-003", "2026-002", "2026-001"]


def test_lists_the_invoices_of_one_customer(get):
    invoices = json.loads(get("/invoices", customer="Cedar, Inc.").body)
    assert [i["number"] for i in invoices] == ["2026-003"]


def test_shows_one_invoice_with_its_lines(get):
    invoice = json.loads(get("/invoices/2026-002").body)
    assert invoice["total"] == "289.00"
    assert [line["quantity"] for line in invoice["lines"]] == [1, 3]


def test_a_draft_is_not_found(get):
    response = get("/invoices/2026-004")
    assert response.status == 404
    assert json.loads(response.body) == {"error": "there is no invoice 2026-004"}


def test_totals_by_customer(get):
    totals = json.loads(get("/totals").body)
    assert totals["Alder & Sons"] == {"open": "0.00", "paid": "1140.00"}
    assert totals["Cedar, Inc."] == {"open": "499.75", "paid": "0.00"}


def test_an_unknown_path_is_404(get):
    assert get("/nothing").status == 404
