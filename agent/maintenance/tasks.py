"""The tasks that a night knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from agent.maintenance.coverage.task import cover
from agent.maintenance.dependencies.task import dependencies
from agent.maintenance.lint.task import lint
from agent.maintenance.night import Task, TaskReport
from agent.maintenance.workshop import Night

#: Raises `JourneymanError` only for what is wrong on our side, such as a sandbox that is missing.
Run = Callable[[Night], Awaitable[TaskReport]]

TASKS: Mapping[Task, Run] = MappingProxyType(
    {Task.LINT: lint, Task.DEPENDENCIES: dependencies, Task.TESTS: cover}
)
