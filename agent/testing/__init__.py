"""Stand-ins for tests: a model that says what it is told, a GitLab in memory, and a clock that
stands still."""

from agent.testing.clock import FixedClock
from agent.testing.forge import FakeForge, Fault
from agent.testing.model import Reply, ScriptedModel, call, say

__all__ = ["FakeForge", "Fault", "FixedClock", "Reply", "ScriptedModel", "call", "say"]
