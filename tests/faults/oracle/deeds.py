"""What the agent did at GitLab, and what of the log answers for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from agent.events import EffectDone, EffectFailed, EffectIntended, EffectKind
from agent.intents import Merge, OpenDelivery, PlayJob, Push, RetryJob
from agent.state import RunState
from oracle.ledgers import Ledgers, body_of
from playground.gitlab.state import Seen

MERGED_BY = re.compile(r"/merge_requests/(\d+)/merge$")
PLAYED = re.compile(r"/jobs/(\d+)/play$")
_RETRIED = re.compile(r"/jobs/(\d+)/retry$")
_CHANGED = re.compile(r"/merge_requests/(\d+)$")
_OPENED = re.compile(r"/merge_requests$")
_PUSHED = re.compile(r"git-receive-pack$")
_REVERTED = re.compile(r"/repository/")
_NOTED = re.compile(r"/(?:(merge_requests|issues)/(\d+)/)(?:notes|discussions)\b")
RIGHTS = re.compile(r"/members/all/(\d+)$")
MERGE_REQUEST = {
    EffectKind.OPEN_MERGE_REQUEST,
    EffectKind.UPDATE_MERGE_REQUEST,
    EffectKind.OPEN_DELIVERY,
    EffectKind.HAND_OVER,
}
#: What of the log answers for a change at GitLab, by the path of the request.
ANSWERS: Sequence[tuple[re.Pattern[str], set[EffectKind]]] = (
    (MERGED_BY, {EffectKind.MERGE}),
    (PLAYED, {EffectKind.PLAY_JOB}),
    (_RETRIED, {EffectKind.RETRY_JOB}),
    (_CHANGED, {EffectKind.MERGE, *MERGE_REQUEST}),  # not a draft now
    (_OPENED, MERGE_REQUEST),
    (_PUSHED, {EffectKind.PUSH, EffectKind.OPEN_DELIVERY}),
    (_REVERTED, {EffectKind.OPEN_DELIVERY}),
    (_NOTED, {EffectKind.NOTE, EffectKind.REPLY}),
)
#: What one intent does once.
ONCE = (MERGED_BY, PLAYED, _RETRIED, _OPENED, _PUSHED, _NOTED)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """An effect by the log: when it was announced, and when it was answered for."""

    state: RunState
    key: str
    kind: EffectKind
    at: datetime
    answered: tuple[datetime, ...]
    done: tuple[datetime, ...]  #: those of them that say that it was


def path_of(seen: Seen) -> str:
    return seen.path.partition("?")[0]


def begun(books: Ledgers) -> list[Begun]:
    found: list[Begun] = []
    for run, events in books.events.items():
        answers: dict[str, list[datetime]] = {}
        done: dict[str, list[datetime]] = {}
        for event in events:
            if isinstance(event.payload, (EffectDone, EffectFailed)):
                answers.setdefault(event.payload.key, []).append(event.at)
            if isinstance(event.payload, EffectDone):
                done.setdefault(event.payload.key, []).append(event.at)
        for event in events:
            if isinstance(p := event.payload, EffectIntended):
                told = tuple(answers.get(p.key, ()))
                found.append(
                    Begun(
                        state=books.states[run],
                        key=p.key,
                        kind=p.effect,
                        at=event.at,
                        answered=told,
                        done=tuple(done.get(p.key, ())),
                    )
                )
    return found


def branches(state: RunState) -> set[str]:
    """That are a run's own, and what its promotions start from."""
    return {state.branch, *(each.begun.source for each in state.deliveries)}


def requests(state: RunState) -> set[int]:
    """The merge requests that a run may touch."""
    known = {each.iid for each in (*state.done_effects, *state.deliveries) if each.iid}
    follows = state.request.follows
    return known | ({follows.iid} if follows else set())


@lru_cache(10_000)
def _kinds(path: str) -> frozenset[EffectKind]:
    return frozenset(next((kinds for found, kinds in ANSWERS if found.search(path)), ()))


def meant(books: Ledgers, seen: Seen, each: Begun) -> bool:
    """Is this request what that effect does?"""
    path, state = path_of(seen), each.state
    intent = books.by_key.get(each.key)
    if each.kind not in _kinds(path) or books.project_of(seen) != state.request.project:
        return False
    if seen.pushed:
        if isinstance(intent, Push):
            return [(new, ref) for _, new, ref in seen.pushed] == [
                (intent.commit, f"refs/heads/{state.branch}")
            ]
        return isinstance(intent, OpenDelivery)
    if found := (PLAYED.search(path) or _RETRIED.search(path)):
        return isinstance(intent, (PlayJob, RetryJob)) and intent.job == int(found[1])
    if found := MERGED_BY.search(path):
        number = intent.delivery if isinstance(intent, Merge) else 0
        return any(d.number == number and d.iid == int(found[1]) for d in state.deliveries)
    if _OPENED.search(path):
        return body_of(seen).get("source_branch") in branches(state)
    if found := _CHANGED.search(path):
        opened = books.merge_requests.get(int(found[1]))
        return opened is not None and opened.source_branch in branches(state)
    if found := _NOTED.search(path):
        linked = {(each.kind, each.iid) for each in state.request.linked}
        about = ("issue" if found[1] == "issues" else "merge_request", int(found[2]))
        return about in linked or (found[1] != "issues" and int(found[2]) in requests(state))
    return True
