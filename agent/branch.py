"""What of a run's work stands where people can see it."""

from __future__ import annotations

from agent.events import Committed, EffectFailed
from agent.intents import Intent, PublishMergeRequest, Push
from agent.work import Hold


def wanted(work: Hold, commit: Committed) -> tuple[Intent, ...]:
    """What makes a commit public."""
    push = Push(commit=commit.commit)
    if work.project.local:
        return (push,)
    return (push, PublishMergeRequest(commit=commit.commit))


def published(work: Hold) -> Committed | None:
    """The newest commit that people have in front of them."""
    done = {effect.key for effect in work.state.done_effects}
    run = work.state.run
    for commit in reversed(work.state.commits):
        if all(intent.key(run) in done for intent in wanted(work, commit)):
            return commit
    return None


def on_branch(work: Hold) -> Committed | None:
    """The newest commit that stands on the run's branch, or is about to."""
    state = work.state
    failed = failures(work)
    for commit in reversed(state.commits):
        if Push(commit=commit.commit).key(state.run) not in failed:
            return commit
    return None


def failures(work: Hold) -> dict[str, str]:
    """Effects that failed for good, by their key, and why."""
    return {
        event.payload.key: event.payload.problem
        for event in work.journal.events
        if isinstance(event.payload, EffectFailed) and event.payload.retry_in is None
    }
