"""From a green pipeline to the target: merged by rule, watched there, deployed, told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
from engine_bench import FINISH, MIA, Bench, git
from pipeline_bench import Scene, job, pipeline, scene

from agent.effects import EffectExecutor
from agent.effects.passing import approved
from agent.errors import ForgeRejected, ForgeUnavailable, Refused, Unavailable
from agent.events import (
    DeliveryBegun,
    DeliveryEnded,
    EffectIntended,
    GateOpened,
    InstructionGiven,
    StatusChanged,
)
from agent.gate import Click, Deed, EnvironmentRule, Place, Rule, TargetRule, Window
from agent.gatekeeper import Gatekeeper
from agent.policy import Policy
from agent.ports import Deployment, Write
from agent.run import CommitSha, Person, Run, RunId, RunStatus, Thread
from agent.service import RunService
from agent.testing import FakeForge, call, say
from agent.work import Holder

ALONE = TargetRule(branch="main", rule=Rule(approvals=0))
ASKED = TargetRule(branch="main")
PLACES = (
    EnvironmentRule(name="staging", jobs=("deploy staging",)),
    EnvironmentRule(name="production", jobs=("deploy production",)),
)
LEE = Person(id="U3", name="lee", gitlab_id=9)
CARD = Place(team="T", channel="C", message="1.1")


@dataclass(kw_only=True)
class Way(Scene):
    """A run whose own pipeline is green is on its way to `main`."""

    async def green(self, **more: object) -> Run:
        run = await self.published(**more)
        await self.says(run, "success", job())
        return run

    async def on(self, run: Run, **more: object) -> None:
        """A look, and what it wants done."""
        await self.look(run, **more)
        await self.done(run)

    async def done(self, run: Run) -> None:
        if await self.bench.wants(run):
            await self.effects(run)

    async def effects(self, run: Run) -> None:
        """GitLab knows of a push to the run's own branch at once."""
        await self.bare_effects(run)
        if self.forge.requests and self.forge.requests[0].state == "opened":
            self.forge.change(1, sha=CommitSha(git(self.bench.repository, "rev-parse", "agent/1")))

    async def bare_effects(self, run: Run, holder: Holder | None = None) -> None:
        await EffectExecutor(
            store=self.bench.db.store,
            vaults=self.bench.vaults.of,
            reader=self.forge,
            writer=self.forge,
            projects=lambda path: self.bench.project,
            clock=self.bench.clock,
            holder=holder,
        ).run_pending(run.id)

    def service(self) -> RunService:
        return RunService(
            store=self.bench.db.store, forge=self.forge, projects=lambda path: self.bench.project
        )

    async def decide(self, run: Run, deed: Deed, reason: str = "") -> None:
        """Lee, who has no part in it, presses the button of the newest gate."""

        async def cards(run: RunId, slot: str) -> Place:
            return CARD

        keeper = Gatekeeper(
            store=self.bench.db.store,
            forge=self.forge,
            projects=lambda path: self.bench.project,
            clock=self.bench.clock,
            cards=cards,
        )
        gate = (await self.bench.state(run)).gates[-1].gate
        click = Click(gate=gate.id, deed=deed, by=LEE, place=CARD, reason=reason)
        await keeper.decide(click)

    async def approve(self, run: Run) -> None:
        await self.decide(run, "approve")

    async def delivered(self) -> Run:
        run = await self.green()
        await self.on(run)
        self.target_says("success", job())
        await self.on(run)
        assert await self.status(run) is RunStatus.SUCCEEDED, await self.bench.story(run)
        return run

    async def begin(self, run: Run, kind: Literal["promotion", "revert"], **more: object) -> None:
        """What the button does."""
        begun = DeliveryBegun(number=2, kind=kind, by=MIA, **more)
        on = StatusChanged(status=RunStatus.QUEUED)
        await self.bench.db.store.write(run.id, Write(payloads=(begun, on), wake=True), actor="U1")

    def target_says(self, status: str, *jobs: object, id: int = 30) -> None:
        """The pipeline of what was merged."""
        merged = self.forge.requests[-1].merged
        assert merged is not None
        made = pipeline(merged, status, *jobs, id=id, ref=self.forge.requests[-1].target_branch)
        self.forge.lines = [each for each in self.forge.lines if each.id != id]
        self.forge.lines.insert(0, made)

    async def reason(self, run: Run) -> str:
        return (await self.bench.state(run)).reason


def way(bench: Bench, *rules: TargetRule, places: tuple[EnvironmentRule, ...] = ()) -> Way:
    made = scene(bench)
    bench.project = replace(bench.project, targets=rules, environments=places)
    made.forge.members[9] = 40
    return Way(bench=made.bench, forge=made.forge)


async def test_green_merges_itself_and_is_watched_at_its_target(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    assert await here.status(run) is RunStatus.DELIVERING, await bench.story(run)
    await here.on(run)
    assert here.forge.requests[-1].state == "merged", await bench.story(run)
    here.target_says("running")
    await here.look(run)
    assert await here.status(run) is RunStatus.DELIVERING
    here.target_says("success", job())
    await here.look(run)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    merged = here.forge.requests[-1].merged
    assert merged is not None
    assert state.reason == f"Merged !1 into main as {merged[:8]}; its pipeline passed."
    assert state.end is not None
    assert state.end.summary == "Turn the sum around"
    assert here.forge.calls.count("merge") == 1


# --- what keeps it from merging by itself ---


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (ASKED, ""),
        (replace(ALONE, limits=Policy(max_lines=1)), "2 lines are added or removed"),
        (replace(ALONE, limits=Policy(deny_paths=("app.py",))), "`app.py`: the settings deny"),
    ],
    ids=["asked", "too large", "path"],
)
async def test_people_are_asked_where_the_rule_says_so(bench: Bench, rule: TargetRule, why: str):
    here = way(bench, rule)
    run = await here.green()
    await here.on(run)
    assert await here.status(run) is RunStatus.WAITING_FOR_APPROVAL, await bench.story(run)
    [opened] = await bench.facts(run, GateOpened)
    gate = opened.gate
    assert (gate.action, gate.target, gate.commit) == ("merge", "main", here.head)
    assert gate.rule.approvals == 1
    assert gate.facts.pipeline == 9
    assert (gate.facts.files, gate.facts.added, gate.facts.removed) == (1, 1, 1)
    assert gate.facts.tests
    assert why in gate.facts.why
    assert bool(gate.facts.why) == bool(why)
    assert "merge" not in here.forge.calls


async def test_what_has_no_thread_asks_nobody_and_waits_at_gitlab(bench: Bench):
    here = way(bench, ASKED)
    run = await here.green(thread=Thread(team="", channel="", ts="night:1"))
    await here.on(run)
    state = await bench.state(run)
    assert state.gates == ()
    assert state.deliveries[-1].ended is not None
    assert "waits at GitLab" in state.deliveries[-1].ended.reason
    assert "merge" not in here.forge.calls


async def test_a_branch_without_a_rule_is_left_to_people(bench: Bench):
    here = way(bench)
    run = await here.green()
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED
    assert state.reason == "There is no rule for `main`, so merging is left to people."
    assert state.deliveries == ()


async def test_no_pipeline_merges_nothing(bench: Bench):
    here = way(bench, ALONE)
    run = await here.published()
    await here.look(run, after=200.0)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED
    assert "Only what passed is merged into `main`" in state.reason
    assert here.forge.requests[-1].state == "opened"


async def test_a_freeze_window_is_waited_for_and_told(bench: Bench):
    now = bench.clock.now()
    here = way(bench, ALONE)
    now = bench.clock.now()
    minute = now.weekday() * 1440 + now.hour * 60 + now.minute
    week = 7 * 1440
    window = Window(start=(minute - 60) % week, end=(minute + 300) % week)
    bench.project = replace(
        bench.project, targets=(replace(ALONE, rule=Rule(approvals=0, freezes=(window,))),)
    )
    run = await here.green(limits={"pipeline_seconds": 600.0})
    await here.on(run)
    assert "`main` is frozen until " in await here.reason(run)
    await here.on(run, after=4 * 3600.0)
    assert await here.status(run) is RunStatus.DELIVERING  # longer than a pipeline is waited for
    assert here.forge.requests[-1].state == "opened"
    await here.on(run, after=3600.0)
    await here.on(run)
    assert here.forge.requests[-1].state == "merged", await bench.story(run)


# --- approved ---


async def test_what_was_approved_is_merged_then_deployed_place_by_place(bench: Bench):
    here = way(bench, ASKED, places=PLACES)
    run = await here.green()
    await here.on(run)
    await here.approve(run)
    await here.on(run)
    assert here.forge.requests[-1].state == "merged", await bench.story(run)
    staging = job("deploy staging", "manual", id=81, stage="deploy")
    production = job("deploy production", "manual", id=82, stage="deploy")
    other = job("cleanup", "manual", id=83)
    here.target_says("running", job(id=80, status="running"), staging, production, other)
    await here.on(run)
    assert await here.status(run) is RunStatus.DELIVERING
    here.target_says("success", job(id=80), staging, production, other)
    await here.on(run)
    assert [g.gate.environment for g in (await bench.state(run)).gates] == ["", "staging"]
    await here.approve(run)
    await here.on(run)
    here.target_says("running", job(id=80), replace(staging, status="running"), production, other)
    await here.on(run)
    assert len((await bench.state(run)).gates) == 2, await bench.story(run)
    here.target_says("success", job(id=80), replace(staging, status="success"), production, other)
    await here.on(run)
    gate = (await bench.state(run)).gates[-1].gate
    assert (gate.environment, gate.job, gate.action) == ("production", 82, "deploy")
    assert gate.commit == here.forge.requests[-1].merged
    await here.approve(run)
    await here.on(run)
    here.target_says(
        "success",
        job(id=80),
        replace(staging, status="success"),
        replace(production, status="success"),
        other,
    )
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    assert state.reason.endswith(
        "; its pipeline passed; deployed to staging; deployed to production."
    )
    assert here.forge.calls.count("play_job") == 2


async def test_what_another_system_reports_of_the_merge_opens_no_way_past_a_gate(bench: Bench):
    here = way(bench, ALONE, places=PLACES)
    run = await here.green()
    await here.on(run)
    here.target_says("success", job(), job("deploy production", "manual", id=82))
    reported = job("deploy staging", id=90, external=True)
    here.target_says("success", reported, id=31)
    here.forge.lines[0] = replace(here.forge.lines[0], source="external")
    await here.on(run)
    gates = (await bench.state(run)).gates
    assert [g.gate.environment for g in gates] == ["production"], await bench.story(run)


async def test_a_gate_is_opened_once_and_anew_for_another_difference(bench: Bench):
    here = way(bench, ASKED)
    run = await here.green()
    await here.on(run)
    first = (await bench.state(run)).gates[-1]
    await bench.db.store.write(
        run.id, Write(payloads=(), status=RunStatus.DELIVERING, wake=True), actor="service"
    )
    await here.on(run)
    assert [g.gate.id for g in (await bench.state(run)).gates] == [first.gate.id]
    assert await here.status(run) is RunStatus.WAITING_FOR_APPROVAL
    here.forge.differences[1] = b"diff --git a/b b/b\n"
    await bench.db.store.write(
        run.id, Write(payloads=(), status=RunStatus.DELIVERING, wake=True), actor="service"
    )
    await here.on(run)
    before, after = (await bench.state(run)).gates
    assert before.closed is not None
    assert before.closed.outcome == "superseded"
    assert after.closed is None
    assert after.gate.id != before.gate.id


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "closed"}, "!1 was closed meanwhile."),
        ({"target_branch": "other"}, "!1 was retargeted from main to other."),
    ],
)
async def test_people_may_close_or_retarget_it(bench: Bench, change: dict[str, object], said: str):
    here = way(bench, ALONE)
    run = await here.green()
    here.forge.change(1, **change)
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert state.reason.startswith(said)
    assert state.delivery is None
    assert "merge" not in here.forge.calls


async def test_a_commit_of_somebody_else_is_not_merged(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    git(bench.repository, "checkout", "-q", run.branch)
    git(bench.repository, "commit", "-q", "--allow-empty", "-m", "Mine")
    here.forge.change(1, sha=CommitSha(here.head))
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert f"Somebody else pushed {here.head[:8]}" in state.reason
    assert state.deliveries[-1].ended is not None
    assert state.deliveries[-1].ended.outcome == "superseded"
    assert "merge" not in here.forge.calls


async def test_what_a_person_merges_meanwhile_is_watched_all_the_same(bench: Bench):
    here = way(bench, ASKED)
    run = await here.green()
    await here.on(run)
    here.forge.land(1)
    await bench.db.store.write(
        run.id, Write(payloads=(), status=RunStatus.DELIVERING, wake=True), actor="service"
    )
    await here.on(run)
    here.target_says("success", job())
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    assert state.gate is None
    assert any("was merged by @user99 meanwhile" in done.result for done in state.done_effects)
    assert "merge" not in here.forge.calls


# --- after the merge ---


@pytest.mark.parametrize(
    ("before", "status", "said"),
    [
        ("success", RunStatus.ESCALATED, "`main` was green before the merge."),
        ("failed", RunStatus.SUCCEEDED, "its pipeline failed, as `main` did before the merge"),
        ("", RunStatus.ESCALATED, "Nothing is known of how `main` stood before"),
    ],
)
async def test_a_target_that_goes_red_is_told_with_how_it_was(
    bench: Bench, before: str, status: RunStatus, said: str
):
    here = way(bench, ALONE)
    run = await here.green()
    if before:
        here.forge.lines.append(pipeline("c" * 40, before, job(status=before), id=3, ref="main"))
    await here.on(run)
    here.target_says("failed", job(status="failed"))
    await here.on(run)
    state = await bench.state(run)
    assert state.status is status, await bench.story(run)
    assert said in state.reason


async def test_a_target_without_pipeline_is_delivered_after_two_minutes(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    await here.on(run)
    await here.on(run, after=60.0)
    assert await here.status(run) is RunStatus.DELIVERING
    await here.on(run, after=121.0)
    assert await here.status(run) is RunStatus.SUCCEEDED
    assert (await here.reason(run)).endswith("; no pipeline came for it.")


async def test_a_wait_after_the_merge_has_an_end_that_is_told(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green(limits={"pipeline_seconds": 600.0})
    await here.on(run)
    here.target_says("running")
    await here.on(run)
    await here.on(run, after=601.0)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert state.reason.startswith("This was waited for 10 minutes, and no longer: ")


@pytest.mark.parametrize("expected", ["by the rule", "before the merge", "never"])
async def test_an_environment_whose_job_is_gone_is_told_where_it_belongs(
    bench: Bench, expected: str
):
    deploys = ("production",) if expected == "by the rule" else ()
    here = way(bench, replace(ALONE, deploys=deploys), places=PLACES)
    run = await here.green()
    if expected == "before the merge":
        old = job("deploy production", "manual", id=60)
        here.forge.lines.append(pipeline("d" * 40, "success", old, id=8, ref="main"))
    await here.on(run)
    here.target_says("success", job(), job("deploy staging", "skipped", id=81))
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    told = "; staging was not reached: its job deploy staging was skipped"
    if expected != "never":
        told += "; production was not reached: its job deploy production is not in the pipeline"
    assert state.reason.endswith(f"{told}."), state.reason
    ended = state.deliveries[-1].ended
    assert ended is not None
    assert len(ended.unreached) == (1 if expected == "never" else 2)


async def test_a_deployment_that_fails_is_told(bench: Bench):
    here = way(bench, ALONE, places=PLACES)
    run = await here.green()
    await here.on(run)
    here.target_says("failed", job("deploy staging", "failed", id=81))
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert "The job `deploy staging` failed, so `staging` was not deployed to." in state.reason
    assert [d.job.status for d in state.deliveries[-1].deployments] == ["failed"]


async def test_a_delivery_that_failed_after_the_merge_is_looked_at_afresh(bench: Bench):
    here = way(bench, ALONE, places=PLACES)
    run = await here.green()
    await here.on(run)
    here.target_says("failed", job("deploy staging", "failed", id=81))
    await here.on(run)
    await bench.service().retry(run.id, MIA)
    here.target_says("success", job("deploy staging", "success", id=84))
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    assert [d.number for d in state.deliveries] == [1, 2]
    assert here.forge.calls.count("merge") == 1


async def test_a_run_that_was_stopped_on_its_way_begins_afresh(bench: Bench):
    here = way(bench, ASKED)
    run = await here.green()
    await here.on(run)
    await here.service().stop(run.id, MIA, how="mention")
    assert await here.status(run) is RunStatus.CANCELLED
    await here.service().retry(run.id, MIA)
    await here.look(run)
    await here.on(run)
    await here.on(run)
    before, after = (await bench.state(run)).gates
    assert before.closed is not None
    assert after.closed is None
    assert await here.status(run) is RunStatus.WAITING_FOR_APPROVAL, await bench.story(run)


async def test_a_stop_wins_over_a_merge_that_was_not_begun(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    await here.look(run)
    await here.service().stop(run.id, MIA, how="mention")
    await here.effects(run)
    assert here.forge.requests[-1].state == "opened"
    await here.service().retry(run.id, MIA)
    for _ in range(3):
        await here.on(run)
    assert here.forge.requests[-1].state == "merged", await bench.story(run)


async def test_an_environment_that_gitlab_protects_from_us_is_told(bench: Bench):
    here = way(bench, ALONE, places=(replace(PLACES[0], rule=Rule(approvals=0)),))
    here.forge.may_play = False
    run = await here.green()
    await here.on(run)
    here.target_says("success", job("deploy staging", "manual", id=81))
    await here.on(run)
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED, await bench.story(run)
    assert "GitLab protects `staging` from me" in state.reason


# --- GitLab's answers ---


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("not_approved", "GitLab's own approvals are missing"),
        ("discussions_not_resolved", "threads on it that are not resolved"),
        ("need_rebase", "it has to be rebased"),
        ("conflict", "it conflicts with its target"),
        ("quantum", "it is `quantum`"),
    ],
)
async def test_each_obstacle_of_gitlab_s_has_its_sentence(bench: Bench, word: str, said: str):
    here = way(bench, ALONE)
    run = await here.green()
    here.forge.change(1, draft=False, detailed_status=word)
    await here.on(run)
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED, await bench.story(run)
    assert said in state.reason
    assert here.forge.requests[-1].state == "opened"


async def test_a_merge_that_is_not_allowed_is_told(bench: Bench):
    here = way(bench, ALONE)
    here.forge.may_merge = False
    run = await here.green()
    await here.on(run)
    await here.on(run)
    assert "I may not merge into `main`" in await here.reason(run)


async def test_checking_is_waited_for(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    here.forge.change(1, draft=False, detailed_status="checking")
    await here.look(run)
    for _ in range(6):  # 1 + 2 + 4 + 8 + 16 + 30 s
        with pytest.raises(Unavailable):
            await here.effects(run)
    assert "merge" not in here.forge.calls
    here.forge.change(1, detailed_status="mergeable")
    await here.effects(run)
    assert here.forge.requests[-1].state == "merged"


async def test_a_merge_train_is_waited_for(bench: Bench):
    here = way(bench, ALONE)
    here.forge.merges_later = True
    run = await here.green()
    await here.look(run)
    for _ in range(20):
        with pytest.raises(Unavailable, match="merges it later"):
            await here.effects(run)
    assert here.forge.calls.count("merge") == 1
    here.forge.land(1)
    await here.effects(run)
    here.target_says("success", job())
    await here.on(run)
    assert await here.status(run) is RunStatus.SUCCEEDED, await bench.story(run)


async def test_a_merge_whose_answer_was_lost_is_found(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    here.forge.faults["merge"] = [("after", ForgeUnavailable("The line broke."))]
    await here.look(run)
    with pytest.raises(Unavailable):
        await here.effects(run)
    await here.effects(run)
    assert here.forge.calls.count("merge") == 1
    assert (await bench.state(run)).done_effects[-1].found


@pytest.mark.parametrize("by", ["us", "a person"])
async def test_who_merged_at_the_same_head_is_told(bench: Bench, by: str):
    here = way(bench, ALONE)
    run = await here.green()
    await here.look(run)
    here.forge.land(1)
    if by == "a person":
        here.forge.change(1, merged_by=9)
    await here.effects(run)
    done = (await bench.state(run)).done_effects[-1]
    told = "merged !1 into main" if by == "us" else "!1 was merged by @user9 meanwhile"
    assert (done.result, done.found) == (told, True)
    assert done.commit == here.forge.requests[0].merged


async def test_a_push_between_the_check_and_the_merge_merges_nothing(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    other = CommitSha("d" * 40)

    class Pushed(FakeForge):
        async def merge(self, project: str, iid: int, commit: CommitSha):
            self.change(iid, sha=other)
            return await super().merge(project, iid, commit)

    here.forge.__class__ = Pushed
    await here.look(run)
    await here.bare_effects(run)
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED, await bench.story(run)
    assert here.forge.requests[-1].state == "opened"


async def test_a_rejection_after_the_approval_wins_over_the_merge(bench: Bench):
    here = way(bench, ASKED)
    run = await here.green()
    await here.on(run)
    await here.approve(run)
    await here.look(run)
    assert len(await bench.wants(run)) == 1
    await here.decide(run, "reject", "It would break the export.")
    await here.effects(run)
    state = await bench.state(run)
    assert state.status is RunStatus.CANCELLED
    assert "merge" not in here.forge.calls
    assert not [e for e in await bench.facts(run, EffectIntended) if e.effect == "merge"]


async def test_a_rule_that_was_tightened_meanwhile_stops_the_merge(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    await here.look(run)
    bench.project = replace(bench.project, targets=(ASKED,))
    await here.effects(run)
    await here.on(run)
    assert "Somebody has to approve `main` by now" in await here.reason(run)
    assert here.forge.requests[-1].state == "opened"


# --- what people say meanwhile ---


async def test_a_follow_up_before_the_merge_supersedes_the_gate(bench: Bench):
    here = way(bench, ASKED)
    run = await here.green()
    await here.on(run)
    await here.service().instruct(run.id, "say what it does", MIA, message="2")
    more = say(call("write", path="README", content="It adds.\n"))
    await here.look(run, more, FINISH)
    await here.effects(run)
    await here.look(run)
    await here.says(run, "success", job(), id=10)
    await here.on(run)
    state = await bench.state(run)
    assert [g.closed.outcome if g.closed else "" for g in state.gates] == ["superseded", ""]
    assert state.gates[-1].gate.commit == here.head
    assert [d.number for d in state.deliveries] == [1, 2]


async def test_a_follow_up_while_it_delivers_goes_back_to_work(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    await here.service().instruct(run.id, "say what it does", MIA, message="2")
    await here.look(run, say(call("finish", summary="Answered.", answer="Because.")))
    [ended] = await bench.facts(run, DeliveryEnded)
    assert ended.outcome == "superseded"
    assert here.forge.requests[-1].state == "opened"


async def test_a_follow_up_after_the_merge_becomes_a_run_of_its_own(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    await here.look(run)
    # given while the merge was being asked for
    given = InstructionGiven(text="and the README", by=MIA, message="2")
    await bench.db.store.write(run.id, Write(payloads=(given,)), actor="U1")
    await here.effects(run)
    await here.service().instruct(run.id, "and the changelog", MIA, message="3")
    here.target_says("success", job())
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    assert state.waiting_followups == ()
    texts = {each.request.text for each in await bench.db.store.runs()}
    assert {"and the README", "and the changelog"} <= texts


# --- promotion and revert ---


async def test_a_promotion_has_a_merge_request_and_a_gate_of_its_own(bench: Bench):
    here = way(bench, ALONE, TargetRule(branch="prod"))
    git(bench.repository, "branch", "prod", "main")
    run = await here.delivered()
    git(bench.repository, "commit", "-q", "--allow-empty", "-m", "More")
    await here.begin(run, "promotion", source="main", target="prod")
    await here.on(run)
    head = CommitSha(git(bench.repository, "rev-parse", "main"))
    here.forge.change(2, sha=head)
    here.forge.lines.insert(0, pipeline(head, "success", job(), id=40, ref="main"))
    await here.on(run)
    state = await bench.state(run)
    assert state.status is RunStatus.WAITING_FOR_APPROVAL, await bench.story(run)
    assert state.gates[-1].gate.target == "prod"
    assert here.forge.requests[1].title == "Promote main to prod"
    await here.approve(run)
    await here.on(run)
    here.target_says("success", job(), id=50)
    await here.on(run)
    assert (await here.reason(run)).startswith("Merged !2 into prod as "), await bench.story(run)
    assert await here.status(run) is RunStatus.SUCCEEDED


@pytest.mark.parametrize("state", ["closed", "merged"])
async def test_a_promotion_that_was_opened_unseen_and_decided_on_is_not_opened_again(
    bench: Bench, state: str
):
    here = way(bench, ALONE, TargetRule(branch="prod"))
    git(bench.repository, "branch", "prod", "main")
    run = await here.delivered()
    git(bench.repository, "commit", "-q", "--allow-empty", "-m", "More")
    await here.begin(run, "promotion", source="main", target="prod")
    here.forge.faults["open_merge_request"] = [("after", ForgeUnavailable("The line broke."))]
    await here.look(run)
    with pytest.raises(Unavailable):
        await here.bare_effects(run)
    head = CommitSha(git(bench.repository, "rev-parse", "main"))
    if state == "merged":
        git(bench.repository, "branch", "-f", "prod", "main")
    here.forge.change(2, state=state, sha=head, merged=head if state == "merged" else None)
    here.forge.calls.clear()
    await here.bare_effects(run)
    assert len(here.forge.requests) == 2
    assert "update_merge_request" not in here.forge.calls
    await here.on(run)
    if state == "merged":
        here.target_says("success", job(), id=50)
        await here.on(run)
    said = "Merged !2 into prod" if state == "merged" else "!2 was closed"
    assert said in await here.reason(run), await bench.story(run)


async def test_a_revert_that_was_opened_unseen_and_closed_is_not_made_again(bench: Bench):
    here = way(bench, ASKED)
    run = await here.green()
    await here.on(run)
    await here.approve(run)
    await here.on(run)
    here.target_says("success", job())
    await here.on(run)
    merged = here.forge.requests[0].merged
    await here.begin(run, "revert", source="agent/1-revert-2", target="main", reverts=merged)
    here.forge.branches["main"] = merged
    here.forge.faults["open_merge_request"] = [("after", ForgeUnavailable("The line broke."))]
    await here.look(run)
    with pytest.raises(Unavailable):
        await here.bare_effects(run)
    head = CommitSha(git(bench.repository, "rev-parse", "main"))
    here.forge.change(2, state="closed", sha=head)
    await here.bare_effects(run)
    assert len(here.forge.requests) == 2
    assert here.forge.calls.count("revert") == 1
    await here.on(run)
    assert "!2 was closed" in await here.reason(run), await bench.story(run)


async def test_a_promotion_with_nothing_to_bring_says_so(bench: Bench):
    here = way(bench, ALONE, TargetRule(branch="prod"))
    git(bench.repository, "branch", "prod", "main")
    run = await here.delivered()
    await here.begin(run, "promotion", source="main", target="prod")
    await here.on(run)
    await here.on(run)
    assert "There is nothing to bring: prod has all of main already." in await here.reason(run)
    assert len(here.forge.requests) == 1


async def test_a_revert_has_a_merge_request_and_a_gate_of_its_own(bench: Bench):
    here = way(bench, ASKED)
    run = await here.green()
    await here.on(run)
    await here.approve(run)
    await here.on(run)
    here.target_says("success", job())
    await here.on(run)
    merged = here.forge.requests[0].merged
    await here.begin(run, "revert", source="agent/1-revert-2", target="main", reverts=merged)
    here.forge.branches["main"] = merged
    here.forge.faults["revert"] = [("after", ForgeUnavailable("The line broke."))]
    await here.look(run)
    with pytest.raises(Unavailable):
        await here.bare_effects(run)
    here.forge.faults["revert"] = [ForgeRejected("Nothing to revert", status=400)]
    await here.bare_effects(run)
    assert [r.title for r in here.forge.requests[1:]] == ["Revert !1 on main"]
    git(bench.repository, "branch", "agent/1-revert-2", "main")
    head = CommitSha(git(bench.repository, "rev-parse", "agent/1-revert-2"))
    here.forge.change(2, sha=head)
    here.forge.lines.insert(0, pipeline(head, "success", job(), id=40))
    await here.on(run)
    assert await here.status(run) is RunStatus.WAITING_FOR_APPROVAL, await bench.story(run)
    await here.approve(run)
    await here.look(run)
    await here.bare_effects(run)
    here.target_says("success", job(), id=50)
    await here.on(run)
    assert (await here.reason(run)).startswith("Merged !2 into main as "), await bench.story(run)


# --- what somebody else may do meanwhile ---


class Reverts(FakeForge):
    """With the branches of a real repository."""

    async def revert(self, project: str, commit: CommitSha, branch: str) -> CommitSha:
        git(Path(self.clone_url), "branch", branch, "main")
        self.branches[branch] = CommitSha(git(Path(self.clone_url), "rev-parse", branch))
        return self.branches[branch]


@pytest.mark.parametrize("foreign", [False, True], ids=["own", "somebody else's too"])
async def test_a_revert_merges_itself_only_as_it_was_made(bench: Bench, foreign: bool):
    here = way(bench, ALONE)
    here.forge.__class__ = Reverts
    run = await here.delivered()
    merged = here.forge.requests[0].merged
    assert merged is not None
    await here.begin(run, "revert", source="agent/1-revert-2", target="main", reverts=merged)
    await here.look(run)
    await here.bare_effects(run)
    if foreign:  # anybody who may push to branches
        git(bench.repository, "checkout", "-q", "agent/1-revert-2")
        git(bench.repository, "commit", "-q", "--allow-empty", "-m", "And a present")
    head = CommitSha(git(bench.repository, "rev-parse", "agent/1-revert-2"))
    here.forge.change(2, sha=head)
    here.forge.lines.insert(0, pipeline(head, "success", job(), id=40, ref="agent/1-revert-2"))
    await here.look(run)
    if await bench.wants(run):
        await here.bare_effects(run)
    assert here.forge.requests[1].state == ("opened" if foreign else "merged")
    if foreign:
        assert await here.status(run) is RunStatus.WAITING_FOR_APPROVAL, await bench.story(run)
        why = (await bench.state(run)).gates[-1].gate.facts.why
        assert why.startswith(f"Its branch stands at {head[:8]}")


async def test_a_stop_wins_over_a_merge_while_a_worker_has_the_run(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    await here.look(run)
    await bench.db.store.claim(run.id, "another")
    await here.service().stop(run.id, MIA, how="mention")
    await here.bare_effects(run)
    assert here.forge.requests[-1].state == "opened"
    assert "merge" not in here.forge.calls


async def test_a_train_is_asked_once_whatever_gitlab_says_meanwhile(bench: Bench):
    here = way(bench, ALONE)
    here.forge.merges_later = True
    run = await here.green()
    await here.look(run)
    for fault in (None, ForgeUnavailable("The line broke."), None):
        here.forge.faults["merge_request"] = [fault] if fault else []
        with pytest.raises(Unavailable):
            await here.effects(run)
    assert here.forge.calls.count("merge") == 1


async def test_an_outage_uses_up_no_patience_with_what_gitlab_works_out(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    await here.look(run)
    down = [ForgeUnavailable("GitLab is down.") for _ in range(10)]
    here.forge.faults["merge_request"] = [*down]
    here.forge.change(1, draft=False, detailed_status="checking")
    for _ in (*down, "checking"):
        with pytest.raises(Unavailable):
            await here.effects(run)
    here.forge.change(1, detailed_status="mergeable")
    await here.effects(run)
    assert here.forge.requests[-1].state == "merged", await bench.story(run)


async def test_a_job_of_one_environment_does_not_deploy_to_another(bench: Bench):
    here = way(bench, ALONE, places=(replace(PLACES[0], rule=Rule(approvals=0)), PLACES[1]))
    run = await here.green()
    await here.on(run)
    here.target_says("success", job("deploy staging", "manual", id=81))
    merged = here.forge.requests[-1].merged
    assert merged is not None
    here.forge.deployments = [
        Deployment(id=1, environment="production", commit=merged, status="created", job=81)
    ]
    await here.on(run)
    await here.on(run)
    assert "play_job" not in here.forge.calls
    assert "this job deploys to `production`" in await here.reason(run)


async def test_nothing_is_deployed_of_what_failed_meanwhile(bench: Bench):
    here = way(bench, ALONE, places=(replace(PLACES[0], rule=Rule(approvals=0)),))
    run = await here.green()
    await here.on(run)
    staging = job("deploy staging", "manual", id=81)
    here.target_says("success", staging)
    await here.look(run)
    assert await bench.wants(run)
    here.target_says("failed", job(id=80, status="failed"), staging)
    await here.bare_effects(run)
    assert "play_job" not in here.forge.calls


async def test_an_approval_counts_for_its_own_delivery_only(bench: Bench):
    here = way(bench, ASKED)
    run = await here.green()
    await here.on(run)
    await here.approve(run)
    state = await bench.state(run)
    delivery, gate = state.deliveries[-1], state.gates[-1].gate
    assert approved(state, gate.id, delivery, gate.commit)
    other = replace(delivery, begun=replace(delivery.begun, number=2))
    with pytest.raises(Refused, match="something else"):
        approved(state, gate.id, other, gate.commit)


@pytest.mark.parametrize("now", [None, "USOMEBODY", LEE.id], ids=["nobody", "another", "still"])
async def test_a_vote_counts_as_long_as_its_link_stands(bench: Bench, now: str | None):
    here = way(bench, ASKED)
    run = await here.green()
    await here.on(run)
    await here.approve(run)
    await here.look(run)
    asked: list[tuple[str, int]] = []

    async def holder(team: str, account: int) -> str | None:
        asked.append((team, account))
        return now

    await here.bare_effects(run, holder)
    assert asked == [("T", 9)]
    assert here.forge.requests[-1].state == ("merged" if now == LEE.id else "opened")
    if now != LEE.id:
        await here.look(run)
        assert "@lee, who approved this, is not linked" in await here.reason(run)
