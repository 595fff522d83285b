"""The next step of a delivery, by what is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.delivery import Delivery, GateState
from agent.difference import FileDiff
from agent.events import DeliveryBegun, GateClosed, TargetSeen
from agent.gate import (
    Action,
    EnvironmentRule,
    Facts,
    Gate,
    GateId,
    Outcome,
    Rule,
    TargetRule,
    Window,
)
from agent.passage import (
    Ask,
    Asked,
    Bound,
    Done,
    Go,
    Landed,
    Leave,
    Place,
    Wait,
    landing,
    obstacle,
    passage,
    unchecked,
)
from agent.pipeline import Job, Judgement, Verdict
from agent.ports import MergeRequest
from agent.protected import protected
from agent.run import CommitSha, Digest

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)  # a Tuesday
HEAD, OTHER, MERGED = (CommitSha(c * 40) for c in "abc")
BOUND = Bound(commit=HEAD, diff=Digest("d"), source="agent/1", target="main", policy=Digest("p"))
ALWAYS = Window(start=0, end=7 * 1440 - 1)


def gate(outcome: Outcome | None = None, **more: object) -> GateState:
    made = Gate(
        id=GateId("g"),
        action=Action.MERGE,
        delivery=1,
        project="a/b",
        project_id=1,
        iid=7,
        url="",
        title="",
        commit=HEAD,
        diff=BOUND.diff,
        source="agent/1",
        target="main",
        rule=Rule(),
        policy=BOUND.policy,
        expires_at=NOW + timedelta(hours=1),
        facts=Facts(files=1, added=1, removed=0),
    )
    closed = GateClosed(gate=GateId("g"), outcome=outcome, reason="No.") if outcome else None
    return GateState(gate=replace(made, **more), seq=1, opened_at=NOW, closed=closed)


@pytest.mark.parametrize(
    ("approvals", "why", "before", "step"),
    [
        (0, "", None, Go()),
        (0, "too large", None, Ask(rule=Rule(), why="too large")),
        (2, "", None, Ask(rule=Rule(approvals=2))),
        (1, "", gate(), Asked()),
        (1, "", gate(commit=OTHER), Ask(rule=Rule(), instead=GateId("g"))),
        (1, "", gate(diff=Digest("e")), Ask(rule=Rule(), instead=GateId("g"))),
        (1, "", gate(policy=Digest("q")), Ask(rule=Rule(), instead=GateId("g"))),
        (1, "", gate(source="other"), Ask(rule=Rule(), instead=GateId("g"))),
        (1, "", gate(target="other"), Ask(rule=Rule(), instead=GateId("g"))),
        (1, "", gate("approved"), Go(gate=GateId("g"))),
        (0, "too large", gate("approved"), Go(gate=GateId("g"))),
        (1, "", gate("approved", commit=OTHER), Ask(rule=Rule())),
        (1, "", gate("superseded"), Ask(rule=Rule())),
        (1, "", gate("cancelled"), Ask(rule=Rule())),
        (1, "", gate("rejected"), Leave(reason="No.", outcome="rejected")),
        (1, "", gate("expired"), Leave(reason="No.", outcome="expired")),
        (
            1,
            "",
            gate(expires_at=NOW),
            Leave(reason="Nobody decided about main in time.", outcome="expired"),
        ),
    ],
)
def test_who_is_asked(approvals: int, why: str, before: GateState | None, step: object):
    assert passage(Rule(approvals=approvals), before, BOUND, NOW, why=why) == step


def test_whoever_is_asked_in_place_of_the_limits_keeps_the_freeze():
    asked = passage(Rule(approvals=0, freezes=(ALWAYS,)), None, BOUND, NOW, why="Too large.")
    assert isinstance(asked, Ask)
    assert (asked.rule.approvals, asked.rule.freezes) == (1, (ALWAYS,))


@pytest.mark.parametrize("before", [None, gate("approved")])
def test_nothing_passes_in_a_freeze(before: GateState | None):
    rule = Rule(approvals=0 if before is None else 1, freezes=(ALWAYS,))
    step = passage(rule, before, BOUND, NOW)
    assert isinstance(step, Wait)
    assert step.until is not None


REQUEST = MergeRequest(
    project="a/b",
    iid=7,
    url="",
    title="",
    description="",
    state="opened",
    draft=True,
    source_branch="agent/1",
    target_branch="main",
    sha=HEAD,
    author_id=1,
)
BEGUN = DeliveryBegun(number=1, kind="change", source="agent/1", target="main")


@pytest.mark.parametrize(
    ("change", "rule", "foreign", "step"),
    [
        ({}, True, "", type(None)),
        ({"state": "merged", "merged": MERGED}, False, "x", Landed),
        ({"state": "merged"}, True, "", Wait),
        ({"state": "closed"}, True, "", Leave),
        ({"target_branch": "other"}, True, "", Leave),
        ({}, True, "Somebody pushed.", Leave),
        ({}, False, "", Leave),
    ],
)
def test_what_people_do_to_it(change: dict[str, object], rule: bool, foreign: str, step: type):
    target = TargetRule(branch="main") if rule else None
    request = replace(REQUEST, **change)
    found = obstacle(Delivery(begun=BEGUN), request, target, foreign=foreign)
    assert type(found) is step


def judgement(verdict: Verdict) -> Judgement:
    return Judgement(verdict=verdict, sentence="It is so.")


def test_only_green_goes_on():
    assert [v for v in Verdict if unchecked(judgement(v)) is None] == [Verdict.GREEN]
    ends = {v for v in Verdict if isinstance(unchecked(judgement(v)), Leave)}
    told = {Verdict.RED, Verdict.ABSENT, Verdict.SKIPPED, Verdict.CANCELED, Verdict.OTHER_COMMIT}
    assert ends == told


def seen(verdict: Verdict) -> TargetSeen:
    return TargetSeen(delivery=1, merged=None, pipeline=None, judgement=judgement(verdict))


@pytest.mark.parametrize(
    ("verdict", "before", "step", "outcome"),
    [
        (Verdict.GREEN, None, Done, ""),
        (Verdict.ABSENT, None, Done, ""),
        (Verdict.MANUAL, None, Done, ""),
        (Verdict.RUNNING, None, Wait, ""),
        (Verdict.AWAITED, None, Wait, ""),
        (Verdict.BLOCKED, None, Wait, ""),
        (Verdict.RED, seen(Verdict.GREEN), Leave, "broken"),
        (Verdict.RED, seen(Verdict.RED), Done, ""),
        (Verdict.RED, None, Leave, "broken"),
        (Verdict.CANCELED, None, Leave, "left"),
        (Verdict.SKIPPED, None, Leave, "left"),
    ],
)
def test_what_becomes_of_the_target(
    verdict: Verdict, before: TargetSeen | None, step: type, outcome: str
):
    found = landing(judgement(verdict), before, (), "main", NOW)
    assert type(found) is step
    if isinstance(found, Leave):
        assert found.outcome == outcome


def place(name: str, status: str, *, approvals: int = 0, **more: object) -> tuple[Place, Bound]:
    job = Job(id=5, name=f"deploy {name}", stage="deploy", status=status)
    rule = EnvironmentRule(name=name, jobs=(job.name,), rule=Rule(approvals=approvals))
    bound = replace(BOUND, commit=MERGED, environment=name, job=5)
    return replace(Place(rule=rule, job=job), **more), bound


@pytest.mark.parametrize(
    ("status", "verdict", "more", "step"),
    [
        ("manual", Verdict.GREEN, {}, Go),
        ("manual", Verdict.MANUAL, {}, Go),
        ("manual", Verdict.GREEN, {"approvals": 1}, Ask),
        ("manual", Verdict.RUNNING, {}, Wait),
        ("manual", Verdict.RED, {}, Leave),
        ("manual", Verdict.GREEN, {"played": True}, Wait),
        ("manual", Verdict.GREEN, {"refused": "Protected."}, Leave),
        ("pending", Verdict.GREEN, {}, Wait),
        ("running", Verdict.RUNNING, {}, Wait),
        ("failed", Verdict.GREEN, {}, Leave),
        ("canceled", Verdict.GREEN, {}, Leave),
        ("success", Verdict.GREEN, {}, Done),
        ("created", Verdict.RUNNING, {}, Wait),
        ("skipped", Verdict.GREEN, {}, Done),
    ],
)
def test_a_job_that_deploys(status: str, verdict: Verdict, more: dict[str, object], step: type):
    found = landing(judgement(verdict), None, [place("staging", status, **more)], "main", NOW)
    assert type(found) is step


def test_an_end_says_which_environments_were_not_reached():
    staging, production = place("staging", "success"), place("production", "skipped")
    missing = [EnvironmentRule(name="canary", jobs=("deploy canary",))]
    found = landing(
        judgement(Verdict.GREEN), None, [staging, production], "main", NOW, missing=missing
    )
    assert isinstance(found, Done)
    assert found.unreached == (
        "production was not reached: its job deploy production was skipped",
        "canary was not reached: its job deploy canary is not in the pipeline",
    )


def test_one_environment_never_opens_another():
    staging, production = place("staging", "manual", approvals=1), place("production", "manual")
    found = landing(judgement(Verdict.GREEN), None, [staging, production], "main", NOW)
    assert isinstance(found, Ask)
    assert found.place == staging[0]
    approved = gate("approved", environment="staging", job=5, commit=MERGED)
    other = replace(place("production", "manual", approvals=1)[0], gate=approved)
    found = landing(
        judgement(Verdict.GREEN), None, [place("staging", "success"), (other, production[1])],
        "main", NOW,
    )  # fmt: skip
    assert isinstance(found, Ask)
    assert found.place == other


@pytest.mark.parametrize(
    ("path", "second_look"),
    [
        (".gitlab-ci.yml", True),
        ("deploy/Dockerfile.prod", True),
        ("app/migrations/0001.py", True),
        ("web/package-lock.json", True),
        ("requirements-dev.txt", True),
        (".husky/pre-commit", True),
        ("docs/CODEOWNERS", True),
        ("sub/AGENTS.md", True),
        ("app/models.py", False),
        ("docs/dockerfiles.md", False),
    ],
)
def test_paths_that_deserve_a_second_look(path: str, second_look: bool):
    assert bool(protected([FileDiff(old=path, new=path)])) is second_look
