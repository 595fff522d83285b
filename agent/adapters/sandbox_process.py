"""One bubblewrap process from start to certain end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agent.adapters.cgroups import Group
from agent.adapters.output import HeadTail
from agent.adapters.sandbox_start import Start, spawn
from agent.adapters.watchdog import Disk, watch
from agent.errors import SandboxUnusable
from agent.ports import CommandLimits

Stopped = Literal["", "timeout", "memory", "processes", "disk", "cancelled"]

_READ = 256 * 1024
_PIPE = 1024 * 1024
_DYING = 2.0  # seconds in which a killed tree has to be gone


@dataclass(frozen=True, kw_only=True)
class Ended:
    exit_code: int
    output: HeadTail
    seconds: float
    cpu_seconds: float
    stopped: Stopped
    started: bool  #: False: bubblewrap itself failed, and says why in the output


async def run(
    start: Start,
    limits: CommandLimits,
    *,
    group: Group | None,
    disk: Disk,
    on_output: Callable[[bytes], None] | None,
) -> Ended:
    """Ends with the command or at its limits; cancelling ends the whole tree first."""
    began = time.monotonic()
    kills = group.memory_kills() if group else 0
    cpu = group.cpu_seconds() if group else 0.0
    child = _Child(start, HeadTail(limits.head, limits.tail), on_output)
    stopped: Stopped = ""
    try:
        async with asyncio.timeout(limits.seconds):
            await child.begin(group)
            stopped = await _end(child, limits, group, disk)
    except TimeoutError:
        stopped = "timeout"
    finally:
        await child.end(group)
    if group and not stopped and child.exit_code and group.memory_kills() > kills:
        stopped = "memory"
    return Ended(
        exit_code=child.exit_code,
        output=child.output,
        seconds=time.monotonic() - began,
        cpu_seconds=group.cpu_seconds() - cpu if group else child.cpu_seconds,
        stopped=stopped,
        started=bool(stopped) or "exit-code" in child.status(),
    )


async def _end(child: _Child, limits: CommandLimits, group: Group | None, disk: Disk) -> Stopped:
    """Waits for the command's own end, or for a reason to end it."""
    watcher = asyncio.create_task(watch(child.pid, limits, group, disk))
    try:
        await asyncio.wait({child.exited, watcher}, return_when=asyncio.FIRST_COMPLETED)
        return "" if child.exited.done() else watcher.result()
    finally:
        watcher.cancel()


class _Child:
    """Must be made in the event loop's own thread: bubblewrap dies with the thread that made it."""

    def __init__(
        self,
        start: Start,
        output: HeadTail,
        on_output: Callable[[bytes], None] | None,
    ) -> None:
        self.output = output
        self.exit_code = 128 + signal.SIGKILL
        self.cpu_seconds = 0.0
        self._on_output = on_output
        self._status_text = b""
        self._status_fd: int | None
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = self._loop.create_future()
        self._drained: asyncio.Future[None] = self._loop.create_future()

        seccomp, seccomp_in = os.pipe()
        arguments, arguments_in = os.pipe()
        gate, gate_in = os.pipe()
        self._word, word = socket.socketpair()
        self._output_fd, output_in = os.pipe()
        # Not a pipe: it is left open at both ends, and inside one could be opened for writing.
        self._status_fd, status_in = (end.detach() for end in socket.socketpair())
        inside = [seccomp, arguments, gate, output_in, status_in]
        try:
            os.write(seccomp_in, start.seccomp)
            self._process = spawn(
                start,
                arguments,
                word.fileno(),
                output_in,
                (seccomp, gate, status_in, self._status_fd),
            )
        except BaseException:
            for fd in (arguments_in, gate_in, self._output_fd, self._status_fd):
                os.close(fd)
            self._word.close()
            raise
        finally:
            word.close()
            for fd in (*inside, seccomp_in):
                os.close(fd)
        self.pid = self._process.pid

        os.set_blocking(self._output_fd, False)
        os.set_blocking(self._status_fd, False)
        self._word.setblocking(False)
        with contextlib.suppress(OSError):  # the user's share of large pipes may be used up
            fcntl.fcntl(self._output_fd, fcntl.F_SETPIPE_SZ, _PIPE)
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._on_exit)
        self._loop.add_reader(self._output_fd, self._on_readable)

        self._arguments_in = open(arguments_in, "wb", buffering=0)  # noqa: SIM115
        self._gate_in = open(gate_in, "wb", buffering=0)  # noqa: SIM115
        more = ["--seccomp", str(seccomp), "--json-status-fd", str(status_in)]
        # Held by bubblewrap, too: where nobody could read its report any more, it would end while
        # its first process inside waits for it, which would then wait for good.
        more += ["--sync-fd", str(self._status_fd)]
        more += ["--block-fd", str(gate), ""]
        self._arguments = os.fsencode("\0".join([*start.arguments, *more]))

    async def begin(self, group: Group | None) -> None:
        """The command itself waits until it has been put under its limits, which may take as long
        as the namespaces do: both go on at the same time."""
        with contextlib.suppress(BrokenPipeError):
            with self._arguments_in as pipe:
                pipe.write(self._arguments)
            if group:
                inner = await self._inner()
                if inner is None:
                    return
                await asyncio.to_thread(_admit, group, inner)
            self._gate_in.write(b"x")
            with contextlib.suppress(ConnectionError):
                if await self._loop.sock_recv(self._word, 1):
                    self._word.send(b"\n")

    async def _inner(self) -> int | None:
        """The first process inside; None when bubblewrap failed before there was one."""
        fd, more = self._status_fd, asyncio.Event()
        assert fd is not None
        self._loop.add_reader(fd, more.set)
        try:
            while b"\n" not in self._status_text:  # it is written in several pieces
                await more.wait()
                more.clear()
                if not self._read_status():
                    return None
        finally:
            self._loop.remove_reader(fd)
        return self.status().get("child-pid")

    def status(self) -> dict[str, int]:
        """What bubblewrap reported: `child-pid` once set up, `exit-code` at the command's end."""
        self._read_status()
        facts: dict[str, int] = {}
        for line in self._status_text.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                facts |= json.loads(line)
        return facts

    def _read_status(self) -> bool:
        """False when there will be nothing more."""
        if self._status_fd is None:
            return False
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._status_fd, 4096):
                self._status_text += data
            return False
        return True

    async def end(self, group: Group | None) -> None:
        """Nothing of the tree is alive afterwards."""
        try:
            if not self.exited.done():
                await self._kill()
            if group:
                group.kill()
            await asyncio.wait({self._drained}, timeout=_DYING)
        finally:
            self._gate_in.close()
            self._word.close()
            self.status()
            if not self.exited.done():
                self._loop.remove_reader(self._pidfd)
                os.close(self._pidfd)
            if not self._drained.done():
                self._loop.remove_reader(self._output_fd)
            os.close(self._output_fd)
            if self._status_fd is not None:
                os.close(self._status_fd)
            self._status_fd = None

    async def _kill(self) -> None:
        """The outer process and the first process inside, with which the kernel ends the whole
        namespace; by descriptors, since a number may come to mean another process."""
        inner = None
        with contextlib.suppress(OSError):
            if pid := self.status().get("child-pid"):
                inner = os.pidfd_open(pid)
                signal.pidfd_send_signal(inner, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        gone: asyncio.Future[None] = self._loop.create_future()
        if inner is None:
            gone.set_result(None)
        else:
            self._loop.add_reader(inner, lambda: gone.done() or gone.set_result(None))
        try:
            await asyncio.wait({self.exited, gone}, timeout=_DYING)
        finally:
            if inner is not None:
                self._loop.remove_reader(inner)
                os.close(inner)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        _, status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.exit_code = self._process.returncode = code if code >= 0 else 128 - code
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        self.exited.set_result(None)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._output_fd, _READ)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._output_fd)
            self._drained.set_result(None)
            return
        self.output.add(data)
        if self._on_output:
            self._on_output(data)


def _admit(group: Group, pid: int) -> None:
    try:
        group.add(pid)
    except OSError as error:
        raise SandboxUnusable(
            f"The command could not be put under its limits, and was not run: {error}."
        ) from error
