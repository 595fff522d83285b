"""Writers of steps, each a process of its own: `python -m benchmarks.writers DSN SECONDS`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from agent.adapters.postgres import open_pool
from agent.adapters.postgres_listener import Listener
from agent.adapters.postgres_store import PostgresStore
from agent.events import StopAsked
from agent.ports import Write
from agent.run import Limits, Request, Run, Thread
from benchmarks.scripted import ROOT, environment
from benchmarks.takeover import BY, of, step
from benchmarks.town import postgres_cpu


@dataclass(frozen=True, kw_only=True)
class Rate:
    steps: float  #: a second
    p50: float
    p95: float
    cores: float


async def rate(dsn: str, home: Path, writers: int, seconds: float) -> Rate:
    return await asyncio.to_thread(_rate, dsn, home, writers, seconds)


def _rate(dsn: str, home: Path, writers: int, seconds: float) -> Rate:
    cpu, began = postgres_cpu(home), time.monotonic()
    argv = [sys.executable, "-m", "benchmarks.writers", dsn, str(seconds)]
    started = [
        subprocess.Popen(argv, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(writers)
    ]
    told = [each.communicate()[0] for each in started]
    cores = (postgres_cpu(home) - cpu) / (time.monotonic() - began)
    took = sorted(float(each) for lines in told for each in lines.split())
    steps = len(took) / seconds
    return Rate(steps=steps, p50=of(took, 0.5), p95=of(took, 0.95), cores=cores)


async def _write(dsn: str, seconds: float) -> None:
    """One writer with runs of its own; prints how many milliseconds each step took."""
    took: list[float] = []
    pool = await open_pool(dsn, size=2)
    async with Listener(dsn) as listener:
        store = PostgresStore(pool, listener)
        until = float("inf")
        while time.monotonic() < until:
            claimed = await store.claim((await begun(store)).id, "bench")
            assert claimed is not None
            until = min(until, time.monotonic() + seconds)
            for number in range(200):
                write, began = step(number), time.monotonic()
                if began > until:
                    break
                await add(store, claimed, write)
                took.append(1000 * (time.monotonic() - began))
            await store.ask_stop(claimed.id, StopAsked(by=BY, how="button"), actor=BY.id)
    await pool.close()
    print(" ".join(f"{each:.2f}" for each in took))


async def begun(store: PostgresStore) -> Run:
    once = f"{time.time_ns()}"
    request = Request(
        text="turn it around",
        project="bench/steps",
        base_branch=None,
        requester=BY,
        thread=Thread(team="T", channel=once[-2:], ts=once),
        message=once,
    )
    return (await store.create(once, request, Limits()))[0]


async def add(store: PostgresStore, run: Run, write: Write) -> None:
    await store.append(run.id, write, actor="worker", epoch=run.epoch)


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], float(sys.argv[2])))
