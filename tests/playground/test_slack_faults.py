"""What the stand-in does wrong on order."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from playground.faults import Fault, FaultMode, Faults
from playground.slack.server import SlackStandIn
from playground.slack.world import World


async def order(slack: SlackStandIn, **fault: Any) -> int:
    """Set a fault over HTTP, as a test in another process does."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{slack.base_url}/control/faults", json=fault) as response,
    ):
        return response.status


def client_without_retries(slack: SlackStandIn) -> AsyncWebClient:
    return AsyncWebClient(token="xoxb-playground", base_url=slack.api_url, retry_handlers=[])


async def test_a_message_is_posted_though_its_answer_is_lost(
    slack: SlackStandIn, world: World
) -> None:
    await order(slack, mode="drop_after_apply", method="chat.postMessage")
    client = client_without_retries(slack)
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(channel="#platform", text="posted once")
    again = await client.chat_postMessage(channel="#platform", text="and again")

    texts = [each.text for each in world.messages_of(again["channel"])]
    assert texts == ["posted once", "and again"]


async def test_the_nth_call_fails_with_an_error_of_slacks_or_a_status(
    slack: SlackStandIn, client: AsyncWebClient
) -> None:
    await order(slack, mode="fail", method="chat.*", nth=2, error="channel_not_found")
    await order(slack, mode="fail", method="chat.*", nth=3, status=503)
    first = await client.chat_postMessage(channel="#platform", text="one")
    with pytest.raises(SlackApiError, match="channel_not_found"):
        await client.chat_update(channel=first["channel"], ts=first["ts"], text="two")
    with pytest.raises(SlackApiError) as unavailable:
        await client.chat_postMessage(channel="#platform", text="three")
    fourth = await client.chat_postMessage(channel="#platform", text="four")

    assert unavailable.value.response.status_code == 503
    assert fourth["ok"]


async def test_too_many_requests_name_the_time_to_wait(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    await order(slack, mode="429", method="chat.postMessage", seconds=7)
    with pytest.raises(SlackApiError) as refused:
        await client.chat_postMessage(channel="#platform", text="x")

    assert refused.value.response.headers["Retry-After"] == "7"
    assert world.messages == {}


async def test_stale_reads_show_the_thread_as_it_was(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    now = 1_800_000_000.0
    world.clock = lambda: now
    root = slack.people.post("mia", "platform", "first text")
    now += 10
    slack.people.edit(root, "second text")
    slack.people.post("sam", "platform", "a reply", thread_ts=root.ts)
    await order(slack, mode="stale_reads", method="conversations.replies", seconds=5)

    stale = await client.conversations_replies(channel=root.channel, ts=root.ts)
    fresh = await client.conversations_replies(channel=root.channel, ts=root.ts)

    assert [each["text"] for each in stale["messages"]] == ["first text"]
    assert [each["text"] for each in fresh["messages"]] == ["second text", "a reply"]


async def test_an_answer_comes_late(slack: SlackStandIn) -> None:
    await order(slack, mode="delay", method="auth.test", seconds=0.3)
    impatient = AsyncWebClient(token="xoxb-playground", base_url=slack.api_url, timeout=0.1)  # type: ignore[arg-type]
    with pytest.raises(TimeoutError):
        await impatient.auth_test()
    assert (await client_without_retries(slack).auth_test())["ok"]


async def test_faults_are_listed_counted_and_cleared(
    slack: SlackStandIn, client: AsyncWebClient
) -> None:
    url = f"{slack.base_url}/control/faults"
    async with aiohttp.ClientSession() as session:
        await order(slack, mode="fail", method="auth.test", times=0)
        await order(slack, mode="delay", method="users.*", seconds=0)
        with pytest.raises(SlackApiError):
            await client.auth_test()
        async with session.get(url) as response:
            first, second = await response.json()
        await (await session.delete(f"{url}/{first['id']}")).release()
        assert (await client.auth_test())["ok"]
        await (await session.delete(url)).release()

    assert (first["mode"], first["seen"], first["hits"]) == ("fail", 1, 1)
    assert (second["method"], second["hits"]) == ("users.*", 0)
    assert slack.faults.entries == []


@pytest.mark.parametrize(
    "fault", [{"mode": "explode"}, {"mode": "fail", "nth": "first"}, {"mode": "fail", "when": 1}]
)
async def test_a_fault_that_makes_no_sense_is_refused(
    slack: SlackStandIn, fault: dict[str, Any]
) -> None:
    assert await order(slack, **fault) == 400
    assert slack.faults.entries == []


def test_a_fault_hits_from_its_nth_call_as_often_as_it_says() -> None:
    faults = Faults()
    faults.set(Fault(mode=FaultMode.FAIL, method="GET *", nth=2, times=2))
    hits = [bool(faults.meet(call, FaultMode.FAIL)) for call in ("GET /a", "POST /a") * 4]

    assert hits == [False, False, True, False, True, False, False, False]
