"""What a person has to accept before it is pushed."""

from __future__ import annotations

from agent.events import ChangeJudged, PushHeld
from agent.judge import judge, lifted
from agent.run import RunStatus
from agent.stages.keep import end
from agent.work import Work


async def check(work: Work) -> bool:
    """May the newest checkpoint be pushed? Where not, the run waits for a person, or has ended."""
    checkpoint = work.state.checkpoint
    if checkpoint is None:
        return True
    judged = await judge(work)
    if judged.credential:
        await end(work, RunStatus.ESCALATED, "")
        return False
    if not judged.violations or lifted(work, checkpoint.tree):
        return True
    if work.project.local:
        fact = ChangeJudged(tree=checkpoint.tree, violations=judged.violations)
        await work.journal.write(fact)
        return True
    if not work.state.request.thread.channel:
        await end(work, RunStatus.ESCALATED, "")  # nobody is there to accept it
        return False
    held = PushHeld(
        tree=checkpoint.tree,
        violations=judged.violations,
        self_accept=work.project.self_accept,
    )
    await work.journal.write(held, status=RunStatus.WAITING_FOR_ANSWER)
    return False
