"""The charts of digests, as PNG. Numbers that they show stand in their alt texts, too."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

#: Dark on an opaque near-white ground: as legible where Slack is dark. Blue and vermilion are told
#: apart by colour-blind people; the markers differ as well.
GROUND, INK, GRID, FAINT = "#fbfbf9", "#24292f", "#d5d8dc", "#e3e6ea"
LOOKS = (("#0072b2", "o", "-"), ("#d55e00", "s", "--"))
SIZE = (8.0, 2.3)  # inches, the height for each series
DPI = 120


@dataclass(frozen=True, kw_only=True)
class Series:
    """`points`: oldest first; days of which nothing is known are left out."""

    name: str
    points: tuple[tuple[date, int], ...]


@dataclass(frozen=True, kw_only=True)
class Bar:
    name: str
    now: int
    before: int


def png(series: Sequence[Series]) -> bytes:
    """One panel below the other: their numbers differ by orders of magnitude."""
    figure = _figure(SIZE[1] * len(series))
    panels: Any = figure.subplots(len(series), 1, sharex=True, squeeze=False)
    for number, each in enumerate(series):
        _panel(panels[number][0], each, *LOOKS[number % len(LOOKS)])
    return _saved(figure)


def bars(now: str, before: str, of: Sequence[Bar]) -> bytes:
    """Pairs of counts, one below the other; `now` and `before` say of when they are."""
    figure = _figure(0.9 + 0.65 * len(of))
    axes: Any = figure.subplots()
    most = max(1, *(max(each.now, each.before) for each in of))
    for values, name, colour, edge, up in (
        ([each.now for each in of], now, LOOKS[0][0], LOOKS[0][0], -0.2),
        ([each.before for each in of], before, FAINT, INK, 0.2),
    ):
        places = [number + up for number in range(len(of))]
        drawn = axes.barh(places, values, 0.36, color=colour, edgecolor=edge, label=name)
        axes.bar_label(drawn, [f"{value:,}" for value in values], padding=4, color=INK, fontsize=14)
    axes.set_facecolor(GROUND)
    axes.set_yticks(range(len(of)), [each.name for each in of])
    axes.invert_yaxis()
    axes.set_xlim(0, most * 1.1)
    axes.set_xticks([])
    axes.tick_params(colors=INK, labelsize=14, length=0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color(GRID)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=2,
        borderpad=0,
        frameon=False,
        labelcolor=INK,
        fontsize=13,
    )
    return _saved(figure)


def _figure(height: float) -> Any:
    # imported here: only who draws pays for it
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = (SIZE[0], height)
    figure: Any = Figure(figsize=size, dpi=DPI, facecolor=GROUND, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
    return figure


def _saved(figure: Any) -> bytes:
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
