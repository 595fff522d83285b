"""Tests and what they assert, of one file before and after, and what became weaker."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.pipeline import Violation, Weakening

NOTHING, TRUTH, WIDE, PARTIAL, RAISES, EXACT = 0, 2, 3, 4, 5, 6

_TOLERANCE = re.compile(
    r"\b(?:rel|abs|delta|rtol|atol|rel_tol|abs_tol)=(\d[\d.]*(?:[eE][+-]?\d+)?)"
)
_PLACES = re.compile(r"\bplaces=(\d+)|toBeCloseTo\([^()]*, (\d+)\)")
_LISTED = 3  # tests of one file that are told one by one


@dataclass(frozen=True, kw_only=True)
class Assertion:
    """`strength`: how little may pass it. Two with the same subject and another `expected` want
    another result."""

    subject: str
    expected: str = ""
    strength: int = EXACT
    guarded: bool = False  #: only checked under a condition
    text: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Skip:
    text: str
    line: int
    whole: str = ""  #: "file", "class": more than one test is skipped by it


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A test, or a function or suite beside the tests."""

    name: str  #: with its classes: `TestA::test_b`
    line: int
    collected: bool = True  #: a test that the runner finds
    skips: tuple[Skip, ...] = ()
    assertions: tuple[Assertion, ...] = ()
    rows: tuple[str, ...] = ()  #: of its parameters
    body: str = ""  #: equal for equal tests, whatever they are called

    @property
    def leaf(self) -> str:
        return self.name.rpartition("::")[2]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """The units of one file. `path` is where they are told of."""

    path: str
    units: Mapping[str, Unit]
    readable: bool = True


@dataclass(frozen=True, kw_only=True)
class _At:
    path: str
    unit: Unit


def weaker(pairs: Sequence[tuple[Suite, Suite]]) -> Iterator[Violation]:
    """Each pair is one file before and after; an empty suite stands for no file."""
    gone: list[list[_At]] = []
    fresh: list[_At] = []
    for old, new in pairs:
        gone.append(
            [_At(path=old.path, unit=u) for n, u in old.units.items() if n not in new.units]
        )
        fresh += [_At(path=new.path, unit=u) for n, u in new.units.items() if n not in old.units]
    for (old, new), missing in zip(pairs, gone, strict=True):
        for name, unit in old.units.items():
            if name in new.units:
                yield from _compared(unit, _At(path=new.path, unit=new.units[name]))
        lost: list[_At] = []
        for each in missing:
            other = _elsewhere(each, fresh)
            if other is None:
                lost.append(each)
            else:
                fresh.remove(other)
                yield from _compared(each.unit, other)
        yield from _lost([each for each in lost if each.unit.collected], new)


def _elsewhere(gone: _At, fresh: Sequence[_At]) -> _At | None:
    """The same test in another place, or under another name that is still found."""
    unit = gone.unit
    found = [f for f in fresh if f.unit.collected or not unit.collected]
    for same in (
        [f for f in found if f.unit.name == unit.name],
        [f for f in found if f.unit.leaf == unit.leaf],
        [f for f in found if f.unit.body == unit.body and unit.body],
    ):
        if same:
            near = [f for f in same if f.path == gone.path]
            return (near or same)[0]
    return None


def _lost(lost: Sequence[_At], now: Suite) -> Iterator[Violation]:
    if not lost:
        return
    path = lost[0].path
    if not now.readable:
        why = ": the file can no longer be read as code"
    elif not now.path:
        why = ", with the whole file"
    else:
        why = ""
    if len(lost) <= _LISTED:
        for each in lost:
            detail = f"the test `{each.unit.name}` is gone{why}"
            yield violation(Weakening.TEST_REMOVED, path, each.unit.line, detail)
        return
    names = ", ".join(f"`{each.unit.name}`" for each in lost[:_LISTED])
    detail = f"{len(lost)} tests are gone{why}: {names} and {len(lost) - _LISTED} more"
    yield violation(Weakening.TEST_REMOVED, path, lost[0].unit.line, detail)


def _compared(before: Unit, after: _At) -> Iterator[Violation]:
    unit, path = after.unit, after.path
    if before.collected and not unit.collected:
        detail = f"the test `{before.name}` is no longer collected"
        yield violation(Weakening.TEST_REMOVED, path, unit.line, detail)
    had = Counter(skip.text for skip in before.skips)
    for skip in unit.skips:
        if had[skip.text]:
            had[skip.text] -= 1
            continue
        what = f"every test of the {skip.whole}" if skip.whole else f"the test `{unit.name}`"
        detail = f"{what} may be skipped now: `{skip.text}`"
        yield violation(Weakening.TEST_SKIPPED, path, skip.line, detail)
    yield from _rows(before, after)
    yield from _assertions(before, after)


def _rows(before: Unit, after: _At) -> Iterator[Violation]:
    old, new = before.rows, after.unit.rows
    gone = list((Counter(old) - Counter(new)).elements())
    if not gone:
        return
    came = list((Counter(new) - Counter(old)).elements())
    if len(new) < len(old):
        detail = f"`{before.name}` has {len(new)} of {len(old)} rows of cases left"
        yield violation(Weakening.TEST_REMOVED, after.path, after.unit.line, detail)
    else:
        detail = f"`{before.name}`: the case `{short(gone[0])}` became `{short(came[0])}`"
        yield violation(Weakening.EXPECTATION_CHANGED, after.path, after.unit.line, detail)


def _assertions(before: Unit, after: _At) -> Iterator[Violation]:
    left = list(after.unit.assertions)
    changed: list[Assertion] = []
    for old in before.assertions:
        if old.strength == NOTHING:
            continue
        same = [
            a
            for a in left
            if _alike(a, old) and a.strength >= old.strength and (old.guarded or not a.guarded)
        ]
        if same:
            left.remove(same[0])
        else:
            changed.append(old)
    unpaired: list[Assertion] = []
    for old in changed:
        near = [a for a in left if a.subject == old.subject]
        if not near:
            unpaired.append(old)
            continue
        new = max(near, key=lambda a: a.strength)
        left.remove(new)
        yield from _became(old, new, after)
    for old in unpaired:
        strongest = max(left, key=lambda a: a.strength, default=None)
        new = next((a for a in left if a.strength >= old.strength), strongest)
        if new is None:
            detail = f"`{short(old.text)}` of `{before.name}` is gone"
            yield violation(Weakening.ASSERTION_REMOVED, after.path, after.unit.line, detail)
        else:
            left.remove(new)
            yield from _became(old, new, after)


def _became(old: Assertion, new: Assertion, at: _At) -> Iterator[Violation]:
    detail = f"`{short(old.text)}` became `{short(new.text)}`"
    rule = Weakening.ASSERTION_LOOSENED
    if new.strength == NOTHING and new.text == old.text:
        detail = f"`{short(old.text)}` can no longer fail"
    elif new.strength == NOTHING:
        detail += ", which cannot fail"
    elif new.strength < old.strength:
        pass
    elif new.guarded and not old.guarded:
        detail = f"`{short(old.text)}` is only checked under a condition now"
    elif _tolerance(new.text) > _tolerance(old.text):
        detail += ", which tolerates more"
    elif _turned_around(old, new) or (
        new.strength == old.strength and _bare(new.expected) != _bare(old.expected)
    ):
        rule = Weakening.EXPECTATION_CHANGED
    else:
        return
    yield violation(rule, at.path, new.line, detail)


def _tolerance(text: str) -> float:
    """The widest one that is named; without a name, what the libraries take."""
    named = [float(each) for each in _TOLERANCE.findall(text)]
    named += [10.0 ** -int(a or b) for a, b in _PLACES.findall(text)]
    return max(named, default=1e-6)


def _bare(expected: str) -> str:
    """Without its tolerance."""
    return re.sub(r",\s*(?=\))", "", _PLACES.sub("", _TOLERANCE.sub("", expected)))


def _alike(one: Assertion, other: Assertion) -> bool:
    """The sides of an equation may change places."""
    if (one.subject, one.expected) == (other.subject, other.expected):
        return True
    word, _, value = one.expected.partition(" ")
    return word in ("Eq", "Is") and (value, f"{word} {one.subject}") == (
        other.subject,
        other.expected,
    )


def _turned_around(old: Assertion, new: Assertion) -> bool:
    """Stricter, but the other way round."""
    word, _, value = new.expected.partition(" ")
    if old.expected == f"NotEq {value}":
        return word == "Eq"
    if old.subject != new.subject or word not in ("Eq", "Is"):
        return False
    falsy = value in ("False", "None", "0", "''", "[]", "{}", "()")
    return (old.expected == "truthy" and falsy) or (old.expected == "falsy" and not falsy)


def violation(rule: Weakening, path: str, line: int, detail: str) -> Violation:
    return Violation(rule=rule, path=path, line=line, detail=detail)


def short(text: str, limit: int = 100) -> str:
    text = " ".join(text.split()).replace("`", "'")
    return text if len(text) <= limit else text[: limit - 1] + "…"
