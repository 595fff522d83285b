"""Ways to alter a ledger."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from oracle import Ledgers
from oracle.ledgers import JobRow, SlotRow, about_of

from agent.events import (
    GateClosed,
    GateOpened,
    GateVoted,
    InstructionGiven,
    ModelAnswered,
    RunEnded,
    RunEvent,
    StatusChanged,
)
from agent.project import ProjectSettings
from agent.run import RunStatus, Usage
from playground.slack.records import Message
from playground.slack.server import ApiCall

Alter = Callable[[Ledgers], Ledgers]


def events(books: Ledgers, change: Callable[[RunEvent], RunEvent | None]) -> Ledgers:
    changed = [change(event) for event in books.events[1]]
    return replace(books, events={1: [event for event in changed if event]})


def payloads(kind: type[Any], **fields: Any) -> Alter:
    def change(event: RunEvent) -> RunEvent:
        p = event.payload
        return replace(event, payload=replace(p, **fields)) if isinstance(p, kind) else event

    return lambda books: events(books, change)


def without(kind: type[Any], **fields: Any) -> Alter:
    def change(event: RunEvent) -> RunEvent | None:
        p = event.payload
        same = isinstance(p, kind) and all(getattr(p, k) == v for k, v in fields.items())
        return None if same else event

    return lambda books: events(books, change)


def later(kind: type[Any], seconds: float, **fields: Any) -> Alter:
    def change(event: RunEvent) -> RunEvent:
        p = event.payload
        same = isinstance(p, kind) and all(getattr(p, k) == v for k, v in fields.items())
        return replace(event, at=event.at + timedelta(seconds=seconds)) if same else event

    return lambda books: events(books, change)


def ended(status: RunStatus) -> Alter:
    """It stands there, and nothing came after it."""

    def alter(books: Ledgers) -> Ledgers:
        kept = [e for e in books.events[1] if not isinstance(e.payload, RunEnded)]
        last = replace(kept[-1], seq=kept[-1].seq + 1, payload=StatusChanged(status=status))
        runs = [replace(row, status=status) for row in books.runs]
        return replace(books, events={1: [*kept, last]}, runs=runs)

    return alter


def again(suffix: str, **change: Any) -> Alter:
    """A request to GitLab arrived once more, changed in this way."""

    def alter(books: Ledgers) -> Ledgers:
        [first, *_] = [each for each in books.changes if each.path.endswith(suffix)]
        return replace(books, seen=[*books.seen, replace(first, **change)])

    return alter


def mr(**change: Any) -> Alter:
    def alter(books: Ledgers) -> Ledgers:
        [(iid, only)] = books.merge_requests.items()
        return replace(books, merge_requests={iid: replace(only, **change)})

    return alter


def more(name: str, make: Callable[[Ledgers], Any]) -> Alter:
    """One more entry in a ledger."""
    return lambda books: replace(books, **{name: [*getattr(books, name), make(books)]})


def message(slot: str, change: Callable[[Message], Message | None]) -> Alter:
    def alter(books: Ledgers) -> Ledgers:
        found = [
            change(m) if str(about_of(m).get("slot", "")).startswith(slot) else m
            for m in books.messages
        ]
        return replace(books, messages=[each for each in found if each])

    return alter


def said(**args: Any) -> Alter:
    def make(books: Ledgers) -> ApiCall:
        return replace(books.calls[-1], method="chat.update", args=args)

    return more("calls", make)


def early(books: Ledgers) -> Ledgers:
    """All that was said was said a minute before."""
    return replace(books, calls=[replace(call, at=call.at - 60) for call in books.calls])


def silent(books: Ledgers) -> Ledgers:
    """Its work took long, and nothing was said."""
    works = later(StatusChanged, 3600, status=RunStatus.WATCHING)(books)
    return replace(works, calls=[c for c in books.calls if c.method != "chat.update"])


def waiting(told: str) -> Alter:
    """Nothing was said since it began to work, but this."""

    def alter(books: Ledgers) -> Ledgers:
        alone = silent(books)
        card = {"text": told, "metadata": {"event_payload": {"run": 1, "slot": "card"}}}
        began = next(
            each.at.timestamp()
            for each in alone.events[1]
            if getattr(each.payload, "status", None) is RunStatus.PLANNING
        )
        call = replace(books.calls[-1], method="chat.update", args=card, at=began + 1)
        return replace(alone, calls=[call])

    return alter


def no_run(books: Ledgers) -> Ledgers:
    return replace(books, runs=[], events={}, intents=[], calls=[], messages=[])


def commits_by(mail: str) -> Alter:
    return lambda books: replace(books, authors={1: frozenset({mail})})


def spends(**usage: Any) -> Alter:
    return payloads(ModelAnswered, usage=Usage(**usage))


def new_run(books: Ledgers, **request: Any) -> Ledgers:
    """A second one, which is under way."""
    kept = [e for e in books.events[1] if not isinstance(e.payload, RunEnded)][:1]
    accepted = kept[0].payload
    asked = replace(accepted.request, **request)  # pyright: ignore
    other = [replace(kept[0], run=2, payload=replace(accepted, request=asked))]  # pyright: ignore
    row = replace(books.runs[0], id=2, key="another", message_ts="1.2", status="queued")
    return replace(books, runs=[*books.runs, row], events={**books.events, 2: other})


def second_in_thread(books: Ledgers) -> Ledgers:
    return new_run(ended(RunStatus.WAITING_FOR_ANSWER)(books))


def gate(**change: Any) -> Alter:
    def alter(books: Ledgers) -> Ledgers:
        def changed(event: RunEvent) -> RunEvent:
            p = event.payload
            if not isinstance(p, GateOpened):
                return event
            return replace(event, payload=replace(p, gate=replace(p.gate, **change)))

        return events(books, changed)

    return alter


def by_requester(books: Ledgers) -> Ledgers:
    return payloads(GateVoted, by=books.states[1].request.requester)(books)


def open_intent(books: Ledgers) -> Ledgers:
    return replace(books, intents=[replace(each, open=True) for each in books.intents])


def unhandled(books: Ledgers) -> Ledgers:
    return replace(books, inbox=[replace(row, handled=False) for row in books.inbox])


def slot(**change: Any) -> Alter:
    return lambda books: replace(
        books,
        slots=[replace(s, **change) if s.slot == "card" else s for s in books.slots],
    )


def job(**fields: Any) -> JobRow:
    given = {"run": 1, "entrypoint": "run.demo/calc", "status": "picked", "due": True}
    return JobRow(**{**given, "silent": 1.0, **fields})


def leak(form: Callable[[str], str], sink: str) -> Alter:
    def alter(books: Ledgers) -> Ledgers:
        text = form(books.secrets["GITLAB_TOKEN"])
        match sink:
            case "calls":
                return said(text=text)(books)
            case "prompts":
                return more("prompts", lambda _: {"messages": [{"content": text}]})(books)
            case "seen":
                return again("/merge_requests", body=json.dumps({"title": text}).encode())(books)
            case "objects":
                return replace(books, objects=books.objects + text.encode())
            case "vaults":
                return replace(books, vaults=books.vaults + text.encode())
            case "log":
                return replace(books, log=text.encode())
            case "responses":
                return more("responses", lambda _: {"text": text})(books)
            case _:
                return more("stored", lambda _: text.encode())(books)

    return alter


def encoded(text: str) -> str:
    return base64.b64encode(f"so: {text} it is".encode()).decode()


def post_elsewhere(books: Ledgers) -> Ledgers:
    made = replace(
        books.messages[-1], channel="C404", user=books.bot, ts="9.9", metadata=None, text="hi"
    )
    return replace(books, messages=[*books.messages, made])


def unsent(books: Ledgers) -> SlotRow:
    return replace(books.slots[0], slot="card", ts="7.7")


def unsure(books: Ledgers) -> Ledgers:
    """GitLab did not say what rights anybody has."""
    return replace(
        books,
        seen=[replace(s, status=500) if "/members/all/" in s.path else s for s in books.seen],
    )


def pressed_elsewhere(books: Ledgers) -> Ledgers:
    """Who let it pass has pressed on another gate, for which GitLab was asked in vain right before
    the merge."""
    merged = next(s for s in books.changes if s.path.endswith("/merge"))
    asked = [s for s in books.seen if "/members/all/" in s.path and s.at <= merged.at][-1]
    mine = next(
        sent
        for sent in books.delivered
        if any(a.get("action_id") == "gate_approve" for a in sent.payload.get("actions", ()))
    )
    action = mine.payload["actions"][0]
    elsewhere = {**action, "value": "f" * 32, "action_ts": str(float(action["action_ts"]) + 0.01)}
    other = replace(mine, payload={**mine.payload, "actions": [elsewhere]})
    seen = [*books.seen]
    seen.insert(seen.index(merged), replace(asked, at=merged.at, status=503))
    return replace(books, seen=seen, delivered=[*books.delivered, other])


def unheard(path: str, status: int | None = None) -> Alter:
    """GitLab was never asked this, or answered with this status only."""

    def alter(books: Ledgers) -> Ledgers:
        seen = [
            replace(s, status=status or 0) if s.method == "GET" and path in s.path else s
            for s in books.seen
            if status or s.method != "GET" or path not in s.path
        ]
        return replace(books, seen=seen)

    return alter


def rights(level: int) -> Alter:
    """GitLab has always said so of everybody."""
    said = json.dumps({"access_level": level}).encode()
    return lambda books: replace(
        books,
        seen=[replace(s, answer=said) if "/members/all/" in s.path else s for s in books.seen],
    )


def settings(**change: Any) -> Alter:
    """The rule of every target was another one."""

    def changed(project: ProjectSettings) -> ProjectSettings:
        targets = [replace(t, rule=replace(t.rule, **change)) for t in project.targets]
        return replace(project, targets=tuple(targets))

    return lambda books: replace(books, settings=[changed(each) for each in books.settings])


def nobody_asked(books: Ledgers) -> Ledgers:
    kept = [e for e in books.events[1] if not isinstance(e.payload, (GateOpened, GateVoted))]
    kept = [e for e in kept if not isinstance(e.payload, GateClosed)]
    return replace(books, events={1: kept})


def instructed(books: Ledgers) -> Ledgers:
    """Who let it pass had said what to do."""
    [vote] = books.states[1].gates[-1].votes
    given = InstructionGiven(by=vote, text="so", message="1.5")
    first, *others = books.events[1]
    return replace(books, events={1: [first, replace(first, payload=given), *others]})


def self_approval(books: Ledgers) -> Ledgers:
    rule = books.states[1].gates[-1].gate.rule
    return gate(rule=replace(rule, self_approval=True))(books)


def card_of(books: Ledgers) -> Message:
    return next(m for m in books.messages if about_of(m).get("slot") == "card")
