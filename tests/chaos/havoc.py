"""What goes wrong, by chance: the seed decides what, when and to whom.

Processes and clocks are real, so that a seed repeats the havoc and not the interleaving.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from road import Road, fault

from agent.adapters.embedded_postgres import EmbeddedPostgres
from playground.faults import Faults
from tests.chaos.service import Fleet

FAILS, LIMITS, LOSES, DOUBLES = 0.05, 0.05, 0.03, 0.10
KILL, FREEZE, CRASH, REFRESH = (5, 20), (5, 20), (5, 40), (20, 60)  #: seconds between two
ASLEEP = (1, 15)


@dataclass(kw_only=True)
class Havoc:
    seed: int
    road: Road
    fleet: Fleet
    postgres: EmbeddedPostgres
    timeline: list[str] = field(default_factory=list[str])
    did: Counter[str] = field(default_factory=Counter[str])
    _began: float = field(default_factory=time.monotonic)

    async def rage(self, seconds: float) -> None:
        """Whatever it did is taken back at the end, but for what died of it."""
        self._faults()
        works = (self._kills, self._freezes, self._crashes, self._refreshes)
        tasks = [
            asyncio.create_task(work(Random(f"{self.seed}:{work.__name__}"))) for work in works
        ]
        try:
            done, _ = await asyncio.wait(
                tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for host in self.fleet.hosts:
                host.pause(False)
            for faults in self._of_stand_ins():
                self.did["faults"] += sum(entry.hits for entry in faults.entries)
                faults.clear()
            self._note("havoc ceases")
        for task in done:
            task.result()

    def _of_stand_ins(self) -> list[Faults]:
        return [self.road.slack.faults, self.road.gitlab.faults, self.road.model.faults]

    def _faults(self) -> None:
        for number, faults in enumerate(self._of_stand_ins()):
            faults.seed = self.seed + number
            faults.set(fault("fail", times=0, chance=FAILS, status=503))
            faults.set(fault("429", times=0, chance=LIMITS, seconds=1))
            faults.set(fault("drop_after_apply", times=0, chance=LOSES))
        self.road.slack.faults.set(fault("duplicate", "event:*", times=0, chance=DOUBLES))
        self.road.gitlab.faults.set(fault("job_fails", "job:agent/*", times=0, chance=FAILS))

    async def _kills(self, draw: Random) -> None:
        while True:
            await asyncio.sleep(draw.uniform(*KILL))
            host = draw.choice(self.fleet.hosts)
            if host.pid:
                host.kill()
                self._note(f"{host.name} killed")
                self.did["kills"] += 1

    async def _freezes(self, draw: Random) -> None:
        while True:
            await asyncio.sleep(draw.uniform(*FREEZE))
            host, seconds = draw.choice(self.fleet.hosts), draw.uniform(*ASLEEP)
            if host.pid:
                pid = host.pid
                host.pause(True)
                self._note(f"{host.name} stopped for {seconds:.1f} s")
                self.did["freezes"] += 1
                await asyncio.sleep(seconds)
                if host.pid == pid:
                    host.pause(False)

    async def _crashes(self, draw: Random) -> None:
        """The server that is gone is begun again by who watches it, within two seconds."""
        while True:
            await asyncio.sleep(draw.uniform(*CRASH))
            how = draw.choice((signal.SIGQUIT, signal.SIGKILL))
            with suppress(OSError, ValueError):
                lock = self.postgres.folder / "data" / "postmaster.pid"
                os.kill(int(lock.read_text().split()[0]), how)
                self._note(f"PostgreSQL ended by {how.name}")
                self.did["crashes"] += 1

    async def _refreshes(self, draw: Random) -> None:
        sockets = self.road.slack.sockets
        while True:
            await asyncio.sleep(draw.uniform(*REFRESH))
            cut = draw.random() < 0.5
            self._note("sockets cut" if cut else "sockets asked to connect anew")
            self.did["sockets"] += 1
            with suppress(ConnectionError):
                await (sockets.cut() if cut else sockets.disconnect())

    def _note(self, what: str) -> None:
        self.timeline.append(f"{time.monotonic() - self._began:7.1f} s  {time.time():.1f}  {what}")
