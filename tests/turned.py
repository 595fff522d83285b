"""A night's task that turns the sum around."""

from __future__ import annotations

from agent.maintenance.night import Group, Task, TaskReport
from agent.maintenance.workshop import Night


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
