"""An effect process is told to stop while GitLab is at what it was asked for."""

from __future__ import annotations

import asyncio

import pytest
from crossing import never
from road import Road, fault, load, open_service, until
from test_talk import api

from agent.adapters import gitlab_client
from playground import seed

NOTE = "POST /projects/:id/issues/:iid/notes"


async def test_a_note_under_way_is_left_once_though_another_process_stands_by(
    road: Road, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gitlab_client, "SECONDS", 60.0)
    issue = await api(road, "issues", title="Wrong sum", description="x")
    hangs = road.gitlab.faults.set(fault("hang", NOTE))
    serves, stops = asyncio.Event(), asyncio.Event()

    async def serve() -> None:
        async with road.serving():
            serves.set()
            await stops.wait()

    first = asyncio.create_task(serve())
    await until(serves.is_set, 60, road.story)
    asked = road.ask(f"fix {issue['web_url']}")
    await until(lambda: hangs.hits, 60, road.story)
    async with open_service(load(road.env), ("effects",)):
        stops.set()
        await never(lambda: hangs.seen > 1, 2.0)
        road.gitlab.faults.clear()
        await first
    async with road.serving():
        await road.result(asked)
    agent = seed.account(road.gitlab.state, "journeyman").id
    talk = road.project.issues[issue["iid"]].discussions
    assert len([note for each in talk for note in each.notes if note.author_id == agent]) == 1
