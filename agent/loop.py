"""The step loop: ask the model, carry out its tool calls, observe."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from agent.compaction import compacted, full
from agent.errors import ContextOverflow, LimitReached, ModelRejected, ModelUnavailable
from agent.events import (
    ContextCompacted,
    InstructionTaken,
    ModelAnswered,
    ModelAsked,
    ModelFailed,
)
from agent.guards import nudge, stuck
from agent.hands import carry_out
from agent.journal import digest_of
from agent.limits import check
from agent.ports import Answer, Message
from agent.project import ProjectSettings
from agent.prompt import clean
from agent.run import RunStatus
from agent.state import RunState
from agent.tools import TOOLS
from agent.words import words_of_the_harness
from agent.work import Work

SPECS = tuple(tool.spec for tool in TOOLS)
ATTEMPTS = 5
WAITS = (2.0, 8.0, 30.0, 120.0)  #: seconds before the second, third … attempt


async def converse(work: Work, until: Callable[[RunState], bool] = lambda state: False) -> None:
    """Goes on until a tool call moves the run to another status, or `until` says so."""
    status = work.state.status
    while True:
        await carry_out(work)
        if work.state.status is not status or until(work.state):
            return
        await ask(work)


async def ask(work: Work) -> None:
    """One model call. The work tree is saved while the model answers."""
    await work.journal.refresh()
    check(work)
    taken = await take_in(work)
    if reason := stuck(work.context.messages):
        raise LimitReached(reason, limit="repetition")
    if full(work.context, work.model.window_of(wanted(work.state, work.project))):
        await compact(work)
    async with work.saving():
        answer = await _answer(work, taken)
        await observe(work, answer)


def wanted(state: RunState, project: ProjectSettings) -> str | None:
    """The model's name: who asks decides, then the project, then what is to be done."""
    if named := state.request.model or project.model:
        return named
    if state.status is RunStatus.PLANNING:
        return project.model_plan
    return project.model_repair if state.heals or state.fixes else None


async def take_in(work: Work) -> tuple[InstructionTaken, ...]:
    """Appends what people and the harness have to say since the last answer."""
    context, state = work.context, work.state
    for text in await words_of_the_harness(work):
        context.append(Message(role="user", content=text))
    taken: list[InstructionTaken] = []
    for followup in state.waiting_followups:
        by = followup.given.by
        text = f"{clean(by.name)} ({by.id}) adds:\n{clean(followup.given.text)}"
        context.append(Message(role="user", content=text))
        taken.append(InstructionTaken(given=followup.seq, step=state.calls + 1))
    if text := nudge(context.messages, _last_finish(work)):
        context.append(Message(role="user", content=text))
    return tuple(taken)


async def observe(work: Work, answer: Answer) -> None:
    """Stores the answer, and the checkpoint before any tool of it runs."""
    message = answer.message
    if message.content is None and not message.tool_calls:
        message = replace(message, content="")  # the API takes no answer without either
    body = work.context.answered(message, answer.usage.prompt_tokens)
    event = ModelAnswered(
        call=work.state.calls + 1,
        message=digest_of(body),
        usage=answer.usage,
        model=answer.model,
        finish=answer.finish,
    )
    saved = await work.saved()
    await work.journal.write(*saved.payloads, event, bodies=(*saved.bodies, body))
    if answer.finish == "content_filter":
        said = clean(answer.message.content or "").strip()[:300]
        raise ModelRejected(f"The model declined to go on{f': {said}' if said else '.'}")


async def _answer(work: Work, taken: tuple[InstructionTaken, ...]) -> Answer:
    for last in (False, True):
        appended = work.context.take()
        asked = ModelAsked(
            call=work.state.calls + 1,
            appended=digest_of(appended.body),
            prefix=appended.prefix,
            messages=appended.messages,
        )
        await work.journal.write(asked, *taken, bodies=[appended.body])
        try:
            return await _patiently(work)
        except ContextOverflow:
            if last:
                raise
            await compact(work)
            taken = ()
    raise AssertionError("unreachable")


async def _patiently(work: Work) -> Answer:
    """Asks again when the provider does not answer; the thread shows each try."""
    model = wanted(work.state, work.project)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await work.model.complete(work.context.messages, SPECS, model=model)
        except ModelUnavailable as error:
            pause = None if attempt == ATTEMPTS else _pause(attempt, error.retry_after)
            failed = ModelFailed(
                call=work.state.calls + 1,
                problem=str(error),
                attempt=attempt,
                attempts=ATTEMPTS,
                retry_in=pause,
            )
            await work.journal.write(failed)
            if pause is None:
                raise ModelUnavailable(f"{error} It was asked {ATTEMPTS} times.") from error
            await work.clock.sleep(pause)
    raise AssertionError("unreachable")


def _pause(attempt: int, asked: float | None) -> float:
    jitter = random.uniform(0.8, 1.2)
    return round(max(WAITS[attempt - 1] * jitter, asked or 0.0), 1)


async def compact(work: Work) -> None:
    saved = await work.saved()
    if saved.payloads:
        await work.journal.write(*saved.payloads, bodies=saved.bodies)
    before = work.context.tokens()
    body = work.context.compact(compacted(work))
    event = ContextCompacted(
        before_tokens=before, after_tokens=work.context.tokens(), messages=digest_of(body)
    )
    await work.journal.write(event, bodies=[body])


def _last_finish(work: Work) -> str:
    for event in reversed(work.journal.events):
        if isinstance(event.payload, ModelAnswered):
            return event.payload.finish
    return ""
