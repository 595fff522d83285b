"""Where commands run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol


class Network(StrEnum):
    NONE = "none"
    FETCH = "fetch"  # only through the filtering proxy, for package managers


@dataclass(frozen=True, kw_only=True)
class CommandLimits:
    seconds: float = 120.0
    memory_mb: int = 2048
    processes: int = 256
    file_mb: int = 1024  #: size of one file
    disk_mb: int = 2048  #: growth of the writable folders
    head: int = 16_384  #: bytes kept of the start of the output
    tail: int = 49_152  #: bytes kept of its end


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    exit_code: int  #: 128 + signal when ended by one
    output: str  #: both streams, control sequences removed, cut in the middle with a note
    total_bytes: int
    seconds: float
    cpu_seconds: float = 0.0
    #: why the sandbox ended it; empty when it ended by itself
    stopped: Literal["", "timeout", "memory", "processes", "disk", "cancelled"] = ""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A host folder shown to the command. Writable ones belong to this box alone."""

    source: Path
    target: str
    writable: bool = False


class Box(Protocol):
    """Where a run's commands run; each has namespaces of its own and leaves nothing alive."""

    async def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        limits: CommandLimits | None = None,
        network: Network = Network.NONE,
        mounts: Sequence[Mount] = (),
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Cancelling the task kills the whole process tree within a second."""
        ...


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of `sandbox check` or `doctor`."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


class Sandbox(Protocol):
    """Raises `SandboxUnusable` where it cannot isolate; nothing ever runs without it."""

    @property
    def name(self) -> str: ...

    async def check(self) -> Sequence[Check]:
        """Proves the isolation of this host; each promise is one line."""
        ...

    def new_folder(self, name: str) -> Path:
        """An empty folder that commands can be given, as workspace or as mount."""
        ...

    def adopt(self, folder: Path) -> None:
        """Makes what the host put into a folder belong to the sandbox's user."""
        ...

    def open(
        self, workspace: Path, *, mounts: Sequence[Mount] = ()
    ) -> AbstractAsyncContextManager[Box]:
        """The workspace is `/workspace` inside, writable."""
        ...

    async def remove(self, folder: Path) -> None: ...
