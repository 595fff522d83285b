"""The model stand-in and the adapter that speaks to it, over real HTTP."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from agent.adapters.openai_model import OpenAIModel, Price
from agent.errors import ContextOverflow, ModelRejected, ModelUnavailable, QuotaExhausted
from agent.ports import Message, ToolCall, ToolSpec
from playground.faults import Fault, FaultMode
from playground.model import ModelStandIn, Tape

SPECS = Path(__file__).parents[3] / "shared" / "specs" / "openai"
ASK = [Message(role="system", content="s"), Message(role="user", content="Please export it")]
TOOLS = [ToolSpec(name="finish", description="d", parameters={"type": "object"})]


def model(endpoint: ModelStandIn, **settings: object) -> OpenAIModel:
    return OpenAIModel(name="m", api_key="k", base_url=endpoint.url, **settings)  # pyright: ignore


def answers(*replies: dict[str, object]):
    left = list(replies)
    return lambda _messages: left.pop(0)


async def test_a_tool_call_comes_back_with_usage_and_price():
    tape = Tape(
        ask="export it", replies=({"tool_calls": [{"name": "finish", "arguments": {"a": 1}}]},)
    )
    price = Price(prompt=1.0, cached=0.1, completion=10.0)
    async with ModelStandIn(tapes=[tape]) as endpoint, model(endpoint, prices={"m": price}) as it:
        answer = await it.complete(ASK, TOOLS)
    assert answer.finish == "tool_calls"
    (call,) = answer.message.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("finish", {"a": 1})
    usage = answer.usage
    assert usage.steps == 1
    assert usage.money == pytest.approx((usage.prompt_tokens + 10 * usage.completion_tokens) / 1e6)


async def test_another_model_costs_its_own_price():
    prices = {
        name: Price(prompt=dear, cached=0, completion=0) for name, dear in [("m", 1), ("n", 9)]
    }
    async with ModelStandIn(answer=lambda _: {"content": "a"}) as endpoint:
        async with model(endpoint, prices=prices) as it:
            dear = (await it.complete(ASK, [], model="n")).usage
            unknown = (await it.complete(ASK, [], model="o")).usage
    assert dear.money == pytest.approx(9 * dear.prompt_tokens / 1e6)
    assert unknown.money == 0


async def test_the_shared_beginning_of_a_long_prompt_is_reported_as_cached():
    long = [Message(role="user", content="word " * 2000)]
    async with ModelStandIn(answer=answers({"content": "a"}, {"content": "b"})) as endpoint:
        async with model(endpoint) as it:
            first = await it.complete(long, [])
            more = [*long, first.message, Message(role="user", content="and?")]
            second = await it.complete(more, [])
    assert first.usage.cached_tokens == 0
    assert second.usage.cached_tokens > 2000
    assert second.usage.cached_tokens % 128 == 0


async def test_a_continued_conversation_reaches_the_next_reply_of_its_tape():
    tape = Tape(ask="export", replies=({"content": "one"}, {"content": "two"}))
    async with ModelStandIn(tapes=[tape]) as endpoint, model(endpoint) as it:
        first = await it.complete(ASK, [])
        second = await it.complete([*ASK, first.message, Message(role="user", content="go")], [])
    assert [first.message.content, second.message.content] == ["one", "two"]


async def test_an_unknown_request_is_told_how_to_plug_in_a_model():
    async with ModelStandIn(tapes=[Tape(ask="something else", replies=())]) as endpoint:
        async with model(endpoint) as it:
            answer = await it.complete(ASK, TOOLS)
    said = json.loads(answer.message.tool_calls[0].arguments)["answer"]
    assert "OPENAI_API_KEY" in said
    assert "- something else" in said


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault(mode=FaultMode.FAIL, status=503), ModelUnavailable, "503"),
        (Fault(mode=FaultMode.RATE_LIMIT, seconds=7), ModelUnavailable, "patience"),
        (
            Fault(mode=FaultMode.FAIL, status=429, error="insufficient_quota"),
            QuotaExhausted,
            "credit",
        ),
        (Fault(mode=FaultMode.FAIL, status=401), ModelRejected, "OPENAI_API_KEY"),
        (Fault(mode=FaultMode.FAIL, status=404), ModelRejected, "JOURNEYMAN_MODEL"),
        (
            Fault(mode=FaultMode.FAIL, status=400, error="context_length_exceeded"),
            ContextOverflow,
            "window",
        ),
        (Fault(mode=FaultMode.DROP_AFTER_APPLY), ModelUnavailable, "reached"),
        (Fault(mode=FaultMode.DELAY, seconds=1.0), ModelUnavailable, "within"),
    ],
)
async def test_each_failure_has_its_own_error(fault: Fault, error: type, words: str):
    async with ModelStandIn(answer=lambda _messages: {"content": "late"}) as endpoint:
        endpoint.faults.set(fault)
        async with model(endpoint, timeout=0.3) as it:
            with pytest.raises(error, match=words) as caught:
                await it.complete(ASK, [])
    if fault.mode is FaultMode.RATE_LIMIT:
        assert caught.value.retry_after == 7


async def test_a_refusal_is_told_as_one():
    async with ModelStandIn(answer=lambda _messages: {"refusal": "I won't."}) as endpoint:
        async with model(endpoint) as it:
            answer = await it.complete(ASK, [])
    assert (answer.finish, answer.message.content) == ("content_filter", "I won't.")


async def test_broken_arguments_arrive_as_they_were_written():
    broken = {"tool_calls": [{"name": "run", "arguments": '{"command": "ls'}]}
    async with ModelStandIn(answer=lambda _messages: broken) as endpoint, model(endpoint) as it:
        answer = await it.complete(ASK, TOOLS)
    assert answer.message.tool_calls[0].arguments == '{"command": "ls'


@pytest.mark.skipif(
    not SPECS.exists(), reason="the API descriptions do not stand beside this checkout"
)
async def test_requests_and_answers_are_valid_against_the_published_description():
    spec = json.loads(next(SPECS.glob("*.json")).read_text())
    validators = {
        name: Draft202012Validator(
            {"$ref": f"#/components/schemas/{name}", "components": spec["components"]}
        )
        for name in ("CreateChatCompletionRequest", "CreateChatCompletionResponse")
    }
    reply = {"content": None, "tool_calls": [{"name": "finish", "arguments": {}}]}
    call = ToolCall(id="call_1", name="finish", arguments="{}")
    history = [
        *ASK,
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content="done", tool_call_id="call_1"),
    ]
    async with ModelStandIn(answer=lambda _messages: reply) as endpoint:
        async with model(endpoint) as it:
            await it.complete(history, TOOLS)
        (request,) = endpoint.requests
        answer = endpoint._completion(request, reply)
    assert [e.message for e in validators["CreateChatCompletionRequest"].iter_errors(request)] == []
    assert [e.message for e in validators["CreateChatCompletionResponse"].iter_errors(answer)] == []
