"""A push brings the index of its project, once and of the newest commit alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from codetrees import BareRepository

from agent.adapters.database import Database, open_database
from agent.adapters.git_code import GitCode
from agent.adapters.system_clock import SystemClock
from agent.errors import ForgeUnavailable
from agent.retrieval.indexer import Blob
from agent.retrieval.library import Library
from agent.retrieval.pushes import ATTEMPTS, Follower
from agent.run import CommitSha

PROJECT = "group/shop"


@dataclass(kw_only=True)
class Origin:
    """What GitLab has, and how often it was read."""

    repository: BareRepository
    head: CommitSha | None = None
    indexed: list[str] = field(default_factory=list[str])
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False

    def push(self, name: str) -> CommitSha:
        text = f"def {name}():\n    return 1\n".encode()
        self.head = CommitSha(self.repository.commit({f"{name}.py": text}, parent=self.head or ""))
        return self.head

    async def newest(self, project: str) -> CommitSha:
        assert project == PROJECT
        if self.away:
            raise ForgeUnavailable("GitLab does not answer.")
        assert self.head is not None
        return self.head


class Counted(GitCode):
    def __init__(self, origin: Origin) -> None:
        super().__init__(origin.repository.folder)
        self.origin = origin

    async def files(self, commit: CommitSha) -> Sequence[Blob]:
        self.origin.indexed.append(commit)
        self.origin.begun.set()
        await self.origin.free.wait()
        return await super().files(commit)


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    made = Origin(repository=BareRepository(tmp_path / "origin.git"))
    made.free.set()
    return made


@pytest.fixture
async def worker(origin: Origin) -> AsyncIterator[Callable[[Database], Follower]]:
    async with AsyncExitStack() as stack:

        def make(db: Database) -> Follower:
            library = Library(
                store=db.code, sources=lambda project: Counted(origin), clock=SystemClock()
            )
            stack.push_async_exit(library)
            return Follower(
                pushes=db.pushes,
                code=db.code,
                library=library,
                newest=origin.newest,
                projects=[PROJECT],
                every=3600,
            )

        yield make


async def all_turns(follower: Follower) -> int:
    turns = 0
    while await follower.turn():
        turns += 1
    return turns


async def pushes(db: Database) -> int:
    return await db.pool.fetchval("SELECT count(*) FROM code_pushes")


async def taken(db: Database) -> None:
    async with asyncio.timeout(30):
        while not await db.pool.fetchval("SELECT sum(attempts) FROM code_pushes"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_push_indexes_and_what_comes_again_costs_nothing(
    db: Database, origin: Origin, worker: Callable[[Database], Follower]
):
    follower = worker(db)
    first = origin.push("first")
    await db.pushes.tell(PROJECT, first)
    await db.pushes.tell(PROJECT, first)
    assert await all_turns(follower) == 1
    assert await db.code.tree(PROJECT, first) is not None
    await db.pushes.tell(PROJECT, first)
    origin.away = True  # nobody asks GitLab for what is indexed
    assert await all_turns(follower) == 1
    assert (origin.indexed, await pushes(db)) == ([first], 0)


async def test_pushes_while_it_indexes_lead_to_one_more_of_the_newest(
    db: Database, origin: Origin, worker: Callable[[Database], Follower]
):
    follower = worker(db)
    origin.free.clear()
    first = origin.push("first")
    await db.pushes.tell(PROJECT, first)
    at_it = asyncio.create_task(all_turns(follower))
    await origin.begun.wait()
    for name in ("second", "third", "fourth"):
        await db.pushes.tell(PROJECT, origin.push(name))
    assert await db.pushes.take([PROJECT], held=60) is None  # it is being worked on
    origin.free.set()
    assert await at_it == 2
    assert (origin.indexed, await pushes(db)) == ([first, origin.head], 0)


async def test_one_that_is_told_of_late_leads_to_the_newest_too(
    db: Database, origin: Origin, worker: Callable[[Database], Follower]
):
    follower = worker(db)
    first, second = origin.push("first"), origin.push("second")
    await db.pushes.tell(PROJECT, second)
    await all_turns(follower)
    await db.pushes.tell(PROJECT, first)
    await db.pushes.tell(PROJECT, CommitSha("f" * 40))  # which nobody ever made
    await all_turns(follower)
    assert (origin.indexed, await pushes(db)) == ([second], 0)


async def test_two_workers_hear_of_it_from_another_process_and_index_once(
    db: Database,
    database_url: str,
    tmp_path: Path,
    origin: Origin,
    worker: Callable[[Database], Follower],
):
    commit = origin.push("first")
    async with (
        open_database(home=tmp_path, url=database_url) as other,
        open_database(home=tmp_path, url=database_url) as front,
    ):
        one, two = worker(db), worker(other)
        with db.pushes.told() as first, other.pushes.told() as second:
            await asyncio.gather(first(60), second(60))  # from now on they are told
            await front.pushes.tell(PROJECT, commit)
            await asyncio.gather(first(60), second(60))
        turns = await asyncio.gather(all_turns(one), all_turns(two))
    assert (sum(turns), origin.indexed) == (1, [commit])
    assert await db.code.tree(PROJECT, commit) is not None


async def test_a_worker_that_serves_is_woken_and_ends_when_it_is_told_to(
    db: Database, origin: Origin, worker: Callable[[Database], Follower]
):
    serving = asyncio.create_task(worker(db).serve())
    await db.listener.ready()
    await db.pushes.tell(PROJECT, origin.push("first"))
    async with asyncio.timeout(60):
        await origin.begun.wait()
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    assert origin.indexed == [origin.head]


async def test_a_worker_that_was_killed_is_followed_by_another(
    db: Database, origin: Origin, worker: Callable[[Database], Follower]
):
    commit = origin.push("first")
    await db.pushes.tell(PROJECT, commit)
    assert await db.pushes.take([PROJECT], held=0) is not None  # and never heard of again
    assert await all_turns(worker(db)) == 1
    assert (origin.indexed, await pushes(db)) == ([commit], 0)


async def test_a_worker_that_is_stopped_leaves_it_to_the_next_at_once(
    db: Database, origin: Origin, worker: Callable[[Database], Follower]
):
    origin.free.clear()
    await db.pushes.tell(PROJECT, origin.push("first"))
    for _ in range(ATTEMPTS + 1):  # an end is nobody's failure
        at_it = asyncio.create_task(all_turns(worker(db)))
        await taken(db)
        at_it.cancel()
        with suppress(asyncio.CancelledError):
            await at_it
    origin.free.set()
    assert await all_turns(worker(db)) == 1
    newest = await db.code.newest(PROJECT)
    assert newest is not None
    assert (newest.commit, await pushes(db)) == (origin.head, 0)


@pytest.fixture
async def stuck(db: Database, origin: Origin) -> AsyncIterator[Follower]:
    """GitLab never answers about one of its projects."""

    async def newest(project: str) -> CommitSha:
        if project == "group/stuck":
            await asyncio.Event().wait()
        return await origin.newest(project)

    async with Library(
        store=db.code, sources=lambda project: Counted(origin), clock=SystemClock()
    ) as library:
        yield Follower(
            pushes=db.pushes,
            code=db.code,
            library=library,
            newest=newest,
            projects=["group/stuck", PROJECT],
            every=3600,
        )


async def test_a_project_that_is_slow_holds_up_no_other(
    db: Database, origin: Origin, stuck: Follower
):
    await db.pushes.tell("group/stuck", CommitSha("a" * 40))
    serving = asyncio.create_task(stuck.serve())
    await db.listener.ready()
    await taken(db)
    async with asyncio.timeout(60):
        for name in ("first", "second"):
            origin.begun.clear()
            await db.pushes.tell(PROJECT, origin.push(name))
            await origin.begun.wait()
            while await pushes(db) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert not serving.done()
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    assert origin.indexed[-1] == origin.head
    left = await db.pool.fetchrow("SELECT project, attempts FROM code_pushes")
    assert tuple(left.values()) == ("group/stuck", 0)


async def test_one_that_takes_too_long_is_given_up_before_another_worker_takes_it(
    db: Database, stuck: Follower, caplog: pytest.LogCaptureFixture
):
    await db.pushes.tell("group/stuck", CommitSha("a" * 40))
    assert await replace(stuck, held=0.05).turn()
    assert "push_waits" in caplog.text
    left = await db.pool.fetchrow("SELECT attempts, free_at > now() AS later FROM code_pushes")
    assert tuple(left.values()) == (1, True)


async def test_a_gitlab_that_is_away_is_tried_later_and_not_for_ever(
    db: Database,
    origin: Origin,
    worker: Callable[[Database], Follower],
    caplog: pytest.LogCaptureFixture,
):
    follower = worker(db)
    await db.pushes.tell(PROJECT, origin.push("first"))
    origin.away = True
    for _ in range(ATTEMPTS):
        assert await all_turns(follower) == 1
        await db.pool.execute("UPDATE code_pushes SET free_at = now()")
    assert caplog.text.count("push_waits") == ATTEMPTS
    assert await all_turns(follower) == 0
    origin.away = False
    await db.pushes.tell(PROJECT, origin.push("second"))
    assert await all_turns(follower) == 1
    assert origin.indexed == [origin.head]


async def test_no_worker_takes_what_another_is_for(db: Database, origin: Origin):
    await db.pushes.tell(PROJECT, origin.push("first"))
    assert await db.pushes.take(["group/other"], held=60) is None
    assert await pushes(db) == 1
