"""One chaos from its first request to the oracle's word."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from linked import link
from oracle.leaks import i7
from road import PROJECT, Road, make_repository, open_road

from agent.adapters.embedded_postgres import ADMIN, APP, EmbeddedPostgres
from agent.adapters.migration import migrate
from agent.adapters.postgres import connect
from bot.build import sandbox_folder
from playground.gitlab.instant import InstantRunner
from playground.gitlab.records import MAINTAINER
from playground.slack.records import User
from tests.chaos import policy
from tests.chaos.ending import BELOW, by_status, drained, left_behind, settled, story
from tests.chaos.havoc import Havoc
from tests.chaos.measure import told_each_minute
from tests.chaos.people import MAINTAINERS, ROOMS, People
from tests.chaos.service import Fleet

DATABASE = "chaos"
CI = 'stages: [test]\nunit:\n  stage: test\n  script: ["true"]\n'
RULES = """
[defaults]
test_command = "bash check.sh"
max_runs = 8
[defaults.targets.main]
approvals = 1
"""
RETRIES = 20  #: how much faster than Slack's own its deliveries are tried again
AT_ONCE = 4  #: runs at work in all workers
ASKING = 0.8  #: the part of the time in which requests come in


@dataclass(frozen=True, kw_only=True)
class Wanted:
    seed: int
    seconds: float
    runs: int
    counts: Mapping[str, int]  #: processes, by role
    drain: float
    soak: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    line: str  #: the figures
    found: list[str]  #: what is wrong
    timeline: list[str]
    story: str = ""  #: of the runs that are named in it


@asynccontextmanager
async def _opened(folder: Path) -> AsyncGenerator[tuple[Road, EmbeddedPostgres]]:
    source = make_repository(folder / "source", {**policy.FILES, ".gitlab-ci.yml": CI})
    async with EmbeddedPostgres(folder / "postgres", settings={"shared_buffers": "64MB"}) as server:
        admin = await connect(server.dsn(ADMIN, "postgres"))
        try:
            await admin.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await admin.close()
        await migrate(server.dsn(ADMIN, DATABASE), APP)
        async with open_road(folder, server.dsn(APP, DATABASE), source=source) as road:
            slack = road.slack
            slack.delivery.speed = RETRIES
            slack.calls.limit = slack.responses.limit = slack.delivery.log.limit = 0
            road.gitlab.state.requests.limit = 0
            road.gitlab.forge.pipelines.runner = InstantRunner()
            await _join(road, MAINTAINERS)
            road.script.replies = [policy.answer]
            for room in ROOMS:
                slack.world.add_channel(room, *slack.world.users)
            road.config(RULES, channels={room: [PROJECT] for room in ROOMS})
            road.env["JOURNEYMAN_PARALLEL_RUNS"] = str(AT_ONCE)
            yield road, server
    shutil.rmtree(server.folder, ignore_errors=True)


async def _join(road: Road, names: Sequence[str]) -> None:
    """They are maintainers in GitLab, and linked."""
    world, state, ids = road.slack.world, road.gitlab.state, {}
    for name in names:
        world.add_user(User(id=f"U0{name.upper()}", name=name, real_name=name.title(), email=""))
        account = state.add_user(name, name=name.title())
        state.add_member(road.project, account, MAINTAINER)
        ids[world.user_named(name).id] = account.id
    await link(road.db, world.team_id, ids)


async def chaos(folder: Path, wanted: Wanted) -> Outcome:
    async with _opened(folder) as (road, server):
        fleet = Fleet.of(road, wanted.counts)
        havoc = Havoc(seed=wanted.seed, road=road, fleet=fleet, postgres=server)
        people = People(road=road, draw=Random(wanted.seed))
        fleet.begin()
        looks = asyncio.create_task(told_each_minute(fleet)) if wanted.soak else None
        try:
            await fleet.up()
            at_work = asyncio.create_task(people.work(wanted.runs, ASKING * wanted.seconds))
            await havoc.rage(wanted.seconds)
            people.calm = True
            rest = await drained(road, wanted.drain)
            people.quiet = True
            await at_work
            if not rest.left:
                books, found = await settled(road, BELOW)
        finally:
            if looks:
                looks.cancel()
            ends = await fleet.end()
        road.log.write_bytes(b"".join(host.log.read_bytes() for host in fleet.hosts))
        if rest.left:  # while everything moves the ledgers do not agree
            books, found = await settled(road, BELOW, patience=0)
        else:
            found += i7(replace(books, log=road.log.read_bytes()))
        found += ends + [f"after {rest.seconds:.0f} s: {rest.left}"] * bool(rest.left)
        found += await asyncio.to_thread(left_behind, fleet.homes)
        for home in fleet.homes:
            shutil.rmtree(sandbox_folder(home), ignore_errors=True)
        did = {**havoc.did, **people.did}
        figures = {"runs": len(books.runs), **by_status(books), **did}
        figures |= {"starts": sum(host.starts for host in fleet.hosts), "exits": len(fleet.died)}
        figures |= {"drained": f"{rest.seconds:.0f} s", "violations": len(found)}
        return Outcome(
            line=f"seed {wanted.seed}: " + ", ".join(f"{k} {v}" for k, v in figures.items()),
            found=found,
            timeline=[*havoc.timeline, "", *fleet.died],
            story=story(books, found),
        )
