"""An ordinary `journeyman serve` beside the stand-ins, with an environment made for it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

START_SECONDS = 120.0
STOP_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).resolve().parent.parent


def _end_with_parent() -> None:
    """In the child: a killed playground leaves no service behind that would answer for the next."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class ServiceFailed(Exception):
    """The service ended or never answered; the text is for a person."""


class Service:
    """Runs for as long as the context lasts; its output goes to `log`."""

    def __init__(self, *, env: Mapping[str, str], url: str, folder: Path, log: Path) -> None:
        self.url = url
        self._env = dict(env)
        self._folder = folder
        self.log = log
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "serve"),
                cwd=self._folder,
                env={**self._env, "PYTHONPATH": str(ROOT)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for us; we end it ourselves, once
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._answers()
        except TimeoutError:
            await self._end()
            raise ServiceFailed(
                f"`journeyman serve` did not answer within {START_SECONDS:.0f} s.\n{self._said()}"
            ) from None
        except BaseException:
            await self._end()
            raise
        return self

    async def _answers(self) -> None:
        assert self._process is not None
        async with aiohttp.ClientSession() as session:
            while self._process.returncode is None:
                try:
                    async with session.get(f"{self.url}readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
        raise ServiceFailed(f"`journeyman serve` ended at its start.\n{self._said()}")

    def _said(self) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()[-15:]
        return "\n".join([*lines, f"All of it: {self.log}"])

    async def ended(self) -> None:
        """Returns when the service ends by itself. Raises ServiceFailed."""
        assert self._process is not None
        code = await self._process.wait()
        raise ServiceFailed(f"`journeyman serve` ended (exit code {code}).\n{self._said()}")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
