"""What holds after every scenario, whatever went wrong in it: the log, GitLab and the thread are
compared with each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from road import Road, until

from agent.events import EffectDone, EffectFailed, EffectIntended, EffectKind, RunEvent
from agent.run import ENDED, RunId, RunStatus
from agent.state import RunState, fold
from playground.gitlab.state import Seen
from playground.slack.records import Message

MERGED_BY = re.compile(r"/merge_requests/(\d+)/merge$")
PLAYED = re.compile(r"/jobs/(\d+)/play$")
MERGE_REQUEST = {
    EffectKind.OPEN_MERGE_REQUEST,
    EffectKind.UPDATE_MERGE_REQUEST,
    EffectKind.OPEN_DELIVERY,
}
#: What of the log answers for a change at GitLab, by the path of the request.
ANSWERS: Sequence[tuple[re.Pattern[str], set[EffectKind]]] = (
    (MERGED_BY, {EffectKind.MERGE}),
    (PLAYED, {EffectKind.PLAY_JOB}),
    (re.compile(r"/jobs/\d+/retry$"), {EffectKind.RETRY_JOB}),
    (re.compile(r"/merge_requests/\d+$"), {EffectKind.MERGE, *MERGE_REQUEST}),  # not a draft now
    (re.compile(r"/merge_requests$"), MERGE_REQUEST),
    (re.compile(r"git-receive-pack$"), {EffectKind.PUSH, EffectKind.OPEN_DELIVERY}),
    (re.compile(r"/repository/"), {EffectKind.OPEN_DELIVERY}),
    (re.compile(r"/(notes|discussions)\b"), {EffectKind.NOTE, EffectKind.REPLY}),
)
REACTIONS = {
    RunStatus.SUCCEEDED: {"white_check_mark"},
    RunStatus.CANCELLED: {"octagonal_sign"},
    RunStatus.FAILED: {"warning"},
    RunStatus.ESCALATED: {"warning"},
    RunStatus.WAITING_FOR_APPROVAL: {"raised_hand"},
    RunStatus.WAITING_FOR_ANSWER: {"raised_hand"},
}
WORDS = {
    RunStatus.SUCCEEDED: ": done",
    RunStatus.CANCELLED: ": stopped",
    RunStatus.FAILED: ": failed",
    RunStatus.ESCALATED: ": needs a person",
}
BUTTONS = {"gate_approve", "gate_reject"}
_CLAIMS = re.compile(r"(?:Merged|Promoted|Taken back):? !(\d+)")


async def holds(road: Road, *, thread: bool = True) -> None:
    """Raises AssertionError. `thread`: there is one, and it has to tell the truth."""
    logs = {run: await road.db.store.events(run) for run in await road.runs()}
    for run, events in logs.items():
        assert await road.db.store.verify(run) is None, "the log was changed"
        _approved_by_others(road, fold(events))
        if thread:
            await until(lambda run=run: _truth(road, run), 10, lambda run=run: _why(road, run))
    _once(road)
    _on_record(road, [event for events in logs.values() for event in events])


def changes(road: Road) -> list[Seen]:
    """What the agent has changed at GitLab."""
    return [
        seen
        for seen in road.gitlab.state.requests
        if seen.actor == "journeyman"
        and seen.method != "GET"
        and seen.status < 300
        and not seen.path.endswith("git-upload-pack")
    ]


def deeds(road: Road, pattern: re.Pattern[str]) -> list[str]:
    """The ids of what was merged or played, once for each time."""
    paths = [pattern.search(seen.path.partition("?")[0]) for seen in changes(road)]
    return [found[1] for found in paths if found]


def _once(road: Road) -> None:
    for pattern in (MERGED_BY, PLAYED):
        many = {what: n for what, n in Counter(deeds(road, pattern)).items() if n > 1}
        assert not many, f"done more than once: {pattern.pattern} {many}"


def _approved_by_others(road: Road, state: RunState) -> None:
    """Each merge of ours is of the commit that a gate was opened for and somebody else let pass,
    or of one that the rule let pass."""
    for done in state.done_effects:
        if done.effect is not EffectKind.MERGE or "meanwhile" in done.result:
            continue
        assert done.iid is not None
        request = road.project.merge_requests[done.iid]
        assert request.state == "merged"
        gates = [g for g in state.gates if g.gate.iid == done.iid and not g.gate.environment]
        if not gates:
            continue  # by its rule
        gate = gates[-1]
        assert gate.approved, "merged without an approval"
        assert request.sha == gate.gate.commit, "merged at another commit than was approved"
        persons = {vote.gitlab_id for vote in gate.votes}
        assert len(persons) == len(gate.votes) >= gate.gate.rule.approvals
        assert state.request.requester.gitlab_id not in persons, "approved by who asked"


def _on_record(road: Road, events: Sequence[RunEvent]) -> None:
    """Nothing was changed at GitLab that had not been announced, and that is not accounted for."""
    begun: list[tuple[RunEvent, EffectIntended]] = []
    over: list[tuple[RunEvent, EffectDone | EffectFailed]] = []
    for event in events:
        match event.payload:
            case EffectIntended() as intended:
                begun.append((event, intended))
            case EffectDone() | EffectFailed() as outcome:
                over.append((event, outcome))
            case _:
                pass
    for seen in changes(road):
        path = seen.path.partition("?")[0]
        kinds = next((kinds for found, kinds in ANSWERS if found.search(path)), set[EffectKind]())
        keys = {i.key for event, i in begun if i.effect in kinds and event.at <= seen.at}
        assert keys, f"done without an intent: {seen}"
        told = {outcome.key for event, outcome in over if event.at >= seen.at}
        assert keys & told, f"done without an outcome: {seen}"


# --- the thread


def standing(road: Road, run: RunId) -> dict[str, list[Message]]:
    """The agent's messages about a run, by slot."""
    found: dict[str, list[Message]] = {}
    for message in road.slack.world.messages.values():
        about: dict[str, Any] = (message.metadata or {}).get("event_payload") or {}
        if about.get("run") == run:
            found.setdefault(str(about["slot"]), []).append(message)
    return found


def buttons(message: Message) -> set[str]:
    elements = (each for block in message.blocks for each in block.get("elements", ()))
    return {each["action_id"] for each in elements if "action_id" in each}


async def _truth(road: Road, run: RunId) -> bool:
    return not await _lies(road, run)


async def _why(road: Road, run: RunId) -> str:
    return f"{await _lies(road, run)}\n{await road.story()}"


async def _lies(road: Road, run: RunId) -> list[str]:
    """What stands in the thread and is not so, or does not stand there and should."""
    state, slots = await road.state(run), standing(road, run)
    found = [f"{slot} stands {len(m)} times" for slot, m in slots.items() if len(m) > 1]
    card = slots.get("card", [None])[0]
    root = road.slack.world.messages.get((state.request.thread.channel, state.request.thread.ts))
    if card is None or root is None:
        return ["there is no card"]
    if (word := WORDS.get(state.status)) and word not in card.text:
        found.append(f"the card does not say that the run is {state.status}")
    shown = {name for name, users in root.reactions.items() if users}
    if shown != REACTIONS.get(state.status, {"eyes"}):
        found.append(f"{shown} at a run that is {state.status}")
    for each in state.gates:
        slot, waits = f"gate:{each.gate.id}", state.gate is not None and state.gate == each
        if slot not in slots:
            found.append(f"{slot} is missing")
        elif bool(buttons(slots[slot][0]) & BUTTONS) != waits:
            found.append(f"{slot} has wrong buttons")
    merged = {iid for iid, mr in road.project.merge_requests.items() if mr.state == "merged"}
    told = {int(m[1]) for texts in slots.values() for m in _CLAIMS.finditer(texts[0].text)}
    if told - merged:
        found.append(f"told as merged, and are not: {told - merged}")
    ours = {each.iid for each in state.deliveries if each.merged}
    if state.status in ENDED and ours & merged - told:
        found.append(f"merged, and not told: {ours & merged - told}")
    return found
