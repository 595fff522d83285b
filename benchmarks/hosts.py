"""Workers on hosts of their own, as far as one machine has them: each in a network namespace, with
a wire to PostgreSQL, GitLab and the model that can be pulled. Nothing of the machine's own network
is touched; only root may make such namespaces."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.adapters.postgres_limits import LimitTable
from agent.events import RunClaimed
from agent.run import RunStatus
from benchmarks.scratch import scratch
from benchmarks.script import call
from benchmarks.scripted import ROOT
from benchmarks.table import Row, Table, median, skipped, spread
from benchmarks.town import EDIT, FINISH, PLAN, Process, Town, open_town
from benchmarks.wire import passed_on

HUB, NET = "10.213.0.1", "10.213.0"
PLACES = 4
LATENCY = 3.0
HOSTS, PAIR = (1, 2, 4), (1, 2)
EACH, LESS = 8, 4
CUTS, CUT = 3, 1
SCRIPT = (PLAN, call("run", command="sleep 15"), EDIT, FINISH)
SHORT = (PLAN, EDIT, FINISH)


def hosts(*, full: bool = False) -> list[Table]:
    title = "Workers on hosts of their own (network namespaces) over one PostgreSQL"
    if why := _lacks():
        return [Table(title=title, rows=[skipped("hosts", why)])]
    with _namespaces(max(HOSTS if full else PAIR)) as names:
        argv = ["ip", "netns", "exec", names[0], sys.executable, "-m", "benchmarks.hosts"]
        given = [json.dumps(full), *names]
        done = subprocess.run([*argv, *given], cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        return [Table(title=title, rows=[skipped("hosts", "it ended with an error, see above")])]
    rows = [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])]
    return [Table(title=title, rows=rows)]


def _lacks() -> str:
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if not shutil.which("ip"):
        return "there is no `ip` here"
    name = f"jm{os.getpid()}try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return tried.stderr.strip()


@contextmanager
def _namespaces(count: int) -> Generator[list[str]]:
    """The first one has a bridge to all others."""
    hub, *rest = names = [f"jm{os.getpid()}n{number}" for number in range(count + 1)]
    try:
        for name in names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", hub, "link", "add", "br0", "type", "bridge")
        _ip("-n", hub, "addr", "add", f"{HUB}/24", "dev", "br0")
        _ip("-n", hub, "link", "set", "br0", "up")
        for number, name in enumerate(rest, 1):
            to = ("peer", "name", "eth0", "netns", name)
            _ip("-n", hub, "link", "add", f"v{number}", "type", "veth", *to)
            _ip("-n", hub, "link", "set", f"v{number}", "master", "br0", "up")
            _ip("-n", name, "addr", "add", f"{NET}.{number + 1}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


async def _measured(names: Sequence[str], *, full: bool) -> list[Row]:
    hub, *rest = names
    with scratch() as folder:
        cut = await _cut(folder, hub, rest[:2], CUTS if full else CUT)
    with scratch() as folder:
        sizes, each = (HOSTS, EACH) if full else (PAIR, LESS)
        return [*cut, *await _scaled(folder, rest, sizes, each)]


async def _cut(folder: Path, hub: str, hosts: Sequence[str], rounds: int) -> list[Row]:
    took: list[float] = []
    async with open_town(folder, script=SCRIPT, host=HUB) as town, _wired(town, hosts) as url:
        await town.up("effects")
        workers = [_start(town, host, url) for host in hosts]
        await asyncio.gather(*(each.ready() for each in workers))
        runs = [await _pulled(town, hub, workers, took) for _ in range(rounds)]
        ends = Counter((await town.ended(runs, 60)).values())
        requests = len(town.project.merge_requests)
    return [
        Row(
            what="the wire of a host at work is pulled, until another one has its run",
            value=median(took),
            unit="s",
            limit=10,
            baseline="the same as after a kill: see takeover",
            note=spread(took, 2),
        ),
        Row(
            what="runs that the cut host still held when its wire was back",
            value=rounds - ends[RunStatus.SUCCEEDED] + abs(rounds - requests),
            unit="runs",
            limit=0,
            note=f"{ends[RunStatus.SUCCEEDED]} of {rounds} succeeded, {requests} merge requests",
        ),
    ]


async def _pulled(town: Town, hub: str, workers: Sequence[Process], took: list[float]) -> Any:
    run = (await town.ask()).id
    await town.until(run, "tool_started")
    claims = await _claims(town, run)
    number = 1 + [str(each.pid) for each in workers].index(claims[0].worker.rpartition(":")[2])
    wire = ("-n", hub, "link", "set", f"v{number}")
    pulled = time.time()
    _ip(*wire, "down")
    try:
        await town.until(run, "run_claimed", 2)
    finally:
        _ip(*wire, "up")
    events = await town.db.store.events(run)
    at = [each.at for each in events if isinstance(each.payload, RunClaimed)]
    took.append(at[1].timestamp() - pulled)
    await town.ended([run], 60)
    await asyncio.sleep(3)  # the one that was cut connects again
    return run


async def _claims(town: Town, run: Any) -> list[RunClaimed]:
    events = await town.db.store.events(run)
    return [each.payload for each in events if isinstance(each.payload, RunClaimed)]


async def _scaled(folder: Path, hosts: Sequence[str], sizes: Sequence[int], each: int) -> list[Row]:
    rates: dict[int, float] = {}
    async with (
        open_town(folder, script=SHORT, latency=LATENCY, parallel=PLACES, host=HUB) as town,
        _wired(town, hosts) as url,
    ):
        await town.up("effects")
        workers: list[Process] = []
        for size in sizes:
            await LimitTable(town.db.pool).tell(PLACES * size)
            more = [_start(town, host, url) for host in hosts[len(workers) : size]]
            await asyncio.gather(*(worker.ready() for worker in more))
            workers += more
            await town.ended([(await town.ask()).id for _ in workers], 120)  # fills the mirrors
            began = time.monotonic()
            runs = [(await town.ask()).id for _ in range(each * size)]
            ended = await town.ended(runs, 60 + 10.0 * len(runs))
            rates[size] = 60 * len(runs) / (time.monotonic() - began)
            if set(ended.values()) != {RunStatus.SUCCEEDED}:
                raise SystemExit(f"Not all runs succeeded: {Counter(ended.values())}")
    one = rates[sizes[0]]
    return [
        Row(
            what=f"runs a minute, hosts: {size}",
            value=rate,
            baseline="" if size == 1 else f"{size} × {one:.0f}",
            note=f"efficiency {rate / one / size:.2f}; {PLACES} places each, the model takes"
            f" {LATENCY:.0f} s an answer; all hosts share {os.cpu_count()} cores",
        )
        for size, rate in rates.items()
    ]


def _start(town: Town, host: str, url: str) -> Process:
    return town.start("worker", host, prefix=("ip", "netns", "exec", host), DATABASE_URL=url)


@asynccontextmanager
async def _wired(town: Town, hosts: Sequence[str]) -> AsyncGenerator[str]:
    """The hosts reach PostgreSQL by TCP, at the address that this gives, and GitLab as if it were
    on their own loopback."""
    parts = urlsplit(town.db.dsn)
    path = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
    gitlab = urlsplit(town.gitlab.url).port
    assert gitlab is not None
    async with (
        passed_on(HUB, 0, path) as port,
        passed_on(HUB, gitlab, ("127.0.0.1", gitlab)),
    ):
        wires: list[asyncio.subprocess.Process] = []
        try:
            for host in hosts:
                argv = ("ip", "netns", "exec", host, sys.executable, "-m", "benchmarks.wire")
                wire = await asyncio.create_subprocess_exec(
                    *argv, str(gitlab), HUB, cwd=ROOT, stdout=asyncio.subprocess.PIPE
                )
                wires.append(wire)
                assert wire.stdout is not None
                await wire.stdout.readline()
            yield f"postgresql://{parts.username}@{HUB}:{port}{parts.path}?sslmode=disable"
        finally:
            await town.down(*town.processes)
            for wire in wires:
                wire.kill()
                await wire.wait()


if __name__ == "__main__":
    told, *named = sys.argv[1:]
    found = asyncio.run(_measured(named, full=json.loads(told)))
    print(json.dumps([asdict(row) for row in found]))
