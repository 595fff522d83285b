"""Lets linters look at a tree, each bounded and none believed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.errors import GitFailed, Refused, ToolFailed
from agent.files import WorkspaceFiles
from agent.maintenance.lint.detect import Command
from agent.maintenance.lint.linters import ENVIRONMENT
from agent.maintenance.lint.parse import ROOT, plain
from agent.maintenance.night import Finding
from agent.maintenance.workshop import Night, Place
from agent.ports import CommandLimits, CommandResult, Mount
from agent.run import TreeSha

OUTPUT = 16 * 2**20  #: bytes of a linter's report that are read
FINDINGS = 5_000  #: of one linter
_OUT = "/lint"

#: Word by word, never as text: the linter's words are this script's arguments.
_STDOUT = f'set -o pipefail; "$@" | head -c {OUTPUT + 1} >{_OUT}/report'
_STDERR = f'set -o pipefail; "$@" 2>&1 >/dev/null | head -c {OUTPUT + 1} >{_OUT}/report'


@dataclass(kw_only=True)
class Look:
    """`checked`: names of the linters that did their work; only of these is nothing nothing."""

    findings: list[Finding] = field(default_factory=list[Finding])
    checked: list[str] = field(default_factory=list[str])
    not_checked: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])


async def look(night: Night, treeish: str, commands: Sequence[Command]) -> Look:
    """A linter that changes files loses its place; the next one looks at the tree again."""
    seen, todo = Look(), list(commands)
    while todo:
        async with night.place(treeish) as place:
            clean = await _tree(night, place)
            untouched = True
            while todo and untouched:
                command = todo.pop(0)
                night.tell(f"{command.name} looks")
                await _check(night, place, command, seen)
                untouched = await _tree(night, place) == clean
                if not untouched and not command.mends_always:
                    seen.problems.append(
                        f"`{command.name}` changed files although it was only to look; what it "
                        "changed was thrown away."
                    )
    return seen


async def _tree(night: Night, place: Place) -> TreeSha | None:
    """None: more was written than git is given."""
    try:
        return (await night.collect(place)).tree
    except (GitFailed, Refused):
        return None


async def _check(night: Night, place: Place, command: Command, seen: Look) -> None:
    folder = night.sandbox.new_folder("lint")
    try:
        result = await run(night, place, command, command.check, folder=folder)
        report = await asyncio.to_thread(_read, WorkspaceFiles(folder))
    finally:
        await night.sandbox.remove(folder)
    why = unusable(command, result, report) or ""
    found: list[Finding] = []
    if not why:
        try:
            found = await asyncio.to_thread(
                command.read, report.decode("utf-8", "replace"), command.name
            )
        except (ValueError, RecursionError):
            why = "its report cannot be read"
        if result.exit_code and not found and not why:
            why = f"it ended with exit code {result.exit_code} and named nothing{_said(result)}"
    if why:
        if result.exit_code == 127 and place.packages.record.problem:
            why += f" ({place.packages.record.problem})"
        seen.not_checked.append(f"`{command.name}` was not checked: {why}.")
        return
    there = set(night.paths)
    ours = list(dict.fromkeys(each for each in found if each.path in there))
    if len(ours) > FINDINGS:
        seen.not_checked.append(
            f"`{command.name}` has {len(ours):,} findings; only the first {FINDINGS:,} are kept."
        )
    seen.findings += ours[:FINDINGS]
    seen.checked.append(command.name)


async def run(
    night: Night, place: Place, command: Command, argv: Sequence[str], *, folder: Path
) -> CommandResult:
    """`folder` gets the report; what is said beside it is in the result."""
    upkeep = night.project.maintenance
    if command.in_git:  # a workspace has no repository; this one is thrown away with it
        await place.exec(["git", "init", "-q"])
        await place.exec(["git", "add", "-A"])
    path = place.packages.env.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return await place.exec(
        ["bash", "-c", _STDERR if command.on_stderr else _STDOUT, "lint", *argv],
        env={**ENVIRONMENT, "PATH": f"{ROOT}/node_modules/.bin:{path}"},
        limits=CommandLimits(seconds=upkeep.lint_seconds, memory_mb=upkeep.lint_memory_mb),
        mounts=[Mount(source=folder, target=_OUT, writable=True)],
    )


def _read(files: WorkspaceFiles) -> bytes:
    try:
        return files.read("report", OUTPUT + 1)
    except ToolFailed:
        return b""


def unusable(command: Command, result: CommandResult, report: bytes) -> str:
    """Why nothing of it counts; empty when it did its work."""
    if result.stopped == "timeout":
        return f"it did not end within {result.seconds:.0f} seconds"
    if result.stopped:
        return f"the sandbox ended it ({result.stopped})"
    if len(report) > OUTPUT:
        return f"it printed more than {OUTPUT // 2**20} MB"
    if result.exit_code in (126, 127):
        return "it is installed neither with the project's packages nor on this machine"
    if result.exit_code not in command.fine:
        return f"it ended with exit code {result.exit_code}{_said(result)}"
    return ""


def _said(result: CommandResult) -> str:
    lines = [plain(line) for line in result.output.splitlines() if line.strip()]
    return f" and said: {lines[-1][:200].rstrip('.')}" if lines else ""
