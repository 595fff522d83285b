"""Runs in a worker that is already at work, as in the service."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from agent.events import ModelAsked, RunEnded, StopAsked
from agent.run import Person, RunStatus
from benchmarks import script
from benchmarks.measure import own_cpu, resident
from benchmarks.scratch import scratch
from benchmarks.scripted import Endpoint, endpoint
from benchmarks.service import Service, open_worker
from benchmarks.table import Row, Table, median, spread

ROUNDS = 5
AT_ONCE = 8
LATENCY = 0.3


def worker() -> list[Table]:
    with scratch() as folder:
        repository = script.repository(folder / "sample")
        with endpoint(_made(folder / "quick"), script.ours()) as quick:
            one = asyncio.run(_one_by_one(folder / "home", repository, quick))
        with endpoint(_made(folder / "slow"), script.ours(), LATENCY) as slow:
            many = asyncio.run(_at_once(folder / "home", repository, slow))
        with endpoint(_made(folder / "stop"), _endless()) as stuck:
            stops = asyncio.run(_stops(folder / "home", repository, stuck))
    return [Table(title="A running worker", rows=[*one, *many, *stops])]


async def _one_by_one(home: Path, repository: Path, to: Endpoint) -> list[Row]:
    async with open_worker(home, to.url, repository) as service:
        await _checked(service)  # fills the mirror and the cache of packages
        waits, firsts, cpus, walls = [], [], [], []
        for _ in range(ROUNDS):
            seen = len(to.requests())
            before, began = own_cpu(), time.monotonic()
            run = await service.ask()
            await _finished(service, run)
            cpus.append(own_cpu() - before)
            walls.append(time.monotonic() - began)
            waits.append(1000 * (service.taken[run.id] - began))
            firsts.append(to.requests()[seen]["arrived"] - service.taken[run.id])
    return [
        Row(
            what="claim to first model request, warm mirror",
            value=median(firsts),
            unit="s",
            limit=0.25,
            note=spread(firsts, 2),
        ),
        Row(what="queued to claim", value=median(waits), unit="ms", note=spread(waits)),
        Row(
            what="CPU of ours a run of twenty steps",
            value=median(cpus),
            unit="s",
            limit=0.6,
            baseline="mini-swe-agent: see above",
            note=f"{spread(cpus, 2)}; the whole run {median(walls):.1f} s, tests included",
        ),
    ]


async def _at_once(home: Path, repository: Path, to: Endpoint) -> list[Row]:
    async with open_worker(home, to.url, repository) as service, AsyncExitStack() as stack:
        peak = _Peak()
        stack.push_async_callback(peak.stop)
        await _checked(service)
        peak.begin()
        await _checked(service)
        one = peak.value
        rates: list[float] = []
        for _ in range(2):
            began = time.monotonic()
            runs = [await service.ask() for _ in range(AT_ONCE)]
            await asyncio.gather(*(_finished(service, run) for run in runs))
            rates.append(60 * AT_ONCE / (time.monotonic() - began))
        eight = peak.value
    return [
        Row(
            what="eight runs at once, 300 ms model latency: runs a minute",
            value=median(rates),
            limit=30,
            at_least=True,
            note=spread(rates),
        ),
        Row(
            what="memory of a further run in the worker",
            value=max(0.0, (eight - one) / (AT_ONCE - 1)),
            unit="MB",
            limit=10,
            note=f"{one:.0f} MB with one run, {eight:.0f} MB with eight",
        ),
    ]


async def _stops(home: Path, repository: Path, to: Endpoint) -> list[Row]:
    took = []
    async with open_worker(home, to.url, repository) as service:
        for _ in range(ROUNDS):
            run = await service.ask()
            async with asyncio.timeout(30):
                while len(await _facts(service, run.id, ModelAsked)) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                await asyncio.sleep(0.7)  # well into the long command
            began = time.monotonic()
            by = Person(id="U1", name="mia")
            await service.database.store.ask_stop(
                run.id, StopAsked(by=by, how="button"), actor="U1"
            )
            status = await service.ended(run)
            took.append(time.monotonic() - began)
            assert status is RunStatus.CANCELLED, status
    return [
        Row(
            what="stop while a command runs, until all is dead and the end is stored",
            value=median(took),
            unit="s",
            limit=1,
            note=spread(took, 2),
        )
    ]


async def _checked(service: Service) -> None:
    await _finished(service, await service.ask())


async def _finished(service: Service, run: Any) -> None:
    status = await service.ended(run)
    if status is not RunStatus.SUCCEEDED:
        ends = await _facts(service, run.id, RunEnded)
        raise SystemExit(f"A run ended as {status}: {ends[-1].reason}")


async def _facts(service: Service, run: Any, kind: type) -> list[Any]:
    events = await service.database.store.events(run)
    return [event.payload for event in events if isinstance(event.payload, kind)]


def _endless() -> list[dict[str, Any]]:
    step = {"title": "Wait", "status": "in_progress"}
    plan = script.call("update_plan", steps=[step])
    wait = script.call("run", command="sleep 60 & sleep 60")
    return [{"content": "", "tool_calls": [each]} for each in (plan, wait)]


class _Peak:
    """The most memory that this process held since `begin`."""

    def __init__(self) -> None:
        self.value = 0.0
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _watch(self) -> None:
        while True:
            self.value = max(self.value, resident())
            await asyncio.sleep(0.02)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
