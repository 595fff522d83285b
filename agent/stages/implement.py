"""Editing and trying, until the model holds that the work is done."""

from __future__ import annotations

from agent.loop import converse
from agent.work import Work


async def implement(work: Work) -> None:
    await converse(work)
