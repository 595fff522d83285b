"""Of what is asked: nothing is lost, nothing is done twice, nothing goes on without end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeGuard

from agent.errors import Refused
from agent.events import (
    InstructionGiven,
    ModelAnswered,
    ModelAsked,
    QuestionAnswered,
    RunEnded,
    RunEvent,
)
from agent.limits import spent
from agent.run import ENDED, RunStatus, Usage
from agent.state import RunState
from bot import command
from bot.command import Verb
from bot.inbox import key_of
from bot.slack import Identity
from oracle.ledgers import LEASE, Ledgers, running

TRIES = 6  #: of one model call, with those of the client's own library
BODY = 16 << 20  #: bytes of one stored text


def i1(books: Ledgers) -> list[str]:
    """Nothing that was acknowledged is lost: it has been handled and has left a mark, and each run
    has ended, or waits for people where they can see it."""
    return [*_deliveries(books), *_mentions(books), *_unfinished(books), *_leases(books)]


def _deliveries(books: Ledgers) -> Iterator[str]:
    kept = {row.key: row for row in books.inbox if row.source == "slack"}
    us = Identity(team=books.team, user=books.bot, bot="", name="")
    for sent in books.delivered:
        key = key_of(sent.payload, us) if sent.acknowledged else None
        if key is None:
            continue
        if key not in kept:
            yield f"Slack: {sent.name} was acknowledged; inbox: there is no {key}"
        elif not kept[key].handled:
            yield f"Slack: {sent.name} was acknowledged; inbox: {kept[key]} was never handled"


def _mentions(books: Ledgers) -> Iterator[str]:
    """Whoever mentions the agent gets a run, a place in a run's log, or an answer."""
    runs = {row.key for row in books.runs}
    logged = {
        event.payload.message
        for events in books.events.values()
        for event in events
        if isinstance(event.payload, (InstructionGiven, QuestionAnswered))
    }
    for sent in books.delivered:
        said = sent.payload.get("event") or {}
        if not sent.acknowledged or sent.name != "app_mention":
            continue
        if command.is_aside(said.get("text", ""), books.bot):
            continue
        channel, ts, user = said["channel"], said["ts"], said["user"]
        key = f"{books.team}:{channel}:{ts}"
        if (
            key in runs
            or ts in logged
            or _answered(books, channel, said.get("thread_ts"), ts, user)
        ):
            continue
        yield f"Slack: {user} said {said.get('text')!r} at {ts}; nothing came of it ({key})"


def _answered(books: Ledgers, channel: str, thread: str | None, ts: str, user: str) -> bool:
    if any(
        each.args.get("user") == user and each.at >= float(ts)
        for each in books.calls
        if each.method == "chat.postEphemeral" and each.answer.get("ok")
    ):
        return True
    by_person = (e for events in books.events.values() for e in events if e.actor == user)
    if any(event.at.timestamp() >= float(ts) for event in by_person):
        return True
    return any(
        each.user == books.bot and each.channel == channel and each.thread_ts == (thread or ts)
        for each in books.messages
        if each.ts > ts
    )


def _unfinished(books: Ledgers) -> Iterator[str]:
    woken = {job.run for job in books.jobs if job.status in ("queued", "picked")}
    for run, state in books.states.items():
        row = next(each for each in books.runs if each.id == run)
        if row.status != state.status:
            yield f"run {run}: the row says {row.status}, its log {state.status}"
        if state.status in ENDED or state.frozen:
            continue
        if running(state):
            has = "a job" if run in woken else "no job leads to it"
            yield f"run {run} is {state.status} ({state.reason!r}); queue: {has}"
        elif state.request.thread.channel and not (_asks(state) & set(books.thread(run))):
            told = sorted(books.thread(run)) or "stranded"
            if "stranded" not in {slot.slot for slot in books.slots if slot.run == run}:
                yield f"run {run} is {state.status}; thread: {told}, and none of {_asks(state)}"


def _asks(state: RunState) -> set[str]:
    """The messages of which one has to stand while a run waits."""
    if state.status is RunStatus.WAITING_FOR_APPROVAL:
        return {f"gate:{state.gate.gate.id}"} if state.gate else {"a gate, which is not open"}
    if state.held:
        return {f"hold:{state.held_seq}"}
    return {f"question:{state.question_seq}"} if state.question else {"a question, which is none"}


def _leases(books: Ledgers) -> Iterator[str]:
    for job in books.jobs:
        if job.status == "picked" and job.silent > 2 * LEASE:
            yield f"queue: nobody has been heard of {job} for more than two leases"
        if job.status == "failed":
            yield f"queue: {job} has failed, and nobody takes it up"
    for meant in books.intents:
        state = books.states[meant.run]
        if meant.open and state.status in ENDED:
            yield f"run {meant.run} is {state.status}; intents: {meant.key} has no outcome"


def i2(books: Ledgers) -> list[str]:
    """A message makes one run, a thread has one that is under way (but for those that a person has
    begun with `new`), and a night comes once."""
    found = [f"{n} runs have the key {key}" for key, n in _many(row.key for row in books.runs)]
    asked = ((row.team, row.channel, row.message_ts) for row in books.runs if row.channel)
    found += [f"{n} runs were asked for by {what}" for what, n in _many(asked)]
    open_ones = [
        state.request.thread
        for run, state in books.states.items()
        if state.status not in ENDED and state.request.thread.channel and not _new(books, run)
    ]
    found += [f"{n} runs are under way in {thread}" for thread, n in _many(open_ones)]
    return found + [f"{n} nights are {which}" for which, n in _many(books.nights)]


def _new(books: Ledgers, run: int) -> bool:
    request = books.states[run].request
    for message in books.messages:
        if (message.channel, message.ts) == (request.thread.channel, request.message):
            try:
                return command.parse(message.text, books.bot).verb is Verb.NEW
            except Refused:
                return False
    return False


def _many(items: Iterable[Hashable]) -> list[tuple[Hashable, int]]:
    return [(item, n) for item, n in Counter(items).items() if n > 1]


def i10(books: Ledgers) -> list[str]:
    """Nobody goes beyond a cap by more than the one call that was under way. What a command may
    use of disk and time is not told by these ledgers: the tests of the sandbox hold it."""
    found = [told for run in books.states for told in _beyond(books, run)]
    asked = sum(
        isinstance(e.payload, ModelAsked) for events in books.events.values() for e in events
    )
    if len(books.prompts) > TRIES * asked:
        found.append(f"model: {len(books.prompts)} requests; log: {asked} were meant")
    return found + [
        f"a stored text has {len(text)} bytes" for text in books.stored if len(text) > BODY
    ]


def _beyond(books: Ledgers, run: int) -> Iterator[str]:
    state = books.states[run]
    limits = state.limits
    for part in _rounds(books.events[run]):
        used = spent(part)
        last = next((e.payload.usage for e in reversed(part) if _answers(e)), Usage())
        if used.steps > limits.steps + 1:
            yield f"run {run} took {used.steps} steps of {limits.steps}"
        if used.tokens - last.tokens > limits.tokens:
            yield f"run {run} used {used.tokens} tokens of {limits.tokens}"
        if used.money - last.money > limits.money > 0:
            yield f"run {run} cost ${used.money} of ${limits.money}"
    if len(state.heals) > limits.heal_attempts:
        yield f"run {run} healed {len(state.heals)} times of {limits.heal_attempts}"
    if len(state.fixes) > limits.fix_attempts:
        yield f"run {run} fixed {len(state.fixes)} times of {limits.fix_attempts}"


def _answers(event: RunEvent) -> TypeGuard[Any]:
    return isinstance(event.payload, ModelAnswered)


def _rounds(events: Sequence[RunEvent]) -> Iterator[Sequence[RunEvent]]:
    """Each has the whole allowance."""
    part: list[RunEvent] = []
    for event in events:
        if isinstance(event.payload, RunEnded):
            yield part
            part = []
        part.append(event)
    yield part


def i12(books: Ledgers) -> list[str]:
    """Nothing is left to be done: no delivery, no due job, no intent, no message. How long it took
    to come to that is for who has waited: `judge` gives it its time."""
    found = [f"inbox: {row} was not handled" for row in books.inbox if not row.handled]
    frozen = {run for run, state in books.states.items() if state.frozen}
    found += [
        f"queue: {job} is due"
        for job in books.jobs
        if _due(books, job.run, job.due, job.status, frozen)
    ]
    found += [
        f"intents: {meant.key} of run {meant.run} has no outcome"
        for meant in books.intents
        if meant.open and meant.run not in frozen
    ]
    lost = {slot.run for slot in books.slots if slot.slot == "stranded"}
    return found + [
        f"messages: {slot.slot} of run {slot.run} was about to be sent"
        for slot in books.slots
        if slot.state != "posted" and slot.run not in lost
    ]


def _due(books: Ledgers, run: int | None, due: bool, status: str, frozen: set[int]) -> bool:
    if status == "picked":
        return True
    if status != "queued" or not due or run in frozen:
        return False
    state = books.states.get(run or 0)
    return state is None or running(state)  # a wake-up of what has ended does nothing
