"""A person at the page: from the request to a merge request that is green, and Stop on a second
run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from agent.adapters.postgres_files import lay_out
from bot.build import sandbox_folder

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
#: What the thread showed at any moment, since a message may be edited soon.
RECORDER = """
window.shown = [];
document.addEventListener("DOMContentLoaded", () => {
  const thread = document.getElementById("thread");
  new MutationObserver(() => window.shown.push(thread.innerText))
    .observe(thread, {subtree: true, childList: true, characterData: true});
});
"""

pytestmark = pytest.mark.browser


@pytest.fixture
def playground(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The addresses of a fresh playground, stopped by Ctrl-C at the end."""
    home = tmp_path / "home"
    command = [sys.executable, "-m", "playground", "--json", "--no-open", "--home", str(home)]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "JOURNEYMAN_"))}
    process = subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        pytest.fail(process.communicate()[1])
    addresses = json.loads(line)
    assert set(addresses) == {"page", "slack", "gitlab", "model", "bot"}
    yield addresses
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=40)
    for service in home.glob("service-*"):  # run by root, these lie outside pytest's own folders
        shutil.rmtree(sandbox_folder(service), ignore_errors=True)
        shutil.rmtree(lay_out(service).folder)
    assert process.returncode == 0, said


@pytest.fixture
def tab() -> Iterator[Page]:
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(viewport={"width": 1760, "height": 1000})
        page = context.new_page()
        page.add_init_script(RECORDER)
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
        browser.close()
    assert problems == []


def ask(tab: Page, text: str) -> None:
    box = tab.get_by_label("Message", exact=True)
    box.press_sequentially("@ag")
    box.press("Tab")
    box.press_sequentially(text)
    box.press("Enter")


def test_a_thread_becomes_a_merge_request_whose_pipeline_is_fixed_and_a_second_run_is_stopped(
    playground: dict[str, str], tab: Page, tmp_path: Path
):
    pictures = tmp_path / "pictures"
    tab.goto(playground["page"])
    tab.get_by_role("button", name="billing").click()
    ask(tab, "add an endpoint that exports invoices as CSV")
    thread = tab.get_by_role("region", name="Thread")
    expect(thread.get_by_text(re.compile("^Plan"))).to_be_visible(timeout=60_000)
    tab.screenshot(path=pictures / "1-plan.png")
    expect(thread.get_by_role("button", name="View the diff of run")).to_be_visible(timeout=90_000)
    expect(thread.locator(".task.complete")).to_have_count(thread.locator(".task").count())
    expect(thread.get_by_text(re.compile(r"[1-9]\d* passed, 0 failed")).first).to_be_visible()
    # the card is edited every three seconds at most; what failed in between is on the run's page
    page = tab.context.new_page()
    page.goto(f"{playground['bot']}runs/1")
    timeline = page.get_by_role("list", name="Timeline")
    expect(timeline.get_by_text(re.compile("6 failed")).first).to_be_visible()
    expect(timeline.get_by_text("Repair attempt 1 of 3")).to_be_visible()
    expect(timeline.get_by_text(re.compile("test_every_route_is_described")).first).to_be_visible()
    page.screenshot(path=pictures / "run.png")
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
    expect(thread.get_by_text(re.compile("Run 1 · Done")).first).to_be_visible(timeout=15_000)

    thread.get_by_role("link", name="lint").click()  # of the pipeline that failed
    broken, mended = (forge.locator("details.pipeline").nth(n) for n in (1, 0))
    expect(broken.get_by_role("button", name="lint failed")).to_be_visible()
    expect(broken.get_by_text("line too long (103 > 100)")).to_be_visible()
    expect(broken.get_by_role("button", name="unit passed")).to_be_visible()
    expect(mended.get_by_role("button", name="lint passed")).to_be_visible()
    mended.get_by_role("button", name="unit passed").click()
    expect(mended.get_by_text("Job succeeded")).to_be_visible()
    tab.emulate_media(color_scheme="dark")
    tab.screenshot(path=pictures / "4-pipeline-dark.png")

    tab.get_by_role("button", name="Close thread").click()
    ask(tab, "check the whole service under load")
    expect(thread.get_by_text("Drive the list endpoint")).to_be_visible(timeout=60_000)
    thread.get_by_role("button", name="Stop", exact=True).click()
    expect(thread.get_by_text(re.compile("Stopped by @mia")).first).to_be_visible(timeout=15_000)
    expect(thread.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    expect(thread.get_by_text(re.compile("Run 2 · Stopped"))).to_be_visible(timeout=15_000)
    tab.screenshot(path=pictures / "5-stopped.png")
