"""The chart of the digest, as PNG. Numbers that it shows stand in its alt text, too."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

#: Dark on an opaque near-white ground: as legible where Slack is dark. Blue and vermilion are told
#: apart by colour-blind people; the markers differ as well.
GROUND, INK, GRID = "#fbfbf9", "#24292f", "#d5d8dc"
LOOKS = (("#0072b2", "o", "-"), ("#d55e00", "s", "--"))
SIZE = (8.0, 2.3)  # inches, the height for each series
DPI = 120


@dataclass(frozen=True, kw_only=True)
class Series:
    """`points`: oldest first; days of which nothing is known are left out."""

    name: str
    points: tuple[tuple[date, int], ...]


def png(series: Sequence[Series]) -> bytes:
    """One panel below the other: their numbers differ by orders of magnitude."""
    # imported here: only who draws pays for it
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(
        figsize=(SIZE[0], SIZE[1] * len(series)), dpi=DPI, facecolor=GROUND, layout="constrained"
    )
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
    panels: Any = figure.subplots(len(series), 1, sharex=True, squeeze=False)
    for number, each in enumerate(series):
        _panel(panels[number][0], each, *LOOKS[number % len(LOOKS)])
    made = io.BytesIO()
    figure.savefig(made, format="png", facecolor=GROUND)
    return made.getvalue()


def _panel(axes: Any, series: Series, colour: str, marker: str, line: str) -> None:
    from matplotlib.dates import DateFormatter, DayLocator
    from matplotlib.ticker import MaxNLocator

    days = [day for day, _ in series.points]
    values = [value for _, value in series.points]
    axes.plot(days, values, color=colour, marker=marker, linestyle=line, linewidth=2, markersize=5)
    axes.set_title(series.name, loc="left", color=INK, fontsize=12, fontweight="bold")
    axes.set_facecolor(GROUND)
    axes.set_ylim(bottom=0, top=max(*values, 1) * 1.25)
    axes.grid(axis="y", color=GRID)
    axes.tick_params(colors=INK, labelsize=10, length=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.xaxis.set_major_locator(DayLocator(interval=max(1, (days[-1] - days[0]).days // 6)))
    axes.xaxis.set_major_formatter(DateFormatter("%d %b"))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    for index in {0, len(days) - 1}:
        axes.annotate(
            f"{values[index]:,}",
            (days[index], values[index]),
            textcoords="offset points",
            xytext=(0, 8),
            ha="center",
            color=INK,
            fontsize=11,
            fontweight="bold",
        )
