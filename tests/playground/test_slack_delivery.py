"""Events and clicks on their way to the app, taken by Slack's own framework."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_hearing import Bot, connection, link, serve, settle, until
from slack_sdk.web.async_client import AsyncWebClient

from playground.faults import Fault, FaultMode
from playground.slack.server import SlackStandIn
from playground.slack.socket_mode import CONNECTIONS, NotAcknowledged
from playground.slack.world import World


@pytest.fixture
def bot(client: AsyncWebClient, world: World) -> Bot:
    app = AsyncApp(client=client, signing_secret=world.app.signing_secret)
    bot = Bot(app=app)
    bot.listen()
    return bot


@pytest.fixture
async def connected(bot: Bot, slack: SlackStandIn) -> AsyncIterator[AsyncSocketModeHandler]:
    async with connection(bot, slack) as handler:
        yield handler


@pytest.fixture
async def served(bot: Bot, slack: SlackStandIn) -> AsyncIterator[str]:
    """The app behind a request URL."""

    async def answer(request: web.Request) -> web.Response:
        return await to_aiohttp_response(
            await bot.app.async_dispatch(await to_bolt_request(request))
        )

    async for url in serve(answer):
        slack.delivery.request_url = url
        yield url


async def test_a_mention_arrives_twice_under_different_ids(
    slack: SlackStandIn, bot: Bot, connected: AsyncSocketModeHandler
) -> None:
    message = slack.people.post("mia", "platform", "@agent add an export")
    await settle(slack, bot, 2)

    assert sorted(bot.heard("type", "ts")) == [
        ("app_mention", message.ts),
        ("message", message.ts),
    ]
    assert len({each["event_id"] for each in bot.events}) == 2
    assert {each["event"]["text"] for each in bot.events} == {"<@U0JOURNEYMAN> add an export"}


async def test_a_direct_message_arrives_once(
    slack: SlackStandIn, bot: Bot, connected: AsyncSocketModeHandler
) -> None:
    slack.people.post("mia", "@agent", "@agent what is running?")
    await settle(slack, bot, 1)

    assert bot.heard("type", "channel_type") == [("message", "im")]


async def test_edits_and_deletions_are_told(
    slack: SlackStandIn, bot: Bot, connected: AsyncSocketModeHandler
) -> None:
    message = slack.people.post("mia", "platform", "add an export")
    await settle(slack, bot, 1)
    slack.people.edit(message, "@agent add an export")
    await settle(slack, bot, 3)
    slack.people.delete(message)
    await settle(slack, bot, 4)

    assert sorted(bot.heard("type", "subtype"), key=str) == [
        ("app_mention", None),
        ("message", "message_changed"),
        ("message", "message_deleted"),
        ("message", None),
    ]
    changed = next(each["event"] for each in bot.events if each["event"].get("subtype"))
    assert changed["previous_message"]["text"] == "add an export"
    assert changed["message"]["edited"]["user"] == "U0MIA"


async def test_stop_and_the_home_tab_are_told(
    slack: SlackStandIn, bot: Bot, connected: AsyncSocketModeHandler, client: AsyncWebClient
) -> None:
    root = slack.people.post("mia", "platform", "start")
    await client.agents_sessions_setStatus(
        channel_id=root.channel, thread_ts=root.ts, status="processing"
    )
    await client.views_publish(user_id="U0MIA", view={"type": "home", "blocks": [BUTTONS]})
    slack.people.stop("mia", root.channel, root.ts)
    slack.people.open_home("mia")
    slack.people.open_home("sam", tab="messages")
    await settle(slack, bot, 4)

    told = {each["event"]["type"]: each["event"] for each in bot.events}
    assert told["agent_session_stopped"]["thread_ts"] == root.ts
    assert {
        (e["event"]["tab"], "view" in e["event"]) for e in bot.events if "tab" in e["event"]
    } == {
        ("home", True),
        ("messages", False),
    }


async def test_an_event_that_nobody_took_comes_again_with_its_number(
    slack: SlackStandIn, bot: Bot
) -> None:
    slack.people.post("mia", "platform", "hello")
    await until(lambda: bool(slack.delivery.log) and slack.delivery.log[0].attempts > 0)
    async with connection(bot, slack):
        await settle(slack, bot, 1)

    (delivered,) = slack.delivery.log
    assert delivered.acknowledged
    assert delivered.reasons[0] == "connection_failed"
    assert bot.headers[0]["x-slack-retry-reason"] == ["connection_failed"]


async def test_an_envelope_without_an_answer_is_sent_again_to_a_raw_socket(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    slack.sockets.timeout = 0.05
    async with aiohttp.ClientSession() as session, session.ws_connect(await link(slack)) as socket:
        hello = await socket.receive_json()
        slack.people.post("mia", "platform", "hello")
        seen = [await socket.receive_json() for _ in range(2)]
        await socket.send_json({"envelope_id": seen[1]["envelope_id"]})
        await slack.delivery.settled()

    assert (hello["type"], hello["num_connections"]) == ("hello", 1)
    assert [each["retry_attempt"] for each in seen] == [0, 1]
    assert seen[1]["retry_reason"] == "timeout"
    assert seen[0]["payload"]["event_id"] == seen[1]["payload"]["event_id"]
    assert seen[0]["envelope_id"] != seen[1]["envelope_id"]
    assert slack.delivery.log[0].acknowledged


async def test_each_event_goes_to_one_socket_and_there_are_ten_at_most(
    slack: SlackStandIn, world: World
) -> None:
    async with aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(await link(slack)) for _ in range(CONNECTIONS + 1)]
        first_words = [await each.receive_json() for each in sockets]
        for _ in range(CONNECTIONS):
            slack.people.post("mia", "platform", "hello")
        seen = [await each.receive_json() for each in sockets[:CONNECTIONS]]
        for each, envelope in zip(sockets, seen, strict=False):
            await each.send_json({"envelope_id": envelope["envelope_id"]})
        await slack.delivery.settled()
        for each in sockets:
            await each.close()

    assert first_words[-1]["reason"] == "too_many_websockets"
    assert len({each["payload"]["event_id"] for each in seen}) == CONNECTIONS


async def test_the_app_follows_a_request_to_reconnect(
    slack: SlackStandIn, bot: Bot, connected: AsyncSocketModeHandler
) -> None:
    before = slack.sockets.connections[0]
    await slack.sockets.disconnect()
    await until(lambda: before not in slack.sockets.connections != [])
    slack.people.post("mia", "platform", "still there?")
    await settle(slack, bot, 1)

    assert bot.heard("text") == [("still there?",)]


async def test_a_connection_stays_up_by_ping_and_pong(
    slack: SlackStandIn, connected: AsyncSocketModeHandler
) -> None:
    before = connected.client.last_ping_pong_time or 0
    await until(lambda: (connected.client.last_ping_pong_time or 0) > before)

    assert await connected.client.is_connected()


async def test_a_ticket_opens_one_connection(slack: SlackStandIn) -> None:
    url = await link(slack)
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url) as socket:
            await socket.receive_json()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url)

    assert refused.value.status == 401


async def test_signed_events_reach_the_request_url(
    slack: SlackStandIn, bot: Bot, served: str
) -> None:
    slack.people.post("mia", "platform", "@agent füge einen Export hinzu ✅")
    await settle(slack, bot, 2)

    assert {each.acknowledged for each in slack.delivery.log} == {True}
    assert "x-slack-retry-num" not in bot.headers[0]
    assert bot.events[0]["event"]["text"].endswith("füge einen Export hinzu ✅")


async def test_a_wrong_secret_is_refused_by_the_app(
    slack: SlackStandIn, bot: Bot, served: str, world: World
) -> None:
    world.app = replace(world.app, signing_secret="another")
    slack.people.post("mia", "platform", "hello")
    await slack.delivery.settled()

    (delivered,) = slack.delivery.log
    assert (delivered.attempts, delivered.acknowledged) == (4, False)
    assert set(delivered.reasons) == {"http_error"}
    assert bot.events == []


@pytest.mark.parametrize(
    ("status", "headers", "attempts"),
    [(500, {}, 4), (500, {"x-slack-no-retry": "1"}, 1), (200, {}, 1)],
)
async def test_failed_posts_come_again_three_times_unless_the_app_declines(
    slack: SlackStandIn, status: int, headers: dict[str, str], attempts: int
) -> None:
    seen: list[tuple[str | None, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        told = request.headers
        seen.append((told.get("x-slack-retry-num"), told.get("x-slack-retry-reason")))
        return web.Response(status=status, headers=headers)

    async for url in serve(answer):
        slack.delivery.request_url = url
        slack.people.post("mia", "platform", "hello")
        await slack.delivery.settled()

    retries = [(None, None), ("1", "http_error"), ("2", "http_error"), ("3", "http_error")]
    assert seen == retries[:attempts]


async def test_nobody_at_the_request_url_is_a_failed_connection(slack: SlackStandIn) -> None:
    slack.delivery.request_url = "http://127.0.0.1:9/slack/events"
    slack.people.post("mia", "platform", "hello")
    await slack.delivery.settled()

    assert slack.delivery.log[0].reasons == ["connection_failed"] * 4


async def test_a_click_that_nobody_takes_is_not_repeated(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    posted = await client.chat_postMessage(channel="#platform", text="x", blocks=[BUTTONS])
    message = world.messages[posted["channel"], posted["ts"]]
    with pytest.raises(NotAcknowledged):
        await slack.people.click("mia", message, "go")

    assert slack.delivery.log[-1].attempts == 1


async def test_an_event_goes_out_twice_on_order(
    slack: SlackStandIn, bot: Bot, connected: AsyncSocketModeHandler
) -> None:
    slack.faults.set(Fault(mode=FaultMode.DUPLICATE, method="event:app_mention"))
    slack.people.post("mia", "platform", "@agent hello")
    await settle(slack, bot, 3)

    ids = [each["event_id"] for each in bot.events if each["event"]["type"] == "app_mention"]
    assert len(ids) == 2
    assert len(set(ids)) == 1


async def test_what_the_app_did_not_ask_for_or_cannot_see_is_not_sent(
    slack: SlackStandIn, bot: Bot, connected: AsyncSocketModeHandler, world: World
) -> None:
    world.add_channel("elsewhere", "U0MIA")
    slack.people.post("mia", "elsewhere", "@agent can you hear me?")
    message = slack.people.post("mia", "platform", "hello")
    slack.people.react("sam", message, "eyes")
    await settle(slack, bot, 1)

    assert [each.name for each in slack.delivery.log] == ["message"]


BUTTONS = {
    "type": "actions",
    "elements": [
        {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}}
    ],
}
