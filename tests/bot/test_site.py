"""The pages over real HTTP, on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from agent.adapters.database import Database
from agent.run import Limits, Person, Request, RunId, Thread
from bot.web.site import make_site


@pytest.fixture
async def site(db: Database) -> AsyncIterator[str]:
    site = make_site(db.store, public_url="https://agent.example/")
    runner = web.AppRunner(site, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def a_run(db: Database, text: str) -> RunId:
    request = Request(
        text=text,
        project="g/p",
        base_branch=None,
        requester=Person(id="U1", name="mia"),
        thread=Thread(team="T", channel="C", ts=text),
        message=text,
    )
    run, _ = await db.store.create(text, request, Limits())
    return run.id


async def test_a_run_is_shown_and_its_text_is_inert(site: str, db: Database):
    run = await a_run(db, "<script>alert(1)</script> export")
    async with ClientSession() as http, http.get(f"{site}/runs/{run}") as answer:
        page = await answer.text()
    assert answer.status == 200
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


async def test_new_events_reach_an_open_page(site: str, db: Database):
    run = await a_run(db, "export")
    async with ClientSession() as http, http.get(f"{site}/runs/{run}/live?after=1") as stream:
        await db.store.claim(run, "worker-7")
        text = b""
        while b"worker-7" not in text:
            text += await stream.content.readany()
    assert b"event: row" in text


async def test_what_is_not_there_is_told(site: str):
    async with ClientSession() as http:
        async with http.get(f"{site}/runs/99") as answer:
            assert answer.status == 404
        async with http.get(f"{site}/runs/99/bodies/{'a' * 64}") as answer:
            assert answer.status == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [("agent.example", 200), ("localhost:8080", 200), ("[::1]:1", 200), ("evil.example", 421)],
)
async def test_a_foreign_name_for_this_machine_reads_nothing(site: str, host: str, status: int):
    async with ClientSession() as http:
        async with http.get(f"{site}/runs", headers={"Host": host}) as answer:
            assert answer.status == status


async def test_health_is_told_under_any_name(site: str):
    async with ClientSession() as http:
        for page in ("healthz", "readyz"):
            async with http.get(f"{site}/{page}", headers={"Host": "front.svc"}) as answer:
                assert (answer.status, await answer.json()) == (200, {"status": "ok"})
