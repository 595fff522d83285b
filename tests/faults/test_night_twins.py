"""Several processes at the nights of one project: each night once, and once published."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from night_road import SETTINGS, Nightly
from road import PROJECT, ROOT, Process, Road, until
from turned import turned
from turning import HAS_DONE

import agent.maintenance.shift
from agent.adapters.database import Database
from agent.maintenance.diary import ATTEMPTS
from agent.maintenance.night import Task

#: Ticks and takes nights, as fast as it can; then says which it made and which it got.
TWIN = """
import asyncio, json, sys
from datetime import timedelta
from pathlib import Path
from agent.adapters.database import open_database
from agent.maintenance.diary import Schedule
from agent.maintenance.night import Task

async def main(url, home, name):
    every = [
        Schedule(project=f"x/{n}", task=Task.LINT, cron="0 2 * * *", zone="UTC") for n in "abcde"
    ]
    made, got = 0, []
    async with open_database(home=Path(home), url=url) as db:
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(12):
            made += await db.nights.tick(every, lambda s, now: now + timedelta(milliseconds=1))
            while due := await db.nights.claim(name, timedelta(hours=1)):
                got.append(due.id)
    print(json.dumps([made, got]), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.cell("F03", "N")
async def test_two_processes_that_tick_at_once_make_and_take_each_night_once(
    db: Database, database_url: str, tmp_path: object
) -> None:
    twins = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", TWIN, database_url, str(tmp_path), name),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for name in ("one", "two")
    ]
    for each in twins:
        assert each.stdout is not None
        assert await each.stdout.readline() == b"ready\n"
    told = [
        json.loads(out) for out, _ in await asyncio.gather(*(t.communicate(b"\n") for t in twins))
    ]
    assert [each.returncode for each in twins] == [0, 0]
    nights = await db.pool.fetch("SELECT id, project, fire_at, attempts, owner FROM nights")
    assert len(nights) == sum(made for made, _ in told) > 5
    taken = Counter(night for _, got in told for night in got)
    assert max(taken.values()) == 1
    assert {night["id"] for night in nights if night["owner"]} == set(taken)
    assert {night["attempts"] for night in nights if night["owner"]} == {1}


@pytest.fixture
def nightly(road: Road, monkeypatch: pytest.MonkeyPatch) -> Nightly:
    monkeypatch.setattr(agent.maintenance.shift, "TASKS", {Task.LINT: turned})
    monkeypatch.setattr(agent.maintenance.shift, "PAUSE", 0.1)
    road.config(SETTINGS)
    return Nightly(road=road)


@pytest.mark.cell("F03", "N")
async def test_of_two_services_one_does_the_night_and_one_merge_request_comes_of_it(
    nightly: Nightly,
) -> None:
    async with nightly.road.serving(), nightly.road.serving():
        assert await nightly.due()
        [report] = await nightly.over()
    assert report.status == "done"
    assert len(nightly.road.merge_requests) == 1


@pytest.mark.cell("F01", "N")
async def test_a_service_killed_with_the_night_in_its_hands_leaves_one_merge_request(
    nightly: Nightly,
) -> None:
    """Its change is a run already; only the report is lost."""
    road = nightly.road
    assert await nightly.due()
    process = Process(road, road.env, program="turning.py")
    try:
        await process.ready()
        await until(lambda: HAS_DONE in road.log.read_text(), 30, road.story)
    finally:
        process.kill()
        await process.ended()
    async with road.serving():
        await road.db.pool.execute("UPDATE nights SET leased_until = clock_timestamp()")
        [report] = await nightly.over()
    assert report.status == "done"
    assert await road.db.pool.fetchval("SELECT attempts FROM nights") == 2
    assert [group.run for group in report.groups] == await road.runs()
    assert len(road.merge_requests) == 1
    assert "Mend what can be mended" in await nightly.told()


async def test_a_night_that_kills_every_service_is_given_up_once_and_told(nightly: Nightly) -> None:
    assert await nightly.due()
    for number in range(ATTEMPTS):
        assert await nightly.road.db.nights.claim(f"dies {number}", timedelta(0))
    async with nightly.road.serving():
        [report] = await nightly.over()
    assert report.status == "failed"
    assert "begun 3 times, and did not come to its end" in await nightly.told()
    assert await nightly.untouched()


async def test_a_night_of_a_project_that_left_the_settings_is_told_and_does_nothing(
    nightly: Nightly,
) -> None:
    road = nightly.road
    assert await nightly.due()
    settings = Path(road.env["JOURNEYMAN_CONFIG"])
    settings.write_text(settings.read_text().replace(PROJECT, "demo/other"))
    async with road.serving():
        [report] = await nightly.over()
    assert report.problems == ("`demo/calc` is no longer among the projects.",)
    assert await nightly.untouched()
