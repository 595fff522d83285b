"""What a benchmark gives: rows with their limits, printed as tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable


@dataclass(frozen=True, kw_only=True)
class Row:
    """`limit` None: told for comparison only. `value` None: not measured, `note` says why."""

    what: str
    value: float | None
    unit: str = ""
    limit: float | None = None
    at_least: bool = False  #: the limit is a lower one
    baseline: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        if self.limit is None or self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, kw_only=True)
class Table:
    title: str
    rows: Sequence[Row]


def skipped(what: str, reason: str) -> Row:
    return Row(what=what, value=None, note=f"not measured: {reason}")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float], digits: int = 1) -> str:
    return f"{min(values):.{digits}f} to {max(values):.{digits}f} in {len(values)} rounds"


def show(table: Table, console: Console) -> None:
    printed = RichTable(title=table.title, title_justify="left", show_lines=False)
    for name in ("", "measured", "limit", "verdict", "baseline", "note"):
        right = name in ("measured", "limit")
        printed.add_column(name, justify="right" if right else "left", no_wrap=right)
    for row in table.rows:
        printed.add_row(
            row.what,
            "-" if row.value is None else f"{_number(row.value, row.unit)} {row.unit}",
            ""
            if row.limit is None
            else f"{'≥' if row.at_least else '≤'} {_number(row.limit, row.unit)}",
            {True: "[green]met[/]", False: "[bold red]missed[/]", None: ""}[row.met],
            row.baseline,
            row.note,
        )
    console.print(printed)


def _limit(row: Row) -> str:
    if row.limit is None:
        return ""
    return f"{'≥' if row.at_least else '≤'} {_number(row.limit, row.unit)}"


def _number(value: float, unit: str) -> str:
    if not unit and value <= 1:
        return f"{value:.3f}"  # a share
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
