"""Every moment around an effect at which the service may die or fail, in every way to do so."""

from __future__ import annotations

import itertools

from agent.failpoints import EFFECTS, MOMENTS, WAYS

CutPoint = tuple[str, str, str]

#: Effect, moment, way: each has its test in `tests/faults/test_cut_points.py`.
CUT_POINTS: tuple[CutPoint, ...] = tuple(itertools.product(EFFECTS, MOMENTS, WAYS))
#: Effects by moment and way; what has passed once is taken out.
_UNSEEN = {
    ("before_call", "hang"): "ack clone merge_request note retry_job decide post edit",
    ("after_call", "hang"): "ack clone merge_request retry_job",
    ("after_outcome", "hang"): "ack clone push merge_request note retry_job decide merge post edit",
    ("before_intent", "hang"): "claim clone push merge_request note retry_job merge post edit",
    ("after_outcome", "kill"): "ack clone merge_request note retry_job decide merge post edit",
    ("before_intent", "kill"): "claim push merge_request note retry_job merge post edit",
    ("before_call", "kill"): "claim clone push note retry_job decide post edit",
}
#: What was not gone through, and why not. Tests do it all the same.
NOT_RUN: dict[CutPoint, str] = {
    (effect, moment, way): "its test is in `make test-all`, and there was no time yet to run it"
    for (moment, way), effects in _UNSEEN.items()
    for effect in effects.split()
}


def fast(point: CutPoint) -> bool:
    """Done, and nobody knows of it: the most telling one of each effect is in `make test`."""
    return point[1:] == ("after_call", "kill")
