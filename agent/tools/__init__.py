"""What the model may call."""

from __future__ import annotations

from agent.tools.base import Tool
from agent.tools.edit import EDIT, WRITE
from agent.tools.plan import ASK, FINISH, UPDATE_PLAN
from agent.tools.read import READ
from agent.tools.run import RUN, RUN_TESTS
from agent.tools.search import SEARCH

#: In fixed order: the tools are part of the prompt, and the same bytes for every run.
TOOLS: tuple[Tool, ...] = (
    SEARCH, READ, EDIT, WRITE, RUN, RUN_TESTS, UPDATE_PLAN, ASK, FINISH,
)  # fmt: skip
BY_NAME = {tool.name: tool for tool in TOOLS}
