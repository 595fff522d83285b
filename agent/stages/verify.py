"""The harness runs the project's tests on the change; the model's word counts for nothing."""

from __future__ import annotations

from dataclasses import replace

from agent.events import Attempt, Escalation, HealStarted, RunEnded, TestsRan, ToolReturned
from agent.finish import finish_of, last_finish
from agent.harness import printed
from agent.plan import StepStatus
from agent.prompt import clean, cut
from agent.run import RunStatus
from agent.stages.keep import end
from agent.testreport import TestCase
from agent.verdict import regressions
from agent.work import Work

NAMED = 20  #: failing tests that an event names
UNTESTED = "No tests were found in this project; nothing was tested."
CAUSE = 600  #: characters of the model's last words


async def verify(work: Work) -> None:
    state = work.state
    if state.checkpoint is None:
        await work.journal.move(RunStatus.PUBLISHING)
        return
    tests = await work.harness.test()
    work.dirty = True  # tests leave files behind
    if tests is None:
        await work.journal.move(RunStatus.PUBLISHING, UNTESTED)
        return
    report = replace(tests.report, tree=state.checkpoint.tree)
    ran = TestsRan(report=report, where="change")
    await work.journal.write(ran, bodies=[printed(tests)])
    base = await work.harness.baseline()
    failing = regressions(base, report)
    if not failing:
        await work.journal.move(RunStatus.PUBLISHING, UNTESTED if report.no_tests else "")
    elif len(state.heals) < state.limits.heal_attempts:
        heal = HealStarted(
            attempt=len(state.heals) + 1,
            attempts=state.limits.heal_attempts,
            failing=names(failing),
        )
        await work.journal.write(heal, status=RunStatus.WORKING)
    else:
        reason = f"The tests still fail after {len(state.heals)} attempts to repair the change."
        await end(work, RunStatus.ESCALATED, reason, escalation=report_on(work, reason))


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
