"""Logs of runs, to render."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from agent import events as e
from agent.pipeline import Blame, Job, Judgement, Pipeline, Triage, Verdict
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
from agent.state import RunState, fold
from agent.testreport import CaseStatus, TestCase, TestReport

MIA = Person(id="U0MIA", name="mia", gitlab_id=2)
SAM = Person(id="U0SAM", name="sam", gitlab_id=3)
START = datetime(2026, 9, 22, 10, 22, tzinfo=UTC)
NOTHING = Digest("0" * 64)
FILES = (
    e.FileChange(path="api/invoices.py", status="modified", added=90, removed=8),
    e.FileChange(path="tests/test_export.py", status="added", added=53, removed=0),
)
URL = "https://gitlab.example/platform/api/-/merge_requests/318"


def request(text: str = "add endpoint for invoices export", **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "text": text,
        "project": "platform/api",
        "base_branch": None,
        "requester": MIA,
        "thread": Thread(team="T1", channel="C1", ts="1790000000.000100"),
        "message": "1790000000.000100",
    }
    return Request(**(fields | changes))


def state(*payloads: e.Payload, asked: Request | None = None) -> RunState:
    """The state of run 42 after these facts."""
    return fold(happened(*payloads, asked=asked))


def happened(*payloads: e.Payload, asked: Request | None = None) -> list[e.RunEvent]:
    """The log of run 42, half a minute between two facts."""
    first = e.RunAccepted(request=asked or request(), limits=Limits())
    return [
        e.RunEvent(
            run=RunId(42),
            seq=seq,
            at=START + timedelta(seconds=30 * (seq - 1)),
            actor="worker",
            payload=payload,
            hash="",
        )
        for seq, payload in enumerate((first, *payloads), 1)
    ]


def moved(status: RunStatus, reason: str = "") -> e.StatusChanged:
    return e.StatusChanged(status=status, reason=reason)


def ready() -> e.WorkspaceReady:
    return e.WorkspaceReady(base=CommitSha("9f3c2ab" + "0" * 33), branch="main", files=9, seconds=1)


def plan(done: int, *titles: str) -> e.PlanMade:
    steps = [
        PlanStep(
            title=title,
            status=StepStatus.COMPLETE
            if number < done
            else StepStatus.IN_PROGRESS
            if number == done
            else StepStatus.PENDING,
            note="3 files changed" if number < done else "",
        )
        for number, title in enumerate(titles or ("Read the router", "Add the route", "Test it"))
    ]
    return e.PlanMade(
        plan=Plan(
            steps=tuple(steps),
            files=("api/invoices.py", "tests/test_export.py"),
            assumptions=("Drafts stay inside.",),
        )
    )


def answered(money: float = 0.92) -> e.ModelAnswered:
    usage = Usage(steps=1, prompt_tokens=180_000, completion_tokens=4_000, money=money)
    return e.ModelAnswered(call=1, message=NOTHING, usage=usage, model="gpt-5.2", finish="stop")


def report(failing: Sequence[str] = (), passed: int = 212) -> TestReport:
    cases = tuple(TestCase(id=name, status=CaseStatus.FAILED) for name in failing)
    return TestReport(
        command="pytest",
        tree=None,
        passed=passed,
        failed=len(failing),
        cases=cases,
        exit_code=1 if failing else 0,
    )


def ran(where: Any = "change", failing: Sequence[str] = (), passed: int = 212) -> e.TestsRan:
    return e.TestsRan(report=report(failing, passed), where=where)


def published() -> tuple[e.Payload, ...]:
    return (
        e.Committed(
            commit=CommitSha("a1" * 20),
            tree=TreeSha("b2" * 20),
            files=FILES,
            title="Add invoices export",
        ),
        e.EffectDone(key=f"42:push:{'a1' * 20}", effect=e.EffectKind.PUSH, result="pushed a1a1a1a"),
        e.EffectDone(
            key=f"42:merge_request:{'a1' * 20}",
            effect=e.EffectKind.OPEN_MERGE_REQUEST,
            result="!318",
            url=URL,
            iid=318,
        ),
    )


def tool(summary: str) -> e.ToolReturned:
    return e.ToolReturned(
        call=1,
        id="1",
        tool="run",
        arguments="{}",
        ok=True,
        summary=summary,
        output=NOTHING,
        seconds=1,
    )


FORGE = "https://gitlab.example/platform/api/-"


def job(name: str, status: str = "success", **changes: Any) -> Job:
    number = 90 + len(name)
    fields: dict[str, Any] = {
        "id": number,
        "name": name,
        "stage": "check",
        "status": status,
        "url": f"{FORGE}/jobs/{number}",
    }
    return Job(**(fields | changes))


def seen(
    verdict: Verdict, *jobs: Job, number: int = 7, commit: str = "a1" * 20, sentence: str = ""
) -> e.PipelineSeen:
    pipeline = Pipeline(
        id=number,
        sha=CommitSha(commit),
        ref="agent/42",
        source="push",
        status=verdict.value,
        url=f"{FORGE}/pipelines/{number}",
        jobs=jobs,
    )
    return e.PipelineSeen(
        commit=CommitSha(commit),
        pipeline=pipeline if verdict not in (Verdict.AWAITED, Verdict.ABSENT) else None,
        judgement=Judgement(verdict=verdict, sentence=sentence or f"Pipeline #{number} {verdict}."),
    )


def triaged(blame: Blame, job: Job, sentence: str, excerpt: str = "", number: int = 7) -> e.Payload:
    found = Triage(job=job, blame=blame, sentence=sentence, excerpt=excerpt)
    return e.PipelineTriaged(pipeline=number, jobs=(found,))


def again(commit: str = "c3" * 20) -> tuple[e.Payload, ...]:
    """One more commit, published."""
    return (
        e.Committed(
            commit=CommitSha(commit),
            tree=TreeSha(commit),
            files=FILES,
            title="Add invoices export",
        ),
        e.EffectDone(key=f"42:push:{commit}", effect=e.EffectKind.PUSH, result="pushed"),
        e.EffectDone(
            key=f"42:merge_request:{commit}",
            effect=e.EffectKind.UPDATE_MERGE_REQUEST,
            result="!318",
            url=URL,
            iid=318,
        ),
    )
