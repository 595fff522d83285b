"""`update_plan`, `ask` and `finish`: where the model tells people something."""

from __future__ import annotations

from agent.errors import ToolFailed
from agent.events import PlanMade, QuestionAsked
from agent.plan import Plan, PlanStep, StepStatus
from agent.ports import ToolSpec
from agent.prompt import clean
from agent.tools.base import (
    Arguments,
    Ask,
    BadArguments,
    Finish,
    Tool,
    ToolContext,
    ToolOutcome,
    schema,
)

STEPS = 12
CHOICES = 4
TITLE = 120  #: characters of a step's title


async def update_plan(context: ToolContext, arguments: Arguments) -> ToolOutcome:
    steps = tuple(_step(item) for item in arguments.items("steps"))
    if not 1 <= len(steps) <= STEPS:
        raise BadArguments(f"A plan has 1 to {STEPS} steps.")
    before = context.state.plan
    files = arguments.texts("files") or (before.files if before else ())
    assumptions = arguments.texts("assumptions") or (before.assumptions if before else ())
    plan = Plan(
        steps=steps,
        files=tuple(clean(f)[:200] for f in files[:30]),
        assumptions=tuple(clean(a)[:300] for a in assumptions[:8]),
    )
    told = "Plan noted." if before else "Plan noted; files can be edited and commands run now."
    if plan == before:
        told, payloads = "The plan is unchanged.", ()
    else:
        payloads = (PlanMade(plan=plan),)
    return ToolOutcome(
        output=told, summary=f"{plan.done} of {len(steps)} steps done", payloads=payloads
    )


def _step(item: Arguments) -> PlanStep:
    status = item.text("status", "pending")
    if status not in set(StepStatus):
        raise BadArguments(f"`status` must be one of {', '.join(StepStatus)}.")
    title = " ".join(clean(item.text("title")).split())
    note = " ".join(clean(item.text("note", "")).split())
    return PlanStep(title=title[:TITLE], status=StepStatus(status), note=note[:TITLE])


async def ask(context: ToolContext, arguments: Arguments) -> ToolOutcome:
    question = clean(arguments.text("question")).strip()
    choices = tuple(clean(choice).strip()[:75] for choice in arguments.texts("choices"))
    if len(choices) > CHOICES:
        raise ToolFailed(f"At most {CHOICES} choices; leave the rest out or ask openly.")
    if context.answer is not None:
        said = context.answer
        return ToolOutcome(
            output=f"{clean(said.by.name)} ({said.by.id}) answers: {clean(said.text)}",
            summary="answered",
        )
    asked = QuestionAsked(question=question[:1000], choices=tuple(c for c in choices if c))
    return ToolOutcome(output="", summary="asked", signal=Ask(question=asked))


async def finish(context: ToolContext, arguments: Arguments) -> ToolOutcome:
    signal = Finish(
        summary=clean(arguments.text("summary")).strip(),
        answer=clean(arguments.text("answer", "")).strip(),
    )
    if not signal.answer and context.state.plan is None:
        raise ToolFailed("There is no plan yet. Call `update_plan`, or give an `answer`.")
    return ToolOutcome(output="Noted.", summary="finished", signal=signal)


_STEPS = {
    "type": "array",
    "items": schema(
        "title status",
        title="string",
        status={"enum": [str(status) for status in StepStatus]},
        note="string",
    ),
}
_TEXTS = {"type": "array", "items": {"type": "string"}}

UPDATE_PLAN = Tool(
    spec=ToolSpec(
        name="update_plan",
        description="Show people the plan, whole, with what is done. "
        "files: likely touched. assumptions: what you took for granted. note: short outcome.",
        parameters=schema("steps", steps=_STEPS, files=_TEXTS, assumptions=_TEXTS),
    ),
    act=update_plan,
    early=True,
)
ASK = Tool(
    spec=ToolSpec(
        name="ask",
        description="Ask the requester one question; the run waits for the answer.",
        parameters=schema("question", question="string", choices=_TEXTS | {"maxItems": CHOICES}),
    ),
    act=ask,
    early=True,
)
FINISH = Tool(
    spec=ToolSpec(
        name="finish",
        description="The work is done. summary: for the reviewer; its first line, at most 70 "
        "characters, is the title. "
        "answer: reply to a question that needed no change.",
        parameters=schema("summary", summary="string", answer="string"),
    ),
    act=finish,
    early=True,
)
