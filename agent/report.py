"""The escalation report: what was tried, what still fails, and what was not tried."""

from __future__ import annotations

from agent.events import Attempt, Escalation, RunEnded, TestsRan, ToolReturned
from agent.finish import finish_of, last_finish
from agent.plan import StepStatus
from agent.prompt import clean, cut
from agent.testreport import TestCase
from agent.verdict import regressions
from agent.work import Work

NAMED = 20  #: failing tests that a fact names
CAUSE = 600  #: characters of the model's last words


def names(cases: tuple[TestCase, ...]) -> tuple[str, ...]:
    return tuple(case.id for case in cases[:NAMED])


def report_on(work: Work, reason: str) -> Escalation:
    """For the person who takes over. The cause is the model's own guess, and called so."""
    said = last_finish(work.context.messages)
    guess = cut(clean(said.summary), CAUSE) if said else ""
    plan = work.state.plan
    left = [s.title for s in plan.steps if s.status is not StepStatus.COMPLETE] if plan else []
    return Escalation(
        reason=reason,
        attempts=tuple(_attempts(work)),
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
