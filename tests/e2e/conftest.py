"""A playground of its own, and a tab of a real browser that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

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


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go, which a failed run leaves to look at."""
    return tmp_path / "pictures"
