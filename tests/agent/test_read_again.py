"""A moment's patience with a GitLab that fails to answer."""

from __future__ import annotations

import time

import pytest

from agent.adapters.read_again import PATIENCE, read_again
from agent.errors import ForgeRejected, ForgeUnavailable, JourneymanError


class Asked:
    """Fails in the given ways first, and counts."""

    def __init__(self, *failures: JourneymanError) -> None:
        self.failures, self.times = list(failures), 0

    @read_again
    async def read(self, what: str) -> str:
        self.times += 1
        if self.failures:
            raise self.failures.pop(0)
        return what


async def test_one_answer_that_fails_is_not_noticed() -> None:
    asked = Asked(ForgeUnavailable("away"))
    assert await asked.read("a head") == "a head"
    assert asked.times == 2


async def test_gitlab_is_given_the_time_that_it_asks_for() -> None:
    asked, began = Asked(ForgeUnavailable("busy", retry_after=1.0)), time.monotonic()
    await asked.read("a head")
    assert time.monotonic() - began >= 1.0


async def test_a_longer_wait_is_for_whoever_asks() -> None:
    asked = Asked(ForgeUnavailable("busy", retry_after=PATIENCE + 1))
    with pytest.raises(ForgeUnavailable, match="busy"):
        await asked.read("a head")
    assert asked.times == 1


async def test_who_stays_away_is_told_of() -> None:
    asked = Asked(*[ForgeUnavailable(f"away {number}") for number in range(100)])
    with pytest.raises(ForgeUnavailable, match=r"away [1-9]"):
        await asked.read("a head")


async def test_a_refusal_stands() -> None:
    asked = Asked(ForgeRejected("no"))
    with pytest.raises(ForgeRejected):
        await asked.read("a head")
    assert asked.times == 1
