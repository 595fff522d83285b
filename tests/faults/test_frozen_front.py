"""A front that hangs keeps nobody else from writing to threads."""

from __future__ import annotations

import pytest
from road import FINISH, PLAN, Road, own, run, say, sleeps, until

SHORT = own(5)


@pytest.mark.cell("F04", "S")
async def test_another_front_takes_the_threads_of_a_frozen_one_which_then_says_nothing(road: Road):
    road.script.replies = [PLAN, say(run(f"sleep {SHORT}")), FINISH]
    async with road.process() as frozen:
        asked = road.ask()
        await until(lambda: sleeps(SHORT), story=road.story)
        await until(lambda: "working" in road.said(asked)[0].text, story=road.story)
        held = await road.db.pool.fetchval("SELECT holder FROM leases WHERE name = 'threads'")
        frozen.pause()
        async with road.serving():

            async def taken() -> bool:
                by = await road.db.pool.fetchval("SELECT holder FROM leases WHERE name = 'threads'")
                return by not in (held, None)

            await until(taken, 30, road.story)
            result = await road.result(asked)
            told = [message.text for message in road.said(asked)]
            frozen.resume()
            await until(lambda: b"threads_lost" in road.log.read_bytes(), story=road.story)
            assert [message.text for message in road.said(asked)] == told
            assert told[-1] == result.text
            assert len([text for text in told if text.startswith("Run 1 on")]) == 1
