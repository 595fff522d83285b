"""What a vault asks of an origin, and the names that may go into a command of git's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from agent.adapters.git_command import (
    REMOTE_SECONDS,
    UPLOAD_PACK,
    Git,
    Output,
    remote,
    remote_error,
)
from agent.errors import GitFailed, Refused
from agent.ports import Origin
from agent.run import CommitSha

OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NO_BRANCH = re.compile(r"^[-/]|\.\.|//|@\{|[\x00-\x20\x7f~^:?*\[\\]|[./]$|\.lock$|^$")


async def default_branch(origin: Origin) -> str | None:
    """Where the origin's HEAD points; None for an empty repository or a detached HEAD."""
    default, refs = await remote_refs(Git(Path("/")), Path("/nonexistent"), origin, None)
    return default if refs else None


async def branch_names(origin: Origin) -> Sequence[str]:
    _, refs = await remote_refs(Git(Path("/")), Path("/nonexistent"), origin, None, every=True)
    heads = "refs/heads/"
    return [name.removeprefix(heads) for name in refs if name.startswith(heads)]


async def remote_refs(
    git: Git, askpass: Path, origin: Origin, branch: str | None, *, every: bool = False
) -> tuple[str | None, dict[str, CommitSha]]:
    """The default branch and commits by ref: those asked for, or every one."""
    arguments = ["ls-remote", "--symref"]
    if origin.url.startswith("/"):
        arguments.append(UPLOAD_PACK)
    patterns = [] if every else ["HEAD", *([ref_of(branch)] if branch else [])]
    arguments += ["--", origin.url, *patterns]
    done = await talk(git, askpass, "ls-remote", origin, arguments)
    if done.code:
        raise remote_error("fetch", origin, done.err)
    default: str | None = None
    refs: dict[str, CommitSha] = {}
    for line in done.out.decode("utf-8", "replace").splitlines():
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: refs/heads/"):
            default = value.removeprefix("ref: refs/heads/")
        elif OBJECT.fullmatch(value):
            refs[name] = CommitSha(value)
    if default and "HEAD" in refs:
        refs.setdefault(ref_of(default), refs["HEAD"])
    return default, refs


async def talk(
    git: Git, askpass: Path, verb: str, origin: Origin, arguments: Sequence[str]
) -> Output:
    try:
        return await git.run(arguments, env=remote(origin, askpass), seconds=REMOTE_SECONDS)
    except GitFailed as error:
        raise remote_error(verb, origin, str(error)) from error


def ref_of(branch: str) -> str:
    if branch == "HEAD":
        return branch
    if _NO_BRANCH.search(branch):
        raise Refused(f"“{branch}” cannot be the name of a branch.")
    return f"refs/heads/{branch}"


def object_id(name: str) -> str:
    if not OBJECT.fullmatch(name):
        raise GitFailed(f"“{name}” is not the id of a git object.")
    return name
