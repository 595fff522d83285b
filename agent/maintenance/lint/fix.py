"""Lets linters mend by themselves, one after the other, and keeps what breaks no test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agent import tamper
from agent.errors import GitFailed, Refused, ToolFailed
from agent.maintenance.lint.change import (
    Change,
    Part,
    change_of,
    no_fixes,
    patch_of,
    touched,
)
from agent.maintenance.lint.check import run, unusable
from agent.maintenance.lint.detect import Command
from agent.maintenance.workshop import Night, Place
from agent.run import TreeSha
from agent.testreport import TestReport

LARGEST = 4 << 20  #: bytes of a file that is compared
NAMED = 3  #: files and tests that a sentence names


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """`tree` None: nothing was mended. `tools`: whose fixes are in it."""

    change: Change = field(default_factory=dict[str, Part])
    tree: TreeSha | None = None
    tools: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    before: TestReport | None = None
    after: TestReport | None = None


async def fix(night: Night, commands: Sequence[Command]) -> Fixed:
    """All fixes at once first; only where tests break by them, each on its own."""
    made = Fixed()
    for command in commands:
        made = await _apply(night, command, made)
    if made.tree is None:
        return made
    night.tell("the tests run without the fixes, then with them")
    before, after = await night.test(night.base), await night.test(made.tree)
    if not broken(before, after):
        return replace(made, before=before, after=after)
    night.tell("tests break by a fix: each tool's fixes are tested on their own")
    made = Fixed(before=before)
    for command in commands:
        made = await _apply_tested(night, command, made)
    return made


def broken(before: TestReport | None, after: TestReport | None) -> str:
    """What is worse than it was; empty when nothing is."""
    if after is None or after.no_tests:
        return "" if before is None or after is None or before.no_tests else "no test is found"
    if failed := after.new_failures(before):
        return f"{_named([case.id for case in failed])} fails"
    if after.stopped and not (before and before.stopped):
        return f"the tests were stopped ({after.stopped})"
    if before is not None and before.green and not after.green:
        return f"the tests end with exit code {after.exit_code}"
    return ""


async def _apply_tested(night: Night, command: Command, made: Fixed) -> Fixed:
    tried = await _apply(night, command, made)
    if tried.tree is None or tried.tree == made.tree:
        return replace(made, problems=tried.problems)
    after = await night.test(tried.tree)
    worse = broken(made.before, after)
    if not worse:
        return replace(tried, after=after)
    told = f"The fixes of `{command.name}` were left out: with them {worse}."
    return replace(made, problems=(*tried.problems, told))


async def _apply(night: Night, command: Command, made: Fixed) -> Fixed:
    """One tool on what the ones before it have made."""
    if command.fix is None:
        return made
    night.tell(f"{command.name} mends what it can")
    try:
        change, left = await _mended(night, command, command.fix, made)
        if set(change) == set(made.change) and not touched(made.change, change):
            return replace(made, problems=(*made.problems, *left))
        tree = await night.vault.restore(night.base, patch_of(change)) if change else None
    except (GitFailed, Refused, ToolFailed) as error:
        told = f"The fixes of `{command.name}` were left out: {error}"
        return replace(made, problems=(*made.problems, told))
    return replace(
        made,
        change=change,
        tree=tree,
        tools=(*made.tools, command.name),
        problems=(*made.problems, *left),
    )


async def _mended(
    night: Night, command: Command, argv: Sequence[str], made: Fixed
) -> tuple[Change, tuple[str, ...]]:
    """The change with the tool's fixes, and what of its edits was left out."""
    folder = night.sandbox.new_folder("lint")
    try:
        async with night.place(made.tree or night.base) as place:
            before = change_of((await night.collect(place)).patch)
            result = await run(night, place, command, argv, folder=folder)
            if why := unusable(command, result, b""):
                return made.change, (f"`{command.name}` mended nothing: {why}.",)
            after = change_of((await night.collect(place)).patch)
            paths = touched(before, after)
            refused = await _refused(night, place, after, paths)
    finally:
        await night.sandbox.remove(folder)
    change = dict(made.change)
    for path in paths:
        if path in after and path not in refused:
            change[path] = after[path]
        elif path not in refused:
            change.pop(path, None)
    return change, tuple(_left_out(command.name, refused))


async def _refused(
    night: Night, place: Place, change: Change, paths: Sequence[str]
) -> dict[str, str]:
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for path in paths:
        if path not in change or not tamper.is_read(path):
            continue
        data = await night.vault.read(night.base, path, limit=LARGEST)
        before[path] = (data or b"").decode("utf-8", "replace")
        try:
            data = await asyncio.to_thread(place.files.read, path, LARGEST)
        except ToolFailed:
            data = b""  # gone, or no plain file: refused as such
        after[path] = data.decode("utf-8", "replace")
    return await asyncio.to_thread(
        no_fixes, change, paths, before.get, after.get, night.project.policy
    )


def _left_out(tool: str, refused: dict[str, str]) -> Sequence[str]:
    by_reason: dict[str, list[str]] = {}
    for path, reason in refused.items():
        by_reason.setdefault(reason, []).append(path)
    return [
        f"What `{tool}` did to {_named(paths)} was left out: {reason}."
        for reason, paths in by_reason.items()
    ]


def _named(things: Sequence[str]) -> str:
    more = len(things) - NAMED
    return ", ".join(things[:NAMED]) + (f" and {more} more" if more > 0 else "")
