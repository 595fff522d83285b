"""A bisection finds what breaks, within its bound, and keeps only what was tried."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from agent.maintenance.dependencies.bisect import Split, bound, split

sizes = st.integers(0, 60)


class Lab:
    """Remembers which sets were tried, and what came of them."""

    def __init__(self, red: Callable[[frozenset[int]], bool]) -> None:
        self.red = red
        self.tried: list[tuple[frozenset[int], bool]] = []

    async def attempt(self, items: Sequence[int]) -> str | None:
        red = self.red(frozenset(items))
        self.tried.append((frozenset(items), red))
        return f"red with {items[-1]} last" if red else None

    def run(self, count: int, limit: int = 10_000) -> Split[int]:
        return asyncio.run(split(range(count), self.attempt, limit=limit))

    def green(self) -> list[frozenset[int]]:
        return [items for items, red in self.tried if not red]


@given(data=st.data(), count=st.integers(1, 60))
def test_a_single_culprit_is_found_within_the_bound(data: st.DataObject, count: int):
    culprit = data.draw(st.integers(0, count - 1))
    lab = Lab(lambda items: culprit in items)
    found = lab.run(count)
    assert [each.item for each in found.broken] == [culprit]
    assert set(found.kept) == set(range(count)) - {culprit}
    assert found.broken[0].reason == f"red with {culprit} last"
    assert len(lab.tried) == found.tries <= bound(count, 1)


@given(count=sizes, breaks=st.lists(st.frozensets(st.integers(0, 59), min_size=1, max_size=3)))
def test_of_breaks_that_do_not_heal_no_update_is_left_out_for_nothing(
    count: int, breaks: list[frozenset[int]]
):
    def red(items: frozenset[int]) -> bool:
        return any(each <= items for each in breaks)

    lab = Lab(red)
    found = lab.run(count)
    kept = frozenset(found.kept)
    assert not red(kept)
    assert all(red(kept | {each.item}) for each in found.broken)
    assert len(kept) + len(found.broken) == count
    assert found.undecided == ()
    assert found.tries <= bound(count, len(found.broken))


@given(count=sizes, seed=st.integers(), limit=st.integers(1, 12))
def test_whatever_the_tests_do_only_what_was_green_is_kept_and_the_limit_holds(
    count: int, seed: int, limit: int
):
    lab = Lab(lambda items: hash((seed, items)) % 3 == 0)
    found = lab.run(count, limit)
    assert found.tries == len(lab.tried) <= limit
    assert not found.kept or frozenset(found.kept) in lab.green()
    everything = [*found.kept, *found.undecided, *(each.item for each in found.broken)]
    assert sorted(everything) == list(range(count))


def test_used_up_tries_leave_the_rest_undecided_and_keep_what_was_green():
    lab = Lab(lambda items: 5 in items)
    found = lab.run(16, limit=3)
    assert found.kept == (0, 1, 2, 3)
    assert found.broken == ()
    assert found.undecided == tuple(range(4, 16))
