"""From green to production over the whole road: merges, gates, deployments, and their faults."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from road import FILES, Road, fault, make_repository, open_road, until

import agent.stages.publish
import bot.roles.work
from agent.adapters.gitlab_forge import GitLabReader
from agent.adapters.system_clock import SystemClock
from agent.events import DeliveryBegun, EffectDone, StatusChanged
from agent.gate import Click, Place
from agent.gatekeeper import Gatekeeper
from agent.ports import Write
from agent.project import ProjectSettings
from agent.run import Person, RunId, RunStatus
from agent.state import RunState
from bot.build import engine_project
from bot.settings import load
from playground import seed
from playground.gitlab.instant import InstantRunner

CI = """
stages: [test, deploy]
unit:
  stage: test
  script: ["true"]
deploy-production:
  stage: deploy
  script: ["true"]
  environment: production
  when: manual
  rules:
    - if: $CI_COMMIT_BRANCH == "main"
      when: manual
"""
MERGE = "PUT /projects/:id/merge_requests/:iid/merge"
ALONE = "approvals = 0\n"
CARD = Place(team="T", channel="C", message="1.1")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent.stages.publish, "FIRST_LOOK", 1.0)
    monkeypatch.setattr(bot.roles.work, "Pace", functools.partial(bot.roles.work.Pace, least=0.2))


@pytest.fixture
async def road(tmp_path: Path, database_url: str) -> AsyncIterator[Road]:
    source = make_repository(tmp_path / "source", {**FILES, ".gitlab-ci.yml": CI})
    async with open_road(tmp_path, database_url, source=source) as opened:
        opened.gitlab.forge.pipelines.runner = InstantRunner()
        yield opened


def settle(road: Road, main: str = "", production: str = "") -> None:
    road.config(
        '[defaults]\ntest_command = "bash check.sh"\n'
        f"[defaults.targets.main]\n{main}"
        + (f"[defaults.environments.production]\njobs = ['deploy-production']\n{production}")
    )


@dataclass(kw_only=True)
class Desk:
    """Sam, who maintains the project, at the gates."""

    road: Road
    keeper: Gatekeeper

    async def approve(self, subject: str) -> RunState:
        """The gate that waits, as soon as it does."""
        state = await self.road.reached(lambda s: bool(s.gate and s.gate.gate.subject == subject))
        assert state.gate is not None
        account = seed.account(self.road.gitlab.state, "sam")
        user = self.road.slack.world.user_named("sam").id
        sam = Person(id=user, name="sam", gitlab_id=account.id)
        click = Click(gate=state.gate.gate.id, deed="approve", by=sam, place=CARD)
        await self.keeper.decide(click)
        return state


@asynccontextmanager
async def desk(road: Road) -> AsyncIterator[Desk]:
    settings = load(road.env)

    def projects(path: str) -> ProjectSettings | None:
        return engine_project(settings, path)

    async def cards(run: RunId, slot: str) -> Place:
        return CARD

    async with GitLabReader(road.env["GITLAB_URL"], road.env["GITLAB_READ_TOKEN"]) as reader:
        keeper = Gatekeeper(
            store=road.db.store, forge=reader, projects=projects, clock=SystemClock(), cards=cards
        )
        yield Desk(road=road, keeper=keeper)


async def begin(road: Road, kind: Any, source: str, target: str, **more: Any) -> None:
    """What the button does."""
    state = await road.state()
    asker = state.request.requester
    begun = DeliveryBegun(number=2, kind=kind, source=source, target=target, by=asker, **more)
    on = StatusChanged(status=RunStatus.QUEUED)
    write = Write(payloads=(begun, on), wake=True)
    await road.db.store.write(state.run, write, actor=asker.id)


def ended(state: RunState) -> bool:
    return state.end is not None


async def test_green_merges_itself_once(road: Road):
    settle(road, ALONE, "approvals = 0")
    async with road.serving():
        road.ask()
        state = await road.reached(ended, 40)
        assert state.status is RunStatus.SUCCEEDED, await road.story()
        assert state.reason.endswith("; its pipeline passed; deployed to production.")
        assert await road.read("main", "calc.py") == "def add(a, b):\n    return b + a"
        assert [mr.state for mr in road.merge_requests] == ["merged"]


async def test_gates_lead_to_production(road: Road):
    settle(road)
    async with road.serving(), desk(road) as people:
        road.ask()
        before = await people.approve("main")
        assert road.merge_requests[0].state == "opened"
        assert before.gate is not None
        assert before.gate.gate.commit == road.merge_requests[0].sha
        await people.approve("production")
        state = await road.reached(ended, 40)
        assert state.status is RunStatus.SUCCEEDED, await road.story()
        assert [d.job.status for d in state.deliveries[-1].deployments] == ["success"]
        assert [g.approved for g in state.gates] == [True, True]


@pytest.mark.cell("F18", "X")
async def test_a_merge_that_was_done_though_its_answer_was_lost_is_done_once(road: Road):
    settle(road, ALONE, "approvals = 0")
    lost = road.gitlab.faults.set(fault("drop_after_apply", MERGE))
    async with road.serving():
        road.ask()
        state = await road.reached(ended, 40)
        assert state.status is RunStatus.SUCCEEDED, await road.story()
        assert lost.hits == 1
        found = [d for d in await road.events(EffectDone) if d.effect == "merge"]
        assert [d.found for d in found] == [True]
        assert (await road.git("rev-list", "--merges", "--count", "main")) == "1"


@pytest.mark.parametrize("status", [405, 409])
async def test_a_refusal_without_a_reason_is_tried_again(road: Road, status: int):
    settle(road, ALONE, "approvals = 0")
    refused = road.gitlab.faults.set(fault("fail", MERGE, status=status))
    async with road.serving():
        road.ask()
        state = await road.reached(ended, 40)
        assert refused.hits == 1
        assert state.status is RunStatus.SUCCEEDED, await road.story()


@pytest.mark.cell("F23", "X")
async def test_a_conflict_is_told(road: Road):
    settle(road, ALONE)
    road.gitlab.faults.set(fault("fail", MERGE, status=422))
    async with road.serving():
        road.ask()
        state = await road.reached(ended, 40)
        assert state.status is RunStatus.ESCALATED, await road.story()
        assert "it conflicts with its target" in state.reason
        assert road.merge_requests[0].state == "opened"


@pytest.mark.cell("F23", "X")
async def test_a_commit_pushed_before_the_merge_merges_nothing(road: Road):
    settle(road)
    async with road.serving(), desk(road) as people:
        road.ask()
        slow = road.gitlab.faults.set(fault("fail", MERGE, status=503, seconds=1))
        await people.approve("main")
        await until(lambda: slow.hits, story=road.story)
        theirs = await road.commit("agent/1", "notes.txt", "mine")
        state = await road.reached(ended, 40)
        assert state.status is RunStatus.ESCALATED, await road.story()
        assert f"Somebody else pushed {theirs[:8]}" in state.reason
        assert "nothing was merged" in state.reason.lower()
        assert road.merge_requests[0].state == "opened"
        assert await road.git("rev-parse", "agent/1") == theirs


@pytest.mark.cell("F20", "X")
async def test_checking_is_waited_for(road: Road):
    settle(road, ALONE, "approvals = 0")
    road.gitlab.state.lags.merge_check = 4.0
    async with road.serving():
        road.ask()
        state = await road.reached(ended, 60)
        assert state.status is RunStatus.SUCCEEDED, await road.story()


@pytest.mark.cell("F01", "X")
async def test_a_service_that_dies_at_the_merge_reads_it_back(road: Road):
    settle(road, ALONE, "approvals = 0")
    slow = road.gitlab.faults.set(fault("delay", MERGE, seconds=3))
    async with road.process() as first:
        road.ask()
        await until(lambda: slow.hits, 60, road.story)
        first.kill()
    async with road.serving():
        state = await road.reached(ended, 60)
        assert state.status is RunStatus.SUCCEEDED, await road.story()
        assert (await road.git("rev-list", "--merges", "--count", "main")) == "1"


async def test_a_target_that_goes_red_is_reverted_through_a_gate(road: Road):
    settle(road, production="approvals = 0")
    async with road.serving(), desk(road) as people:
        road.ask()
        broken = road.gitlab.faults.set(fault("job_fails", "job:main:unit", times=1))
        await people.approve("main")
        state = await road.reached(ended, 40)
        assert broken.hits == 1
        assert state.status is RunStatus.ESCALATED, await road.story()
        await begin(road, "revert", "agent/1-revert-2", "main", reverts=state.deliveries[-1].merged)
        await people.approve("main")
        state = await road.reached(lambda s: ended(s) and s.status is RunStatus.SUCCEEDED, 40)
        assert await road.read("main", "calc.py") == FILES["calc.py"].strip()
        assert road.merge_requests[1].title == "Revert !1 on main"


async def test_what_was_merged_is_promoted_through_a_gate(road: Road):
    await road.git("branch", "prod", "main")
    settle(road, ALONE, "approvals = 0\n[defaults.targets.prod]\n")
    async with road.serving(), desk(road) as people:
        road.ask()
        await road.reached(ended, 40)
        await begin(road, "promotion", "main", "prod")
        state = await people.approve("prod")
        assert state.gate is not None
        assert state.gate.gate.facts.authors
        request = road.merge_requests[1]
        assert request.title == "Promote main to prod"
        assert state.gate.gate.commit == await road.git("rev-parse", "main")
        state = await road.reached(lambda s: ended(s) and len(s.deliveries) == 2, 40)
        assert state.status is RunStatus.SUCCEEDED, await road.story()
        assert await road.read("prod", "calc.py") == "def add(a, b):\n    return b + a"
