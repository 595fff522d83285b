"""What a change may touch, and how large it may be: judged on the difference itself."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from agent.difference import LINK, SUBMODULE, FileDiff
from agent.globs import fold, matches
from agent.pipeline import Violation

_POINTER = re.compile(r"oid sha256:[0-9a-f]{64}")  #: in a file that Git LFS keeps elsewhere


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Patterns are those of .gitignore. No `allow_paths`: every path that is not denied."""

    allow_paths: tuple[str, ...] = ()
    deny_paths: tuple[str, ...] = ()
    max_files: int = 200
    max_lines: int = 20_000  #: added and removed together
    max_binary: int = 5_000_000  #: bytes


def breaches(
    policy: Policy, diffs: Sequence[FileDiff], paths: Collection[str] = ()
) -> tuple[Violation, ...]:
    """`paths`: every file of the changed tree, among which new names must stand apart."""
    by_fold: dict[str, list[str]] = {}
    for path in paths:
        by_fold.setdefault(fold(path), []).append(path)
    found: list[Violation] = []
    for diff in diffs:
        found += _names(policy, diff)
        found += _kinds(policy, diff)
        twins = [p for p in by_fold.get(fold(diff.new or ""), ()) if p != diff.new]
        if twins and diff.new != diff.old:
            found.append(_path(diff.path, f"this name differs from `{twins[0]}` in case only"))
    return (*found, *_sizes(policy, diffs))


def _names(policy: Policy, diff: FileDiff) -> Iterator[Violation]:
    for name in diff.paths:
        if rule := _denied(policy, name):
            yield _path(name, rule)
            return


def _denied(policy: Policy, path: str) -> str:
    for pattern in policy.deny_paths:
        if matches(pattern, path, folded=True):
            return f"the settings deny changes of `{pattern}`"
    if policy.allow_paths and not any(matches(each, path) for each in policy.allow_paths):
        return "the settings allow changes only of " + ", ".join(
            f"`{each}`" for each in policy.allow_paths[:5]
        )
    return ""


def _kinds(policy: Policy, diff: FileDiff) -> Iterator[Violation]:
    old, new = diff.old_mode, diff.new_mode
    if SUBMODULE in (old, new):
        yield _path(diff.path, "this is a submodule: code of another repository")
    elif new == LINK:
        target = "".join(line.text for line in diff.added)
        where = f" to `{target[:100]}`" if target else ""
        end = posixpath.normpath(posixpath.join(posixpath.dirname(diff.path), target))
        rule = _denied(policy, end)
        out = ", outside of the project" if end.startswith(("/", "..")) else ""
        yield _path(diff.path, f"this is a symbolic link{where}{out or (rule and f', but {rule}')}")
    elif old and new and old != new and diff.old is not None and diff.new is not None:
        yield _path(diff.path, f"its mode changed from {old} to {new}")
    if diff.unseen and diff.new is not None:
        yield _path(diff.path, "it is binary, and how large it is cannot be seen")
    elif any(_POINTER.fullmatch(line.text) for line in diff.added[:3]):
        yield _path(diff.path, "its content is kept in Git LFS, and cannot be seen")


def _sizes(policy: Policy, diffs: Sequence[FileDiff]) -> Iterator[Violation]:
    lines = sum(len(diff.added) + len(diff.removed) for diff in diffs)
    binary = sum(diff.binary for diff in diffs)
    for count, cap, what in (
        (len(diffs), policy.max_files, "files are changed"),
        (lines, policy.max_lines, "lines are added or removed"),
        (binary, policy.max_binary, "bytes of binary files are changed"),
    ):
        if count > cap:
            detail = f"{count:,} {what}, at most {cap:,} are allowed"
            yield Violation(rule="size", path="", line=0, detail=detail)


def _path(path: str, detail: str) -> Violation:
    return Violation(rule="path", path=path, line=0, detail=detail)
