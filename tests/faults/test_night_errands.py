"""What takes judgement in a night, done by the real service: nobody asks, and nobody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from night_road import SETTINGS, Nightly
from road import FILES, FINISH, PLAN, Road, edit, make_repository, open_road, say

import agent.maintenance.shift

STYLE = """grep -n 'a + b' calc.py | grep -v noqa | while IFS=: read -r line rest; do
echo "calc.py:$line: the sum is the wrong way round"; done
"""
IGNORED = say(edit("calc.py", "return a + b", "return a + b  # noqa"))
UNDONE = say(edit("calc.py", "return a + b  # noqa", "return b + a"))
ASKED = say(("ask", {"question": "Which way round is right?"}))


@pytest.fixture
async def nightly(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agent.maintenance.shift, "PAUSE", 0.1)
    source = make_repository(tmp_path / "source", {**FILES, "style.sh": STYLE})
    async with open_road(tmp_path, database_url, source=source) as road:
        road.config(f'{SETTINGS}lint = ["bash style.sh"]\n')
        yield Nightly(road=road)


def nothing_in_slack(road: Road) -> bool:
    return not any(call.method == "chat.postMessage" for call in road.slack.calls)


async def test_a_finding_is_mended_in_a_merge_request(nightly: Nightly):
    road = nightly.road
    road.script.replies = (PLAN, IGNORED, FINISH, UNDONE, FINISH)
    [report] = await nightly.work()
    assert len(report.errands) == 1, await road.story()
    [request] = road.merge_requests
    assert "return b + a" in await road.read(request.source_branch, "calc.py")
    assert "`bash style.sh`" in road.script.told()
    assert "did not accept your change" in road.script.told()
    assert nothing_in_slack(road)
    assert f"!{request.iid}" in await nightly.told()


async def test_a_question_is_told_in_the_morning_and_nothing_waits(nightly: Nightly):
    nightly.road.script.replies = (PLAN, ASKED)
    await nightly.work()
    assert await nightly.untouched()
    assert nothing_in_slack(nightly.road)
    words = await nightly.told()
    assert "gave up: It asked, and at night nobody answers: Which way round is right?" in words
