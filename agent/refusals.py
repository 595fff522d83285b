"""Clicks at gates that decided nothing: kept in the run's log, and from some number on counted."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from agent.events import GateRefused, HoldRefused, RunEvent
from agent.gate import GateId
from agent.ports import Store, Write
from agent.run import RunId

KEPT = 20  #: refused clicks of one person at one gate that are kept in the log
ONLY_COUNTED = "Further refused clicks of this person here are only counted, in the service's log."
log = logging.getLogger("journeyman.gates")


class Refusals:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._noting = asyncio.Lock()  # a flood of clicks is counted as it comes
        self._more = Counter[tuple[GateId, str]]()  #: beyond those kept, since the service began

    async def keep(self, run: RunId, fact: GateRefused) -> None:
        async with self._noting:
            kept = _kept(await self._store.events(run), fact)
            if kept < KEPT:
                if kept == KEPT - 1:
                    fact = replace(fact, reason=f"{fact.reason} {ONLY_COUNTED}")
                await self._store.write(run, Write(payloads=(fact,)), actor=fact.by.id)
                return
            self._more[fact.gate, fact.by.id] += 1
        count = kept + self._more[fact.gate, fact.by.id]
        about = {"run": run, "gate": fact.gate, "by": fact.by.id, "count": count}
        log.warning("gate_refused_counted", extra=about)


def told_before(events: Sequence[RunEvent], message: str) -> str:
    """Why this very click was refused, when it came before: whoever was told so relies on it."""
    for event in events if message else ():
        match event.payload:
            case (
                GateRefused(message=same, reason=told) | HoldRefused(message=same, reason=told)
            ) if same == message:
                return told
            case _:
                pass
    return ""


def _kept(events: Sequence[RunEvent], fact: GateRefused) -> int:
    return sum(
        isinstance(e.payload, GateRefused)
        and (e.payload.gate, e.payload.by.id) == (fact.gate, fact.by.id)
        for e in events
    )
