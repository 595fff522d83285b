"""Wake-ups of runs and effects, over a real PostgreSQL and real processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.database import Database, open_database
from agent.adapters.embedded_postgres import EmbeddedPostgres
from agent.adapters.pg_queue import PgQueue
from agent.adapters.postgres_broken import WAKE_LOST_EFFECTS
from agent.adapters.queue_mending import WAKE_LOST_RUNS
from agent.errors import Unavailable
from agent.events import (
    EffectDone,
    EffectKind,
    RunAccepted,
    RunClaimed,
    RunEnded,
    StatusChanged,
)
from agent.intents import Push
from agent.ports import Write
from agent.run import CommitSha, Limits, Person, Request, Run, RunId, RunStatus, Thread

ANN = Person(id="U1", name="Ann")
_keys = count(1)


async def queued(db: Database, project: str = "shop/api") -> Run:
    request = Request(
        text="add an export",
        project=project,
        base_branch=None,
        requester=ANN,
        thread=Thread(team="T1", channel="C1", ts="1.0"),
        message="1.0",
    )
    run, _ = await db.store.create(f"key-{next(_keys)}", request, Limits())
    return run


@asynccontextmanager
async def worker(queue: PgQueue, **calls: Any) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(queue.work(**calls))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], Awaitable[Any] | Any], seconds: float = 60) -> float:
    """Waits, and tells how long it took."""
    start = time.monotonic()
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return time.monotonic() - start
        assert time.monotonic() - start < seconds, "it did not happen"
        await asyncio.sleep(0.01)


async def finish(db: Database, run: RunId, name: str = "w1") -> Run | None:
    mine = await db.store.claim(run, name)
    if mine:
        done = Write(payloads=(RunEnded(status=RunStatus.SUCCEEDED),))
        work = Write(payloads=(), status=RunStatus.WORKING)
        await db.store.write(run, work, actor="worker", epoch=mine.epoch)
        await db.store.write(run, done, actor="worker", epoch=mine.epoch)
    return mine


async def park(db: Database, run: Run) -> None:
    """As a worker does that took its job and will look again later."""
    await db.pool.execute("DELETE FROM engine.pgqueuer WHERE execute_after <= now()")
    mine = await db.store.claim(run.id, "w1")
    assert mine is not None
    later = Write(payloads=(), status=RunStatus.WATCHING, wake=True, wake_after=30.0)
    await db.store.write(run.id, later, actor="worker", epoch=mine.epoch)


async def status(db: Database, run: Run) -> RunStatus:
    return (await db.store.run(run.id)).status


@pytest.mark.alone
async def test_a_run_reaches_a_waiting_worker_at_once_and_leaves_nothing_behind(
    db: Database,
) -> None:
    await db.store.set_project("shop/api", max_runs=1)

    async def on_run(run: RunId) -> None:
        await finish(db, run)

    async with worker(db.queue(), on_run=on_run):
        await until(lambda: _listening(db))
        run = await queued(db)
        took = await until(lambda: _is(db, run, RunStatus.SUCCEEDED))
        assert took < 0.5
        await until(lambda: _empty(db))


async def test_a_project_has_as_many_runs_at_once_as_its_limit(db: Database) -> None:
    await db.store.set_project("shop/api", max_runs=1)
    await db.store.set_project("shop/web", max_runs=2)
    runs = [await queued(db, project) for project in ("shop/api", "shop/web") for _ in range(3)]
    at_work: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def on_run(run: RunId) -> None:
        project = (await db.store.run(run)).request.project
        at_work[project] += 1
        most[project] = max(most[project], at_work[project])
        await asyncio.sleep(0.1)
        await finish(db, run)
        at_work[project] -= 1

    async with worker(db.queue(), on_run=on_run), worker(db.queue(), on_run=on_run):
        for run in runs:
            await until(lambda run=run: _is(db, run, RunStatus.SUCCEEDED))
    assert most == {"shop/api": 1, "shop/web": 2}


async def test_one_slot_is_one_run_at_a_time(db: Database) -> None:
    runs = [await queued(db, f"p{n}") for n in range(3)]
    busy = asyncio.Lock()

    async def on_run(run: RunId) -> None:
        assert not busy.locked()
        async with busy:
            await asyncio.sleep(0.05)
            await finish(db, run)

    async with worker(db.queue(), on_run=on_run, slots=1):
        for run in runs:
            await until(lambda run=run: _is(db, run, RunStatus.SUCCEEDED))


async def test_a_worker_takes_only_the_projects_it_was_given(db: Database) -> None:
    ours, other = await queued(db, "ours"), await queued(db, "other")

    async def on_run(run: RunId) -> None:
        await finish(db, run)

    async with worker(db.queue(projects={"ours"}), on_run=on_run):
        await until(lambda: _is(db, ours, RunStatus.SUCCEEDED))
        await asyncio.sleep(0.3)
        assert await status(db, other) is RunStatus.QUEUED


async def test_intents_reach_the_effect_plane_once_each_and_wake_the_run(db: Database) -> None:
    carried_out: list[str] = []
    push = Push(commit=CommitSha("c" * 40))

    async def on_run(run: RunId) -> None:
        mine = await db.store.claim(run, "w1")
        if mine is None:
            return
        if mine.status is RunStatus.PUBLISHING:
            done = Write(payloads=(RunEnded(status=RunStatus.SUCCEEDED),))
            await db.store.write(run, done, actor="worker", epoch=mine.epoch)
            return
        publish = Write(payloads=(), status=RunStatus.PUBLISHING, intents=(push,))
        await db.store.write(run, publish, actor="worker", epoch=mine.epoch)

    async def on_effects(run: RunId) -> None:
        for key, intent in await db.store.pending_intents(run):
            assert intent == push
            carried_out.append(key)
            done = EffectDone(key=key, effect=EffectKind.PUSH, result="pushed")
            await db.store.settle(run, key, done, wake=True)

    runs = [await queued(db, f"p{n}") for n in range(4)]
    async with worker(db.queue(), on_run=on_run, on_effects=on_effects):
        for run in runs:
            await until(lambda run=run: _is(db, run, RunStatus.SUCCEEDED))
    assert sorted(carried_out) == sorted(push.key(run.id) for run in runs)


async def test_what_is_unavailable_comes_again(db: Database) -> None:
    run = await queued(db)
    attempts: list[float] = []

    async def on_run(run: RunId) -> None:
        attempts.append(time.monotonic())
        if len(attempts) == 1:
            raise Unavailable("The model is busy.", retry_after=0.2)
        await finish(db, run)

    async with worker(db.queue(), on_run=on_run):
        await until(lambda: _is(db, run, RunStatus.SUCCEEDED))
    assert 0.2 <= attempts[1] - attempts[0] < 2


@pytest.mark.alone
async def test_a_worker_that_stops_hands_its_runs_to_another(db: Database) -> None:
    run = await queued(db)
    begun, cleaned = asyncio.Event(), asyncio.Event()

    async def hold(run: RunId) -> None:
        await db.store.claim(run, "w1")
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)  # a sandbox is being closed
            cleaned.set()

    async with worker(db.queue(), on_run=hold):
        await begun.wait()
        start = time.monotonic()
    assert cleaned.is_set()
    assert time.monotonic() - start < 2

    async def on_run(run: RunId) -> None:
        await finish(db, run)

    async with worker(db.queue(), on_run=on_run):
        await until(lambda: _is(db, run, RunStatus.SUCCEEDED), seconds=3)


async def test_a_call_that_does_not_heed_the_end_is_given_up_and_its_run_handed_back(
    db: Database,
) -> None:
    run = await queued(db)
    begun = asyncio.Event()

    async def deaf(run: RunId) -> None:
        await db.store.claim(run, "w1")
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(600)
        await asyncio.sleep(600)  # it cleans up, and never comes to an end

    forever = 600.0  # what another worker takes was given back, not lost
    queue = PgQueue(db.dsn, db.pool, db.listener, lease=forever, hand_back=0.2)
    async with asyncio.timeout(30), worker(queue, on_run=deaf):
        await begun.wait()

    async def on_run(run: RunId) -> None:
        await finish(db, run)

    async with worker(db.queue(lease=forever), on_run=on_run):
        await until(lambda: _is(db, run, RunStatus.SUCCEEDED), seconds=30)


async def test_effects_that_do_not_heed_the_end_are_nobody_s_until_their_process_is_gone(
    db: Database,
) -> None:
    """What is under way may still be done: whoever begins it anew must not see it undone."""
    run = await queued(db)
    mine = await db.store.claim(run.id, "w1")
    assert mine is not None
    publish = Write(
        payloads=(), status=RunStatus.PUBLISHING, intents=(Push(commit=CommitSha("c" * 40)),)
    )
    await db.store.write(run.id, publish, actor="worker", epoch=mine.epoch)
    begun, taken = asyncio.Event(), asyncio.Event()

    async def deaf(run: RunId) -> None:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(600)
        await asyncio.sleep(600)

    queue = PgQueue(db.dsn, db.pool, db.listener, lease=600.0, hand_back=0.2)
    async with asyncio.timeout(30), worker(queue, on_effects=deaf):
        await begun.wait()
    rows = await db.pool.fetch(
        "SELECT status FROM engine.pgqueuer WHERE entrypoint LIKE 'effects.%'"
    )
    assert [row["status"] for row in rows] == ["picked"]

    async def heir(run: RunId) -> None:
        taken.set()

    async with worker(db.queue(lease=1.0), on_effects=heir):
        async with asyncio.timeout(30):
            await taken.wait()


async def test_a_run_whose_job_was_lost_is_found_again(db: Database, owner: Any) -> None:
    run = await queued(db)
    push = Push(commit=CommitSha("c" * 40))
    parked = await queued(db)
    mine = await db.store.claim(parked.id, "w1")
    assert mine is not None
    publish = Write(payloads=(), status=RunStatus.PUBLISHING, intents=(push,))
    await db.store.write(parked.id, publish, actor="worker", epoch=mine.epoch)
    await owner.execute("DELETE FROM engine.pgqueuer")
    working = ["queued", "publishing"]
    for _ in range(2):  # the second time there is nothing to mend
        await db.pool.execute(WAKE_LOST_RUNS, working, timedelta(0))
        await db.pool.execute(WAKE_LOST_EFFECTS, timedelta(0))
    rows = await db.pool.fetch("SELECT entrypoint, dedupe_key FROM engine.pgqueuer ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("run.shop/api", f"run:{run.id}:2"),
        ("effects.shop/api", f"effects:{parked.id}:again"),
    ]


@pytest.mark.alone
async def test_a_watching_run_sleeps_until_its_time_and_waits_for_no_place(db: Database) -> None:
    """Its project's only place, and the only one of all, is taken all the while."""
    looks: list[float] = []
    release = asyncio.Event()
    run, busy = await queued(db), await queued(db)

    async def on_run(run_id: RunId) -> None:
        mine = await db.store.claim(run_id, "w1")
        assert mine is not None
        if run_id == busy.id:
            await release.wait()
            return
        park = Write(payloads=(), status=RunStatus.WATCHING, wake=True, wake_after=1.0)
        looks.append(time.monotonic())
        await db.store.write(run_id, park, actor="worker", epoch=mine.epoch)

    await db.store.set_project("shop/api", max_runs=1)
    async with worker(db.queue(), on_run=on_run, slots=1):
        await until(lambda: len(looks) == 3)
        release.set()
    assert all(0.9 < later - sooner < 2.6 for sooner, later in pairwise(looks))
    kinds = [type(event.payload) for event in await db.store.events(run.id)]
    assert kinds == [RunAccepted, RunClaimed, StatusChanged]  # looking leaves no trace


@pytest.mark.alone
async def test_nothing_wakes_a_parked_run_early_but_a_hint(db: Database) -> None:
    run = await queued(db)
    assert not await db.store.hint(run.id)  # nothing is parked
    for _ in range(2):
        await park(db, run)
    await db.pool.execute(WAKE_LOST_RUNS, ["watching"], timedelta(0))
    assert len(await _later(db)) == 1
    looks: list[RunId] = []

    async def on_run(run_id: RunId) -> None:
        looks.append(run_id)

    async with worker(db.queue(), on_run=on_run):
        await until(lambda: _listening(db))
        await asyncio.sleep(1.1)
        assert not looks
        assert await db.store.hint(run.id)
        assert await until(lambda: bool(looks)) < 0.5
    assert not await db.store.hint(run.id)  # it came already


@pytest.mark.alone
async def test_hints_come_in_swarms_and_wake_once(db: Database) -> None:
    run = await queued(db)
    await park(db, run)
    assert [await db.store.hint(run.id) for _ in range(20)] == [True] * 20
    (later,) = await _later(db)
    assert 0.5 < later <= 1.0


async def test_a_parked_run_whose_job_was_lost_is_found_again(db: Database, owner: Any) -> None:
    run = await queued(db)
    await park(db, run)
    await owner.execute("DELETE FROM engine.pgqueuer")
    await db.pool.execute(WAKE_LOST_RUNS, ["watching"], timedelta(0))
    rows = await db.pool.fetch("SELECT entrypoint FROM engine.pgqueuer")
    assert [row["entrypoint"] for row in rows] == ["watch.shop/api"]


WORKER = """
import asyncio, sys, time
from pathlib import Path
from agent.adapters.database import open_database
from agent.adapters.pg_queue import PgQueue
from agent.errors import Fenced
from agent.ports import Write
from agent.run import RunStatus

async def main(home, url):
    async with open_database(home=Path(home), url=url) as db:
        async def on_run(run):
            mine = await db.store.claim(run, "victim")
            work = Write(payloads=(), status=RunStatus.WORKING)
            await db.store.write(run, work, actor="worker", epoch=mine.epoch)
            print("working", flush=True)
            if "block" in sys.argv:
                time.sleep(3)
                await db.store.write(run, Write(payloads=()), actor="worker", epoch=mine.epoch)
                print("still mine", flush=True)
            if "hang" in sys.argv:
                sys.stdin.readline()
                try:
                    await db.store.write(run, Write(payloads=()), actor="worker", epoch=mine.epoch)
                except Fenced:
                    print("not mine any more", flush=True)
            await asyncio.sleep(60)

        queue = PgQueue(db.dsn, db.pool, db.listener, lease=1.0, hung=1.0)
        await (queue if "hang" in sys.argv else db.queue(lease=1.0)).work(on_run=on_run)

asyncio.run(main(*sys.argv[1:3]))
"""


@asynccontextmanager
async def worker_process(
    tmp_path: Path, url: str, *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(script), str(tmp_path), url, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.alone
async def test_a_killed_worker_is_replaced(db: Database, tmp_path: Path) -> None:
    run = await queued(db)
    async with worker_process(tmp_path, db.dsn) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"working\n"
        taken: list[Run | None] = []

        async def on_run(run: RunId) -> None:
            taken.append(await finish(db, run, "heir"))

        async with worker(db.queue(lease=1.0), on_run=on_run):
            await asyncio.sleep(1.5)
            assert not taken, "a living worker's run was taken"
            process.send_signal(signal.SIGKILL)
            took = await until(lambda: _is(db, run, RunStatus.SUCCEEDED), seconds=5)
    assert took < 3.5
    assert [mine and mine.epoch for mine in taken] == [2]
    claims = [e.payload for e in await db.store.events(run.id) if hasattr(e.payload, "resumed")]
    assert [(c.worker, c.resumed) for c in claims] == [("victim", False), ("heir", True)]


async def test_a_worker_with_a_busy_loop_keeps_its_run(db: Database, tmp_path: Path) -> None:
    await queued(db)
    async with worker_process(tmp_path, db.dsn, "block") as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"working\n"

        async def on_run(run: RunId) -> None:
            raise AssertionError("taken from a living worker")

        async with worker(db.queue(lease=1.0), on_run=on_run):
            assert await process.stdout.readline() == b"still mine\n"


async def test_a_worker_whose_loop_hangs_for_good_is_replaced_and_fenced(
    db: Database, tmp_path: Path
) -> None:
    run = await queued(db)
    async with worker_process(tmp_path, db.dsn, "hang") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"working\n"

        async def on_run(run: RunId) -> None:
            await finish(db, run, "heir")

        async with worker(db.queue(lease=1.0), on_run=on_run):
            await until(lambda: _is(db, run, RunStatus.SUCCEEDED), seconds=30)
        process.stdin.write(b"\n")
        assert await process.stdout.readline() == b"not mine any more\n"


async def test_work_goes_on_after_a_restart_of_postgresql(tmp_path: Path) -> None:
    """On a server of its own: it is shot."""
    async with EmbeddedPostgres(tmp_path) as postgres:
        folder = postgres.folder
        async with open_database(home=tmp_path) as db:
            await db.store.set_project("shop/api", max_runs=4)
            started: list[RunId] = []
            go_on = asyncio.Event()

            async def on_run(run: RunId) -> None:
                started.append(run)
                mine = await db.store.claim(run, "w1")
                assert mine is not None
                await go_on.wait()
                done = Write(payloads=(RunEnded(status=RunStatus.SUCCEEDED),))
                work = Write(payloads=(), status=RunStatus.WORKING)
                await db.store.write(run, work, actor="worker", epoch=mine.epoch)
                await db.store.write(run, done, actor="worker", epoch=mine.epoch)

            async with worker(db.queue(), on_run=on_run):
                run = await queued(db)
                await until(lambda: bool(started))
                postmaster = int((folder / "data/postmaster.pid").read_text().split()[0])
                os.kill(postmaster, signal.SIGKILL)
                go_on.set()  # the run now writes to a server that is gone
                await until(lambda: _is(db, run, RunStatus.SUCCEEDED), seconds=20)
                second = await queued(db)
                await until(lambda: _is(db, second, RunStatus.SUCCEEDED))
            assert started == [run.id, second.id]
            assert await db.store.verify(run.id) is None
    shutil.rmtree(folder)


async def _is(db: Database, run: Run, wanted: RunStatus) -> bool:
    return await status(db, run) is wanted


async def _empty(db: Database) -> bool:
    return await db.pool.fetchval("SELECT count(*) FROM engine.pgqueuer") == 0


async def _listening(db: Database) -> bool:
    return await db.pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    )


async def _later(db: Database) -> list[float]:
    """In how many seconds the jobs that wait come."""
    rows = await db.pool.fetch(
        "SELECT extract(epoch FROM execute_after - now())::float later FROM engine.pgqueuer "
        "WHERE status = 'queued' AND execute_after > now()"
    )
    return [row["later"] for row in rows]
