"""How much stood open in the last weeks, as points to draw and in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from agent.maintenance.morning import Morning
from bot.views import text as t


def alt_text(morning: Morning) -> str:
    """All that the chart shows, in words."""
    told = " ".join(
        _trend(name, points)
        for name, points in (
            ("open lint findings", findings(morning)),
            ("dependencies behind", behind(morning)),
        )
        if len(points) > 1
    )
    return t.cut(told, 1900)


def findings(morning: Morning) -> tuple[tuple[date, int], ...]:
    return tuple((d.date, d.findings) for d in morning.trend if d.findings is not None)


def behind(morning: Morning) -> tuple[tuple[date, int], ...]:
    return tuple((d.date, d.behind) for d in morning.trend if d.behind is not None)


def _trend(name: str, points: Sequence[tuple[date, int]]) -> str:
    (start, first), (end, last) = points[0], points[-1]
    way = "unchanged at" if first == last else "down to" if last < first else "up to"
    lowest = min(points, key=lambda point: point[1])
    highest = max(points, key=lambda point: point[1])
    if lowest[1] == highest[1]:
        return f"Line chart of {name}: unchanged at {last:,} from {t.day(start)} to {t.day(end)}."
    return (
        f"Line chart of {name}: from {first:,} on {t.day(start)} {way} {last:,} on {t.day(end)}. "
        f"Lowest {lowest[1]:,} on {t.day(lowest[0])}, highest {highest[1]:,} on "
        f"{t.day(highest[0])}."
    )
