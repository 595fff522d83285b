"""What a fixer made of the files, and which of it is a fix.

A fixer is a program of the project's: what it did is compared like any other change, file by
file, and only edits of files that were there, and that weaken nothing, are taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent import tamper
from agent.difference import LINK, SUBMODULE, FileDiff, read_patch
from agent.maintenance.offlimits import untouchable
from agent.pipeline import Weakening
from agent.policy import Policy, breaches
from agent.tamper.compare import Reader

_BEGIN = re.compile(r"^(?=diff --git )", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Part:
    """The part of a patch that is about one file."""

    diff: FileDiff
    text: str


#: By path. All parts of one are against the night's base.
Change = Mapping[str, Part]


def change_of(patch: str) -> Change:
    texts = [text for text in _BEGIN.split(patch) if text.startswith("diff --git ")]
    diffs = read_patch(patch)
    return {d.path: Part(diff=d, text=t) for d, t in zip(diffs, texts, strict=True)}


def patch_of(change: Change) -> str:
    return "".join(change[path].text for path in sorted(change))


def touched(before: Change, after: Change) -> tuple[str, ...]:
    """Paths that are not as they were, also those that are as at the base again."""
    paths = sorted({*before, *after})
    return tuple(path for path in paths if _text(before, path) != _text(after, path))


def _text(change: Change, path: str) -> str:
    return change[path].text if path in change else ""


def no_fixes(
    change: Change, paths: Sequence[str], before: Reader, after: Reader, policy: Policy
) -> dict[str, str]:
    """Of the paths those whose change is no fix, and why."""
    diffs = [change[path].diff for path in paths if path in change]
    why = {diff.path: reason for diff in diffs if (reason := _unfit(diff))}
    for path, reason in weakened(diffs, before, after, policy).items():
        why.setdefault(path, reason)
    return why


def weakened(
    diffs: Sequence[FileDiff], before: Reader, after: Reader, policy: Policy
) -> dict[str, str]:
    """Paths whose change weakens what checks the project, or may not be changed; and why."""
    why: dict[str, str] = {}
    for found in (*tamper.weakenings(diffs, before, after), *breaches(policy, diffs)):
        # that a test expects the same in other words is no weakening
        if found.path and found.rule != Weakening.EXPECTATION_CHANGED:
            why.setdefault(found.path, found.detail)
    return why


def _unfit(diff: FileDiff) -> str:
    if diff.old is None:
        return "it made this file"
    if diff.new is None:
        return "it deleted this file"
    if diff.old != diff.new:
        return "it renamed this file"
    if {LINK, SUBMODULE} & {diff.old_mode, diff.new_mode} or diff.binary:
        return "this is no text file"
    return untouchable(diff.path)
