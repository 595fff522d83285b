"""What people do in the workspace, and what the app makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_card import CARD, MODAL, REASON, Bot, plain
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from playground.slack.interactions import PersonCannot
from playground.slack.records import Change, Message
from playground.slack.server import SlackStandIn
from playground.slack.workspace import RESPONSES
from playground.slack.world import World


@pytest.fixture
async def bot(client: AsyncWebClient, slack: SlackStandIn) -> AsyncIterator[Bot]:
    bot = Bot(client)
    handler = AsyncSocketModeHandler(bot.app, "xapp-playground", web_client=client)
    await handler.connect_async()
    await slack.sockets.connected()
    yield bot
    await handler.close_async()


@pytest.fixture
async def card(client: AsyncWebClient, slack: SlackStandIn, world: World, bot: Bot) -> Message:
    root = slack.people.post("mia", "platform", "@agent deploy")
    posted = await client.chat_postMessage(
        channel=root.channel, thread_ts=root.ts, text="Approval needed", blocks=CARD
    )
    return world.messages[root.channel, posted["ts"]]


async def test_a_button_tells_who_pressed_what_and_where(
    slack: SlackStandIn, bot: Bot, card: Message
) -> None:
    await slack.people.click("sam", card, "approve")

    (body,) = bot.bodies
    assert body["user"]["id"] == "U0SAM"
    assert (body["actions"][0]["value"], body["actions"][0]["block_id"]) == ("g7", "act")
    assert body["container"] == {
        "type": "message",
        "message_ts": card.ts,
        "channel_id": card.channel,
        "is_ephemeral": False,
        "thread_ts": card.thread_ts,
    }
    assert body["message"]["blocks"] == list(CARD)


async def test_menus_and_feedback_carry_what_was_chosen(
    slack: SlackStandIn, bot: Bot, card: Message
) -> None:
    await slack.people.click("sam", card, "menu", "stop")
    await slack.people.click("sam", card, "pick", "b")
    await slack.people.click("sam", card, "feedback", "good")
    found = await slack.people.options("sam", card, "find", "platform")
    await slack.people.click("sam", card, "find", found[0])

    menu, pick, feedback, search, find = bot.bodies
    assert menu["actions"][0]["selected_option"]["value"] == "stop"
    assert pick["state"]["values"]["act"]["pick"]["selected_option"]["value"] == "b"
    assert feedback["actions"][0]["value"] == "good"
    assert search["value"] == "platform"
    assert find["actions"][0]["selected_option"]["value"] == "platform/api"


async def test_a_person_cannot_choose_what_is_not_there(
    slack: SlackStandIn, bot: Bot, card: Message
) -> None:
    with pytest.raises(PersonCannot, match="no option 'delete'"):
        await slack.people.click("sam", card, "menu", "delete")
    with pytest.raises(PersonCannot, match="nothing with the action id"):
        await slack.people.click("sam", card, "launch")
    with pytest.raises(PersonCannot, match="no Stop"):
        slack.people.stop("sam", card.channel, card.thread_ts)


async def test_a_modal_opens_fills_and_submits(
    slack: SlackStandIn, bot: Bot, card: Message
) -> None:
    await slack.people.click("sam", card, "reject")
    empty = await slack.people.submit("sam")
    short = await slack.people.submit("sam", {"text": "No."})
    done = await slack.people.submit("sam", {"text": REASON, "choice": "stop"})

    assert empty.errors == {"reason": "Please complete this required field."}
    assert short.errors == {"reason": "Must be at least 10 characters."}
    assert (done.errors, slack.people.modal("sam")) == ({}, None)
    view = bot.bodies[-1]["view"]
    assert view["private_metadata"] == "g7"
    assert view["state"]["values"]["reason"]["text"]["value"] == REASON
    assert view["state"]["values"]["next"]["choice"]["selected_option"]["value"] == "stop"


async def test_the_app_answers_a_modal_with_errors_or_another_view(
    slack: SlackStandIn, bot: Bot, card: Message
) -> None:
    await slack.people.click("sam", card, "reject")
    bot.view_answer = {"response_action": "errors", "errors": {"reason": "Say more."}}
    refused = await slack.people.submit("sam", {"text": REASON})
    bot.view_answer = {
        "response_action": "update",
        "view": {**MODAL, "title": plain("Too late")},
    }
    updated = await slack.people.submit("sam")
    bot.view_answer = {"response_action": "push", "view": {**MODAL, "title": plain("More")}}
    pushed = await slack.people.submit("sam")
    bot.view_answer = {"response_action": "clear"}
    cleared = await slack.people.submit("sam", {"text": REASON})

    assert refused.errors == {"reason": "Say more."}
    assert updated.view is not None
    assert updated.view.body["title"]["text"] == "Too late"
    assert pushed.view is not None
    assert pushed.view.previous == updated.view.id
    assert cleared.view is None


async def test_closing_a_modal_is_told_when_the_app_asked_for_it(
    slack: SlackStandIn, bot: Bot, card: Message
) -> None:
    await slack.people.click("sam", card, "reject")
    await slack.people.close("sam")

    assert slack.people.modal("sam") is None
    assert bot.bodies[-1]["type"] == "view_closed"


async def test_a_trigger_is_good_once_and_for_three_seconds(
    slack: SlackStandIn, bot: Bot, card: Message, client: AsyncWebClient, world: World
) -> None:
    await slack.people.click("sam", card, "reject")
    with pytest.raises(SlackApiError, match="exchanged_trigger_id"):
        await client.views_open(trigger_id=bot.bodies[-1]["trigger_id"], view=MODAL)
    await slack.people.click("sam", card, "approve")
    now = world.clock()
    world.clock = lambda: now + 4
    with pytest.raises(SlackApiError, match="expired_trigger_id"):
        await client.views_open(trigger_id=bot.bodies[-1]["trigger_id"], view=MODAL)


async def test_a_view_is_updated_only_where_its_hash_still_holds(
    slack: SlackStandIn, bot: Bot, card: Message, client: AsyncWebClient
) -> None:
    await slack.people.click("sam", card, "reject")
    view = slack.people.modal("sam")
    assert view is not None
    await client.views_update(view_id=view.id, hash=view.hash, view=MODAL)
    with pytest.raises(SlackApiError, match="hash_conflict"):
        await client.views_update(view_id=view.id, hash=view.hash, view=MODAL)
    with pytest.raises(SlackApiError, match="not_found"):
        await client.views_update(view_id="V404", view=MODAL)


async def test_the_home_tab_is_published_and_clicked(
    slack: SlackStandIn, bot: Bot, client: AsyncWebClient
) -> None:
    await client.views_publish(user_id="U0MIA", view={"type": "home", "blocks": CARD})
    home = slack.people.home("mia")
    assert home is not None
    await slack.people.click("mia", home, "approve")

    assert bot.bodies[-1]["container"] == {"type": "view", "view_id": home.id}
    assert bot.bodies[-1]["view"]["type"] == "home"


async def test_a_response_url_answers_replaces_and_wears_out(
    slack: SlackStandIn, bot: Bot, card: Message, world: World
) -> None:
    await slack.people.click("sam", card, "approve")
    hook = AsyncWebhookClient(bot.bodies[-1]["response_url"])
    replaced = await hook.send(text="Approved by Sam", replace_original=True)
    private = await hook.send(text="Thank you")
    public = await hook.send(text="It is on its way", response_type="in_channel")
    for _ in range(RESPONSES - 3):
        await hook.send(text="again")
    worn = await hook.send(text="too often")

    assert [each.status_code for each in (replaced, private, public, worn)] == [200, 200, 200, 404]
    after = world.messages[card.channel, card.ts]
    assert (after.text, after.blocks) == ("Approved by Sam", ())
    assert {each.user for each in world.ephemerals.values()} == {"U0SAM"}
    assert world.messages_of(card.channel)[-1].text == "It is on its way"


async def test_an_ephemeral_card_is_clicked_and_removed(
    slack: SlackStandIn, bot: Bot, card: Message, client: AsyncWebClient, world: World
) -> None:
    await client.chat_postEphemeral(
        channel=card.channel, user="U0SAM", text="Only you see this", blocks=CARD
    )
    (seen,) = world.ephemerals.values()
    await slack.people.click("sam", seen, "approve")
    body = bot.bodies[-1]
    await AsyncWebhookClient(body["response_url"]).send_dict({"delete_original": True})

    assert body["container"]["is_ephemeral"]
    assert "message" not in body
    assert world.ephemerals == {}


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("@agent fix <T> & go", "<@U0JOURNEYMAN> fix &lt;T&gt; &amp; go"),
        ("see https://example.test/a?b=1&c=2.", "see <https://example.test/a?b=1&amp;c=2>."),
        ("@here ask @sam in #general", "<!here> ask <@U0SAM> in <#C000000002|general>"),
        ("mail mia@playground.example, !7 and #12", "mail mia@playground.example, !7 and #12"),
        ("<@U0SAM> and <@U404>", "<@U0SAM> and &lt;@U404&gt;"),
    ],
)
async def test_typed_text_is_sent_as_slack_writes_it(
    slack: SlackStandIn, typed: str, sent: str
) -> None:
    assert slack.people.post("mia", "platform", typed).text == sent


async def test_every_change_is_fed_to_who_watches(
    slack: SlackStandIn, world: World, client: AsyncWebClient
) -> None:
    seen: list[Change] = []
    end = world.subscribe(seen.append)
    feed = world.changes()
    first = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    root = slack.people.post("mia", "platform", "hello")
    slack.people.react("sam", root, "eyes")
    await client.chat_postEphemeral(channel=root.channel, user="U0MIA", text="psst")
    end()
    slack.people.delete(root)

    assert (await first).ts == root.ts
    await feed.aclose()
    assert [each.kind for each in seen] == ["message", "message", "ephemeral"]
