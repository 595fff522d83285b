"""A night that turns the sum around.

As a program: `journeyman serve` that does such a night and hangs with the report in its hands.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from quick import quicken

import agent.maintenance.shift
from agent.adapters.postgres_nights import NightStore
from agent.maintenance.night import Group, Task, TaskReport
from agent.maintenance.workshop import Night

HAS_DONE = "the night is done, and not stored"


async def turned(night: Night) -> TaskReport:
    """What a fixer would do."""
    async with night.place(night.base) as place:
        await place.exec(["sed", "-i", "s/a + b/b + a/", "calc.py"])
        made = await night.collect(place)
    group = Group(
        title="Mend what can be mended",
        files=tuple(file.path for file in made.files),
        base=night.base,
        tree=made.tree,
        tests_before=await night.test(night.base),
        tests_after=await night.test(made.tree),
    )
    return TaskReport(task=Task.LINT, status="done", groups=(group,))


async def _hangs(self: NightStore, *_: Any) -> bool:
    print(HAS_DONE, flush=True)
    return await asyncio.Event().wait()


if __name__ == "__main__":
    from bot.cli import main

    quicken()
    agent.maintenance.shift.TASKS = {Task.LINT: turned}
    NightStore.finish = _hangs  # pyright: ignore[reportAttributeAccessIssue]
    sys.exit(main())
