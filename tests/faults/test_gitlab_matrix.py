"""GitLab is away, lags, or is changed by people, in phases of a run that no other test tries."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
from night_road import SETTINGS as NIGHTLY
from oracle import MERGED_BY, deeds
from phases import MERGE_REQUESTS, PUSH, SLEEP, UNIT, Scene, at
from road import PROJECT, Road, fault

from agent.events import EffectDone, EffectFailed
from agent.run import ENDED, RunStatus
from playground import seed

pytestmark = pytest.mark.usefixtures("staged")

Change = Callable[[Road], AbstractContextManager[None]]
GONE = "may be wrong, revoked or expired"
GUEST, SECRET = 10, "hook-secret-of-the-test"


async def ended(scene: Scene) -> RunStatus:
    state = await scene.road.reached(lambda state: state.status in ENDED, 90)
    return state.status


@pytest.mark.cell("F17", "F")
@pytest.mark.parametrize("phase", ["F"])
@pytest.mark.parametrize("mode", ["fail", "429"])
async def test_an_outage_while_a_red_pipeline_is_mended_is_waited_for(scene: Scene, mode: str):
    road = scene.road
    async with road.serving():
        async with at(scene):
            away = road.gitlab.faults.set(fault(mode, times=0, status=503, seconds=1))
        await scene.until(lambda: away.hits > 3)
        road.gitlab.faults.clear()
        await scene.ends()


@pytest.mark.slow
@pytest.mark.parametrize("call", [PUSH, MERGE_REQUESTS])
@pytest.mark.parametrize("phase", [pytest.param("N", marks=pytest.mark.cell("F18", "N"))])
async def test_what_a_night_did_though_its_answer_was_lost_is_done_once(scene: Scene, call: str):
    cut = scene.road.gitlab.faults.set(fault("drop_after_apply", call))
    async with scene.road.serving():
        async with at(scene):
            pass
        await scene.ends()
        assert cut.hits == 1
        assert len(await scene.road.events(EffectDone)) == 2


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("U", marks=pytest.mark.cell("F19", "UM")),
        pytest.param("N", marks=[pytest.mark.cell("F19", "N"), pytest.mark.slow]),
    ],
)
async def test_a_branch_that_gitlab_does_not_see_yet_is_waited_for(scene: Scene):
    scene.road.gitlab.state.lags.branch = 4.0
    async with scene.road.serving():
        async with at(scene):
            pass
        await scene.ends()
        assert [each for each in await scene.road.events(EffectFailed) if each.retry_in]


def pipeline(scene: Scene) -> Any:
    found = [each for each in scene.road.project.pipelines.values() if each.ref == "agent/1"]
    return max(found, key=lambda each: each.id)


@pytest.mark.cell("F21", "F")
@pytest.mark.parametrize("phase", ["F"])
@pytest.mark.slow
@pytest.mark.parametrize("word", ["skipped", "canceled"])
async def test_a_mended_commit_that_was_not_checked_needs_a_person(scene: Scene, word: str):
    road = scene.road
    async with road.serving():
        async with at(scene):
            before = pipeline(scene)
            road.gitlab.faults.set(fault("job_waits", UNIT, seconds=60))
        await scene.until(lambda: pipeline(scene) is not before)
        unchecked = pipeline(scene)
        unchecked.status = word
        for job in unchecked.jobs:
            job.status = word
        assert await ended(scene) is RunStatus.ESCALATED
        assert word in (await road.state()).reason
        assert [mr.state for mr in road.merge_requests] == ["opened"]


@pytest.mark.cell("F22", "F")
@pytest.mark.parametrize("phase", ["F"])
async def test_a_runner_that_fails_beside_the_mended_commit_is_asked_once_more(scene: Scene):
    road = scene.road
    async with road.serving():
        async with at(scene):
            broken = road.gitlab.faults.set(fault("job_fails", UNIT, error="runner_system_failure"))
        await scene.ends()
        assert broken.hits == 1
        assert len((await road.state()).fixes) == 1


@pytest.mark.slow
@pytest.mark.cell("F22", "N")
@pytest.mark.parametrize("phase", ["N"])
async def test_a_runner_that_fails_under_a_night_s_commit_is_asked_once_more(scene: Scene):
    road = scene.road
    road.config(NIGHTLY.replace("watch_pipeline = false\n", f'setup = "sleep {SLEEP}"\n'))
    broken = road.gitlab.faults.set(fault("job_fails", UNIT, error="runner_system_failure"))
    async with road.serving():
        async with at(scene):
            pass
        await scene.ends()
        assert broken.hits == 1
        assert (await road.state()).status is RunStatus.SUCCEEDED
        assert not (await road.state()).fixes


@pytest.mark.cell("F23", "M")
@pytest.mark.parametrize("phase", ["M"])
async def test_a_commit_of_somebody_else_before_the_merge_request_stands(scene: Scene):
    road = scene.road
    async with road.serving():
        async with at(scene):
            theirs = await road.commit("agent/1", "notes.txt", "mine")
        await ended(scene)
        assert await road.git("rev-parse", "agent/1") == theirs
        assert len(road.merge_requests) == 1


@pytest.mark.cell("F24", "A")
@pytest.mark.parametrize("phase", ["A"])
async def test_a_role_that_is_lowered_while_a_request_waits_counts(scene: Scene):
    road = scene.road
    async with road.serving():
        async with at(scene):
            scene.crossing.access("mia", GUEST)
        await road.whispered("Guest")
        assert await road.runs() == []


@contextmanager
def revoked(road: Road) -> Generator[None]:
    tokens = road.gitlab.state.tokens
    gone = {key: token for key, token in tokens.items() if token.name in ("read", "write")}
    for key in gone:
        del tokens[key]
    yield
    tokens.update(gone)


@contextmanager
def archived(road: Road) -> Generator[None]:
    road.project.archived = True
    yield
    road.project.archived = False


@contextmanager
def lowered(road: Road) -> Generator[None]:
    agent = road.project.members[seed.account(road.gitlab.state, "journeyman").id]
    before, agent.access_level = agent.access_level, GUEST
    yield
    agent.access_level = before


def rights(phase: str, change: Change, *words: str, slow: bool = True) -> Any:
    marks = [pytest.mark.cell("F24", phase), *([pytest.mark.slow] if slow else ())]
    return pytest.param(phase, change, words, marks=marks, id=f"{phase}-{change.__name__}")


@pytest.mark.parametrize(
    ("phase", "change", "words"),
    [
        rights("P", revoked, GONE, "kept", slow=False),
        rights("P", archived, "archived", "kept"),
        rights("P", lowered, "its role", "kept"),
        rights("M", revoked, GONE, "kept"),
        rights("M", lowered, "the role Developer", "kept"),
        rights("C", revoked, GONE, "kept"),
        rights("C", lowered, "the role Developer", "left to you"),
    ],
)
async def test_rights_that_are_lost_end_the_run_and_it_says_which(
    scene: Scene, change: Change, words: tuple[str, ...]
):
    road = scene.road
    async with road.serving():
        with ExitStack() as changed:
            async with at(scene):
                changed.enter_context(change(road))
            await ended(scene)
        state = await road.state()
        assert deeds(road, MERGED_BY) == []
        for each in words:
            assert each in state.reason


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("F", marks=[pytest.mark.cell("F25", "F"), pytest.mark.slow]),
        pytest.param("X", marks=pytest.mark.cell("F25", "X")),
    ],
)
@pytest.mark.parametrize("lost", [False, True], ids=["doubled", "lost"])
async def test_webhooks_that_are_doubled_or_lost_change_nothing(scene: Scene, lost: bool):
    road = scene.road
    async with road.serving(GITLAB_WEBHOOK_SECRET=SECRET) as service:
        url = f"http://127.0.0.1:{9 if lost else service.port}"
        seed.add_hook(road.gitlab.state, PROJECT, url, SECRET)
        doubled = road.gitlab.faults.set(fault("duplicate", "hook:*", times=0))
        async with at(scene):
            pass
        await scene.ends()
        assert doubled.hits
