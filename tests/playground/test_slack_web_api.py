"""The Web API, through Slack's own client."""

from __future__ import annotations

from dataclasses import replace

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from playground.slack.records import Token
from playground.slack.server import SlackStandIn
from playground.slack.world import World


def error_of(failed: pytest.ExceptionInfo[SlackApiError]) -> str:
    return str(failed.value.response["error"])


async def test_a_thread_is_posted_edited_and_read_back(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    root = slack.people.post("mia", "platform", "@agent add an export & test it")
    metadata = {"event_type": "run", "event_payload": {"key": "42"}}
    link = "<https://example.test/a?b=1&amp;c=2|Run 42> is *planning*"
    posted = await client.chat_postMessage(
        channel=root.channel, thread_ts=root.ts, text=link, metadata=metadata
    )
    await client.chat_update(channel=root.channel, ts=posted["ts"], text="Run 42 is done")

    thread = await client.conversations_replies(
        channel=root.channel, ts=root.ts, include_all_metadata=True
    )

    first, answer = thread["messages"]
    assert first["text"] == "<@U0JOURNEYMAN> add an export &amp; test it"
    assert (first["thread_ts"], first["reply_count"]) == (root.ts, 1)
    assert posted["message"]["text"] == link
    assert answer["text"] == "Run 42 is done"
    assert answer["edited"]["user"] == "U0JOURNEYMAN"
    assert (answer["bot_id"], answer["app_id"]) == ("B0JOURNEYMAN", "A0JOURNEYMAN")
    assert answer["metadata"] == metadata
    bare = await client.conversations_replies(channel=root.channel, ts=root.ts)
    assert "metadata" not in bare["messages"][1]


async def test_history_pages_through_roots_newest_first(
    slack: SlackStandIn, client: AsyncWebClient
) -> None:
    roots = [slack.people.post("mia", "platform", f"message {number}") for number in range(5)]
    slack.people.post("sam", "platform", "a reply", thread_ts=roots[0].ts)

    seen = [
        message["text"]
        async for page in await client.conversations_history(channel=roots[0].channel, limit=2)
        for message in page["messages"]
    ]

    assert seen == [f"message {number}" for number in (4, 3, 2, 1, 0)]


async def test_updating_with_text_alone_removes_the_blocks(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    channel = world.channel_named("platform").id
    blocks = [{"type": "section", "block_id": "v1", "text": {"type": "mrkdwn", "text": "card"}}]
    posted = await client.chat_postMessage(channel=channel, text="card", blocks=blocks)
    kept = await client.chat_update(channel=channel, ts=posted["ts"], text="card", blocks=blocks)
    gone = await client.chat_update(channel=channel, ts=posted["ts"], text="only text")

    assert kept["message"]["blocks"] == blocks
    assert "blocks" not in gone["message"]


async def test_reactions_are_added_once_and_removed_once(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    root = slack.people.post("mia", "platform", "hello")
    target = {"channel": root.channel, "timestamp": root.ts, "name": "eyes"}
    await client.reactions_add(**target)
    with pytest.raises(SlackApiError) as twice:
        await client.reactions_add(**target)
    await client.reactions_remove(**target)
    with pytest.raises(SlackApiError) as gone:
        await client.reactions_remove(**target)

    assert (error_of(twice), error_of(gone)) == ("already_reacted", "no_reaction")
    assert world.messages[root.channel, root.ts].reactions == {}


async def test_a_file_goes_up_and_is_shared_in_the_thread(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    root = slack.people.post("mia", "platform", "the log, please")
    done = await client.files_upload_v2(
        content="line 1\nline 2\n",
        filename="run.log",
        title="Log of run 42",
        channel=root.channel,
        thread_ts=root.ts,
        initial_comment="Here it is",
    )

    message = world.thread(root.channel, root.ts)[-1]
    assert (message.text, message.files) == ("Here it is", (done["file"]["id"],))
    assert world.files[message.files[0]].content == b"line 1\nline 2\n"


async def test_a_session_shows_its_state_and_its_title(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    root = slack.people.post("mia", "platform", "@agent add an export")
    place = {"channel_id": root.channel, "thread_ts": root.ts}
    first = await client.agents_sessions_setStatus(**place, status="processing", title="Export")
    later = await client.agents_sessions_setStatus(**place, status="active", title="Ignored")
    renamed = await client.agents_sessions_rename(**place, title="CSV export")

    assert (first["status"], first["title"]) == ("processing", "Export")
    assert (later["status"], later["title"]) == ("active", "Export")
    assert renamed["title"] == "CSV export"
    assert world.sessions[root.channel, root.ts].status == "active"


async def test_people_are_found_and_what_a_scope_hides_is_hidden(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    mia = world.user_named("mia")
    shown = await client.users_info(user=mia.id)
    listed = await client.users_list(limit=2)
    scopes = world.app.scopes - {"users:read.email"}
    world.tokens["xoxb-less"] = replace(world.tokens["xoxb-playground"], scopes=scopes)
    hidden = await AsyncWebClient(token="xoxb-less", base_url=slack.api_url).users_info(user=mia.id)

    assert shown["user"]["profile"]["email"] == mia.email
    assert len(listed["members"]) == 2
    assert listed["response_metadata"]["next_cursor"]
    assert "email" not in hidden["user"]["profile"]


async def test_an_ephemeral_message_is_seen_by_one_person_and_not_read_back(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    root = slack.people.post("mia", "platform", "@agent deploy")
    await client.chat_postEphemeral(
        channel=root.channel, user=root.user, thread_ts=root.ts, text="You may not."
    )

    (seen,) = world.ephemerals.values()
    assert (seen.user, seen.text) == (root.user, "You may not.")
    thread = await client.conversations_replies(channel=root.channel, ts=root.ts)
    assert len(thread["messages"]) == 1


async def test_the_app_writes_to_a_person_directly(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    posted = await client.chat_postMessage(channel="U0MIA", text="Your thread is gone.")
    link = await client.chat_getPermalink(channel=posted["channel"], message_ts=posted["ts"])

    assert world.channels[posted["channel"]].user == "U0MIA"
    assert link["permalink"].endswith(posted["ts"].replace(".", ""))


@pytest.mark.parametrize("how", ["query", "form", "json"])
async def test_arguments_come_in_the_query_a_form_or_json(
    slack: SlackStandIn, world: World, how: str
) -> None:
    headers = {"Authorization": "Bearer xoxb-playground"}
    args = {"user": "U0MIA"}
    url = f"{slack.api_url}users.info"
    async with aiohttp.ClientSession(headers=headers) as session:
        asked = {
            "query": lambda: session.get(url, params=args),
            "form": lambda: session.post(url, data=args),
            "json": lambda: session.post(url, json=args),
        }[how]()
        async with asked as response:
            answer = await response.json()

    assert answer["user"]["name"] == "mia"
    assert "chat:write" in response.headers["x-oauth-scopes"]


async def test_a_person_writes_with_a_token_of_their_own(slack: SlackStandIn, world: World) -> None:
    world.tokens["xoxp-mia"] = Token(
        value="xoxp-mia", kind="user", user="U0MIA", scopes=frozenset({"chat:write"})
    )
    mia = AsyncWebClient(token="xoxp-mia", base_url=slack.api_url)
    posted = await mia.chat_postMessage(channel="#platform", text="hello")

    assert posted["message"]["user"] == "U0MIA"
    assert "bot_id" not in posted["message"]


async def test_one_message_a_second_in_a_channel_with_patience_for_a_burst(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    now = 1000.0
    slack.limits.clock = lambda: now
    for number in range(slack.limits.post_burst):
        await client.chat_postMessage(channel="#platform", text=f"{number}")
    with pytest.raises(SlackApiError) as refused:
        await client.chat_postMessage(channel="#platform", text="too much")
    elsewhere = await client.chat_postMessage(channel="#general", text="another channel")
    now += int(refused.value.response.headers["Retry-After"])
    later = await client.chat_postMessage(channel="#platform", text="in time")

    assert (refused.value.response.status_code, error_of(refused)) == (429, "ratelimited")
    assert elsewhere["ok"]
    assert later["ok"]
