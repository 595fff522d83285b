"""GitLab is down, slow, stale, or says no, while people decide and while it is merged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientSession
from crossing import HEAR, MERGE, RIGHTS, Crossing, never
from oracle import MERGED_BY, deeds
from road import PROJECT, fault, until

import bot.schedule
from agent.events import GateVoted
from agent.run import RunStatus
from playground import seed
from playground.gitlab.ci_records import Pipeline
from playground.gitlab.records import DEVELOPER, MAINTAINER

PIPELINES = "GET /projects/:id/pipelines"
RAW = "GET /projects/:id/merge_requests/:iid/raw_diffs"
SECRET = "hook-secret-of-the-test"


@pytest.fixture
async def open_gate(crossing: Crossing) -> AsyncIterator[Crossing]:
    """Served, and waiting for a maintainer."""
    async with crossing.road.serving():
        await crossing.gate()
        yield crossing


async def deciding(crossing: Crossing) -> None:
    """Sam approves, and it is on its way."""
    assert await crossing.press("sam", await crossing.card())
    await until(lambda: crossing.road.events(GateVoted), story=crossing.road.story)


# --- while the click is checked


@pytest.mark.cell("F17", "G")
@pytest.mark.parametrize(
    ("call", "check"),
    [
        (RIGHTS, "access"),
        ("GET /users/:id", "account"),
        (HEAR, "merge_request"),
        (RAW, "difference"),
        (PIPELINES, "pipeline"),
    ],
)
async def test_what_cannot_be_checked_is_not_decided(open_gate: Crossing, call: str, check: str):
    road, card = open_gate.road, await open_gate.card()
    for mode in ("fail", "429", "drop_after_apply"):
        before = len(await open_gate.refusals())
        down = road.gitlab.faults.set(fault(mode, call, times=0))
        assert await open_gate.press("sam", card)
        await until(lambda b=before: _refused(open_gate, b + 1), story=road.story)
        assert down.hits
        road.gitlab.faults.clear()
    assert {found for _, found in await open_gate.refusals()} == {check}
    assert "so nothing was decided" in await open_gate.refused("Press again in a moment.")
    await open_gate.waits()
    await deciding(open_gate)
    await open_gate.merged()


async def _refused(crossing: Crossing, count: int) -> bool:
    return len(await crossing.refusals()) >= count


@pytest.mark.cell("F24", "G")
async def test_a_token_that_is_refused_at_the_click_decides_nothing(open_gate: Crossing):
    card, state = await open_gate.card(), open_gate.road.gitlab.state
    for token in state.tokens.values():
        token.revoked = token.name == "read"
    assert await open_gate.press("sam", card)
    assert "so nothing was decided" in await open_gate.refused("Press again")
    await open_gate.waits()
    for token in state.tokens.values():
        token.revoked = False
    await deciding(open_gate)
    await open_gate.merged()


# --- while it is merged


@pytest.mark.cell("F17", "X")
@pytest.mark.cell("F18", "X")
@pytest.mark.parametrize(
    ("mode", "more"),
    [
        ("fail", {"status": 500}),
        ("fail", {"status": 503, "times": 2}),
        ("429", {"seconds": 1}),
        ("drop_after_apply", {}),
    ],
)
async def test_a_merge_that_fails_for_a_while_is_done_once(
    open_gate: Crossing, mode: str, more: dict[str, Any]
):
    broken = open_gate.road.gitlab.faults.set(fault(mode, MERGE, **more))
    await deciding(open_gate)
    await open_gate.merged()
    assert broken.hits == more.get("times", 1)
    assert deeds(open_gate.road, MERGED_BY) == ["1"]


@pytest.mark.cell("F18", "X")
async def test_a_merge_whose_answer_is_late_and_that_cannot_be_read_back_waits(
    open_gate: Crossing,
):
    """Done, the answer lost, and then nothing answers: it is asked about, never asked for again."""
    road = open_gate.road
    road.gitlab.faults.set(fault("drop_after_apply", MERGE))
    down = road.gitlab.faults.set(fault("fail", HEAR, times=0, status=502))
    down.fault = fault("fail", HEAR, nth=10_000)
    merged = asyncio.Event()

    def cut(_: object) -> None:
        if road.merge_requests[0].state == "merged" and not merged.is_set():
            down.fault = fault("fail", HEAR, times=0, status=502)
            merged.set()

    road.gitlab.state.subscribe(cut)
    await deciding(open_gate)
    await merged.wait()
    await until(lambda: down.hits > 1, story=road.story)
    assert (await road.state()).status is RunStatus.DELIVERING
    road.gitlab.faults.clear()
    await open_gate.merged()
    assert deeds(road, MERGED_BY) == ["1"]


@pytest.mark.cell("F20", "GX")
async def test_what_gitlab_still_checks_is_waited_for(crossing: Crossing):
    crossing.road.gitlab.state.lags.merge_check = 3.0
    crossing.road.gitlab.state.lags.approvals = 3.0
    async with crossing.road.serving():
        await crossing.gate()
        await deciding(crossing)
        await crossing.merged(60)


@pytest.mark.cell("F20", "GX")
async def test_stale_reads_merge_nothing_else(open_gate: Crossing):
    """GitLab's replica knows nothing of a push yet; git itself does."""
    road = open_gate.road
    road.gitlab.faults.set(fault("stale_reads", "GET /projects/*", times=0, seconds=60))
    card = await open_gate.card()
    crossing_at = len(await open_gate.refusals())
    assert await open_gate.press("noor", card)  # all has been asked once, and is kept
    await until(lambda: _refused(open_gate, crossing_at + 1))
    # the click reads it twice, to decide and for the record; then comes the merge
    slow = road.gitlab.faults.set(fault("delay", RIGHTS, nth=3, seconds=2))
    assert await open_gate.press("sam", card)
    await until(lambda: road.events(GateVoted), story=road.story)
    await until(lambda: slow.hits, story=road.story)
    theirs = await road.commit("agent/1", "notes.txt", "mine")
    await open_gate.unmerged()
    assert await road.git("rev-parse", "agent/1") == theirs


# --- what people do at GitLab meanwhile

Change = Callable[[Crossing], Any]


async def _push(crossing: Crossing) -> None:
    await crossing.road.commit("agent/1", "notes.txt", "mine")


async def _force(crossing: Crossing) -> None:
    """Somebody goes back to the commit that the branch began at."""
    road = crossing.road
    old, new = await road.git("rev-parse", "agent/1"), await road.git("rev-parse", "main")
    await road.gitlab.forge.repository(road.project).update_ref("refs/heads/agent/1", new, old)
    sam = crossing.account("sam")
    await road.gitlab.forge.pushed(road.project, sam, [(old, new, "refs/heads/agent/1")])


async def _edit(crossing: Crossing, **what: Any) -> None:
    path = f"/projects/{PROJECT.replace('/', '%2F')}/merge_requests/1"
    await by_sam(crossing, "PUT", path, **what)


async def _close(crossing: Crossing) -> None:
    await _edit(crossing, state_event="close")


async def _retarget(crossing: Crossing) -> None:
    await crossing.road.git("branch", "other", "main")
    await _edit(crossing, target_branch="other")


async def _delete(crossing: Crossing) -> None:
    path = f"/projects/{PROJECT.replace('/', '%2F')}/repository/branches/agent%2F1"
    await by_sam(crossing, "DELETE", path)


async def _tighten(crossing: Crossing) -> None:
    crossing.rules("approvals = 2\n")


async def by_sam(crossing: Crossing, method: str, path: str, **what: Any) -> None:
    road = crossing.road
    secret = road.gitlab.state.add_token(crossing.account("sam"), "api").secret
    async with ClientSession(headers={"PRIVATE-TOKEN": secret}) as http:
        url = f"{road.gitlab.url}/api/v4{path}"
        async with http.request(method, url, json=what) as answer:
            assert answer.status < 300, await answer.text()


CHANGES = {
    "push": (_push, "merge_request"),
    "force": (_force, "merge_request"),
    "close": (_close, "merge_request"),
    "retarget": (_retarget, "merge_request"),
}


@pytest.mark.cell("F23", "G")
@pytest.mark.parametrize(
    ("change", "check"), [pytest.param(*each, id=name) for name, each in CHANGES.items()]
)
async def test_a_click_for_what_has_changed_is_refused(
    open_gate: Crossing, change: Change, check: str
):
    card = await open_gate.card()
    await change(open_gate)
    assert await open_gate.press("sam", card)
    await until(lambda: _refused(open_gate, 1), story=open_gate.road.story)
    assert await open_gate.refusals() == [("sam", check)]
    await open_gate.waits_or_left()


@pytest.mark.cell("F23", "X")
@pytest.mark.parametrize(
    "change", [_push, _force, _close, _retarget, _delete], ids=lambda change: change.__name__
)
async def test_what_changes_between_click_and_merge_is_not_merged(
    open_gate: Crossing, change: Change
):
    road = open_gate.road
    slow = road.gitlab.faults.set(fault("fail", MERGE, times=0, status=503))
    await deciding(open_gate)
    await until(lambda: slow.hits, story=road.story)
    await change(open_gate)
    road.gitlab.faults.clear()
    state = await open_gate.unmerged()
    assert deeds(road, MERGED_BY) == []
    if change in (_push, _force, _delete):
        assert "is kept with" not in state.reason  # nobody knows by now what stands there


@pytest.mark.cell("F24", "X")
async def test_a_role_that_is_lowered_after_the_click_counts_no_more(open_gate: Crossing):
    road = open_gate.road
    slow = road.gitlab.faults.set(fault("fail", MERGE, times=0, status=503))
    await deciding(open_gate)
    await until(lambda: slow.hits, story=road.story)
    open_gate.access("sam", DEVELOPER)
    road.gitlab.faults.clear()
    await open_gate.unmerged("Maintainer")
    open_gate.access("sam", MAINTAINER)


@pytest.mark.cell("F24", "X")
async def test_a_merge_token_that_is_refused_is_told(open_gate: Crossing):
    road = open_gate.road
    road.gitlab.faults.set(fault("fail", MERGE, times=0, status=401))
    await deciding(open_gate)
    await open_gate.unmerged("I may not merge into `main`")


@pytest.mark.cell("F23", "G")
async def test_a_target_that_moved_without_a_conflict_is_merged(open_gate: Crossing):
    await open_gate.road.commit("main", "other.txt", "theirs")
    await deciding(open_gate)
    await open_gate.ended()
    assert await open_gate.road.read("main", "other.txt") == "theirs"
    assert await open_gate.road.read("main", "calc.py") == "def add(a, b):\n    return b + a"


@pytest.mark.cell("F23", "X")
async def test_a_target_that_moved_into_a_conflict_is_told(open_gate: Crossing):
    text = "def add(a, b):\n    return sum((a, b))\n"
    theirs = await open_gate.road.commit("main", "calc.py", text)
    await deciding(open_gate)
    await open_gate.unmerged("it conflicts with its target")
    assert await open_gate.road.git("rev-parse", "main") == theirs


# --- pipelines


@pytest.mark.cell("F21", "G")
async def test_a_pipeline_that_is_not_green_any_more_lets_nothing_pass(open_gate: Crossing):
    card, road = await open_gate.card(), open_gate.road
    pipeline = _pipeline(open_gate)
    commit = pipeline.sha
    for what in ({"status": "skipped"}, {"status": "failed"}, {"sha": "f" * 40}):
        before = len(await open_gate.refusals())
        kept = {name: getattr(pipeline, name) for name in what}
        _set(pipeline, what)
        assert await open_gate.press("sam", card)
        await until(lambda b=before: _refused(open_gate, b + 1), story=road.story)
        _set(pipeline, kept)
    del road.project.pipelines[pipeline.id]
    assert await open_gate.press("sam", card)
    await until(lambda: _refused(open_gate, 4), story=road.story)
    assert await open_gate.refusals() == [("sam", "pipeline")] * 4
    await open_gate.waits()
    road.project.pipelines[pipeline.id] = pipeline
    assert pipeline.sha == commit
    await deciding(open_gate)
    await open_gate.merged()


@pytest.mark.cell("F21", "X")
async def test_a_pipeline_that_goes_red_between_click_and_merge(open_gate: Crossing):
    road = open_gate.road
    slow = road.gitlab.faults.set(fault("fail", MERGE, times=0, status=503))
    await deciding(open_gate)
    await until(lambda: slow.hits, story=road.story)
    _set(_pipeline(open_gate), {"status": "failed"})
    for job in _pipeline(open_gate).jobs:
        job.status = "failed"
    road.gitlab.faults.clear()
    await open_gate.unmerged()


def _pipeline(crossing: Crossing) -> Pipeline:
    return next(p for p in crossing.road.project.pipelines.values() if p.ref == "agent/1")


def _set(pipeline: Pipeline, what: dict[str, Any]) -> None:
    for name, value in what.items():
        setattr(pipeline, name, value)


# --- webhooks


@pytest.mark.cell("F25", "G")
async def test_without_any_webhook_the_schedule_finds_what_changed(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bot.schedule, "TICK", 0.3)
    monkeypatch.setattr(bot.schedule, "EVERY", timedelta(0))
    async with crossing.road.serving():
        await crossing.gate()
        await _close(crossing)
        await until(lambda: not crossing.cards(), story=crossing.road.story)
        await crossing.unmerged("closed")


@pytest.mark.cell("F25", "C")
async def test_webhooks_that_are_doubled_forged_or_late_decide_nothing(crossing: Crossing):
    road = crossing.road
    async with road.serving(GITLAB_WEBHOOK_SECRET=SECRET) as service:
        url = f"http://127.0.0.1:{service.port}"
        seed.add_hook(road.gitlab.state, PROJECT, url, SECRET)
        road.gitlab.faults.set(fault("duplicate", "hook:*", times=0))
        waits = road.gitlab.faults.set(fault("job_waits", "job:agent/1:unit", seconds=4))
        crossing.ask()
        await until(lambda: waits.hits, 40, road.story)
        head = await road.git("rev-parse", "agent/1")
        forged = {
            "object_kind": "pipeline",
            "object_attributes": {"id": 1, "ref": "agent/1", "sha": head, "status": "success"},
            "project": {"path_with_namespace": PROJECT},
        }
        merged = {
            "object_kind": "merge_request",
            "object_attributes": {"iid": 1, "source_branch": "agent/1", "action": "merge"},
            "project": {"path_with_namespace": PROJECT},
        }
        async with ClientSession() as http:
            for token, status in ((SECRET, 200), ("wrong", 401), ("", 401)):
                for payload in (forged, merged):
                    headers = {"X-Gitlab-Token": token, "X-Gitlab-Event": "Pipeline Hook"}
                    async with http.post(
                        f"{url}/gitlab/events", json=payload, headers=headers
                    ) as answer:
                        assert answer.status == status
        await never(lambda: crossing.cards() or deeds(road, MERGED_BY))
        await deciding(crossing)
        await crossing.merged()
