"""Editing and trying, until the model holds that the work is done."""

from __future__ import annotations

from agent.loop import converse
from agent.stages.plan import begin
from agent.work import Work


async def implement(work: Work) -> None:
    if not work.context.messages:  # a night's change, of which no model knows yet
        await begin(work)
    await converse(work)
