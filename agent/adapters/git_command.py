"""Runs git on the host: a fixed environment, fixed flags, a time limit, and errors in words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent.adapters.git_process import git_process
from agent.errors import ForgeRejected, ForgeUnavailable, GitFailed, NotFound, Refused
from agent.ports import Origin

LOCAL_SECONDS = 120.0
REMOTE_SECONDS = 900.0
#: Address space of commands that read a work tree: a crafted .gitignore of 10 GB must not take
#: the host's memory.
MEMORY = 6 * 2**30

#: Nothing of the machine's or the user's configuration is read, nothing of the bot's
#: environment is passed on.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_LFS_SKIP_SMUDGE": "1",
}

#: Defects of commits that old tools wrote; they harm nobody and stand in many histories.
HARMLESS = (
    "badTimezone",
    "missingSpaceBeforeDate",
    "missingSpaceBeforeEmail",
    "missingNameBeforeEmail",
    "missingEmail",
    "badEmail",
    "zeroPaddedDate",
    "zeroPaddedFilemode",
    "multipleAuthors",
)

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.packedGitLimit=2g",
    "core.bigFileThreshold=32m",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "transfer.fsckObjects=true",
    "credential.helper=",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    # The owner differs where a service reads a repository of its user; nothing of that
    # repository's configuration is executed, see `_SERVER`.
    "safe.directory=*",
    *(f"fetch.fsck.{defect}=ignore" for defect in HARMLESS),
)
FLAGS = tuple(part for setting in _SETTINGS for part in ("-c", setting))

#: A local origin is served by a git of ours: its own hooks and commands stay unused.
_SERVER = (
    "git -c safe.directory=* -c core.hooksPath=/dev/null -c core.alternateRefsCommand=true"
    " -c core.fsmonitor=false -c receive.autogc=false -c gc.auto=0"
)
UPLOAD_PACK = f"--upload-pack={_SERVER} upload-pack"
#: Also commits that no branch of the origin names.
UPLOAD_ANY = f"--upload-pack={_SERVER} -c uploadpack.allowAnySHA1InWant=true upload-pack"
RECEIVE_PACK = f"--receive-pack={_SERVER} receive-pack"

_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")
_ASKPASS = """#!/bin/sh
case "$1" in Username*) echo oauth2 ;; *) printf '%s\\n' "$JOURNEYMAN_GIT_TOKEN" ;; esac
"""


@dataclass(frozen=True, kw_only=True)
class Output:
    code: int
    out: bytes
    err: str


class Git:
    """Runs commands on one bare repository."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository

    async def __call__(
        self,
        *arguments: str,
        allow: tuple[int, ...] = (0,),
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        work_tree: Path | None = None,
        index: Path | None = None,
    ) -> bytes:
        """The standard output; raises `GitFailed` for an exit code that `allow` does not list."""
        output = await self.run(arguments, stdin=stdin, env=env, work_tree=work_tree, index=index)
        if output.code not in allow:
            raise GitFailed(f"git {_command(arguments)} failed: {words(output.err)}")
        return output.out

    async def run(
        self,
        arguments: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        work_tree: Path | None = None,
        index: Path | None = None,
        seconds: float = LOCAL_SECONDS,
        keep: int | None = None,
    ) -> Output:
        """Any exit code is an answer. `keep`: stop after that many bytes of output."""
        environment = {**ENVIRONMENT, "GIT_DIR": str(self.repository), **(env or {})}
        if work_tree is not None:
            environment["GIT_WORK_TREE"] = str(work_tree)
        if index is not None:
            environment["GIT_INDEX_FILE"] = str(index)
        try:
            async with (
                asyncio.timeout(seconds),
                git_process(
                    *FLAGS,
                    *arguments,
                    env=environment,
                    cwd=work_tree or self.repository,
                    stdin=bool(stdin),
                ) as process,
            ):
                if work_tree is not None:
                    with contextlib.suppress(ProcessLookupError):
                        resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
                if keep is None:
                    out, err = await process.communicate(stdin or None)
                else:
                    out, err = await _head(process, stdin, keep), b""
        except (FileNotFoundError, NotADirectoryError) as gone:
            raise GitFailed(f"git {_command(arguments)} has no folder to run in: {gone}") from gone
        except TimeoutError:
            raise GitFailed(
                f"git {_command(arguments)} did not end within {seconds:.0f} seconds"
            ) from None
        code = process.returncode if process.returncode is not None else -1
        return Output(code=code, out=out, err=err.decode("utf-8", "surrogateescape"))


async def _head(process: asyncio.subprocess.Process, stdin: bytes, keep: int) -> bytes:
    assert process.stdout is not None
    if process.stdin is not None:
        process.stdin.write(stdin)
        process.stdin.close()
    kept = bytearray()
    while len(kept) < keep and (chunk := await process.stdout.read(keep - len(kept))):
        kept += chunk
    return bytes(kept)


def remote(origin: Origin, askpass: Path) -> dict[str, str]:
    """Environment for talking to an origin: exactly its scheme, its token for this one process."""
    parts = urlsplit(origin.url)
    if origin.url.startswith("/"):
        return {"GIT_ALLOW_PROTOCOL": "file"}
    if parts.username or parts.password:
        raise Refused("The address of a repository may not carry a user name or a password.")
    host = parts.hostname or ""
    if parts.scheme != "https" and not (parts.scheme == "http" and _LOOPBACK.fullmatch(host)):
        raise Refused(
            f"Code is fetched from {host or origin.url} by https only. "
            "Give the project's https address, or an absolute path of this machine."
        )
    environment = {"GIT_ALLOW_PROTOCOL": parts.scheme}
    if origin.token:
        environment |= {"GIT_ASKPASS": str(askpass), "JOURNEYMAN_GIT_TOKEN": origin.token}
    return environment


def write_askpass(path: Path) -> None:
    """A script without a secret: it prints what its process was given."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        new.write_text(_ASKPASS)
        new.chmod(0o700)
        new.rename(path)


_UNAVAILABLE = re.compile(
    r"could not resolve|failed to connect|connection (timed out|refused|reset)|timed out|"
    r"operation too slow|returned error: (429|5\d\d)|recv failure|empty reply|early eof|"
    r"hung up unexpectedly|unexpected disconnect|did not end within",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"authentication failed|could not read (username|password)|invalid credentials|"
    r"returned error: (401|403)|access denied|not allowed",
    re.IGNORECASE,
)
_MISSING = re.compile(
    r"repository '?[^\n]*not found|does not appear to be a git repository|"
    r"returned error: 404|project you were looking for could not be found",
    re.IGNORECASE,
)


def remote_error(verb: str, origin: Origin, problem: str) -> Exception:
    """What a failed fetch or push means."""
    said = f"git {verb} of {origin.url} failed: {words(problem, origin.token)}"
    if _MISSING.search(problem):
        return NotFound(said, status=404)
    if _UNAVAILABLE.search(problem):
        return ForgeUnavailable(said)
    if _DENIED.search(problem):
        return ForgeRejected(f"{said} Check the token, its scopes and its role.", status=403)
    return GitFailed(said)


def words(err: str, secret: str = "") -> str:
    """Git's own words, in a few lines, without credentials."""
    if secret:
        err = err.replace(secret, "[token]")
    err = re.sub(r"(?<=://)[^/@\s]*@", "", err)
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("hint:", "warning: templates"))]
    return " ".join(lines)[-1000:] or "it gave no reason."


def _command(arguments: Sequence[str]) -> str:
    return next((argument for argument in arguments if not argument.startswith("-")), "")
