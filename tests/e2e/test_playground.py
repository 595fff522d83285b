"""A person at the page: from the request to production and back, with everybody who has a say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.browser

REASON = "Finance closes the month today, please wait until tomorrow."


def test_a_request_comes_to_production_by_those_who_may_let_it_and_a_second_run_is_stopped(
    playground: dict[str, str], tab: Page, pictures: Path
):
    tab.goto(playground["page"])
    tab.get_by_role("button", name="billing").click()
    ask(tab, "add an endpoint that exports invoices as CSV")
    _made_and_merged(tab, playground["bot"], pictures)
    _rejected_and_asked_again(tab, pictures)
    _deployed(tab, pictures)
    _told_on_the_page_of_the_run(tab, playground["bot"], pictures)
    _reverted(tab, pictures)
    _second_run_stopped(tab, pictures)


def _made_and_merged(tab: Page, bot: str, pictures: Path) -> None:
    thread = in_thread(tab)
    expect(thread.get_by_text(re.compile("^Plan"))).to_be_visible(timeout=60_000)
    tab.screenshot(path=pictures / "1-plan.png")
    expect(thread.get_by_role("button", name="View the diff of run")).to_be_visible(timeout=90_000)
    expect(thread.locator(".task.complete")).to_have_count(thread.locator(".task").count())
    expect(thread.get_by_text(re.compile(r"[1-9]\d* passed, 0 failed")).first).to_be_visible()
    # the card is edited every three seconds at most; what failed in between is on the run's page
    page = tab.context.new_page()
    page.goto(f"{bot}runs/1")
    timeline = page.get_by_role("list", name="Timeline")
    expect(timeline.get_by_text(re.compile("6 failed")).first).to_be_visible()
    expect(timeline.get_by_text("Repair attempt 1 of 3")).to_be_visible()
    expect(timeline.get_by_text(re.compile("test_every_route_is_described")).first).to_be_visible()
    page.close()

    forge = tab.get_by_role("region", name="Merge request")
    expect(forge.get_by_text("draft", exact=True)).to_be_visible()
    tab.screenshot(path=pictures / "2-merge-request.png")
    thread.get_by_role("button", name="View the diff of run").click()
    expect(forge.get_by_text("invoices/handlers.py").first).to_be_visible()
    expect(forge.locator("tr.added").first).to_be_visible()
    tab.screenshot(path=pictures / "3-diff.png")

    expect(thread.get_by_text("Pipeline passed for !1").first).to_be_visible(timeout=120_000)
    shown = tab.evaluate("window.shown")
    red = next(n for n, text in enumerate(shown) if "Fix attempt 1 of 3 has started" in text)
    assert "line too long (103 > 100)" in shown[red]
    assert "Stop fixing" in shown[red]
    expect(thread.get_by_text(re.compile("Pipeline failed, fixed in")).first).to_be_visible()
    expect(thread.get_by_role("button", name="Stop fixing")).to_have_count(0)
    expect(thread.get_by_text("Merged: !1 into develop").first).to_be_visible(timeout=30_000)

    thread.get_by_role("link", name="lint").click()  # of the pipeline that failed
    broken, mended = (forge.locator("details.pipeline").nth(n) for n in (-1, -2))
    expect(broken.get_by_role("button", name="lint failed")).to_be_visible()
    expect(broken.get_by_text("line too long (103 > 100)")).to_be_visible()
    expect(broken.get_by_role("button", name="unit passed")).to_be_visible()
    mended.locator("summary").click()
    expect(mended.get_by_role("button", name="lint passed")).to_be_visible()
    mended.get_by_role("button", name="unit passed").click()
    expect(mended.get_by_text("Job succeeded")).to_be_visible()
    tab.emulate_media(color_scheme="dark")
    tab.screenshot(path=pictures / "4-pipeline-dark.png")
    tab.emulate_media(color_scheme="light")


def _rejected_and_asked_again(tab: Page, pictures: Path) -> None:
    """Of all who try, only the maintainer decides, and only by the button."""
    thread = in_thread(tab)
    thread.get_by_role("button", name="Promote develop to main").click(timeout=30_000)
    confirm = tab.get_by_role("dialog", name="Promote to main?")
    tab.screenshot(path=pictures / "5-promote.png")
    confirm.get_by_role("button", name="Promote").click()
    card = gate(tab, "Approval needed: main")
    expect(card).to_be_visible(timeout=40_000)
    expect(card).to_contain_text("@sam")
    expect(card).to_contain_text("@lee")
    expect(card).to_contain_text(re.compile("Merge !2 Promote develop to main at [0-9a-f]{8}"))
    first = button_id(card)

    approve(tab, card, "main")
    refusal = thread.locator(".ephemeral", has_text="You can't decide about main")
    expect(refusal).to_contain_text("Only visible to you")
    tab.screenshot(path=pictures / "6-refused.png")
    act_as(tab, "Sam Keller")
    expect(refusal).to_have_count(0)
    box = tab.get_by_label("Reply", exact=True)
    box.fill("approve")
    box.press("Enter")
    expect(thread.get_by_text("approve", exact=True)).to_be_visible()
    card.hover()
    card.get_by_role("button", name="Add a reaction").click()
    tab.get_by_role("menuitem", name="white check mark").click()
    expect(card.get_by_role("button", name="white check mark, sam")).to_be_visible()

    card.get_by_role("button", name="Reject main of run 1").click()
    modal = tab.get_by_role("dialog", name="Reject")
    reason = modal.get_by_label("Why, and what should be different?")
    expect(reason).to_be_focused()
    reason.fill("no")
    modal.get_by_role("button", name="Reject").click()
    expect(modal.get_by_role("alert").first).to_have_text("Please enter at least 10 characters.")
    expect(reason).to_be_focused()
    tab.screenshot(path=pictures / "7-reject.png")
    reason.fill(REASON)
    modal.get_by_role("radio", name="Stop the run").check()
    modal.get_by_role("button", name="Reject").click()
    card = thread.get_by_role("article").filter(has_text="Rejected by @sam")
    expect(card).to_contain_text("Rejected: main")
    expect(card.get_by_role("button", name="Approve")).to_have_count(0)
    told = thread.get_by_role("article").filter(has_text="The run has stopped: !2 was not merged")
    expect(told.locator("blockquote")).to_have_text(REASON)
    tab.screenshot(path=pictures / "8-rejected.png")

    act_as(tab, "Mia Berg")
    card.get_by_role("button", name="Ask again").click()
    second = gate(tab, "Approval needed: main")
    expect(second).to_be_visible(timeout=40_000)
    assert button_id(second) != first
    expect(card).to_contain_text("Rejected: main")
    expect(card.locator(".actions button")).to_have_count(0)


def _deployed(tab: Page, pictures: Path) -> None:
    thread = in_thread(tab)
    act_as(tab, "Sam Keller")
    approve(tab, gate(tab, "Approval needed: main"), "main")
    expect(gate(tab, "Approved: main")).to_contain_text("sam")
    expect(thread.get_by_text("Promoted: !2 into main").first).to_be_visible(timeout=30_000)
    card = gate(tab, "Approval needed: production")
    expect(card).to_be_visible(timeout=40_000)
    act_as(tab, "Lee Osei")
    tab.screenshot(path=pictures / "9-production.png")
    approve(tab, card, "production")
    told = thread.get_by_role("article").filter(has_text="Deployed:")
    expect(told).to_contain_text("to production (invoices.example)", timeout=30_000)
    expect(told.get_by_role("button", name="Revert !2")).to_be_visible()
    merged = thread.get_by_role("article").filter(has_text="Promoted: !2 into main")
    expect(merged).to_contain_text("deployed to invoices.example")
    expect(merged).to_contain_text("@sam (main), @lee (production)")
    commit = (told.locator("code").text_content() or "").strip()
    assert re.fullmatch("[0-9a-f]{8}", commit), commit
    tab.get_by_role("tab", name="Environments").click()
    production = tab.get_by_role("region", name="Environment production")
    expect(production).to_contain_text(commit)
    expect(production.get_by_text("passed")).to_be_visible()
    tab.screenshot(path=pictures / "10-deployed.png")


def _told_on_the_page_of_the_run(tab: Page, bot: str, pictures: Path) -> None:
    """Every gate is where its card's link leads."""
    page = tab.context.new_page()
    links = in_thread(tab).get_by_role("link", name="Audit trail")
    assert links.count() == 3
    for link in links.all():
        page.goto(link.get_attribute("href") or "")
        opened = page.locator(":target")
        expect(opened).to_contain_text(re.compile("Gate [0-9a-f]{8} opened before"))
    page.goto(f"{bot}runs/1")
    timeline = page.get_by_role("list", name="Timeline")
    expect(timeline.get_by_text("Refused: mia may not approve")).to_be_visible()
    page.screenshot(path=pictures / "run.png", full_page=True)
    page.close()


def _reverted(tab: Page, pictures: Path) -> None:
    thread = in_thread(tab)
    act_as(tab, "Mia Berg")
    thread.get_by_role("button", name="Revert !2").click()
    tab.get_by_role("dialog").get_by_role("button", name="Revert").click()
    card = gate(tab, "Approval needed: main")
    expect(card).to_be_visible(timeout=60_000)
    expect(card).to_contain_text("!3 Revert")
    forge = tab.get_by_role("region", name="Merge request")
    expect(forge.get_by_role("heading", level=1)).to_contain_text("Revert")
    tab.screenshot(path=pictures / "11-revert.png")


def _second_run_stopped(tab: Page, pictures: Path) -> None:
    thread = in_thread(tab)
    tab.get_by_role("button", name="Close thread").click()
    ask(tab, "check the whole service under load")
    expect(thread.get_by_text("Drive the list endpoint")).to_be_visible(timeout=60_000)
    thread.get_by_role("button", name="Stop", exact=True).click()
    expect(thread.get_by_text(re.compile("Stopped by @mia")).first).to_be_visible(timeout=15_000)
    expect(thread.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    expect(thread.get_by_text(re.compile("Run 2 · Stopped"))).to_be_visible(timeout=15_000)
    tab.screenshot(path=pictures / "12-stopped.png")


def in_thread(tab: Page) -> Locator:
    return tab.get_by_role("region", name="Thread")


def ask(tab: Page, text: str) -> None:
    box = tab.get_by_label("Message", exact=True)
    box.press_sequentially("@ag")
    box.press("Tab")
    box.press_sequentially(text)
    box.press("Enter")


def act_as(tab: Page, name: str) -> None:
    tab.get_by_role("button", name="You act as").click()
    tab.get_by_role("menuitem", name=name).click()
    expect(tab.get_by_role("button", name=f"You act as {name}")).to_be_visible()


def gate(tab: Page, words: str) -> Locator:
    return in_thread(tab).get_by_role("article").filter(has_text=words).last


def button_id(card: Locator) -> str:
    """The gate's id, which the button carries."""
    return card.get_by_role("button", name="Approve").get_attribute("data-key") or ""


def approve(tab: Page, card: Locator, subject: str) -> None:
    card.get_by_role("button", name=f"Approve {subject} of run").click()
    dialog = tab.get_by_role("dialog", name=f"Approve {subject}?")
    dialog.get_by_role("button", name="Approve").click()
