"""The harness runs the project's tests on the change; the model's word counts for nothing."""

from __future__ import annotations

from dataclasses import replace

from agent.errands import refusals
from agent.events import HealStarted, TestsRan
from agent.harness import printed
from agent.rehearsal import rehearse, telling
from agent.report import names, report_on
from agent.run import RunStatus
from agent.stages.keep import end
from agent.verdict import regressions
from agent.work import Work

SAID = 3  #: refusals in the last word of a run
UNTESTED = "No tests were found in this project; nothing was tested."


async def verify(work: Work) -> None:
    state = work.state
    if state.checkpoint is None:
        await work.journal.move(RunStatus.PUBLISHING)
        return
    harness = (await work.desk()).harness
    tests = await harness.test()
    work.dirty = True  # tests leave files behind
    if tests is None:
        await _pass(work, UNTESTED)
        return
    report = replace(tests.report, tree=state.checkpoint.tree)
    ran = TestsRan(report=report, where="change")
    await work.journal.write(ran, bodies=[printed(tests)])
    base = await harness.baseline()
    failing = regressions(base, report)
    if not failing:
        await _pass(work, UNTESTED if report.no_tests else "")
    elif not await _heal(work, failing=names(failing)):
        reason = f"The tests still fail after {len(state.heals)} attempts to repair the change."
        await end(work, RunStatus.ESCALATED, reason, escalation=report_on(work, reason))


async def _heal(
    work: Work, *, failing: tuple[str, ...] = (), refused: tuple[str, ...] = ()
) -> bool:
    """Back to the model; False when that was done as often as may be."""
    made, limit = len(work.state.heals), work.state.limits.heal_attempts
    if made < limit:
        heal = HealStarted(attempt=made + 1, attempts=limit, failing=failing, refused=refused)
        await work.journal.write(heal, status=RunStatus.WORKING)
    return made < limit


async def _pass(work: Work, reason: str) -> None:
    """On to the push; after a red pipeline its jobs are tried here first."""
    if refused := await refusals(work):
        if not await _heal(work, refused=refused):
            told = f"After {len(work.state.heals)} attempts it is still not what was asked for:"
            told = f"{told} {' '.join(refused[:SAID])}"
            await end(work, RunStatus.ESCALATED, told, escalation=report_on(work, told))
        return
    if any(telling(tried) for tried in await rehearse(work)):
        await work.journal.move(RunStatus.WORKING)
    else:
        await work.journal.move(RunStatus.PUBLISHING, reason)
