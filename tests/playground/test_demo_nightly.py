"""A night on the sample projects, without a model: what the terminal tells, and the digest in the
page."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from page_scene import BROWSER
from playwright.async_api import async_playwright, expect

from agent.adapters.package_config import RegistryEndpoints, read_sources
from agent.adapters.postgres_files import lay_out
from bot.build import sandbox_folder
from playground.demo_nightly import show_night
from playground.town import Options, running

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MACHINE = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "JOURNEYMAN_"))}


@pytest.fixture
async def options(tmp_path: Path) -> AsyncIterator[Options]:
    for place in await RegistryEndpoints(read_sources(MACHINE))():
        try:
            address = (place.host, place.port)
            await asyncio.to_thread(lambda at=address: socket.create_connection(at, 10).close())
        except OSError as error:
            pytest.skip(f"A package registry cannot be reached from here: {error!r}")
    made = Options(home=tmp_path / "home", nightly=True, machine=MACHINE)
    yield made
    shutil.rmtree(sandbox_folder(made.service_home), ignore_errors=True)
    shutil.rmtree(lay_out(made.service_home).folder)  # run by root, it lies elsewhere


async def test_a_night_mends_updates_bisects_and_tells_in_a_digest_with_a_chart(
    options: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    async with running(options) as playground:
        code = await show_night(playground, options.service_home.absolute())
        told = capsys.readouterr().out
        assert code == 0, told
        assert re.search(r"demo/newsletter +Lint: \d+ stand, \d+ mended", told)
        assert re.search(r"demo/labels +Lint: \d+ stand, \d+ mended", told)
        assert "✓ Mend what eslint and prettier can mend safely" in told
        assert "✓ Mend what ruff check can mend safely" in told
        assert re.search(r"! itsdangerous \S+: With it, tests fail that passed before", told)
        assert re.search(r"! ms \S+: With it, tests fail that passed before", told)
        assert re.search(r"!\d+ Update \d packages: pipeline passed \(demo/newsletter\)", told)
        assert re.search(r"!\d+ Update \d packages: pipeline passed \(demo/labels\)", told)
        assert "pipeline failed" not in told

        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(**BROWSER)
            tab = await browser.new_page(viewport={"width": 1600, "height": 1400})
            await tab.goto(playground.page.url)
            await tab.get_by_role("button", name="nightly").click()
            digest = tab.get_by_role("article").filter(has_text="Nightly digest")
            await expect(digest).to_have_count(1)
            chart = digest.get_by_role("img", name=re.compile("Line chart of open lint findings"))
            await expect(chart).to_be_visible()
            assert await chart.evaluate("image => image.decode().then(() => image.naturalWidth)")
            for project in ("demo/labels", "demo/newsletter"):
                await expect(digest.get_by_text(project, exact=True)).to_be_visible()
            await expect(digest.get_by_text("Fix these", exact=True)).to_have_count(2)
            for scheme in ("light", "dark"):
                await tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                await tab.screenshot(path=tmp_path / f"digest-{scheme}.png")
            await browser.close()
