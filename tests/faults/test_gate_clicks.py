"""Clicks that somebody forged, copied, repeated or may not make, by signed HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientSession
from crossing import Crossing
from oracle import MERGED_BY, deeds
from road import until

from agent.events import GateVoted
from playground.slack.records import Message

Json = dict[str, Any]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Post:
    """Sends what Slack would send, or somebody else."""

    def __init__(self, crossing: Crossing, http: ClientSession, url: str) -> None:
        self.crossing, self.http, self.url = crossing, http, url

    def signed(self, body: str) -> dict[str, str]:
        return self.crossing.road.slack.delivery._signature(body)

    async def send(self, payload: Json, headers: dict[str, str] | None = None) -> int:
        body = urlencode({"payload": json.dumps(payload)})
        return await self.raw(body, self.signed(body) if headers is None else headers)

    async def raw(self, body: str, headers: dict[str, str]) -> int:
        async with self.http.post(self.url, data=body, headers=FORM | headers) as answer:
            return answer.status


@asynccontextmanager
async def by_http(crossing: Crossing) -> AsyncIterator[Post]:
    road = crossing.road
    secret = road.slack.world.app.signing_secret
    async with road.serving(SLACK_APP_TOKEN="", SLACK_SIGNING_SECRET=secret) as service:
        url = f"http://127.0.0.1:{service.port}/slack/events"
        road.slack.delivery.request_url = url
        async with ClientSession() as http:
            yield Post(crossing, http, url)


async def test_what_slack_did_not_sign_leaves_no_trace(crossing: Crossing):
    async with by_http(crossing) as post:
        card = await crossing.gate()
        before = await crossing.road.state()
        payload = crossing.click("sam", card)
        body = urlencode({"payload": json.dumps(payload)})
        good, now = post.signed(body), int(time.time())
        stamp, signature = "X-Slack-Request-Timestamp", "X-Slack-Signature"
        for headers in (
            {},
            {stamp: str(now)},
            {**good, signature: "v0=" + "0" * 64},
            {**good, signature: "v0=é"},
            {**good, stamp: str(now - 301)},
            {**good, stamp: str(now + 61)},
            {**good, stamp: "abc"},
            {**good, stamp: ""},
        ):
            assert await post.raw(body, headers) == 401, headers
        assert await post.raw(body.replace("U0SAM", "U0LEE"), good) == 401
        await asyncio.sleep(0.3)
        assert (await crossing.waits()).seq == before.seq
        assert await post.raw(body, good) == 200
        await crossing.merged()


async def test_one_click_sent_fifty_times_decides_once(crossing: Crossing):
    async with by_http(crossing) as post:
        card = await crossing.gate()
        payload = crossing.click("sam", card)
        body = urlencode({"payload": json.dumps(payload)})
        again = {"x-slack-retry-num": "1", "x-slack-retry-reason": "http_timeout"}
        sent = [post.raw(body, post.signed(body) | (again if n % 2 else {})) for n in range(50)]
        assert set(await asyncio.gather(*sent)) == {200}
        await crossing.merged()
        assert len(await crossing.road.events(GateVoted)) == 1
        assert await crossing.refusals() == []
        assert crossing.road.whispers("sam") == []


async def test_fifty_clicks_of_two_people_decide_once_and_the_others_are_told_by_whom(
    crossing: Crossing,
):
    async with by_http(crossing) as post:
        card = await crossing.gate()
        sent = [post.send(crossing.click(("sam", "lee")[n % 2], card)) for n in range(50)]
        assert set(await asyncio.gather(*sent)) == {200}
        await until(lambda: _told(crossing) >= 49, 40, crossing.road.story)
        await crossing.merged()
        [vote] = await crossing.road.events(GateVoted)
        for name in ("sam", "lee"):
            told = crossing.road.whispers(name)
            assert all(f"already approved by @{vote.by.name}" in each.text for each in told)
        assert {check for _, check in await crossing.refusals()} == {"open"}


def _told(crossing: Crossing) -> int:
    return sum(len(crossing.road.whispers(name)) for name in ("sam", "lee"))


async def test_a_click_from_elsewhere_decides_nothing(crossing: Crossing):
    """The card forwarded, posted again, or pressed under another message's name."""
    async with by_http(crossing) as post:
        card = await crossing.gate()
        other = crossing.road.slack.world.channel_named("random").id

        def from_channel(payload: Json) -> None:
            payload["channel"]["id"] = payload["container"]["channel_id"] = other

        def from_message(payload: Json) -> None:
            assert crossing.asked is not None
            payload["message"]["ts"] = payload["container"]["message_ts"] = crossing.asked.ts

        def from_copy(payload: Json) -> None:
            payload["message"]["ts"] = payload["container"]["message_ts"] = "1700000000.000100"

        for forge in (from_channel, from_message, from_copy):
            payload = crossing.click("sam", card)
            forge(payload)
            assert await post.send(payload) == 200
        await until(lambda: _refused(crossing, 3), story=crossing.road.story)
        assert await crossing.refusals() == [("sam", "place")] * 3
        assert (await crossing.waits()).gates[0].votes == ()
        await crossing.press("sam", card)
        await crossing.merged()


async def test_a_button_of_another_gate_or_of_none_decides_nothing(crossing: Crossing):
    async with by_http(crossing) as post:
        first = await crossing.gate()
        second = await _second(crossing, first)

        def named(value: str) -> Json:
            payload = crossing.click("sam", first)
            payload["actions"][0]["value"] = value
            return payload

        theirs = crossing.click("sam", second)["actions"][0]["value"]
        for value in (theirs, "0" * 32, "", "' OR 1=1 --", "1"):
            assert await post.send(named(value)) == 200
        await crossing.refused("I know no such request, so nothing was decided.")
        await until(lambda: len(crossing.road.whispers("sam")) == 5, story=crossing.road.story)
        states = [await crossing.road.state(run) for run in (1, 2)]
        assert [[len(gate.votes) for gate in state.gates] for state in states] == [[0], [0]]
        assert [r.check for r in states[1].gates[0].refused] == ["place"]
        assert [mr.state for mr in crossing.road.merge_requests] == ["opened", "opened"]


async def _second(crossing: Crossing, first: Message) -> Message:
    crossing.ask()
    await until(lambda: len(crossing.cards()) == 2, 40, crossing.road.story)
    return next(card for card in crossing.cards() if card.ts != first.ts)


async def test_who_may_not_decide_is_refused_and_on_record(crossing: Crossing):
    """A guest, a stranger, a bot, a leaver; who asked; who is nobody at GitLab, or not enough."""
    async with by_http(crossing):
        card = await crossing.gate()
        expected: list[tuple[str, str]] = []

        async def refused(name: str, check: str, words: str) -> None:
            told = len(crossing.road.whispers(name))
            expected.append((name, check))
            assert await crossing.press(name, card)
            await until(lambda: _refused(crossing, len(expected)), story=crossing.road.story)
            assert await crossing.refusals() == expected
            await until(lambda: len(crossing.road.whispers(name)) > told)
            assert words in crossing.road.whispers(name)[-1].text

        crossing.access("mia", 40)
        await refused("mia", "involved", "Somebody else has to")
        await refused("noor", "access", "you are")
        for what, words in (
            ({"is_restricted": True}, "Guests"),
            ({"is_bot": True}, "people only"),
            ({"deleted": True}, "deactivated"),
            ({"is_stranger": True}, "another workspace"),
        ):
            crossing.in_slack("sam", **what)
            await refused("sam", "person", words)
            crossing.in_slack("sam", **dict.fromkeys(what, False))
        account = crossing.account("sam")
        account.state = "blocked"
        await refused("sam", "account", "not an active user")
        account.state = "active"
        crossing.access("sam", 30)
        await refused("sam", "access", "must be a Maintainer")
        crossing.access("sam", 40)
        await crossing.waits()
        assert await crossing.press("sam", card)
        await crossing.merged()
        assert deeds(crossing.road, MERGED_BY) == ["1"]


async def _refused(crossing: Crossing, count: int) -> bool:
    return len(await crossing.refusals()) >= count


async def test_words_and_reactions_decide_nothing(crossing: Crossing):
    async with by_http(crossing):
        card = await crossing.gate()
        assert crossing.asked is not None
        for name in ("white_check_mark", "+1", "heavy_check_mark"):
            crossing.road.slack.people.react("sam", card, name)
        for text in ("approve", "LGTM, approved", "gate_approve"):
            crossing.road.reply(crossing.asked, text, user="sam")
        await crossing.road.slack.delivery.settled()
        await asyncio.sleep(0.5)
        assert (await crossing.waits()).gates[0].votes == ()
