"""The oracle itself: of a change that went from a request to its target nothing is wrong, and
whatever is altered in one of the four ledgers is found."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from crossing import UNIT, Crossing
from oracle import INVARIANTS, Ledgers, judge, violations
from oracle.ledgers import JobRow, SlotRow, about_of
from quick import quicken
from road import FILES, Road, fault, make_repository, open_road

from agent.events import (
    EffectDone,
    EffectIntended,
    EffectKind,
    GateClosed,
    GateOpened,
    GateVoted,
    ModelAnswered,
    RunEnded,
    RunEvent,
    StatusChanged,
)
from agent.run import RunStatus, Usage
from playground.gitlab.instant import InstantRunner
from playground.slack.records import Message
from playground.slack.server import ApiCall

_TAKEN: list[Ledgers] = []
Alter = Callable[[Ledgers], Ledgers]


@pytest.fixture
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Ledgers:
    """Of one change that sam has let pass, and that was merged. Taken down once."""
    if not _TAKEN:
        database_url = request.getfixturevalue("database_url")
        put = pytest.MonkeyPatch()
        quicken(put.setattr)
        failed: list[BaseException] = []

        def work() -> None:
            try:
                _TAKEN.append(asyncio.run(_merged(tmp_path, database_url)))
            except BaseException as error:  # told in the thread of the test
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        put.undo()
        if failed:
            raise failed[0]
    return _TAKEN[0]


async def _merged(folder: Path, database_url: str) -> Ledgers:
    source = make_repository(folder / "source", {**FILES, ".gitlab-ci.yml": UNIT})
    async with open_road(folder, database_url, source=source) as road:
        road.gitlab.forge.pipelines.runner = InstantRunner()
        crossing = Crossing(road=road)
        crossing.rules()
        async with road.serving():
            card = await crossing.gate()
            assert await crossing.press("sam", card)
            await crossing.merged()
        return await Ledgers.read(road)


def test_nothing_is_wrong_with_what_went_well(books: Ledgers) -> None:
    assert violations(books) == []
    assert len(books.runs) == len(books.merge_requests) == 1
    assert books.states[1].status is RunStatus.SUCCEEDED
    assert books.prompts
    assert books.objects
    assert len(books.secrets) >= 5


# --- how to alter a ledger


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


SHOUT = {"type": "mrkdwn", "text": "<!here> hi"}
PUSH, MERGE_REQUESTS, MERGE = "git-receive-pack", "/merge_requests", "/merge"
OTHER = "f" * 40
#: By invariant: what is altered, and a word of what is found.
VIOLATED: Sequence[tuple[str, str, Alter, str]] = (
    ("I1", "lost delivery", lambda b: replace(b, inbox=[]), "there is no"),
    ("I1", "unhandled", unhandled, "never handled"),
    ("I1", "no run", no_run, "nothing"),
    ("I1", "stays at work", ended(RunStatus.WORKING), "no job leads to it"),
    ("I1", "waits unseen", ended(RunStatus.WAITING_FOR_ANSWER), "none of"),
    ("I1", "row and log", lambda b: replace(b, runs=[replace(b.runs[0], status="x")]), "row says"),
    ("I1", "dead worker", more("jobs", lambda _: job(silent=60.0)), "two leases"),
    ("I1", "failed job", more("jobs", lambda _: job(status="failed")), "has failed"),
    ("I1", "open intent", open_intent, "no outcome"),
    ("I2", "same key", more("runs", lambda b: replace(b.runs[0], message_ts="5.5")), "the key"),
    ("I2", "same message", more("runs", lambda b: replace(b.runs[0], key="k")), "asked for by"),
    ("I2", "same thread", second_in_thread, "under way"),
    ("I2", "night", lambda b: replace(b, nights=[("p", "lint", b.seen[0].at)] * 2), "nights"),
    ("I3", "no request", lambda b: replace(b, merge_requests={}), "come from agent/1"),
    (
        "I3",
        "two requests",
        lambda b: replace(
            b, merge_requests={**b.merge_requests, 2: replace(b.merge_requests[1], iid=2)}
        ),
        "come from agent/1",
    ),
    ("I3", "a stray branch", lambda b: replace(b, refs={**b.refs, "agent/9": OTHER}), "no run"),
    ("I4", "merged twice", again(MERGE), "2 times"),
    ("I4", "not merged", mr(state="opened"), "it is opened"),
    ("I4", "another commit", mr(sha=OTHER), "merged at"),
    ("I4", "red", lambda b: replace(b, pipelines=[]), "pipelines: none"),
    ("I4", "no vote", without(GateVoted), "is merged; gate"),
    ("I4", "rejected", payloads(GateClosed, outcome="rejected"), "is merged; gate"),
    ("I4", "by who asked", by_requester, "who asked for it"),
    ("I4", "by who committed", commits_by("sam@example.com"), "its commits are by"),
    ("I4", "pushed later", later(GateOpened, -3600), "last push"),
    ("I4", "rights unread", lambda b: replace(b, seen=b.changes), "asked for the rights"),
    ("I5", "altered log", lambda b: replace(b, changed={1: 5}), "was changed at 5"),
    ("I5", "unannounced push", without(EffectIntended, effect=EffectKind.PUSH), "nothing"),
    ("I5", "unannounced merge", without(EffectIntended, effect=EffectKind.MERGE), "nothing"),
    ("I5", "announced late", later(EffectIntended, 3600, effect=EffectKind.MERGE), "nothing"),
    ("I5", "no outcome", without(EffectDone, effect=EffectKind.PUSH), "never answered for"),
    ("I5", "opened twice", again(MERGE_REQUESTS), "2 times"),
    ("I5", "of another branch", again(PUSH, pushed=(("0", OTHER, "refs/heads/x"),)), "nothing"),
    ("I5", "unknown message", slot(ts="7.7"), "stands at"),
    (
        "I5",
        "message unsent",
        more("slots", unsent),
        "never posted",
    ),
    ("I6", "no card", message("card", lambda _: None), "there is no card"),
    ("I6", "wrong word", message("card", lambda m: replace(m, text="Run 1: failed")), "card:"),
    ("I6", "two cards", more("messages", lambda b: replace(_card(b), ts="8.8")), "2 times"),
    ("I6", "gate missing", message("gate", lambda _: None), "it is missing"),
    ("I6", "not merged", mr(state="opened"), "are merged"),
    (
        "I6",
        "everybody",
        said(channel="C", blocks=[SHOUT]),
        "everybody",
    ),
    ("I6", "too early", early, "log: merged at"),
    ("I6", "silence", silent, "nothing for"),
    *(
        ("I7", f"{name} in {sink}", leak(form, sink), "GITLAB_TOKEN is in")
        for name, form in {
            "plain": lambda t: f"it is {t}.",
            "base64": encoded,
            "hex": lambda t: t.encode().hex(),
            "backwards": lambda t: t[::-1],
            "pieces": lambda t: f'{t[:9]}" + \n "{t[9:]}',
        }.items()
        for sink in ("calls", "prompts", "seen", "objects", "log", "responses", "stored")
    ),
    ("I8", "process", lambda b: replace(b, processes=["sleep 1000"]), "is left"),
    ("I8", "file", lambda b: replace(b, home=b.home | {".bashrc"}), ".bashrc"),
    ("I9", "deletes", again(PUSH, method="DELETE", path="/api/v4/projects/1", pushed=()), "no"),
    ("I9", "another project", again(MERGE, path="/api/v4/projects/9/merge_requests/1/merge"), "9"),
    ("I9", "another branch", again(PUSH, pushed=(("0", OTHER, "refs/heads/main"),)), "ours are"),
    ("I9", "another channel", post_elsewhere, "nobody wrote there"),
    ("I9", "another thread", message("card", lambda m: replace(m, thread_ts="3.3")), "its thread"),
    ("I10", "steps", spends(prompt_tokens=4_000_000), "tokens of"),
    ("I10", "money", spends(money=6.0), "cost"),
    ("I10", "requests", lambda b: replace(b, prompts=[*b.prompts] * 9), "requests"),
    ("I10", "a text", more("stored", lambda _: b"x" * (17 << 20)), "bytes"),
    ("I11", "never closed", without(GateClosed), "acted on"),
    ("I11", "closed no", payloads(GateClosed, outcome="expired"), "acted on"),
    ("I11", "closed late", later(GateClosed, 3600), "acted on"),
    ("I11", "another gate", gate(id="0" * 32), "none of this run's"),
    (
        "I11",
        "unsure",
        unsure,
        "GitLab's answers",
    ),
    ("I12", "inbox", unhandled, "was not handled"),
    ("I12", "queue", more("jobs", lambda _: job()), "is due"),
    ("I12", "intents", open_intent, "has no outcome"),
    ("I12", "messages", slot(state="intended"), "about to be sent"),
)


def _card(books: Ledgers) -> Message:
    return next(m for m in books.messages if about_of(m).get("slot") == "card")


@pytest.mark.parametrize(
    ("invariant", "alter", "word"),
    [pytest.param(i, alter, word, id=f"{i} {name}") for i, name, alter, word in VIOLATED],
)
def test_what_is_altered_is_found(books: Ledgers, invariant: str, alter: Alter, word: str) -> None:
    found = INVARIANTS[invariant](alter(books))

    assert any(word in told for told in found), found


def test_each_invariant_is_violated_by_something() -> None:
    assert {invariant for invariant, *_ in VIOLATED} == set(INVARIANTS)


async def test_what_is_under_way_is_let_come_to_rest(road: Road) -> None:
    """Nobody serves when the oracle is asked, and GitLab is away."""
    road.gitlab.faults.set(fault("fail", status=502, times=0))
    async with road.serving():
        road.ask()
        await road.whispered("Your message is kept")
    await judge(road)
    assert (await road.state()).status is RunStatus.SUCCEEDED


async def test_what_never_comes_to_rest_is_told_with_its_seed(road: Road) -> None:
    road.gitlab.faults.seed = 4711
    async with road.serving():
        await road.result(road.ask())
    await road.db.inbox.accept("nobody", "key", {})
    with pytest.raises(AssertionError, match=r"(?s)seed 4711\nI12: inbox: .*nobody.* not handled"):
        await judge(road, seconds=1.0)
    [waiting] = await road.db.inbox.unhandled(timedelta(0))
    await road.db.inbox.handled(waiting.id)
