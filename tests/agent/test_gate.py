"""Freeze windows, by the clock of their zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.gate import Rule, Window

DAY = 24 * 60
SATURDAY, SUNDAY = 5 * DAY, 6 * DAY
BERLIN = "Europe/Berlin"

#: Sunday 29 March 2026: 02:00 CET is 03:00 CEST. Sunday 25 October: 03:00 CEST is 02:00 CET.
SPRING = datetime(2026, 3, 29, tzinfo=UTC)
AUTUMN = datetime(2026, 10, 25, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def covered(window: Window, day: datetime) -> tuple[datetime, datetime]:
    """First and last minute of the day's window, and that there is no hole in it."""
    minutes = [day + timedelta(minutes=each) for each in range(-DAY, 2 * DAY)]
    ends = {each: end.astimezone(UTC) for each in minutes if (end := window.until(each))}
    held = list(ends)
    assert held, "the window never comes"
    assert held[-1] - held[0] == timedelta(minutes=len(held) - 1)
    assert set(ends.values()) == {held[-1] + timedelta(minutes=1)}
    return held[0], held[-1] + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-05-08T13:59", None),  # Friday 15:59 in Berlin
        ("2026-05-08T14:00", "2026-05-11T06:00"),
        ("2026-05-10T22:30", "2026-05-11T06:00"),  # Monday 00:30 there, Sunday here
        ("2026-05-11T05:59", "2026-05-11T06:00"),
        ("2026-05-11T06:00", None),
    ],
)
def test_a_weekend_is_the_weekend_of_its_zone(at: str, until: str | None) -> None:
    weekend = Window(start=4 * DAY + 16 * 60, end=8 * 60, zone=BERLIN)

    assert weekend.until(utc(at)) == (utc(until) if until else None)


@pytest.mark.parametrize(
    ("start", "end", "day", "first", "last"),
    [
        # the night is an hour shorter, then an hour longer; the clock decides
        (SATURDAY + 1320, SUNDAY + 360, SPRING, "2026-03-28T21:00", "2026-03-29T04:00"),
        (SATURDAY + 1320, SUNDAY + 360, AUTUMN, "2026-10-24T20:00", "2026-10-25T05:00"),
        # 02:30 is skipped: begun half an hour before, over half an hour after
        (SUNDAY + 150, SUNDAY + 360, SPRING, "2026-03-29T00:30", "2026-03-29T04:00"),
        (SATURDAY + 1320, SUNDAY + 150, SPRING, "2026-03-28T21:00", "2026-03-29T01:30"),
        # 02:30 comes twice: from the first one, to the second one
        (SUNDAY + 150, SUNDAY + 360, AUTUMN, "2026-10-25T00:30", "2026-10-25T05:00"),
        (SATURDAY + 1320, SUNDAY + 150, AUTUMN, "2026-10-24T20:00", "2026-10-25T01:30"),
    ],
)
def test_a_change_of_the_clock_tears_no_hole(
    start: int, end: int, day: datetime, first: str, last: str
) -> None:
    window = Window(start=start, end=end, zone=BERLIN)

    assert covered(window, day) == (utc(first), utc(last))


def test_of_several_windows_the_one_that_ends_last_counts() -> None:
    at = utc("2026-05-09T12:00")
    here = Window(start=SATURDAY, end=SUNDAY)
    west = Window(start=SATURDAY, end=SUNDAY, zone="America/New_York")

    assert Rule(freezes=(here, west)).frozen_until(at) == utc("2026-05-10T04:00")
    assert Rule(freezes=(west, here)).frozen_until(at) == utc("2026-05-10T04:00")
    assert Rule(freezes=(here, west)).frozen_until(utc("2026-05-12T12:00")) is None
