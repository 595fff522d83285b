"""Runs git, undisturbed by the machine's own configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.adapters.git_process import git_process

#: nothing of the machine's own git configuration counts
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


class GitError(Exception):
    """git said no; the text is its own."""


class MergeConflict(GitError):
    """The two sides change the same lines."""


async def run_git(
    *args: str,
    cwd: Path | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    ok: Sequence[int] = (0,),
) -> tuple[int, bytes]:
    async with git_process(
        *args, cwd=cwd, env={**ENVIRONMENT, **(env or {})}, stdin=True
    ) as process:
        out, err = await process.communicate(stdin)
    code = process.returncode or 0
    if code not in ok:
        raise GitError(err.decode("utf-8", "replace").strip() or f"git {args[0]} failed")
    return code, out
