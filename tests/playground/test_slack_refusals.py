"""What the Web API refuses, and by which name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from playground.ledger import Ledger
from playground.slack.records import Token
from playground.slack.server import SlackStandIn
from playground.slack.world import World

MODAL = {
    "type": "modal",
    "callback_id": "x",
    "title": {"type": "plain_text", "text": "Title"},
    "blocks": [{"type": "divider"}],
}


def error_of(failed: pytest.ExceptionInfo[SlackApiError]) -> str:
    return str(failed.value.response["error"])


@pytest.mark.parametrize(
    ("token", "method", "error"),
    [
        ("", "users.list", "not_authed"),
        ("xoxb-unknown", "users.list", "invalid_auth"),
        ("xapp-playground", "users.list", "not_allowed_token_type"),
        ("xoxb-playground", "apps.connections.open", "not_allowed_token_type"),
        ("xoxb-revoked", "users.list", "token_revoked"),
        ("xoxp-mia", "users.list", "missing_scope"),
        ("xoxb-playground", "unknown.method", "unknown_method"),
    ],
)
async def test_a_call_without_the_right_token_is_refused(
    slack: SlackStandIn, world: World, token: str, method: str, error: str
) -> None:
    bot = world.tokens["xoxb-playground"]
    world.tokens["xoxb-revoked"] = replace(bot, problem="token_revoked")
    world.tokens["xoxp-mia"] = Token(
        value="xoxp-mia", kind="user", user="U0MIA", scopes=frozenset({"chat:write"})
    )
    with pytest.raises(SlackApiError) as refused:
        await AsyncWebClient(token=token or None, base_url=slack.api_url).api_call(method)

    assert error_of(refused) == error
    if error == "missing_scope":
        assert refused.value.response["needed"] == "users:read"


async def test_what_cannot_be_reached_or_changed_has_its_own_error(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    root = slack.people.post("mia", "platform", "hello")
    reply = slack.people.post("sam", "platform", "hi", thread_ts=root.ts)
    foreign = world.add_channel("foreign", "U0MIA")
    secret = world.add_channel("secret", "U0MIA", kind="group")
    archived = world.add_channel("old", world.app.bot_user)
    world.set_channel(replace(archived, is_archived=True))
    here, gone = root.channel, "1000000000.000001"
    post, update = client.chat_postMessage, client.chat_update
    cases = [
        (post(channel="C404", text="x"), "channel_not_found"),
        (post(channel=secret.id, text="x"), "channel_not_found"),
        (post(channel=foreign.id, text="x"), "not_in_channel"),
        (post(channel=archived.id, text="x"), "is_archived"),
        (client.api_call("chat.postMessage", json={"channel": here}), "no_text"),
        (post(channel=here, text="x", thread_ts=gone), "thread_not_found"),
        (post(channel=here, text="x", thread_ts=reply.ts), "cannot_reply_to_message"),
        (post(channel=here, markdown_text="*x*", text="x"), "markdown_text_conflict"),
        (post(channel=here, text="x", metadata={"a": 1}), "invalid_metadata_format"),
        (update(channel=here, ts=gone, text="x"), "message_not_found"),
        (update(channel=here, ts=root.ts, text="x"), "cant_update_message"),
        (client.chat_delete(channel=here, ts=root.ts), "cant_delete_message"),
        (client.conversations_replies(channel=here, ts=gone), "thread_not_found"),
        (client.conversations_history(channel=foreign.id), "not_in_channel"),
        (client.conversations_info(channel=here), "missing_scope"),
        (client.users_info(user="U404"), "user_not_found"),
        (client.reactions_add(channel=here, timestamp=gone, name="x"), "message_not_found"),
        (client.views_open(trigger_id="1.2.3", view=MODAL), "invalid_trigger_id"),
    ]
    answers = []
    for call, _ in cases:
        with pytest.raises(SlackApiError) as failed:
            await call
        answers.append(error_of(failed))
    # `thread_not_found` is what Slack says of a reply to nothing, though its page leaves it out
    said, slack.calls = slack.calls, Ledger()
    for each in said:
        if gone not in each.args.values():
            slack.calls.append(each)

    assert answers == [error for _, error in cases]


@pytest.mark.parametrize(
    ("method", "args", "error"),
    [
        ("chat.postMessage", {"text": "x", "attachments": 3}, "invalid_arguments"),
        ("chat.postMessage", {"text": "x", "blocks": {"type": "divider"}}, "invalid_blocks_format"),
        ("chat.postMessage", {"text": "x", "metadata": "{"}, "invalid_metadata_format"),
        ("files.completeUploadExternal", {"files": ["F1"]}, "invalid_arguments"),
        ("conversations.history", {"limit": "many"}, "invalid_arguments"),
        ("conversations.history", {"cursor": "x"}, "invalid_cursor"),
        ("views.publish", {"user_id": "U0MIA", "view": [1]}, "invalid_arguments"),
        ("chat.update", {"text": "x"}, "invalid_arguments"),
    ],
)
async def test_nonsense_is_refused_and_never_a_server_error(
    client: AsyncWebClient, world: World, method: str, args: dict[str, object], error: str
) -> None:
    channel = {"channel": world.channel_named("platform").id}
    with pytest.raises(SlackApiError) as refused:
        await client.api_call(method, json={**channel, **args})

    assert (refused.value.response.status_code, error_of(refused)) == (200, error)
