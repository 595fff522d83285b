"""The whole road, brought to the very moment of a phase: something can then be made to go wrong.

    scene = Scene(phase="U", crossing=crossing)
    async with scene.process() as process:
        async with at(scene):  # the push is on its way, and GitLab has not taken it yet
            ...
        # now it has
    async with scene.road.serving():
        await scene.ends()

What comes of it in the end has to be as if nothing had happened.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
from crossing import ALONE, MERGE, Crossing
from family import alive, command
from night_road import SETTINGS as NIGHTLY
from night_road import Nightly
from road import EDIT, FINISH, PLAN, ROUND, Process, Road, fault, own, run, say, until

from agent.run import RunStatus
from playground.faults import Faults, SetFault
from playground.slack.records import Message

MERGE_REQUESTS = "POST /projects/:id/merge_requests"
PUSH = "POST git-receive-pack"
MODEL = "chat/completions"
UNIT = "job:agent/1:unit"
#: What the sandbox does in the moment, where the stand-ins cannot hold anything back.
SLEEP = own(4)


def phases(fault: str, quick: str, slow: str = "") -> pytest.MarkDecorator:
    """A test of the fault in each of these phases, of which `make test` has the quick ones."""
    cells = [pytest.param(phase, marks=[pytest.mark.cell(fault, phase)]) for phase in quick]
    for phase in slow:
        cells.append(pytest.param(phase, marks=[pytest.mark.cell(fault, phase), pytest.mark.slow]))
    return pytest.mark.parametrize("phase", cells)


def sleeping() -> set[int]:
    """The commands that sleep in sandboxes, by process."""
    called = f"sleep\0{SLEEP}\0".encode()
    return {pid for pid in alive() if command(pid) == called}


@dataclass(kw_only=True)
class Scene:
    """Made before anything serves. `asked`: the request, where somebody asked."""

    phase: str
    crossing: Crossing
    asked: Message | None = None
    slept: set[int] = field(default_factory=set[int])  #: commands, since the moment began
    held: list[tuple[Faults, SetFault]] = field(default_factory=list[tuple[Faults, SetFault]])

    def __post_init__(self) -> None:
        road = self.road
        match self.phase:
            case "W":
                road.config()
                road.script.replies = [PLAN, EDIT, say(run(f"sleep {SLEEP}")), FINISH]
            case "T":
                slow = f"sleep {SLEEP}; bash check.sh"
                road.config(f'[defaults]\ntest_command = "{slow}"\nwatch_pipeline = false\n')
            case "C":
                self.crossing.rules(ALONE)
                road.gitlab.faults.set(fault("job_waits", UNIT, seconds=4))
            case "F":
                self.crossing.rules(ALONE)
                road.gitlab.faults.set(fault("job_fails", UNIT, times=2))
                more = say(("write", {"path": "README", "content": "It adds.\n"}))
                road.script.replies = [*ROUND, more, FINISH]
            case "G" | "X":
                self.crossing.rules()
            case "N":
                slow = f'test_command = "sleep {SLEEP}; bash check.sh"'
                road.config(NIGHTLY.replace('test_command = "bash check.sh"', slow))
            case _:
                road.config()

    @property
    def road(self) -> Road:
        return self.crossing.road

    @asynccontextmanager
    async def process(self, **env: str) -> AsyncGenerator[Process]:
        """As `Road.process`, with nights."""
        self.road.served = env
        process = Process(self.road, self.road.env | env, program="staged.py")
        try:
            await process.ready()
            yield process
        finally:
            await process.end(signal.SIGKILL)

    def hold(self, faults: Faults, call: str, **more: int) -> SetFault:
        """From now on such a call is neither answered nor carried out."""
        made = faults.set(fault("hang", call, **more))
        self.held.append((faults, made))
        return made

    def ask(self) -> None:
        self.asked = self.crossing.ask()

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition, 60, self.road.story)

    async def again(self) -> None:
        """Somebody else has come to the same point, while the moment lasts."""
        if self.held:
            await self.until(lambda: all(held.hits > 1 for _, held in self.held))
        else:
            await self.until(lambda: sleeping() - self.slept)

    async def ends(self, seconds: float = 90) -> None:
        """As if nothing had happened."""
        road = self.road
        match self.phase:
            case "C" | "F" | "G" | "X":
                await self.crossing.merged(seconds)
            case "N":
                [report] = await Nightly(road=road).over()
                assert report.status == "done", await road.story()
                await self._only_merge_request()
            case _:
                assert self.asked is not None
                result = await road.result(self.asked, seconds)
                assert ": draft merge request !1 on" in result.text, await road.story()
                assert len(road.said(self.asked)) == 2, await road.story()
                await self._only_merge_request()
        assert await road.runs() == [1]

    async def _only_merge_request(self) -> None:
        road = self.road
        assert [mr.source_branch for mr in road.merge_requests] == ["agent/1"]
        assert await road.read("agent/1", "calc.py") == "def add(a, b):\n    return b + a"
        assert await road.git("rev-list", "--count", "main..agent/1") == "1"


@asynccontextmanager
async def at(scene: Scene) -> AsyncGenerator[None]:
    """Somebody serves already. Inside, the moment lasts; what was held back goes on afterwards."""
    try:
        await MOMENTS[scene.phase](scene)
        scene.slept = sleeping()
        yield
    finally:
        for faults, held in scene.held:
            faults.clear(held.id)
        scene.held.clear()


async def _on_the_way(stand_in: str, call: str, scene: Scene) -> None:
    """Such a call is the first that the request has come to, and nobody answers it."""
    held = scene.hold(getattr(scene.road, stand_in).faults, call, times=0)
    scene.ask()
    await scene.until(lambda: held.hits)


async def _working(scene: Scene) -> None:
    scene.ask()
    await scene.until(sleeping)


async def _testing(scene: Scene) -> None:
    scene.ask()
    await scene.road.reached(lambda state: state.status is RunStatus.TESTING)
    await scene.until(sleeping)


async def _watching(scene: Scene) -> None:
    waits = scene.road.gitlab.faults.entries[-1]
    scene.ask()
    await scene.until(lambda: waits.hits)
    await scene.road.reached(lambda state: state.status is RunStatus.WATCHING)


async def _mending(scene: Scene) -> None:
    """The model is asked for its first step after the pipeline was red."""
    held = scene.hold(scene.road.model.faults, MODEL, nth=len(ROUND) + 1, times=0)
    scene.ask()
    await scene.until(lambda: held.hits)
    assert (await scene.road.state()).fixes


async def _deciding(scene: Scene) -> None:
    """Sam has pressed; it is stored, and nothing has been checked yet."""
    card = await scene.crossing.gate()
    held = scene.hold(scene.road.slack.faults, "users.info", times=0)
    assert await scene.crossing.press("sam", card)
    await scene.until(lambda: held.hits)


async def _merging(scene: Scene) -> None:
    card = await scene.crossing.gate()
    held = scene.hold(scene.road.gitlab.faults, MERGE, times=0)
    assert await scene.crossing.press("sam", card)
    await scene.until(lambda: held.hits)


async def _at_night(scene: Scene) -> None:
    assert await Nightly(road=scene.road).due()
    await scene.until(sleeping)


async def _telling(scene: Scene) -> None:
    """The result is on its way to the thread."""
    held = scene.hold(scene.road.slack.faults, "chat.postMessage", nth=2, times=0)
    scene.ask()
    await scene.until(lambda: held.hits)


MOMENTS: Mapping[str, Callable[[Scene], Awaitable[None]]] = {
    "A": partial(_on_the_way, "slack", "users.info"),  # stored; nobody knows yet who asked
    "P": partial(_on_the_way, "model", MODEL),
    "W": _working,
    "T": _testing,
    "U": partial(_on_the_way, "gitlab", PUSH),
    "M": partial(_on_the_way, "gitlab", MERGE_REQUESTS),
    "C": _watching,
    "F": _mending,
    "G": _deciding,
    "X": _merging,
    "N": _at_night,
    "S": _telling,
}
