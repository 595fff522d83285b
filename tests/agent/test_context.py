"""The prompt only grows, and the log is enough to make it again."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.context import Context, decode, encode, encode_one, unanswered
from agent.events import (
    ContextCompacted,
    ModelAnswered,
    ModelAsked,
    Payload,
    RunEvent,
    ToolReturned,
)
from agent.journal import digest_of
from agent.ports import Message, ToolCall
from agent.run import Digest, RunId, Usage

CALL = ToolCall(id="1", name="read", arguments='{"path": "a"}')
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
MESSAGES = st.lists(
    st.builds(Message, role=st.sampled_from(["user", "tool"]), content=TEXT), max_size=4
)


class Log:
    """Events and bodies as the store would keep them."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []
        self.bodies: dict[Digest, bytes] = {}

    def add(self, payload: Payload, *bodies: bytes) -> None:
        self.bodies |= {digest_of(body): body for body in bodies}
        at = datetime(2030, 1, 1, tzinfo=UTC)
        seq = len(self.events) + 1
        event = RunEvent(run=RunId(1), seq=seq, at=at, actor="worker", payload=payload, hash="")
        self.events.append(event)

    def ask(self, context: Context, call: int) -> bytes:
        taken = context.take()
        asked = ModelAsked(
            call=call, appended=digest_of(taken.body), prefix=taken.prefix, messages=taken.messages
        )
        self.add(asked, taken.body)
        return b"\n".join(encode_one(message) for message in context.messages)

    def answer(self, context: Context, call: int, message: Message) -> None:
        body = context.answered(message, prompt_tokens=10 * call)
        digest, usage = digest_of(body), Usage(prompt_tokens=10 * call)
        self.add(
            ModelAnswered(call=call, message=digest, usage=usage, model="m", finish="stop"), body
        )

    async def restored(self) -> Context:
        async def read(digest: Digest) -> bytes:
            return self.bodies[digest]

        return await Context.restore(self.events, read)


@given(st.lists(st.tuples(MESSAGES, TEXT), max_size=5))
async def test_each_prompt_begins_with_the_one_before_and_comes_back_from_the_log(
    turns: list[tuple[list[Message], str]],
):
    log, context, before = Log(), Context(), b""
    for call, (messages, answer) in enumerate(turns, 1):
        for message in messages:
            context.append(message)
        prompt = log.ask(context, call)
        assert prompt.startswith(before)
        log.answer(context, call, Message(role="assistant", content=answer))
        before = b"\n".join(encode_one(message) for message in context.messages)
    again = await log.restored()
    assert list(again.messages) == list(context.messages)
    assert again.tokens() == context.tokens()


async def test_results_that_no_prompt_has_held_yet_wait_for_the_next():
    log, context = Log(), Context()
    context.append(Message(role="user", content="go"))
    log.ask(context, 1)
    two = (CALL, ToolCall(id="2", name="read", arguments="{}"))
    log.answer(context, 1, Message(role="assistant", tool_calls=two))
    body = b"1\tcode"
    facts = ToolReturned(
        call=1,
        id="1",
        tool="read",
        arguments="{}",
        ok=True,
        summary="",
        output=digest_of(body),
        seconds=0,
    )
    log.add(facts, body)
    again = await log.restored()
    assert again.messages[-1] == Message(role="tool", content="1\tcode", tool_call_id="1")
    assert [call.id for call in unanswered(again.messages)] == ["2"]
    taken = again.take()
    assert [m["role"] for m in json.loads(taken.body)] == ["tool"]


async def test_a_call_that_was_asked_and_never_answered_is_asked_with_the_same_bytes():
    log, context = Log(), Context()
    context.append(Message(role="user", content="go"))
    prompt = log.ask(context, 1)
    again = await log.restored()
    assert log.ask(again, 1) == prompt
    assert log.events[-1].payload != log.events[0].payload  # nothing was appended twice
    assert list((await log.restored()).messages) == list(context.messages)


async def test_what_was_compacted_comes_back_compacted():
    log, context = Log(), Context()
    context.append(Message(role="user", content="long " * 100))
    log.ask(context, 1)
    log.answer(context, 1, Message(role="assistant", content="yes"))
    body = context.compact([Message(role="user", content="short")])
    log.add(ContextCompacted(before_tokens=9, after_tokens=1, messages=digest_of(body)), body)
    assert list((await log.restored()).messages) == list(context.messages)
    prompt = log.ask(context, 2)
    log.answer(context, 2, Message(role="assistant", content="well"))
    assert prompt == encode_one(Message(role="user", content="short"))
    assert list((await log.restored()).messages) == list(context.messages)


async def test_a_log_whose_messages_were_changed_is_noticed():
    log, context = Log(), Context()
    for call in (1, 2):
        context.append(Message(role="user", content=f"say {call}"))
        log.ask(context, call)
        log.answer(context, call, Message(role="assistant", content="yes"))
    first = log.events[0].payload
    assert isinstance(first, ModelAsked)
    log.bodies[first.appended] = encode([Message(role="user", content="say something else")])
    with pytest.raises(ValueError, match="before call 2"):
        await log.restored()


def test_messages_survive_their_encoding_to_the_byte():
    odd = Message(role="user", content="ü \udc80 \u2028 \x00", tool_call_id="x")
    assert decode(encode([odd, odd])) == [odd, odd]
