"""What the stand-ins remember from one start of the playground to the next.

The folder belongs to whoever runs the playground, like the database beside it.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from playground.gitlab.records import Job
from playground.gitlab.state import State
from playground.slack.world import World

#: Raised when what is kept changes its shape.
FORMAT = 2
SAVE_AFTER_SECONDS = 1.0
_CALLBACKS = "_subscribers"


class OtherVersion(Exception):
    """The kept state cannot be read by this version; the text says what to do."""


class Keep:
    """Restores both stand-ins, then writes them down a moment after each change."""

    def __init__(self, folder: Path, world: World, state: State) -> None:
        self._file = folder / "stand-ins.pickle"
        self._world = world
        self._state = state
        self._changed = asyncio.Event()
        self._ends: list[Callable[[], None]] = []

    def restore(self) -> bool:
        """Whether there was something. Raises OtherVersion."""
        if not self._file.exists():
            return False
        try:
            kept = pickle.loads(self._file.read_bytes())
            if kept["format"] != FORMAT:
                raise ValueError("another format")
            _put(self._world, kept["world"])
            _put(self._state, kept["state"])
        except (
            pickle.UnpicklingError,
            AttributeError,
            ImportError,
            EOFError,
            LookupError,
        ) as error:
            raise OtherVersion(self._remedy()) from error
        except (TypeError, ValueError) as error:
            raise OtherVersion(self._remedy()) from error
        _after_a_pause(self._state)
        return True

    def _remedy(self) -> str:
        return (
            f"{self._file} was written by another version of the playground. "
            f"Remove the folder {self._file.parent} to start afresh, or name another with --home."
        )

    async def follow(self) -> None:
        """Until cancelled; what changed last is written even then."""
        self._ends = [
            self._world.subscribe(lambda _: self._changed.set()),
            self._state.subscribe(lambda _: self._changed.set()),
        ]
        try:
            while True:
                await self._changed.wait()
                await asyncio.sleep(SAVE_AFTER_SECONDS)
                self._changed.clear()
                self.save()
        finally:
            for end in self._ends:
                end()
            self.save()

    def save(self) -> None:
        kept = {"format": FORMAT, "world": _taken(self._world), "state": _taken(self._state)}
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(pickle.dumps(kept))
        fresh.replace(self._file)


def _taken(thing: object) -> dict[str, Any]:
    return {key: value for key, value in vars(thing).items() if key not in (_CALLBACKS, "clock")}


def _put(thing: object, kept: dict[str, Any]) -> None:
    for key, value in kept.items():
        setattr(thing, key, value)


def _after_a_pause(state: State) -> None:
    """The monotonic clock begins anew with the machine, and no job survived."""
    for project in state.projects.values():
        project.pushed_at = dict.fromkeys(project.pushed_at, 0.0)
        for merge_request in project.merge_requests.values():
            merge_request.checking_since = 0.0
        for pipeline in project.pipelines.values():
            for job in pipeline.jobs:
                _begin_again(job)


def _begin_again(job: Job) -> None:
    if job.status in ("pending", "running", "preparing", "scheduled"):
        job.status, job.started_at = "created", None
        job.trace.clear()


class Ports:
    """The same addresses on every start, as long as they are free: links stay good."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ports.json"
        self._known: dict[str, int] = {}
        with suppress(OSError, ValueError):
            self._known = {k: int(v) for k, v in json.loads(self._file.read_text()).items()}

    def take(self, name: str, wanted: int = 0, usual: int = 0) -> int:
        """Raises ValueError when the wanted port is taken."""
        for port in (wanted,) if wanted else (self._known.get(name, usual), usual, 0):
            if (free := _free(port)) is not None:
                if not wanted:
                    self._known[name] = free
                    self._file.write_text(json.dumps(self._known))
                return free
        raise ValueError(f"Port {wanted} is taken: name another with --port, or leave it out.")


def _free(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
        return probe.getsockname()[1]
