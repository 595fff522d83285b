"""Of what is done at GitLab: once, announced, answered for, and in its own place."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from agent.events import EffectKind
from agent.run import RunStatus
from oracle.deeds import ANSWERS, ONCE, Begun, begun, branches, meant, path_of
from oracle.ledgers import Ledgers, about_of
from playground.gitlab.state import Seen
from playground.gitlab.talk_records import MergeRequest


def i3(books: Ledgers) -> list[str]:
    """A run that has opened a merge request has exactly that one, and each branch of ours belongs
    to a run and has a merge request or a reason."""
    return [*_requests(books), *_branches(books)]


def _own(books: Ledgers, branch: str) -> dict[int, MergeRequest]:
    return {
        iid: each
        for iid, each in books.merge_requests.items()
        if each.source_branch == branch and each.author_id == books.agent
    }


def _requests(books: Ledgers) -> Iterator[str]:
    for branch in {state.branch for state in books.states.values()}:
        known = {
            done.iid
            for state in books.states.values()
            if state.branch == branch
            for done in state.done_effects
            if done.effect in (EffectKind.OPEN_MERGE_REQUEST, EffectKind.UPDATE_MERGE_REQUEST)
        }
        own = _own(books, branch)
        told = f"GitLab: {sorted(own)} come from {branch}; log: {sorted(map(str, known))}"
        if known - own.keys() - {None} or (known and own.keys() - known):
            yield told
        if sum(each.state == "opened" for each in own.values()) > 1:
            yield f"{told}; more than one of them is open"


def _branches(books: Ledgers) -> Iterator[str]:
    made = {branch: state for state in books.states.values() for branch in branches(state)}
    for ref in books.refs:
        if not ref.startswith("agent/"):
            continue
        state = made.get(ref)
        if state is None:
            yield f"repository: there is {ref}; log: no run has it"
        elif state.status is RunStatus.SUCCEEDED and not _own(books, ref) and not state.reason:
            yield f"repository: there is {ref} of run {state.run}; GitLab: no merge request of it"


def i5(books: Ledgers) -> list[str]:
    """Each change at GitLab was announced before it and answered for after it, one announcement
    does it once, and no log was altered. Slack's messages are held against what the log knows of
    them. Not decided here: an anchor outside PostgreSQL, which is not built."""
    found = [f"the log of run {run} was changed at {seq}" for run, seq in books.changed.items()]
    announced = begun(books)
    done: dict[tuple[re.Pattern[str], str], list[tuple[Seen, Sequence[str]]]] = {}
    for seen in books.changes:
        fits = [each for each in announced if meant(books, seen, each) and each.at <= seen.arrived]
        if not fits:
            found.append(f"GitLab: {_short(seen)}; log: nothing announced it")
        elif not any(_answered(books, each, seen) for each in fits):
            found.append(f"GitLab: {_short(seen)}; log: {fits[-1].key} was never answered for")
        for pattern in ONCE:
            if pattern.search(path_of(seen)):
                done.setdefault((pattern, seen.method), []).append(
                    (seen, sorted({e.key for e in fits}))
                )
    for deeds in done.values():
        found += _again(deeds)
    return found + _messages(books)


def _answered(books: Ledgers, each: Begun, seen: Seen) -> bool:
    """Whoever got no answer in time may have read that it was done before it was answered."""
    read = books.reads.get(books.project_of(seen), ())
    back = bisect_left(read, seen.arrived)
    return any(at >= seen.at for at in each.answered) or (
        back < len(read) and any(read[back] <= at for at in each.done)
    )


def _again(deeds: Sequence[tuple[Seen, Sequence[str]]]) -> Iterator[str]:
    """Those for which no announcement is left once each other one has had its own."""
    given: dict[str, int] = {}

    def place(deed: int, tried: set[str]) -> bool:
        for key in deeds[deed][1]:
            if key not in tried:
                tried.add(key)
                if key not in given or place(given[key], tried):
                    given[key] = deed
                    return True
        return False

    for number, (seen, keys) in enumerate(deeds):
        if keys and not place(number, set()):
            times = sum(other == keys for _, other in deeds)
            yield f"GitLab: {_short(seen)}, {times} times; log: {keys}"


def _messages(books: Ledgers) -> list[str]:
    stands = {(each.channel, each.ts) for each in books.messages}
    sent = {
        (str(call.answer.get("channel")), str(call.answer.get("ts")))
        for call in books.calls
        if call.method == "chat.postMessage" and call.answer.get("ok")
    }
    known = {(slot.run, slot.slot): slot.ts for slot in books.slots}
    found = [
        f"Slack: {slot} of run {run} stands at {message.ts}; log: {known.get((run, slot))}"
        for run in books.states
        for slot, messages in books.thread(run).items()
        for message in messages
        if known.get((run, slot)) != message.ts
    ]
    return found + [
        f"log: {slot.slot} of run {slot.run} stands at {slot.ts}; Slack: it was never posted"
        for slot in books.slots
        if slot.ts and slot.slot.split(":")[0] in ("card", "gate", "result", "outcome", "question")
        if (slot.channel, slot.ts) not in stands | sent
    ]


def _short(seen: Seen) -> str:
    return f"{seen.at} {seen.method} {unquote(path_of(seen))} {seen.pushed or seen.body[:200]!r}"


def i9(books: Ledgers) -> list[str]:
    """What the agent changes is its own branch, merge request, notes and thread, in the project of
    a run: whatever a model or a repository says."""
    found: list[str] = []
    projects = {state.request.project for state in books.states.values()}
    own = {branch for state in books.states.values() for branch in branches(state)}
    targets = {d.begun.target for state in books.states.values() for d in state.deliveries}
    pushable = {f"refs/heads/{branch}" for branch in own - targets}
    for seen in books.changes:
        if not any(pattern.search(path_of(seen)) for pattern, _ in ANSWERS):
            found.append(f"GitLab: {_short(seen)}; nothing of ours does such a thing")
        elif books.project_of(seen) not in projects:
            found.append(f"GitLab: {_short(seen)}; runs are in {sorted(projects)} only")
        for _, _, ref in seen.pushed:
            if ref not in pushable:
                found.append(f"GitLab: {_short(seen)}; ours are {sorted(pushable)}")
    return found + _places(books)


def _places(books: Ledgers) -> list[str]:
    """Messages about a run stand in its thread; others where a person wrote or pressed before."""
    spoken = {state.request.thread.channel for state in books.states.values()} | set(books.direct)
    for sent in books.delivered:
        event = sent.payload.get("event") or {}
        spoken.add(event.get("channel", ""))
        spoken.add((sent.payload.get("channel") or {}).get("id", ""))
    found: list[str] = []
    for message in books.messages:
        if message.user != books.bot:
            continue
        about = about_of(message)
        state = books.states.get(int(about.get("run") or 0))
        if state is not None:
            thread = state.request.thread
            if (message.channel, message.thread_ts) != (thread.channel, thread.ts):
                found.append(f"Slack: {message.text!r} about run {state.run}; not in its thread")
        elif str(about.get("slot", "")).startswith("digest:") or message.channel in spoken:
            continue
        else:
            found.append(f"Slack: {message.text!r} in {message.channel}; nobody wrote there")
    return found
