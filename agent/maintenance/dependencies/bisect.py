"""Finds which of several updates break the tests, with few installs.

The updates are taken in their order. Whatever is kept has been tried as a whole and was green;
for breaks that do not heal when more is added, no update that could be kept is left out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
#: Why a set is red, None when it is green. The empty set is green by definition.
Try = Callable[[Sequence[Item]], Awaitable[str | None]]


@dataclass(frozen=True, kw_only=True)
class Broken(Generic[Item]):
    item: Item
    reason: str


@dataclass(frozen=True, kw_only=True)
class Split(Generic[Item]):
    """`undecided`: the tries were used up before these could be judged."""

    kept: tuple[Item, ...] = ()
    broken: tuple[Broken[Item], ...] = ()
    undecided: tuple[Item, ...] = ()
    tries: int = 0


def bound(items: int, culprits: int) -> int:
    """The most tries that it takes to find that many."""
    return 1 + culprits * (max(items - 1, 0).bit_length() + 1)


async def split(items: Sequence[Item], attempt: Try[Item], *, limit: int) -> Split[Item]:
    """The shortest red beginning of the list ends in a culprit; without it, and again."""
    kept: tuple[Item, ...] = ()  # green
    rest = tuple(items)
    broken: list[Broken[Item]] = []
    tries = 0
    while rest and tries < limit:
        tries += 1
        why = await attempt([*kept, *rest])
        if why is None:
            kept, rest = (*kept, *rest), ()
            break
        green, red = 0, len(rest)  # kept with so many of the rest
        while red - green > 1 and tries < limit:
            middle = (green + red) // 2
            tries += 1
            told = await attempt([*kept, *rest[:middle]])
            if told is None:
                green = middle
            else:
                red, why = middle, told
        kept, rest = (*kept, *rest[:green]), rest[green:]
        if red - green > 1:
            break
        broken.append(Broken(item=rest[0], reason=why))
        rest = rest[1:]
    return Split(kept=kept, broken=tuple(broken), undecided=rest, tries=tries)
