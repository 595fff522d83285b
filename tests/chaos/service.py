"""The service as it runs on several hosts: each role a process of its own, with a home of its own
and nothing but its own credentials, begun again whenever it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from road import ROOT, Road, until
from test_hosts import OWN, SHARED

SERVE = Path(__file__).with_name("serve.py")
PATHS = os.pathsep.join(str(path) for path in (ROOT, ROOT / "tests", ROOT / "tests" / "faults"))
AGAIN = 0.5  #: seconds until one that ended is begun again


@dataclass(kw_only=True)
class Host:
    """One role on its machine."""

    name: str
    role: str
    env: Mapping[str, str]
    log: Path
    starts: int = 0
    died: list[str] = field(default_factory=list[str])  #: by itself, which nobody did to it
    over: bool = False
    paused: bool = False
    _meant: bool = False  #: somebody has killed it
    _process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process and process.returncode is None else None

    @property
    def is_ready(self) -> bool:
        """It was, once."""
        return self.log.exists() and b" is ready " in self.log.read_bytes()

    async def keep(self) -> None:
        """Serves until it is over."""
        while not self.over:
            at = self.log.stat().st_size if self.log.exists() else 0
            code = await self._serve()
            if not self.over and not self._meant:
                told = self.log.read_bytes()[at:].decode(errors="replace")
                self.died.append(f"{self.name} ended with {code}: {told[-600:]}")
            self._meant = False
            if not self.over:
                await asyncio.sleep(AGAIN)

    async def _serve(self) -> int:
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(SERVE), "serve", "--role", self.role),
                env={**self.env, "PYTHONPATH": PATHS},
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return await self._process.wait()

    def kill(self) -> None:
        self._meant = True
        self._signal(signal.SIGKILL)
        self.paused = False

    def pause(self, paused: bool) -> None:
        self.paused = paused
        self._signal(signal.SIGSTOP if paused else signal.SIGCONT)

    async def end(self, seconds: float = 30.0) -> str:
        """Asks it to stop. What was wrong with how it did, in words."""
        self.over = True
        process = self._process
        if process is None or process.returncode is not None:
            return ""
        self.pause(False)
        began = time.monotonic()
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                code = await process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            return f"{self.name} did not end within {seconds:.0f} s of SIGTERM"
        took = time.monotonic() - began
        return f"{self.name} ended with {code} after {took:.1f} s of SIGTERM" if code else ""

    def _signal(self, number: signal.Signals) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass(kw_only=True)
class Fleet:
    road: Road
    hosts: list[Host]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    @staticmethod
    def of(road: Road, counts: Mapping[str, int]) -> Fleet:
        hosts: list[Host] = []
        for role, count in counts.items():
            for number in range(1, count + 1):
                name = f"{role}-{number}"
                kept = SHARED | set(OWN[role])
                env = {key: value for key, value in road.env.items() if key in kept}
                env["JOURNEYMAN_HOME"] = str(road.folder / f"host-{name}")
                env["JOURNEYMAN_LISTEN"] = "127.0.0.1:0"
                log = road.folder / f"{name}.log"
                hosts.append(Host(name=name, role=role, env=env, log=log))
        return Fleet(road=road, hosts=hosts)

    def begin(self) -> None:
        self._tasks = [asyncio.create_task(host.keep(), name=host.name) for host in self.hosts]

    @property
    def homes(self) -> list[Path]:
        return [Path(host.env["JOURNEYMAN_HOME"]) for host in self.hosts]

    @property
    def died(self) -> list[str]:
        return [told for host in self.hosts for told in host.died]

    async def up(self, seconds: float = 60.0) -> None:
        for host in self.hosts:
            await until(lambda host=host: host.is_ready, seconds)

    async def end(self) -> list[str]:
        """What was wrong with how they ended."""
        told = await asyncio.gather(*(host.end() for host in self.hosts))
        await asyncio.gather(*self._tasks)
        return [each for each in told if each]
