"""Reading, and deciding what to do: until a plan stands, or the question is answered."""

from __future__ import annotations

from agent.compaction import plan_text
from agent.events import RunEnded
from agent.grounding import ground_plan
from agent.limits import only_plan
from agent.loop import converse
from agent.ports import Message
from agent.prompt import RULES, first_message, orientation, rules_text, system_prompt
from agent.run import RunStatus
from agent.work import Work


async def plan(work: Work) -> None:
    if not work.context.messages:
        await begin(work)
    await converse(work, until=lambda state: state.plan is not None)
    if work.state.status is not RunStatus.PLANNING:
        return
    if only_plan(work.state):
        answer = plan_text(work.state.plan)
        summary = "Only a plan was asked for; nothing was changed."
        end = RunEnded(status=RunStatus.SUCCEEDED, summary=summary, answer=answer)
        await work.journal.write(end)
    else:
        await work.journal.move(RunStatus.WORKING)


async def begin(work: Work) -> None:
    """The system prompt, the same for all, then everything that is particular to this run."""
    state = work.state
    rules = [("settings", work.project.rules)]
    for name in (name for name in RULES if name in work.paths):
        data = await work.vault.read(work.base, name)
        rules.append((name, (data or b"").decode("utf-8", "replace")))
    first = first_message(
        run=state.run,
        request=state.request,
        branch=work.branch,
        commit=work.base,
        orientation=orientation(work.paths, work.tests.text if work.tests else ""),
        rules=rules_text(rules),
        code=await ground_plan(work),
    )
    work.context.append(Message(role="system", content=system_prompt()))
    work.context.append(Message(role="user", content=first))
