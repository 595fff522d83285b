"""What a place where a test may cut the service down costs while none is named."""

from __future__ import annotations

import time

from agent import failpoints as points
from agent.errors import ForgeUnavailable
from benchmarks.table import Row, Table, median, spread

CALLS = 1_000_000
ROUNDS = 9


def failpoints() -> list[Table]:
    assert points.armed is None
    sites = [1e9 * (_sites() - _nothing()) / CALLS for _ in range(ROUNDS)]
    return [
        Table(
            title="Failpoints that are off",
            rows=[
                Row(
                    what="one call site",
                    value=max(0.0, median(sites)),
                    unit="ns",
                    limit=100,
                    note=f"{spread(sites)}; about 30 sites on the way of a run",
                )
            ],
        )
    ]


def _sites() -> float:
    began = time.process_time()
    for _ in range(CALLS):
        points.reached("push", "before_call", ForgeUnavailable)
    return time.process_time() - began


def _nothing() -> float:
    began = time.process_time()
    for _ in range(CALLS):
        pass
    return time.process_time() - began
