"""Proves the isolation of this host by trying to break it, from inside."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.adapters.bubblewrap_args import ENVIRONMENT
from agent.ports import Box, Check, CommandLimits

if TYPE_CHECKING:
    from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox

_QUICK = CommandLimits(seconds=10, memory_mb=256, processes=64)
_REMEDY = "Do not run untrusted code on this host; report this with the output of `uname -a`."


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """What the tests share: a box and, outside of it, what it must not reach."""

    box: Box
    secret: str
    secret_file: Path
    port: int


async def check(sandbox: BubblewrapSandbox) -> Sequence[Check]:
    """Raises `SandboxUnusable` when not even a first command can be run."""
    checks = [_limits(sandbox)]
    async with _attempt(sandbox) as attempt:
        started = await attempt.box.exec(["true"], limits=_QUICK)
        detail = f"a command in its own namespaces takes {started.seconds * 1000:.0f} ms"
        checks.insert(0, Check(name="starts", ok=started.exit_code == 0, detail=detail))
        for name, promise, test in _TESTS:
            problem = await test(attempt)
            remedy = _REMEDY if problem else ""
            checks.append(
                Check(name=name, ok=not problem, detail=problem or promise, remedy=remedy)
            )
    return checks


def _limits(sandbox: BubblewrapSandbox) -> Check:
    parents = sandbox.host.parents
    if parents:
        detail = f"hard limits on memory and processes (control groups, version {parents.version})"
        return Check(name="limits", ok=True, detail=detail)
    return Check(
        name="limits",
        ok=True,
        detail="soft limits: no control group can be used here, so memory of a whole command is"
        " watched 20 times a second instead of enforced; one process is still limited",
        remedy="Run the service by systemd with `Delegate=memory pids`, or as root.",
    )


@contextlib.asynccontextmanager
async def _attempt(sandbox: BubblewrapSandbox) -> AsyncGenerator[_Attempt]:
    workspace = sandbox.new_folder("check")
    secret = secrets.token_hex(16)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="journeyman-check-") as outside,
            socket.create_server(("127.0.0.1", 0)) as listener,
        ):
            Path(outside).chmod(0o755)
            secret_file = Path(outside, "secret")
            secret_file.write_text(secret)
            secret_file.chmod(0o666)
            async with sandbox.open(workspace) as box:
                yield _Attempt(
                    box=box,
                    secret=secret,
                    secret_file=secret_file,
                    port=listener.getsockname()[1],
                )
    finally:
        await sandbox.remove(workspace)


async def _shell(attempt: _Attempt, script: str, *words: str) -> str:
    result = await attempt.box.exec(["bash", "-c", script, "bash", *words], limits=_QUICK)
    return result.output


async def _writes_outside(attempt: _Attempt) -> str:
    script = 'for p in "$1" /usr/x /etc/x /x /proc/sys/kernel/core_pattern; do echo x >> "$p"; done'
    await _shell(attempt, script, str(attempt.secret_file))
    changed = attempt.secret_file.read_text() != attempt.secret
    return "a file outside of the workspace was changed" if changed else ""


async def _reads_secret(attempt: _Attempt) -> str:
    script = 'ln -s "$1" link; cat "$1" "/proc/1/root$1" link; find / -name secret -exec cat {} +'
    output = await _shell(attempt, script, str(attempt.secret_file))
    return "a file of the host was read" if attempt.secret in output else ""


async def _environment(attempt: _Attempt) -> str:
    output = await _shell(attempt, "cat /proc/[0-9]*/environ | tr '\\0' '\\n'; env")
    names = {line.partition("=")[0] for line in output.splitlines() if "=" in line}
    foreign = names - set(ENVIRONMENT) - {"PWD", "SHLVL", "_", "OLDPWD"}
    return f"variables of the host are seen: {', '.join(sorted(foreign))}" if foreign else ""


async def _network(attempt: _Attempt) -> str:
    script = f"echo > /dev/tcp/127.0.0.1/{attempt.port} && echo reached; cat /proc/net/dev"
    output = await _shell(attempt, script)
    if "reached" in output:
        return "a server of the host was reached"
    devices = [line.split(":")[0].strip() for line in output.splitlines() if ":" in line]
    return "" if "lo" in devices and not {"eth0", "ens3"} & set(devices) else "there is a network"


async def _processes(attempt: _Attempt) -> str:
    output = await _shell(attempt, "ls -d /proc/[0-9]* | wc -l")
    return "" if output.strip().isdigit() and int(output) < 10 else "other processes are seen"


async def _privileges(attempt: _Attempt) -> str:
    script = "unshare -U true && echo namespace; unshare -m true && echo mounts; id -u; exit 0"
    output = await _shell(attempt, script)
    return "new namespaces can be made" if {"namespace", "mounts"} & set(output.split()) else ""


async def _survivors(attempt: _Attempt) -> str:
    marker = f"{secrets.randbelow(10**6) + 10**6}"
    await _shell(attempt, "setsid sleep $1 & disown; sleep 0.1", marker)
    await asyncio.sleep(0.1)
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes() == f"sleep\0{marker}\0".encode():
                return "a background process lived on after its command"
    return ""


async def _memory(attempt: _Attempt) -> str:
    script = "head -c 400000000 /dev/zero | tail -c 300000000 > /dev/null"
    limits = CommandLimits(seconds=10, memory_mb=64)
    result = await attempt.box.exec(["bash", "-c", script], limits=limits)
    if result.exit_code and result.stopped != "timeout":
        return ""
    return "a command could use more memory than its limit"


async def _process_count(attempt: _Attempt) -> str:
    script = "for i in $(seq 100); do sleep 9 & done; ls -d /proc/[0-9]* | wc -l"
    limits = CommandLimits(seconds=1.5, processes=32)
    result = await attempt.box.exec(["bash", "-c", script], limits=limits)
    if result.stopped or result.exit_code or "fork" in result.output:
        return ""
    return "a command could start more processes than its limit"


async def _time(attempt: _Attempt) -> str:
    limits = CommandLimits(seconds=0.3)
    script = "trap '' TERM INT HUP; while :; do :; done"
    result = await attempt.box.exec(["bash", "-c", script], limits=limits)
    held = result.stopped == "timeout" and result.seconds < 5
    return "" if held else "a command outlived its time limit"


_TESTS: tuple[tuple[str, str, Callable[[_Attempt], Awaitable[str]]], ...] = (
    ("writing", "nothing outside of the workspace can be written", _writes_outside),
    ("reading", "files of the host cannot be read", _reads_secret),
    ("environment", "no variable of the service is seen", _environment),
    ("network", "there is no network, not even to this host", _network),
    ("processes", "no process of the host is seen", _processes),
    ("privileges", "no new namespace can be made", _privileges),
    ("survivors", "nothing lives on after its command", _survivors),
    ("memory", "the memory limit holds", _memory),
    ("process count", "the process limit holds", _process_count),
    ("time", "the time limit holds against ignored signals", _time),
)
