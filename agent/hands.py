"""Carries out the tool calls of the newest answer, in order."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any, cast

from agent.branch import published
from agent.context import unanswered
from agent.errors import NobodyThere, ToolFailed
from agent.events import (
    CheckpointTaken,
    ModelAnswered,
    QuestionAnswered,
    RunEnded,
    StatusChanged,
    ToolReturned,
    ToolStarted,
)
from agent.guards import INVALID
from agent.journal import digest_of
from agent.limits import only_plan
from agent.ports import Message, ToolCall
from agent.prompt import clean
from agent.run import RunStatus
from agent.tools import BY_NAME
from agent.tools.base import Arguments, Ask, BadArguments, Finish, ToolContext, ToolOutcome
from agent.work import Snapshot, Work

SLOW = 3.0  #: seconds after which a command is named while it runs
COMMANDS = ("run", "run_tests")
ARGUMENTS = 2_000  #: characters of a call's arguments that its event holds
UNCHANGED = (
    "Nothing was changed yet. Make the change, or call `finish` again: "
    "with `answer` if none is needed, else people are told that nothing was changed."
)
AFTER_FINISH = "Not carried out: the work was finished before."


async def carry_out(work: Work) -> None:
    """A call that asks people or finishes moves the run on, in the transaction of its result."""
    calls = unanswered(work.context.messages)
    ended = _ended_meanwhile(work)
    for call in calls:
        if ended:
            await _leave(work, call, f"Not carried out: the run had ended. {ended}")
            continue
        began = work.clock.monotonic()
        outcome = await _watched(work, call)
        seconds = work.clock.monotonic() - began
        match outcome.signal:
            case None:
                await _store(work, call, outcome, seconds, Snapshot())
            case Ask(question=question):
                if not work.state.request.thread.channel:
                    told = f"It asked, and at night nobody answers: {question.question}"
                    raise NobodyThere(told)
                saved = await work.snapshot()
                await work.journal.write(
                    *saved.payloads,
                    question,
                    bodies=saved.bodies,
                    status=RunStatus.WAITING_FOR_ANSWER,
                )
                return
            case Finish() as signal:
                if await _finish(work, call, outcome, signal, calls):
                    return


async def _watched(work: Work, call: ToolCall) -> ToolOutcome:
    """Says what is being waited for once a command takes a while."""
    deed = asyncio.create_task(perform(work, call))
    try:
        done, _ = await asyncio.wait({deed}, timeout=SLOW)
        if not done and call.name in COMMANDS:
            told = ToolStarted(call=work.state.calls, tool=call.name, summary=_shown(call))
            await work.journal.write(told)
        return await deed
    finally:
        if not deed.done():
            deed.cancel()
            await asyncio.wait({deed})


def _shown(call: ToolCall) -> str:
    try:
        values: Any = json.loads(call.arguments or "{}")
    except ValueError:
        values = {}
    command = cast("dict[str, Any]", values).get("command") if isinstance(values, dict) else None
    return " ".join(clean(command).split())[:200] if isinstance(command, str) else "the tests"


async def perform(work: Work, call: ToolCall) -> ToolOutcome:
    """One call; whatever is wrong with it is told to the model."""
    tool = BY_NAME.get(call.name)
    if tool is None:
        return _invalid(f"there is no tool `{clean(call.name)[:60]}`. Tools: {', '.join(BY_NAME)}.")
    try:
        values: Any = json.loads(call.arguments or "{}")
    except ValueError as error:
        return _invalid(f"the arguments of `{tool.name}` are not valid JSON: {error}.")
    if not isinstance(values, dict):
        return _invalid(f"the arguments of `{tool.name}` must be one JSON object.")
    if not tool.early and work.state.plan is None:
        return _failed("Call `update_plan` first: nothing is edited or run before there is a plan.")
    if tool.changes and only_plan(work.state):
        return _failed("Only a plan was asked for: nothing is edited or run.")
    if tool.changes:
        work.dirty = True
    desk = await work.desk()
    context = ToolContext(
        state=work.state,
        project=work.project,
        files=desk.files,
        box=desk.box,
        harness=desk.harness,
        outputs=desk.outputs,
        answer=answer_to_ask(work) if tool.name == "ask" else None,
        code=work.code,
    )
    try:
        return await tool.act(context, Arguments(cast("dict[str, Any]", values)))
    except BadArguments as error:
        return _invalid(str(error))
    except ToolFailed as error:
        return _failed(str(error))


async def redo(work: Work) -> None:
    """Brings a work tree that was restored from the last checkpoint to where the log is: calls
    that may have changed files since then are carried out once more, their results kept."""
    calls = {
        call.id: call
        for message in work.context.messages
        if message.role == "assistant"
        for call in message.tool_calls
    }
    since: list[str] = []
    for event in work.journal.events:
        match event.payload:
            case ModelAnswered() | CheckpointTaken():
                since = []
            case StatusChanged(status=RunStatus.TESTING | RunStatus.PUBLISHING):
                since = []
            case ToolReturned(tool=name, id=id) if name in BY_NAME and BY_NAME[name].changes:
                since.append(id)
            case _:
                pass
    for id in since:
        if id in calls:
            await perform(work, calls[id])


def answer_to_ask(work: Work) -> QuestionAnswered | None:
    """What people said to the call that is open now."""
    for event in reversed(work.journal.events):
        match event.payload:
            case QuestionAnswered() as answer:
                return answer
            case ToolReturned() | ModelAnswered():
                return None
            case _:
                pass
    return None


async def _finish(
    work: Work, call: ToolCall, outcome: ToolOutcome, signal: Finish, calls: tuple[ToolCall, ...]
) -> bool:
    """False: nothing was changed and nothing answered, which is said once."""
    saved = await work.snapshot()
    changed = is_changed(work, saved)
    told = any(message.content == UNCHANGED for message in work.context.messages)
    if not changed and not signal.answer and not told:
        refused = replace(outcome, ok=False, output=UNCHANGED, summary="nothing was changed yet")
        await _store(work, call, refused, 0.0, saved)
        return False
    for other in calls[calls.index(call) + 1 :]:
        await _leave(work, other, AFTER_FINISH)
    status = RunStatus.TESTING if changed else RunStatus.PUBLISHING
    await _store(work, call, outcome, 0.0, saved, status)
    return True


def is_changed(work: Work, saved: Snapshot) -> bool:
    """Does the work tree differ from what people have, or else from the base?"""
    taken = [p for p in saved.payloads if isinstance(p, CheckpointTaken)]
    newest = taken[-1] if taken else work.state.checkpoint
    if newest is None:
        return False
    last = published(work)
    return newest.tree != last.tree if last else bool(newest.files)


async def _store(
    work: Work,
    call: ToolCall,
    outcome: ToolOutcome,
    seconds: float,
    saved: Snapshot,
    status: RunStatus | None = None,
) -> None:
    output = outcome.output.encode("utf-8", "replace")
    whole = (outcome.whole,) if outcome.whole else ()
    event = ToolReturned(
        call=work.state.calls,
        id=call.id,
        tool=call.name,
        arguments=call.arguments[:ARGUMENTS],
        ok=outcome.ok,
        summary=outcome.summary[:200],
        output=digest_of(output),
        seconds=round(seconds, 3),
        whole=digest_of(outcome.whole) if outcome.whole else None,
    )
    await work.journal.write(
        *saved.payloads,
        *outcome.payloads,
        event,
        bodies=(*saved.bodies, *outcome.bodies, output, *whole),
        status=status,
    )
    message = Message(role="tool", content=output.decode(), tool_call_id=call.id)
    work.context.append(message)


async def _leave(work: Work, call: ToolCall, text: str) -> None:
    outcome = ToolOutcome(ok=False, output=text, summary="not carried out")
    await _store(work, call, outcome, 0.0, Snapshot())


def _ended_meanwhile(work: Work) -> str:
    """Why the run ended between the newest answer and now, when it did: what the model wanted
    to do before that is not done blindly afterwards."""
    for event in reversed(work.journal.events):
        match event.payload:
            case RunEnded(reason=reason):
                return reason or "People have set it going again."
            case ModelAnswered():
                return ""
            case _:
                pass
    return ""


def _invalid(text: str) -> ToolOutcome:
    return ToolOutcome(ok=False, output=INVALID + text, summary=text[:120])


def _failed(text: str) -> ToolOutcome:
    return ToolOutcome(ok=False, output=text, summary=text[:120])
