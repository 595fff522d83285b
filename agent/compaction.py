"""When the prompt nears the model's window: what stands, said in short by the harness."""

from __future__ import annotations

from collections.abc import Sequence

from agent.context import Context
from agent.events import FileChange
from agent.plan import Plan
from agent.ports import Message
from agent.prompt import clean, cut, fill
from agent.state import RunState
from agent.tools.run import counts
from agent.work import Work

KEPT = 3  #: newest answers that stay, with their results
KEPT_CHARACTERS = 4_000  #: of each result that stays


def full(context: Context, window: int) -> bool:
    """An answer and a large result must still fit."""
    return context.tokens() > window - max(4_096, min(24_000, window // 5))


def compacted(work: Work) -> list[Message]:
    """System prompt, first message, a summary, and the newest answers with their results."""
    messages = work.context.messages
    told = Message(role="user", content=summary(work.state))
    tail = [_short(message) for message in _newest(messages[2:])]
    return [*messages[:2], told, *tail]


def summary(state: RunState) -> str:
    report = state.tests_during
    followups = [f"- {clean(f.given.by.name)}: {clean(f.given.text)}" for f in state.followups]
    return fill(
        "compacted.md",
        plan=plan_text(state.plan),
        files=files_text(state.checkpoint.files if state.checkpoint else ()),
        tests=f"{report.command}: {counts(report)}" if report else "none yet",
        followups=cut("\n".join(followups), 4_000) or "nothing",
    )


def plan_text(plan: Plan | None) -> str:
    if plan is None:
        return "none yet"
    steps = [f"- [{step.status}] {step.title}" for step in plan.steps]
    return "\n".join([*steps, *(f"Assumed: {text}" for text in plan.assumptions)])


def files_text(files: Sequence[FileChange]) -> str:
    rows = [f"{f.status} {clean(f.path)} +{f.added} -{f.removed}" for f in files[:60]]
    if len(files) > len(rows):
        rows.append(f"and {len(files) - len(rows)} more")
    return "\n".join(rows) or "none"


def _newest(messages: Sequence[Message]) -> list[Message]:
    """From the start of one of the last answers on, so that no result loses its call."""
    answers = [i for i, message in enumerate(messages) if message.role == "assistant"]
    return list(messages[answers[-KEPT:][0] :]) if answers else list(messages)


def _short(message: Message) -> Message:
    if message.role == "assistant" or message.content is None:
        return message
    return Message(
        role=message.role,
        content=cut(message.content, KEPT_CHARACTERS),
        tool_call_id=message.tool_call_id,
    )
