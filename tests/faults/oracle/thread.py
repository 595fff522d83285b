"""Of what stands in the thread: it is so, and was so when it was said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain

from agent.events import EffectDone, EffectKind, ModelAsked, RunEvent, StatusChanged
from agent.run import ACTIVE, ENDED, PARKED, RunStatus
from agent.state import RunState
from oracle.ledgers import Ledgers
from playground.slack.records import Message

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
SILENT = 60.0  #: seconds for which a run that is at work may say nothing
_CLAIMS = re.compile(r"(?:Merged|Promoted|Taken back):? !(\d+)")
_WAITS = re.compile(r"(?:Retrying|trying again) in (?:(\d+) h ?)?(?:(\d+) min ?)?(?:(\d+) s\b)?")
_NAMED = re.compile(r"!(\d+)\b")
_ALL = re.compile(r"<!(?:channel|here|everyone|subteam)")
_PLAIN = re.compile(r"(?<![\w`])@(?:channel|here|everyone)\b")


def i6(books: Ledgers) -> list[str]:
    """The thread says how the run stands, said nothing of success before it was so, is not silent
    for long while a run is at work, and calls nobody but whom it means."""
    found = list(_shouts(books))
    for run, state in books.states.items():
        if not state.request.thread.channel:
            continue
        if not any(slot.slot == "stranded" for slot in books.slots if slot.run == run):
            found += [f"run {run}: {told}" for told in lies(books, run)]
        found += [*_early(books, run), *_silence(books, run)]
    return found


def lies(books: Ledgers, run: int) -> list[str]:
    """What stands in the thread and is not so, or does not stand there and should."""
    state, slots = books.states[run], books.thread(run)
    found = [f"{slot} stands {len(m)} times" for slot, m in slots.items() if len(m) > 1]
    card = slots.get("card", [None])[0]
    root = _root(books, state)
    if card is None or root is None:
        return [f"log: {state.status}; thread: there is no card"]
    if (word := WORDS.get(state.status)) and word not in card.text:
        found.append(f"log: {state.status}; card: {card.text!r}")
    shown = {name for name, users in root.reactions.items() if books.bot in users}
    wanted = {"raised_hand"} if state.plan_stands else REACTIONS.get(state.status, {"eyes"})
    if shown != wanted and _newest(books, state):
        found.append(f"log: {state.status}; reactions: {shown or 'none'}")
    for each in state.gates:
        slot, waits = f"gate:{each.gate.id}", state.gate is not None and state.gate == each
        if slot not in slots:
            found.append(f"log: there was {slot}; thread: it is missing")
        elif bool(buttons(slots[slot][0]) & BUTTONS) != waits:
            found.append(f"{slot} waits: {waits}; its buttons: {buttons(slots[slot][0])}")
    merged = {iid for iid, mr in books.merge_requests.items() if mr.state == "merged"}
    told = {int(m[1]) for texts in slots.values() for m in _CLAIMS.finditer(texts[0].text)}
    if told - merged:
        found.append(f"thread: {told} are merged; GitLab: {merged}")
    ours = {each.iid for each in state.deliveries if each.merged}
    named = {int(n) for slot, m in slots.items() if _ends(slot) for n in _NAMED.findall(m[0].text)}
    if state.status in ENDED and ours & merged - told - named:
        found.append(f"GitLab: {ours & merged} are merged; thread: {told | named}")
    return found


def _ends(slot: str) -> bool:
    """It tells what became of something. One that turned out badly does not begin with "Merged"."""
    return slot.split(":")[0] not in ("card", "gate", "result", "question", "hold")


def _root(books: Ledgers, state: RunState) -> Message | None:
    place = (state.request.thread.channel, state.request.thread.ts)
    return next((each for each in books.messages if (each.channel, each.ts) == place), None)


def _newest(books: Ledgers, state: RunState) -> bool:
    """Of the runs of its thread: the mark is this one's."""
    return not any(
        other.request.thread == state.request.thread and run > state.run
        for run, other in books.states.items()
    )


def buttons(message: Message) -> set[str]:
    elements = (each for block in message.blocks for each in block.get("elements", ()))
    return {each["action_id"] for each in elements if "action_id" in each}


def _shouts(books: Ledgers) -> Iterator[str]:
    for call, _ in chain.from_iterable(books.written.values()):
        for text, plain in _marked_up(call.args):
            if found := _ALL.search(text) or (plain and _PLAIN.search(text)):
                yield f"Slack: {call.method} calls everybody with {found[0]!r}: {text[:200]!r}"


def _marked_up(item: object) -> Iterator[tuple[str, bool]]:
    """Where Slack would find mentions, and whether it would find them in plain words, too."""
    match item:
        case {"type": "mrkdwn", "text": str(text)}:
            yield text, item.get("verbatim") is not True
        case {"type": "broadcast" | "usergroup" as kind}:
            yield "<!channel" if kind == "broadcast" else "<!subteam", False
        case {"channel": _}:
            linked = str(item.get("link_names")).lower() in ("true", "1")
            yield str(item.get("text") or ""), linked or item.get("parse") == "full"
            blocks = item.get("blocks")
            try:
                yield from _marked_up(json.loads(blocks) if isinstance(blocks, str) else blocks)
            except ValueError:
                return
        case dict():
            for each in item.values():
                yield from _marked_up(each)
        case list() | tuple():
            for each in item:
                yield from _marked_up(each)
        case _:
            return


def _early(books: Ledgers, run: int) -> Iterator[str]:
    """A word of success that was sent before the log had what it is about."""
    state, events = books.states[run], books.events[run]
    merged = {
        e.payload.iid: e.at.timestamp()
        for e in events
        if isinstance(e.payload, EffectDone) and e.payload.effect is EffectKind.MERGE
    }
    ends = [e.at.timestamp() for e in events if _success(e)]
    for call, text in books.written.get(run, ()):
        for found in _CLAIMS.finditer(text):
            known = merged.get(int(found[1]))
            if known is None or known > call.at:
                yield f"Slack: {found[0]!r} at {call.at}; log: merged at {known}"
        title = str(call.args.get("text", ""))
        if f"Run {run}{WORDS[RunStatus.SUCCEEDED]}" in title and not any(
            at <= call.at for at in ends
        ):
            yield f"Slack: {title!r} at {call.at}; log: {state.status}, succeeded at {ends}"


def _success(event: RunEvent) -> bool:
    return getattr(event.payload, "status", None) is RunStatus.SUCCEEDED


def _silence(books: Ledgers, run: int) -> Iterator[str]:
    """While it is at work, from one request to the model to the next thing that the log has, but
    for as long as it has said that it waits."""
    said = sorted((call.at, _told_wait(text)) for call, text in books.written.get(run, ()))
    for since, until in _at_work(books.events[run]):
        last = since
        for at, wait in (*(each for each in said if since < each[0] < until), (until, 0.0)):
            if at - last > SILENT:
                yield f"log: run {run} was at work at {last}; Slack: nothing for {at - last:.0f} s"
            last = at + wait


def _told_wait(text: str) -> float:
    """Seconds."""
    times = [m.groups(default="0") for m in _WAITS.finditer(text)]
    return max((float(h) * 3600 + float(m) * 60 + float(s) for h, m, s in times), default=0.0)


def _at_work(events: Sequence[RunEvent]) -> Iterator[tuple[float, float]]:
    since: float | None = None
    for event in events:
        at = event.at.timestamp()
        status = getattr(event.payload, "status", None)
        if isinstance(event.payload, (StatusChanged, ModelAsked)) or status in ENDED:
            works = status is None or status in ACTIVE - PARKED
            if works and since is None:
                since = at
            elif not works and since is not None:
                yield since, at
                since = None
