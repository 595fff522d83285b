"""Slack is away, slow or says things twice; strangers knock at its door."""

from __future__ import annotations

import json
import time

import pytest
from aiohttp import ClientSession
from road import Road, fault, until

from agent.run import RunStatus


async def one_card_and_one_result(road: Road) -> None:
    asked = road.ask()
    await road.result(asked, seconds=90)
    assert len(road.said(asked)) == 2, await road.story()
    assert len(road.merge_requests) == 1
    assert (await road.state()).status is RunStatus.SUCCEEDED


@pytest.mark.cell("F11", "S")
@pytest.mark.parametrize("nth", [1, 2], ids=["card", "result"])
async def test_a_message_whose_answer_was_lost_stands_once(road: Road, nth: int):
    async with road.serving():
        cut = road.slack.faults.set(fault("drop_after_apply", "chat.postMessage", nth=nth))
        await one_card_and_one_result(road)
        assert cut.hits == 1


@pytest.mark.cell("F10", "S")
@pytest.mark.cell("F12", "S")
@pytest.mark.parametrize("mode", ["fail", "429"])
async def test_a_message_that_is_refused_for_a_while_comes_once(road: Road, mode: str):
    async with road.serving():
        road.slack.faults.set(fault(mode, "chat.*", times=3, status=503, seconds=1))
        await one_card_and_one_result(road)


@pytest.mark.cell("F12", "PS")
async def test_slack_is_down_during_the_whole_run(road: Road):
    async with road.serving():
        road.slack.faults.set(fault("fail", "chat.*", times=0, status=503))
        road.slack.faults.set(fault("fail", "reactions.*", times=0, status=503))
        asked = road.ask()
        await road.reached(lambda state: state.status is RunStatus.SUCCEEDED)
        assert road.said(asked) == []
        road.slack.faults.clear()
        await road.result(asked)
        assert len(road.said(asked)) == 2
        assert len(road.merge_requests) == 1


@pytest.mark.cell("F14", "A")
async def test_the_socket_is_cut_again_and_again(road: Road):
    async with road.serving():
        for _ in range(3):
            await road.slack.sockets.cut()
        asked = road.ask()
        await road.result(asked)
        assert len(road.merge_requests) == 1


@pytest.mark.cell("F13", "A")
async def test_mention_and_message_twins_each_delivered_twice_are_one_run(road: Road):
    road.slack.faults.set(fault("duplicate", "event:*", times=0))
    async with road.serving():
        await one_card_and_one_result(road)
        events = [d.payload["event"] for d in road.slack.delivery.log]
        first = min(event["ts"] for event in events if event["type"] == "app_mention")
        same = [event["type"] for event in events if event.get("ts") == first]
        assert sorted(same) == ["app_mention"] * 2 + ["message"] * 2
        assert await road.runs() == [1]


async def test_signed_requests_by_http_and_nothing_else(road: Road):
    secret = road.slack.world.app.signing_secret
    async with road.serving(SLACK_APP_TOKEN="", SLACK_SIGNING_SECRET=secret) as service:
        url = f"http://127.0.0.1:{service.port}/slack/events"
        road.slack.delivery.request_url = url
        await one_card_and_one_result(road)
        signed = next(d for d in road.slack.delivery.log if d.name == "app_mention")
        body = json.dumps(signed.payload | {"event_id": "Ev2"})
        now, hour_ago = str(int(time.time())), str(int(time.time()) - 3600)
        stamp = "X-Slack-Request-Timestamp"
        good = road.slack.delivery._signature(body)
        async with ClientSession() as http:
            for headers in (
                {},
                {stamp: now},
                {**good, "X-Slack-Signature": "v0=" + "0" * 64},
                {**good, stamp: hour_ago},
                {**good, stamp: "yesterday"},
                {**good, stamp: "9" * 400},
                {"X-Slack-Signature": "é", stamp: now},
            ):
                async with http.post(url, data=body, headers=headers) as answer:
                    assert answer.status == 401, headers
            async with http.post(url, data=b"\xff\x00{" * 100, headers=good) as answer:
                assert answer.status == 401
        assert await road.runs() == [1]


@pytest.mark.cell("F15", "S")
async def test_a_channel_that_the_app_may_not_write_to(road: Road):
    """The work is done all the same, and nothing hangs."""
    async with road.serving():
        road.slack.faults.set(fault("fail", "chat.*", times=0, error="is_archived"))
        asked = road.ask()
        await road.reached(lambda state: state.status is RunStatus.SUCCEEDED)
        road.slack.faults.clear()
        second = road.ask("once more")
        await until(lambda: len(road.said(second)) == 2, story=road.story)
        assert len(road.merge_requests) == 2
        assert len(road.said(asked)) <= 2
