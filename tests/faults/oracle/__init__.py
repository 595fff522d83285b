"""What holds after every scenario, whatever went wrong in it: PostgreSQL, GitLab's requests,
Slack's messages and the repository are held against each other.

`Ledgers.read(road)` takes them down once; each invariant is a function of them that gives what it
found to be wrong, in sentences with both sides. `judge` asks them all once a test is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping

from road import Road

from agent.run import RunId
from oracle.forge import ANSWERS, i3, i5, i9
from oracle.gates import MERGED_BY, PLAYED, i4, i11
from oracle.leaks import i7, i8
from oracle.ledgers import Ledgers, about_of, changes_something
from oracle.thread import buttons, i6, lies
from oracle.work import i1, i2, i10, i12
from playground.gitlab.state import Seen
from playground.slack.records import Message

__all__ = [
    "ANSWERS",
    "INVARIANTS",
    "MERGED_BY",
    "PLAYED",
    "Ledgers",
    "buttons",
    "changes",
    "deeds",
    "holds",
    "judge",
    "lies",
    "standing",
    "violations",
]

INVARIANTS: Mapping[str, Callable[[Ledgers], list[str]]] = {
    "I1": i1,
    "I2": i2,
    "I3": i3,
    "I4": i4,
    "I5": i5,
    "I6": i6,
    "I7": i7,
    "I8": i8,
    "I9": i9,
    "I10": i10,
    "I11": i11,
    "I12": i12,
}
#: What may still become so; all else has to be so at any time.
SETTLING = frozenset({"I1", "I3", "I5", "I6", "I8", "I12"})
DRAINED = 60.0  #: seconds in which everything has come to rest, with nothing in its way


def violations(ledgers: Ledgers, without: Collection[str] = ()) -> list[str]:
    return [
        f"{name}: {told}"
        for name, invariant in INVARIANTS.items()
        if name not in without
        for told in invariant(ledgers)
    ]


async def judge(road: Road, without: Collection[str] = (), seconds: float = DRAINED) -> None:
    """Raises AssertionError. What is still under way when a test ends has to come to rest by
    itself: faults are taken away, and a service is begun again."""
    ledgers = await Ledgers.read(road)
    found = violations(ledgers, without)
    if found and not violations(ledgers, {*without, *SETTLING}):
        for stand_in in (road.slack, road.gitlab, road.model):
            stand_in.faults.clear()
        async with road.serving(**road.served):
            end = time.monotonic() + seconds
            lasting: set[str] = set()
            while found and time.monotonic() < end:
                # what is read while a service is at work is not of one moment
                before, lasting = lasting, set(violations(ledgers, {*without, *SETTLING}))
                if before & lasting:
                    break
                await asyncio.sleep(0.2)
                ledgers = await Ledgers.read(road)
                found = violations(ledgers, without)
    if found:
        seed = f"seed {ledgers.seed}\n" if ledgers.seed is not None else ""
        told = "\n".join(found)
        raise AssertionError(f"{seed}{told}\n\n{await road.story()}")


async def holds(road: Road, *, thread: bool = True) -> None:
    """In the middle of a test, while a service is there. `thread`: there is one, and it has to tell
    the truth within ten seconds."""
    without = {"I1", "I8", "I12"} if thread else {"I1", "I6", "I8", "I12"}
    found: list[str] = []
    try:
        async with asyncio.timeout(10):
            while found := violations(await Ledgers.read(road), without):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError("\n".join([*found, "", await road.story()])) from None


# --- for tests that ask for one thing


def changes(road: Road) -> list[Seen]:
    """What the agent has changed at GitLab."""
    return [seen for seen in road.gitlab.state.requests if changes_something(seen)]


def deeds(road: Road, pattern: object) -> list[str]:
    """The ids of what was merged or played, once for each time."""
    paths = [pattern.search(seen.path.partition("?")[0]) for seen in changes(road)]  # pyright: ignore
    return [found[1] for found in paths if found]


def standing(road: Road, run: RunId) -> dict[str, list[Message]]:
    """The agent's messages about a run, by slot."""
    found: dict[str, list[Message]] = {}
    for message in road.slack.world.messages.values():
        if about_of(message).get("run") == run:
            found.setdefault(str(about_of(message)["slot"]), []).append(message)
    return found
