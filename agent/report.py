"""The escalation report: what was tried, what still fails, and what was not tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent.events import (
    Attempt,
    Committed,
    Escalation,
    FixStarted,
    PipelineTriaged,
    RunEnded,
    TestsRan,
    ToolReturned,
)
from agent.finish import finish_of, last_finish
from agent.plan import StepStatus
from agent.prompt import clean, cut
from agent.state import RunState
from agent.testreport import TestCase
from agent.tools.base import Finish
from agent.verdict import regressions
from agent.work import Hold, Work

NAMED = 20  #: failing tests that a fact names
CAUSE = 600  #: characters of the model's last words


def names(cases: tuple[TestCase, ...]) -> tuple[str, ...]:
    return tuple(case.id for case in cases[:NAMED])


def report_on(work: Work, reason: str) -> Escalation:
    """For the person who takes over, after tests that still fail or a limit that was reached."""
    return _escalation(work.state, reason, _attempts(work), last_finish(work.context.messages))


def fix_report(work: Hold, reason: str, said: Finish | None) -> Escalation:
    """The same after a pipeline that still fails."""
    return _escalation(work.state, reason, _fixes(work), said)


def _escalation(
    state: RunState, reason: str, attempts: Sequence[Attempt], said: Finish | None
) -> Escalation:
    """The cause is the model's own guess, and called so."""
    guess = cut(clean(said.summary), CAUSE) if said else ""
    left = (
        [s.title for s in state.plan.steps if s.status is not StepStatus.COMPLETE]
        if state.plan
        else []
    )
    return Escalation(
        reason=reason,
        attempts=tuple(attempts),
        likely_cause=f"The model's last words, unchecked: {guess}" if guess else "",
        not_tried=f"Steps of the plan left open: {'; '.join(left)}." if left else "",
    )


def _attempts(work: Work) -> list[Attempt]:
    """One for each run of the tests on the change since people last set the run going."""
    attempts: list[Attempt] = []
    tried = ""
    for event in work.journal.events:
        match event.payload:
            case ToolReturned(tool="finish", ok=True, arguments=arguments):
                tried = finish_of(arguments).summary
            case TestsRan(where="change", report=report):
                failing = names(regressions(work.state.tests_base, report))
                attempts.append(
                    Attempt(
                        number=len(attempts) + 1,
                        failing=failing,
                        tried=cut(tried, 300),
                        tree=report.tree,
                    )
                )
            case RunEnded():
                attempts = []
            case _:
                pass
    return attempts


def _fixes(work: Hold) -> list[Attempt]:
    """One for each fix since people last set the run going: what it came to, and what was red
    after it."""
    attempts: list[Attempt] = []
    for event in work.journal.events:
        newest = attempts[-1] if attempts else None
        match event.payload:
            case FixStarted(attempt=number, jobs=jobs):
                attempts.append(Attempt(number=number, failing=jobs, tried=""))
            case ToolReturned(tool="finish", ok=True, arguments=arguments) if newest:
                attempts[-1] = replace(newest, tried=cut(finish_of(arguments).summary, 300))
            case Committed(tree=tree) if newest:
                attempts[-1] = replace(newest, tree=tree)
            case PipelineTriaged(jobs=judged) if newest and newest.tree:
                red = tuple(each.job.name for each in judged)
                attempts[-1] = replace(newest, failing=red[:NAMED])
            case RunEnded():
                attempts = []
            case _:
                pass
    return attempts
