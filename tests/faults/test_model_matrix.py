"""The model fails, talks nonsense or goes in circles, and commands misbehave, in phases of a run
that no other test tries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from crossing import ALONE, UNIT, Crossing
from night_road import SETTINGS, Nightly
from oracle import judge
from phases import phases
from road import (
    EDIT,
    FILES,
    FINISH,
    PLAN,
    ROUND,
    Reply,
    Road,
    edit,
    fault,
    make_repository,
    open_road,
    run,
    say,
)

import agent.maintenance.shift
from agent.events import ModelFailed, ToolReturned
from agent.run import ENDED, RunStatus
from agent.state import RunState
from playground.gitlab.instant import InstantRunner

CALL = "chat/completions"
BROKEN = say(("edit", '{"path": "calc.py", "old": '))
SAME = say(("read", {"path": "calc.py"}))
WRONG = say(edit("calc.py", "return a + b", "return a - b"))
RIGHT = say(edit("calc.py", "return a - b", "return b + a"))
MORE = say(("write", {"path": "README", "content": "It adds.\n"}))
STYLE = """grep -n 'a + b' calc.py | while IFS=: read -r line rest; do
echo "calc.py:$line: the sum is the wrong way round"; done
"""
BOMB = say(run("bomb() { bomb | bomb & }; bomb; sleep 1", timeout=3))
FLOOD = say(run("head -c 50000000 /dev/zero | tr '\\0' x"))


@dataclass(kw_only=True)
class Walk:
    """A run of which the model has said `before` when the moment comes, and would say `after`."""

    road: Road
    before: Sequence[Reply]
    after: Sequence[Reply]
    at_night: bool = False

    def between(self, *replies: Reply) -> None:
        self.road.script.replies = [*self.before, *replies, *self.after]

    async def ended(self) -> RunState:
        """And everything agrees on how."""
        road = self.road
        async with road.serving():
            if self.at_night:
                assert await Nightly(road=road).due()
                await Nightly(road=road).over()
            else:
                road.ask()
            state = await road.reached(lambda state: state.status in ENDED, 90)
        await judge(road)
        return state

    async def succeeded(self) -> None:
        state = await self.ended()
        assert state.status is RunStatus.SUCCEEDED, await self.road.story()
        [request] = self.road.merge_requests
        assert "return b + a" in await self.road.read(request.source_branch, "calc.py")


@pytest.fixture
async def walk(
    phase: str, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Walk]:
    monkeypatch.setattr(agent.maintenance.shift, "PAUSE", 0.1)
    files = {**FILES, "style.sh": STYLE, ".gitlab-ci.yml": UNIT}
    source = make_repository(tmp_path / "source", files)
    async with open_road(tmp_path, database_url, source=source) as road:
        road.gitlab.forge.pipelines.runner = InstantRunner()
        match phase:
            case "P":
                yield Walk(road=road, before=(), after=ROUND)
            case "T":
                yield Walk(road=road, before=(PLAN, WRONG, FINISH), after=(RIGHT, FINISH))
            case "F":
                Crossing(road=road).rules(ALONE)
                road.gitlab.faults.set(fault("job_fails", "job:agent/1:unit", times=2))
                yield Walk(road=road, before=ROUND, after=(MORE, FINISH))
            case _:
                road.config(f'{SETTINGS}lint = ["bash style.sh"]\n')
                yield Walk(road=road, before=(PLAN,), after=(EDIT, FINISH), at_night=True)


@phases("F26", "T", "FN")
@pytest.mark.parametrize("mode", ["fail", "429", "drop_after_apply"])
async def test_a_model_that_is_away_is_waited_for(walk: Walk, mode: str):
    nth = len(walk.before) + 1
    walk.road.model.faults.set(fault(mode, CALL, nth=nth, times=2, status=503))
    walk.between()
    await walk.succeeded()
    assert len(await walk.road.events(ModelFailed)) == 2
    said = len(walk.before) + len(walk.after)
    assert (await walk.road.state()).calls == said  # none was counted, or carried out, twice
    assert len(await walk.road.events(ToolReturned)) == said


@phases("F27", "T", "FN")
async def test_nonsense_is_answered_and_the_run_goes_on(walk: Walk):
    walk.between(BROKEN, BROKEN)
    await walk.succeeded()
    assert "Invalid call: " in str(walk.road.script.prompts)


@phases("F27", "", "TFN")
async def test_nonsense_three_times_ends_the_run(walk: Walk):
    walk.between(*[BROKEN] * 3)
    state = await walk.ended()
    assert state.status is RunStatus.ESCALATED
    assert "made 3 tool calls in a row that could not be understood" in state.reason


@phases("F28", "PT", "FN")
async def test_the_same_call_again_and_again_ends_the_run(walk: Walk):
    walk.between(*[SAME] * 9)
    state = await walk.ended()
    assert state.status is RunStatus.ESCALATED
    assert "`read` 3 times in a row" in state.reason
    assert len(walk.road.script.prompts) <= len(walk.before) + 3


@phases("F29", "T", "FN")
async def test_what_a_command_does_to_the_sandbox_stays_there(walk: Walk):
    walk.between(BOMB, FLOOD)
    await walk.succeeded()
    told = str(walk.road.script.prompts[-1])
    assert "Resource temporarily unavailable" in told
    assert "All of it: `read` /output/" in told
