"""Findings that stay the same while the code around them moves.

A line number says nothing from one night to the next. So each finding is anchored to the text of
its line and of the lines around it, and two nights are matched from the surest likeness to the
weakest; what is matched keeps its fingerprint.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.maintenance.findings import Anchor, Findings, Seen
from agent.maintenance.night import Finding

SKETCH = 256  #: digests kept of a file: enough to know it under another name
ALIKE = 0.5  #: share of them that two names of one file have in common

#: Lines of a file.
Lines = Callable[[str], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Matched:
    """`now` with the fingerprints of before; `new` and `gone` are in one night only."""

    now: tuple[Seen, ...]
    new: tuple[Finding, ...]
    gone: tuple[Finding, ...]


def snapshot(found: Sequence[Finding], lines: Lines) -> Findings:
    """What a night saw, each finding with its anchor and a fingerprint of its own."""
    texts = {path: [_digest(line) for line in lines(path)] for path in {f.path for f in found}}
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    seen: list[Seen] = []
    for each in sorted(found, key=lambda f: (f.path, f.line, f.tool, f.rule, f.message)):
        anchor = _anchor(texts[each.path], each.line)
        what = (each.tool, each.rule, each.path, anchor.line, anchor.before, anchor.after)
        print_ = _digest("\0".join((*what, str(counts[what]))), spaces=True)
        counts[what] += 1
        seen.append(Seen(finding=replace(each, fingerprint=print_), anchor=anchor))
    files = {path: frozenset(sorted(set(texts[path]) - {BLANK})[:SKETCH]) for path in texts}
    return Findings(seen=tuple(seen), files=files)


def match(before: Findings, now: Findings, paths: Collection[str]) -> Matched:
    """`paths`: all files that there are now, by which a file that was renamed is noticed."""
    names = _renamed(before, now, frozenset(paths))
    old = [_under(each, names) for each in before.seen]
    partner: dict[int, int] = {}
    left = set(range(len(old)))
    for likeness in _LIKENESSES:
        waiting: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for n in sorted(left, reverse=True):
            if key := likeness(old[n]):
                waiting[key].append(n)
        for n, each in enumerate(now.seen):
            key = likeness(each)
            if key and n not in partner and waiting[key]:
                partner[n] = waiting[key].pop()
                left.discard(partner[n])
    taken = {old[n].finding.fingerprint for n in partner.values()}
    kept: list[Seen] = []
    for n, each in enumerate(now.seen):
        print_ = old[partner[n]].finding.fingerprint if n in partner else _free(each, taken)
        kept.append(replace(each, finding=replace(each.finding, fingerprint=print_)))
    return Matched(
        now=tuple(kept),
        new=tuple(each.finding for n, each in enumerate(kept) if n not in partner),
        gone=tuple(before.seen[n].finding for n in sorted(left)),
    )


def _what(seen: Seen) -> tuple[str, str]:
    return seen.finding.tool, seen.finding.rule


def _here(seen: Seen) -> tuple[str, str, str]:
    return (*_what(seen), seen.finding.path)


#: From sure to weak. An empty one: it cannot be told by this.
_LIKENESSES: tuple[Callable[[Seen], tuple[str, ...]], ...] = (
    lambda s: (*_here(s), s.anchor.line, s.anchor.before, s.anchor.after),
    lambda s: (*_here(s), s.anchor.line, s.anchor.before),
    lambda s: (*_here(s), s.anchor.line, s.anchor.after),
    lambda s: (*_here(s), s.anchor.line),
    # the line itself was edited, and what was wrong with it still is
    lambda s: (*_here(s), s.finding.message, s.anchor.before, s.anchor.after),
    # it was moved to another file with what stands around it
    lambda s: (*_what(s), s.anchor.line, s.anchor.before) if s.anchor.line else (),
    lambda s: (*_what(s), s.anchor.line, s.anchor.after) if s.anchor.line else (),
)


def _renamed(before: Findings, now: Findings, paths: frozenset[str]) -> Mapping[str, str]:
    names: dict[str, str] = {}
    fresh = [path for path in now.files if path not in before.files]
    for path, lines in before.files.items():
        if path in paths or not lines:
            continue
        alike = [(_alike(lines, now.files[other]), other) for other in fresh]
        share, other = max(alike, default=(0.0, ""))
        if share >= ALIKE:
            names[path] = other
            fresh.remove(other)
    return names


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    both = sorted(one | other)[:SKETCH]
    return sum(each in one and each in other for each in both) / len(both) if both else 0.0


def _under(seen: Seen, names: Mapping[str, str]) -> Seen:
    path = names.get(seen.finding.path, seen.finding.path)
    return replace(seen, finding=replace(seen.finding, path=path))


def _free(seen: Seen, taken: set[str]) -> str:
    """A fingerprint of its own, also where an older finding keeps the one of this place."""
    print_ = seen.finding.fingerprint
    while print_ in taken:
        print_ = _digest(print_)
    taken.add(print_)
    return print_


def _anchor(digests: Sequence[str], line: int) -> Anchor:
    if not 0 < line <= len(digests):
        return Anchor(line="", before="", after="")
    above = (d for d in reversed(digests[: line - 1]) if d != BLANK)
    below = (d for d in digests[line:] if d != BLANK)
    return Anchor(line=digests[line - 1], before=next(above, ""), after=next(below, ""))


def _digest(text: str, *, spaces: bool = False) -> str:
    """Of a line: how far it is indented does not count, nor how its words are spaced."""
    plain = text if spaces else " ".join(text.split())
    return hashlib.sha256(plain.encode("utf-8", "replace")).hexdigest()[:16]


BLANK = _digest("")
