"""Where nothing goes wrong: what all other scenarios deviate from."""

from __future__ import annotations

from road import Road


async def test_a_request_becomes_one_merge_request(road: Road):
    async with road.serving():
        asked = road.ask()
        result = await road.result(asked)
        assert "run 1 is done: draft merge request !1" in result.text
        assert len(road.said(asked)) == 2
        assert [mr.source_branch for mr in road.merge_requests] == ["agent/1"]
        assert await road.read("agent/1", "calc.py") == "def add(a, b):\n    return b + a"
