"""Of what is merged and deployed: once, and only what was let pass."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from agent.delivery import GateState
from agent.events import (
    EffectDone,
    EffectKind,
    GateVoted,
    InstructionGiven,
    QuestionAnswered,
)
from agent.gate import Action, Rule
from agent.intents import Intent, Merge, PlayJob
from agent.run import DEVELOPER, Person
from agent.state import RunState
from oracle.deeds import MERGED_BY, PLAYED, RIGHTS, begun, path_of
from oracle.ledgers import Ledgers, Meant
from playground.gitlab.state import Seen
from playground.gitlab.talk_records import MergeRequest

#: Seconds for which a press may still be looked into when another one comes.
TOGETHER = 60.0


def i4(books: Ledgers) -> list[str]:
    """A merge happens once, at the commit that was tested and that enough others let pass after
    the last push, by a rule of the settings; their rights were read live, and sufficed."""
    found = [f"GitLab: {what}, {n} times" for what, n in _twice(books, (MERGED_BY, PLAYED))]
    for state in books.states.values():
        for done in state.done_effects:
            if done.effect is EffectKind.MERGE and "meanwhile" not in done.result:
                found += _let_pass(books, state, done)
    return found


def _twice(books: Ledgers, patterns: Sequence[re.Pattern[str]]) -> list[tuple[str, int]]:
    paths = Counter(
        path_of(seen) for seen in books.changes if any(p.search(path_of(seen)) for p in patterns)
    )
    return [(path, n) for path, n in paths.items() if n > 1]


def _let_pass(books: Ledgers, state: RunState, done: EffectDone) -> Iterator[str]:
    request = books.merge_requests.get(done.iid or 0)
    if request is None or request.state != "merged":
        stands = request.state if request else "not there"
        yield f"log: !{done.iid} was merged; GitLab: it is {stands}"
        return
    asked = [
        s for s in books.changes if (m := MERGED_BY.search(path_of(s))) and int(m[1]) == done.iid
    ]
    at = min((seen.at for seen in asked), default=None)
    of_it = [p for p in books.pipelines if p.sha == request.sha]
    if of_it and not any(
        p.status == "success" and (at is None or p.updated_at <= at) for p in of_it
    ):
        yield f"!{done.iid} was merged at {request.sha}; pipelines: {[p.status for p in of_it]}"
    elif not of_it:
        yield f"!{done.iid} was merged at {request.sha}; pipelines: none of it"
    gates = [g for g in state.gates if g.gate.iid == done.iid and not g.gate.environment]
    yield from _by_rule(books, state, request, gates[-1].gate.rule if gates else None)
    if gates:
        yield from _approved(books, state, gates[-1], request, at)


def _by_rule(
    books: Ledgers, state: RunState, request: MergeRequest, asked: Rule | None
) -> Iterator[str]:
    """Some settings that there were ask for no more than was asked for."""
    project, target = state.request.project, request.target_branch
    rules = [
        rule.rule
        for settings in books.settings
        if settings.path == project and (rule := settings.target(target))
    ]
    approvals = asked.approvals if asked else 0
    if not any(rule.approvals <= approvals for rule in rules):
        yield f"!{request.iid}: {approvals} were asked; settings of {target}: {rules}"
    elif asked and asked.self_approval and not any(rule.self_approval for rule in rules):
        yield f"!{request.iid}: who asked could let it pass; settings of {target}: {rules}"


def _approved(
    books: Ledgers, state: RunState, gate: GateState, request: MergeRequest, at: datetime | None
) -> Iterator[str]:
    name, rule = f"!{request.iid}", gate.gate.rule
    persons = {vote.gitlab_id for vote in gate.votes}
    if not gate.approved or len(persons) < rule.approvals or len(persons) != len(gate.votes):
        yield f"GitLab: {name} is merged; gate: {gate.closed}, votes {gate.votes}, asks {rule}"
    if request.sha != gate.gate.commit:
        yield f"GitLab: {name} is merged at {request.sha}; gate: {gate.gate.commit}"
    if not rule.self_approval:
        if state.request.requester.gitlab_id in persons:
            yield f"{name} was approved by who asked for it: {state.request.requester}"
        told = {
            event.payload.by.gitlab_id
            for event in books.events[state.run]
            if isinstance(event.payload, (InstructionGiven, QuestionAnswered))
            and gate.closed_at is not None
            and event.at <= gate.closed_at
        }
        if both := told & persons - {None}:
            yield f"{name} was approved by {both}; log: they said what to do"
        mails = books.authors.get(request.iid, frozenset())
        names = {books.mails.get(vote.gitlab_id or 0, "") for vote in gate.votes}
        if both := mails & names:
            yield f"{name} was approved by {both}; repository: its commits are by {sorted(mails)}"
    ref = f"refs/heads/{request.source_branch}"
    pushes = [
        seen.at
        for seen in books.seen
        if any(r == ref for _, _, r in seen.pushed) and (at is None or seen.at < at)
    ]
    if pushes and gate.opened_at < max(pushes):
        yield f"{name} was let pass by a gate of {gate.opened_at}; last push: {max(pushes)}"
    for vote in gate.votes:
        read = [
            seen
            for seen in books.seen
            if (m := RIGHTS.search(path_of(seen))) and int(m[1]) == vote.gitlab_id
            if seen.at >= gate.opened_at and (at is None or seen.at <= at)
        ]
        last = read[-1] if read else None
        if at and gate.closed_at and _clicks(books, gate, vote, at)[1]:
            # the last ones may be of other presses; it was asked again for the deed
            told = [s for s in read if s.status == 200 and s.at >= gate.closed_at]
            last = told[-1] if told else None
        if last is None or last.status != 200:
            yield f"vote of {vote.name} for {name}; GitLab was asked for the rights: {read}"
        elif (level := _level(last)) < needed(rule):
            yield f"vote of {vote.name} for {name}; GitLab: level {level} of {needed(rule)}"


def needed(rule: Rule) -> int:
    """The access level at GitLab of whoever decides."""
    return DEVELOPER if rule.users or rule.groups else max(rule.access, DEVELOPER)


def _level(seen: Seen) -> int:
    try:
        return int(json.loads(seen.answer)["access_level"])
    except (ValueError, KeyError, TypeError):
        return 0


def i11(books: Ledgers) -> list[str]:
    """Nothing passes a gate that did not say yes: not when it said no or nothing, and not when
    what it asked GitLab was not answered. Not decided here: that each check of the gate is held by
    a test (the mutation score), and that a missing setting refuses to start."""
    found: list[str] = []
    gates = {g.gate.id: (g, state) for state in books.states.values() for g in state.gates}
    acted = {each.key: each.at for each in begun(books)}
    for meant in books.intents:
        if not isinstance(meant.intent, (Merge, PlayJob)) or meant.key not in acted:
            continue
        what = f"run {meant.run} acted on {meant.key}"
        if meant.intent.gate is None:
            if any(_stood(g, meant.intent) for g in books.states[meant.run].gates):
                found.append(f"{what} without the gate that stood before it")
            continue
        gate, state = gates.get(meant.intent.gate, (None, None))
        if gate is None or state is None or state.run != meant.run:
            found.append(f"{what}; its gate is none of this run's")
        elif not gate.approved or gate.closed_at is None or gate.closed_at > acted[meant.key]:
            found.append(f"{what} at {acted[meant.key]}; gate: {gate.closed} at {gate.closed_at}")
        elif gate.closed_at > gate.gate.expires_at:
            found.append(f"{what}; gate: closed at {gate.closed_at}, after it had expired")
        else:
            found += _unread(books, meant, gate, acted[meant.key])
    return found + [told for g, state in gates.values() for told in _unsure(books, g, state)]


def _unread(books: Ledgers, meant: Meant, gate: GateState, since: datetime) -> Iterator[str]:
    """What the checks of a gate need to know, and was not asked, or not answered, between the last
    word before the deed and the deed itself."""
    deeds = [s for s in books.changes if _is(s, meant.intent, gate) and s.at >= since]
    until = min((s.arrived for s in deeds), default=None)
    if until is None:
        return  # another one did it, or nobody
    request = rf"/merge_requests/{gate.gate.iid}"
    facts = {"the pipeline": rf"/pipelines\?.*sha={gate.gate.commit}", "the request": f"{request}$"}
    if isinstance(meant.intent, Merge):
        facts["the change"] = f"{request}/raw_diffs"
    for vote in gate.votes:
        facts[f"the account of {vote.name}"] = rf"/users/{vote.gitlab_id}$"
        facts[f"the rights of {vote.name}"] = rf"/members/all/{vote.gitlab_id}$"
    asked = [s for s in books.seen if s.method == "GET" and since <= s.arrived <= until]
    for fact, path in facts.items():
        read = [s for s in asked if re.search(path, s.path)]
        if not any(s.status == 200 for s in read):
            told = [(s.at, s.status) for s in read] or "never asked"
            yield f"run {meant.run} acted on {meant.key} at {until}; GitLab on {fact}: {told}"


def _is(seen: Seen, intent: Intent, gate: GateState) -> bool:
    if isinstance(intent, Merge):
        found = MERGED_BY.search(path_of(seen))
        return found is not None and int(found[1]) == gate.gate.iid
    found = PLAYED.search(path_of(seen))
    return found is not None and isinstance(intent, PlayJob) and int(found[1]) == intent.job


def _stood(gate: GateState, intent: Merge | PlayJob) -> bool:
    if isinstance(intent, Merge):
        same = gate.gate.action is Action.MERGE and gate.gate.commit == intent.commit
        return same and gate.gate.delivery == intent.delivery
    return gate.gate.job == intent.job


def _unsure(books: Ledgers, gate: GateState, state: RunState) -> Iterator[str]:
    """A vote that counted though GitLab's last word on the person's rights was none."""
    for vote in gate.votes:
        at = next(
            event.at
            for event in books.events[state.run]
            if getattr(event.payload, "gate", None) == gate.gate.id
            and getattr(event.payload, "by", None) == vote
            and isinstance(event.payload, GateVoted)
        )
        read = [
            seen
            for seen in books.seen
            if (m := RIGHTS.search(path_of(seen))) and int(m[1]) == vote.gitlab_id
            if seen.at <= at
        ]
        own, others = _clicks(books, gate, vote, at)
        if others:  # which of the reads were for this click is not told
            good = any(seen.status == 200 and seen.at.timestamp() >= own for seen in read)
        else:
            good = bool(read) and read[-1].status == 200
        if not good:
            told = [seen.status for seen in read]
            yield f"vote of {vote.name} at {at}; GitLab's answers on the rights: {told}"


def _clicks(books: Ledgers, gate: GateState, vote: Person, at: datetime) -> tuple[float, bool]:
    """When the person last pressed on this gate before the vote, and whether other presses of
    theirs may have been looked into at the same time."""
    pressed = [
        (float(action["action_ts"]), action.get("value"))
        for sent in books.delivered
        if sent.payload.get("user", {}).get("id") == vote.id
        for action in sent.payload.get("actions", ())
        if str(action.get("action_id", "")).startswith("gate_")
    ]
    before = [(ts, value) for ts, value in pressed if ts <= at.timestamp()]
    own = max((ts for ts, value in before if value == gate.gate.id), default=0.0)
    return own, any(
        ts > own - TOGETHER and (ts, value) != (own, gate.gate.id) for ts, value in before
    )
