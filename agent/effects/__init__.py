"""Carries out what runs want done to GitLab: intent, act, outcome; and once only.

A worker proposes. Here, where the write credential is, everything is derived again from the
run's own log: project, branch, base branch, commit, text. Before anything is done, the log says
so; where it said so already, what stands there is read back instead of doing it twice.
"""

from agent.effects.executor import EffectExecutor

__all__ = ["EffectExecutor"]
