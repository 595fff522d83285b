import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import pytest
from log import again, job, published, seen, state

from agent import events as e
from agent.freeze import Freeze
from agent.gate import Action, Facts, Gate, GateId, Rule
from agent.maintenance.night import Errand
from agent.pipeline import Blame, Job, Judgement, Pipeline, Triage, Verdict, Violation
from agent.plan import Plan, PlanStep, StepStatus
from agent.run import (
    CommitSha,
    Digest,
    Limits,
    Person,
    Request,
    RunId,
    RunStatus,
    Thread,
    TreeSha,
    Usage,
)
from agent.testreport import TestReport
from bot.web.pages import Pages
from bot.web.retrieved import told
from bot.web.timeline import rows

MIA = Person(id="U1", name="mia")
REQUEST = Request(
    text="add an export",
    project="billing/invoices",
    base_branch=None,
    requester=MIA,
    thread=Thread(team="T", channel="C", ts="1.0"),
    message="1.0",
)
REPORT = TestReport(command="pytest", tree=None, passed=2, failed=1, exit_code=1, seconds=1.5)
BODY = Digest("a" * 64)
LINT = Job(id=9, name="lint", stage="check", status="failed")
PIPELINE = Pipeline(
    id=7,
    sha=CommitSha("d" * 40),
    ref="agent/1",
    source="push",
    status="failed",
    url="https://gitlab.example/-/pipelines/7",
    jobs=(LINT,),
)

GATE = Gate(
    id=GateId("7f" * 16),
    action=Action.MERGE,
    delivery=1,
    project="platform/api",
    project_id=7,
    iid=318,
    url="",
    title="Add export",
    commit=CommitSha("d" * 40),
    diff=BODY,
    source="develop",
    target="main",
    rule=Rule(),
    policy=BODY,
    expires_at=datetime(2026, 5, 5, tzinfo=UTC),
    facts=Facts(files=1, added=2, removed=3),
)
COMMITTED = e.Committed(
    commit=CommitSha("d" * 40), tree=TreeSha("c" * 40), files=(), title="Add export"
)
RETRIEVED = e.CodeRetrieved(
    purpose="plan",
    query=BODY,
    commit=CommitSha("b" * 40),
    state="ready",
    places=(
        e.RetrievedPlace(path="a.py", start=3, end=9, symbols=("add",), score=1.2, words=0.9),
        e.RetrievedPlace(path="b.py", start=1, end=4, history=0.5, named=True, shown=False),
    ),
    records=("docs/adr/0001.md",),
    edited=2,
    milliseconds=12.4,
)
PAYLOADS: list[e.Payload] = [
    e.RunAccepted(request=REQUEST, limits=Limits()),
    e.ErrandGiven(errand=Errand(kind="tests", title="Test what is new", text="Add tests.")),
    e.RunClaimed(worker="w1", epoch=2, resumed=True),
    e.StatusChanged(status=RunStatus.WAITING_FOR_ANSWER, reason="Which format?"),
    e.WorkspaceReady(base=CommitSha("b" * 40), branch="main", files=20, seconds=0.2),
    e.DependenciesReady(manager="uv", cached=True, seconds=0.0),
    RETRIEVED,
    e.PlanMade(plan=Plan(steps=(PlanStep(title="Read", status=StepStatus.COMPLETE),))),
    e.ModelAsked(call=1, appended=BODY, prefix=BODY, messages=3),
    e.ModelAnswered(call=1, message=BODY, usage=Usage(prompt_tokens=9), model="m", finish="stop"),
    e.ModelFailed(call=1, problem="It is down.", attempt=1, attempts=5, retry_in=2.0),
    e.ContextCompacted(before_tokens=9000, after_tokens=900, messages=BODY),
    e.ToolStarted(call=1, tool="run", summary="make all"),
    e.ToolReturned(
        call=1,
        id="c",
        tool="run",
        arguments="{}",
        ok=False,
        summary="exit 1",
        output=BODY,
        seconds=1,
    ),
    e.CheckpointTaken(tree=TreeSha("c" * 40), patch=BODY, files=()),
    e.TestsRan(report=REPORT, where="change"),
    e.HealStarted(attempt=1, attempts=3, failing=("tests/test_a.py::test_b",)),
    e.InstructionGiven(text="also totals", by=MIA, message="2.0"),
    e.InstructionTaken(given=15, step=3),
    e.QuestionAsked(question="Which format?", choices=("CSV", "JSON")),
    e.QuestionAnswered(text="CSV", by=MIA),
    COMMITTED,
    e.EffectIntended(key="k", effect=e.EffectKind.PUSH, subject="agent/1"),
    e.EffectDone(key="k", effect=e.EffectKind.PUSH, result="pushed", found=True),
    e.EffectFailed(key="k", effect=e.EffectKind.NOTE, problem="It is down.", retry_in=None),
    e.PipelineSeen(
        commit=CommitSha("d" * 40),
        pipeline=PIPELINE,
        judgement=Judgement(verdict=Verdict.RED, sentence="Pipeline #7 failed in `lint`."),
    ),
    e.PipelineTriaged(
        pipeline=7, jobs=(Triage(job=LINT, blame=Blame.OURS, sentence="The change broke it."),)
    ),
    e.FixStarted(attempt=1, attempts=3, pipeline=7, jobs=("lint",)),
    e.JobRehearsed(
        attempt=1, job="lint", tree=TreeSha("c" * 40), exit_code=0, seconds=0.5, output=BODY
    ),
    e.MismatchFound(what="twice", reason="Two merge requests are open.", iids=(1, 2)),
    e.ChangeJudged(
        tree=TreeSha("c" * 40),
        violations=(Violation(rule="size", path="a.py", line=0, detail="is large"),),
    ),
    e.PushHeld(
        tree=TreeSha("c" * 40),
        violations=(Violation(rule="path", path=".gitlab-ci.yml", line=0, detail="is protected"),),
    ),
    e.HoldLifted(tree=TreeSha("c" * 40), by=MIA),
    e.HoldRefused(by=MIA, reason="You asked for this change yourself.", hold=4),
    e.HoldReminded(hold=4),
    e.TakenOver(by=MIA),
    e.RunFrozen(
        freeze=Freeze(scope="", by=MIA, reason="red", at=datetime(2026, 5, 4, tzinfo=UTC)),
        status=RunStatus.WORKING,
    ),
    e.RunThawed(),
    e.DeliveryBegun(number=1, kind="promotion", source="develop", target="main", by=MIA),
    e.GateOpened(gate=GATE),
    e.GateVoted(gate=GATE.id, by=MIA),
    e.GateRefused(
        gate=GATE.id, by=MIA, deed="approve", check="involved", reason="You asked for it yourself."
    ),
    e.GateReminded(gate=GATE.id),
    e.GateClosed(gate=GATE.id, outcome="rejected", by=MIA, reason="Not before the audit."),
    e.TargetSeen(
        delivery=1,
        merged=CommitSha("d" * 40),
        pipeline=PIPELINE,
        judgement=Judgement(verdict=Verdict.RED, sentence="Pipeline #7 failed in `lint`."),
    ),
    e.DeploymentSeen(delivery=1, environment="production", job=LINT),
    e.DeliveryEnded(number=1, outcome="broken", reason="The pipeline of main failed."),
    e.StopAsked(by=MIA, how="menu"),
    e.RunEnded(status=RunStatus.SUCCEEDED, summary="Done."),
]


def event(payload: e.Payload, seq: int = 1) -> e.RunEvent:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return e.RunEvent(run=RunId(1), seq=seq, at=at, actor="worker", payload=payload, hash="")


def test_every_kind_of_event_has_a_sample_here():
    assert {type(p) for p in PAYLOADS} == set(get_args(e.Payload))


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda p: type(p).__name__)
def test_every_event_is_told_in_words(payload: e.Payload):
    (row,) = rows([event(payload)])
    assert row.title
    assert "None" not in row.title + row.text
    assert "Digest" not in row.text


def test_failing_tests_stand_out_and_name_the_counts():
    (row,) = rows([event(e.TestsRan(report=REPORT, where="change"))])
    assert row.tone == "bad"
    assert "2 passed, 1 failed" in row.text


def test_a_checkpoint_that_changed_nothing_offers_no_difference():
    (row,) = rows([event(e.CheckpointTaken(tree=TreeSha("c" * 40), patch=BODY, files=()))])
    assert row.folded == ()


def test_the_head_of_a_page_lists_each_pipeline_and_what_was_done():
    red = job("lint", "failed")
    run = state(
        *published(),
        seen(Verdict.RED, red, job("unit")),
        e.FixStarted(attempt=1, attempts=3, pipeline=7, jobs=("lint",)),
        *again(),
        seen(Verdict.GREEN, job("lint"), number=8, commit="c3" * 20),
    )
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", Pages().head(run))
    told = [re.sub(r"<[^>]*>", "", cell) for cell in cells]
    assert told[-10:] == [
        *("#7", "a1a1a1a1", "Red", "lint", "Fix attempt 1 of 3, passed in c3c3c3c3"),
        *("#8", "c3c3c3c3", "Green", "–", "–"),
    ]


def test_a_delivery_is_listed_and_its_gate_is_where_the_card_leads():
    lee = Person(id="U9", name="lee")
    log = state(
        e.DeliveryBegun(number=1, kind="promotion", source="develop", target="main", iid=318),
        e.GateOpened(gate=GATE),
        e.GateClosed(gate=GATE.id, outcome="approved", by=lee),
        e.EffectDone(key="m", effect=e.EffectKind.MERGE, result="", commit=CommitSha("e" * 40)),
    )
    page = Pages().run(log, [])
    text = " ".join(re.sub("<[^>]*>", " ", page).split())
    assert "promotion main eeeeeeee main approved by lee on its way" in text
    assert 'href="#gate-7f7f7f7f"' in page
    (row,) = rows([event(e.GateOpened(gate=GATE))])
    assert row.anchor == "gate-7f7f7f7f"
    assert "decided by a maintainer of platform/api" in row.text


def test_a_commit_tells_how_much_of_it_the_run_had_been_shown():
    def changed(path: str, status: str = "modified") -> e.FileChange:
        return e.FileChange(path=path, status=status, added=1, removed=0)

    files = (changed("a.py"), changed("far.py"), changed("new.py", "added"))
    commit = replace(COMMITTED, files=files)
    *_, found, row = rows([event(RETRIEVED), event(commit)])
    assert "a.py:3-9 add — 1.20 (words 0.90)" in found.text
    assert "b.py:1-4 — 0.00 (words 0.00, named, history 0.50, not in full)" in found.text
    told = "1 of 2 changed files was among the 2 places that the run was shown"
    assert f"{told}: a.py." in row.text
    far = replace(COMMITTED, files=(changed("far.py"),))
    *_, row = rows([event(RETRIEVED), event(far)])
    assert "0 of 1 changed file was among the 2 places that the run was shown." in row.text
    (alone,) = rows([event(commit)])
    assert "among" not in alone.text


def test_a_run_without_an_index_says_so():
    late = replace(RETRIEVED, state="late", places=(), problem="It is still being made.")
    (row,) = rows([event(late)])
    assert row.title == "The index was not ready, for the plan"
    assert row.text == "It is still being made. The model has exact search."


@pytest.mark.parametrize(("meaning", "shown"), [("", "12 ms"), ("embedded", "12 ms, embedded")])
def test_how_far_places_rest_on_embeddings_is_shown(meaning: str, shown: str) -> None:
    _, text, _, _ = told(replace(RETRIEVED, meaning=meaning))
    assert text.splitlines()[0].endswith(shown)
