"""Every moment around an effect at which the service may die or fail, in every way to do so."""

from __future__ import annotations

import itertools

from agent.failpoints import EFFECTS, MOMENTS, WAYS

CutPoint = tuple[str, str, str]

#: Effect, moment, way: each has its test in `tests/faults/test_cut_points.py`.
CUT_POINTS: tuple[CutPoint, ...] = tuple(itertools.product(EFFECTS, MOMENTS, WAYS))


def fast(point: CutPoint) -> bool:
    """Done, and nobody knows of it: the most telling one of each effect is in `make test`."""
    return point[1:] == ("after_call", "kill")
