"""How bubblewrap is started, and what ends with the service that started it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.adapters.bubblewrap_args import BWRAP
from agent.errors import ToolFailed

#: Inside, before the command: speaks to us and waits for our word, so that nothing runs for a
#: service that died before bubblewrap had bound its life to it. It sets the limits, too: a
#: program of its own for these would take longer than this shell does.
_GATE = 'echo >&0; read -r _ && {limits} && exec "$@" </dev/null'
#: of the outer process: whatever stands here can be read inside as /proc/1/environ
_OUTER_ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@dataclass(frozen=True, kw_only=True)
class Start:
    """`prefix` changes the user, `arguments` are bubblewrap's, `argv` runs inside, after the shell
    commands in `limits`."""

    prefix: Sequence[str]
    arguments: Sequence[str]
    limits: str
    argv: Sequence[str]
    seccomp: bytes


def spawn(
    start: Start, arguments: int, word: int, output: int, more: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    gate = ("/bin/sh", "-c", _GATE.format(limits=start.limits), "sh")
    # without `user=`, Popen can use vfork, which does not copy this process's page tables
    try:
        return subprocess.Popen(
            [*start.prefix, BWRAP, "--args", str(arguments), "--", *gate, *start.argv],
            stdin=word,
            stdout=output,
            stderr=output,
            env=_OUTER_ENVIRONMENT,
            cwd="/",
            pass_fds=(arguments, *more),
            start_new_session=True,
            umask=0o022,
        )
    except (ValueError, OSError) as error:
        raise ToolFailed(
            f"The command cannot be started: {error}. Write long input to a file first."
        ) from error


def end_strays() -> None:
    """Ends what has run nothing and would wait for good: bubblewrap's first process inside, when
    the outer one was killed with its service right before it gave the word to go on."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, KeyError):
            words = (process / "cmdline").read_bytes()
            if not _ours(words.split(b"\0")):
                continue
            lines = (process / "status").read_text().splitlines()
            facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            inside = len(facts["NSpid"].split()) > 1
            if inside and Path(f"/proc/{facts['PPid']}/cmdline").read_bytes() != words:
                os.kill(int(process.name), signal.SIGKILL)


def _ours(words: Sequence[bytes]) -> bool:
    gate = os.fsencode(_GATE.partition("{")[0])
    shape = [os.fsencode(BWRAP), b"--args", b"--", b"/bin/sh", b"-c"]
    return [*words[:2], *words[3:6]] == shape and words[6].startswith(gate)
