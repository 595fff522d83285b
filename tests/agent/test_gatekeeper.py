"""What becomes of a run whose gate people, or the clock, decide."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from gate_bench import (
    HEAD,
    LEE,
    MERGED,
    MIA,
    PATH,
    SAM,
    TOM,
    WHY,
    GateBench,
)

from agent import failpoints
from agent.adapters.database import Database
from agent.errors import ForgeUnavailable, Refused, StoreUnavailable, Unrecorded
from agent.events import (
    DeliveryBegun,
    DeliveryEnded,
    EffectDone,
    EffectIntended,
    EffectKind,
    GateClosed,
    GateRefused,
    GateReminded,
    GateVoted,
    InstructionGiven,
    RunEnded,
    StatusChanged,
    StopAsked,
)
from agent.gate import GateId, Rule
from agent.policy import Policy
from agent.run import CommitSha, RunStatus
from agent.service import RunService

TWO = Rule(approvals=2)


@pytest.fixture
def bench(db: Database) -> GateBench:
    return GateBench(db=db)


def service(bench: GateBench) -> RunService:
    return RunService(store=bench.db.store, forge=bench.forge, projects=lambda path: bench.project)


# --- approving ---------------------------------------------------------------------------


async def test_a_maintainer_approves_and_the_run_delivers(bench: GateBench):
    run, gate = await bench.waiting()
    row = await bench.press(gate, SAM)
    assert row.status is RunStatus.DELIVERING
    state = await bench.state(run)
    assert state.reason == "Approved by @sam."
    assert state.gate is None
    assert [(v.id, v.access) for v in state.gates[0].votes] == [("USAM", 40)]
    closed = state.gates[0].closed
    assert closed is not None
    assert (closed.outcome, closed.by and closed.by.id) == ("approved", "USAM")
    assert await bench.merges(run, gate)


async def test_two_have_to_approve_where_the_rule_says_so(bench: GateBench):
    bench.settle(TWO)
    run, gate = await bench.waiting()
    assert (await bench.press(gate, SAM)).status is RunStatus.WAITING_FOR_APPROVAL
    with pytest.raises(Refused, match=r"approved this already \(1 of 2\)"):
        await bench.press(gate, SAM)
    with pytest.raises(Refused, match="approved this already"):  # the same GitLab user
        await bench.press(gate, replace(SAM, id="USAM2"))
    assert (await bench.press(gate, LEE)).status is RunStatus.DELIVERING
    assert [v.by.id for v in await bench.facts(run, GateVoted)] == ["USAM", "ULEE"]


async def test_an_unknown_gate_decides_nothing(bench: GateBench):
    run, gate = await bench.waiting()
    with pytest.raises(Refused, match="I know no such request"):
        await bench.press(replace(gate, id=GateId("f" * 32)), SAM)
    with pytest.raises(Refused, match="I know no such request"):
        await bench.press(replace(gate, id=GateId("' OR 1=1 --")), SAM)
    assert await bench.facts(run, GateRefused) == []


async def test_a_gate_decides_about_its_own_run_only(bench: GateBench):
    one, gate = await bench.waiting()
    other, _ = await bench.waiting()
    await bench.press(gate, SAM)
    assert (await bench.db.store.run(one.id)).status is RunStatus.DELIVERING
    assert (await bench.db.store.run(other.id)).status is RunStatus.WAITING_FOR_APPROVAL


async def test_the_late_are_told_who_decided_and_when(bench: GateBench):
    _, gate = await bench.waiting()
    await bench.press(gate, SAM)
    with pytest.raises(Refused, match=r"already approved by @sam at \d\d:\d\d UTC"):
        await bench.press(gate, LEE)


# --- rejecting ---------------------------------------------------------------------------


async def test_a_rejection_stops_the_run(bench: GateBench):
    run, gate = await bench.waiting()
    row = await bench.press(gate, SAM, "reject")
    assert row.status is RunStatus.CANCELLED
    state = await bench.state(run)
    assert state.reason == f"Rejected by @sam: {WHY}"
    assert state.deliveries[0].ended is not None
    assert state.deliveries[0].ended.outcome == "rejected"
    with pytest.raises(Refused, match="already rejected by @sam"):
        await bench.press(gate, LEE)


async def test_a_rejection_with_feedback_sends_the_run_back_to_work(bench: GateBench):
    run, gate = await bench.waiting()
    row = await bench.press(gate, SAM, "reject", revise=True)
    assert row.status is RunStatus.QUEUED
    state = await bench.state(run)
    assert [f.given.text for f in state.waiting_followups] == [WHY]
    assert state.delivery is None
    assert await bench.db.store.claim(run.id, "worker") is not None


@pytest.mark.parametrize("kind", ["promotion", "revert"])
async def test_feedback_on_what_was_merged_is_a_run_of_its_own(bench: GateBench, kind: str):
    before = await bench.delivered(target="develop")
    run, gate = await bench.waiting("promotion" if kind == "promotion" else "revert")
    bench.forge.requests.append(
        replace(bench.forge.requests[0], source_branch=run.branch, state="merged")
    )
    new = await bench.press(gate, SAM, "reject", revise=True)
    assert new.id not in (run.id, before.id)
    assert (new.request.text, new.request.thread) == (WHY, run.request.thread)
    assert (await bench.state(run)).status is RunStatus.CANCELLED


@pytest.mark.parametrize("kind", ["change", "promotion"])
async def test_feedback_is_not_lost_where_the_process_ends_right_after_the_rejection(
    bench: GateBench, kind: str, tmp_path: Path
):
    """The click comes again, and however often it does, the revision begins once."""
    if kind == "promotion":
        await bench.delivered(target="develop")
    run, gate = await bench.waiting("promotion" if kind == "promotion" else "change")
    if kind == "promotion":
        made = replace(bench.forge.requests[0], source_branch=run.branch, state="merged")
        bench.forge.requests.append(made)
    failpoints.arm("decide.after_call:raise", tmp_path)
    try:
        with pytest.raises(RuntimeError, match="A failpoint"):
            await bench.press(gate, SAM, "reject", revise=True, message="1.0")
    finally:
        failpoints.disarm()

    again = [await bench.press(gate, SAM, "reject", revise=True, message="1.0") for _ in range(2)]
    with pytest.raises(Refused, match="already rejected by @sam"):
        await bench.press(gate, SAM, "reject", revise=True, reason=f"{WHY} And more.")
    for by in (SAM, LEE):  # another press, and another person's
        with pytest.raises(Refused, match="already rejected by @sam"):
            await bench.press(gate, by, "reject", revise=True, message=f"2.0 {by.name}")

    assert len({row.id for row in again}) == 1
    revised = await bench.state(again[0])
    asked = [revised.request.text, *(f.given.text for f in revised.waiting_followups)][-1]
    assert (asked, revised.status) == (WHY, RunStatus.QUEUED)
    assert len(await bench.facts(run, InstructionGiven)) == (0 if kind == "promotion" else 1)


@pytest.mark.parametrize("reason", ["", "too short", " " * 30, "x" * 2501])
async def test_a_rejection_says_why(bench: GateBench, reason: str):
    run, gate = await bench.waiting()
    with pytest.raises(Refused, match="needs a reason of 10 to 2,500 characters"):
        await bench.press(gate, SAM, "reject", reason=reason)
    assert [r.check for r in await bench.facts(run, GateRefused)] == ["reason"]


async def test_who_asked_may_withdraw_and_others_need_the_right_to_approve(bench: GateBench):
    _, gate = await bench.waiting()
    with pytest.raises(Refused, match="you are a Developer there"):
        await bench.press(gate, TOM, "reject")
    bench.forge.members[7] = 10
    assert (await bench.press(gate, MIA, "reject")).status is RunStatus.CANCELLED


async def test_a_rejection_wins_over_an_approval_whose_merge_has_not_begun(bench: GateBench):
    run, gate = await bench.waiting()
    await bench.press(gate, SAM)
    assert (await bench.press(gate, LEE, "reject")).status is RunStatus.CANCELLED
    assert not (await bench.state(run)).gates[0].approved
    assert not await bench.merges(run, gate)


async def test_a_rejection_comes_too_late_once_the_merge_has_begun(bench: GateBench):
    run, gate = await bench.waiting()
    await bench.press(gate, SAM)
    begun = EffectIntended(key="k", effect=EffectKind.MERGE, subject="merge")
    await bench.write(run, begun)
    with pytest.raises(Refused, match="has begun already"):
        await bench.press(gate, LEE, "reject")
    assert (await bench.state(run)).gates[0].approved


async def test_neither_words_nor_reactions_approve(bench: GateBench):
    run, gate = await bench.waiting()
    await service(bench).instruct(run.id, "approve", SAM, message="5")
    state = await bench.state(run)
    assert [g.approved for g in state.gates] == [False]
    assert await bench.facts(run, GateVoted) == []
    closed = state.gates[0].closed
    assert closed is not None
    assert closed.outcome == "superseded"
    with pytest.raises(Refused, match="superseded"):
        await bench.press(gate, LEE)


# --- refused clicks ----------------------------------------------------------------------


async def test_a_flood_of_refused_clicks_leaves_few_facts_and_a_count(
    bench: GateBench, caplog: pytest.LogCaptureFixture
):
    run, gate = await bench.waiting()
    clicks = (
        bench.press(gate, TOM, keeper=keeper) for keeper in [bench.keeper()] for _ in "x" * 40
    )
    told = await asyncio.gather(*clicks, return_exceptions=True)
    assert all(isinstance(each, Refused) for each in told)
    refused = await bench.facts(run, GateRefused)
    assert len(refused) == 20
    assert [f.reason.endswith("are only counted, in the service's log.") for f in refused] == [
        *([False] * 19),
        True,
    ]
    counts = [vars(r)["count"] for r in caplog.records if r.message == "gate_refused_counted"]
    assert counts == list(range(21, 41))
    assert (await bench.press(gate, SAM)).status is RunStatus.DELIVERING


async def test_a_click_of_a_stranger_is_on_record(bench: GateBench):
    run, gate = await bench.waiting()
    stranger = replace(SAM, id="W9", name="eve", gitlab_id=None)
    keeper = bench.keeper()
    await keeper.refused(gate.id, stranger, "approve", "person", "You are a guest here.")
    await keeper.refused(GateId("f" * 32), stranger, "approve", "person", "You are a guest here.")
    refused = await bench.facts(run, GateRefused)
    assert [(r.by.id, r.check, r.reason) for r in refused] == [
        ("W9", "person", "You are a guest here.")
    ]
    assert len((await bench.state(run)).gates[0].refused) == 1


async def test_a_click_that_was_refused_stays_so_when_it_comes_again(bench: GateBench):
    """Whoever was told that nothing was decided relies on it."""
    run, gate = await bench.waiting()
    bench.forge.members[8] = 10
    with pytest.raises(Refused) as told:
        await bench.press(gate, SAM, message="click 1")
    bench.forge.members[8] = 40
    with pytest.raises(Refused, match=re.escape(str(told.value))):
        await bench.press(gate, SAM, message="click 1")
    assert len(await bench.facts(run, GateRefused)) == 1
    assert (await bench.press(gate, SAM, message="click 2")).status is RunStatus.DELIVERING


async def test_a_refusal_that_no_log_has_says_so_to_who_has_to_keep_the_click_from_deciding(
    bench: GateBench,
):
    run, gate = await bench.waiting()
    away = cast("Any", _Away())
    with pytest.raises(Unrecorded, match="nothing was decided"):
        await bench.press(gate, SAM, keeper=bench.keeper(store=away), message="click 1")
    assert await bench.facts(run, GateRefused) == []


class _Away:
    """A database that does not answer."""

    async def run_of_gate(self, gate: GateId) -> None:
        raise StoreUnavailable("PostgreSQL does not answer.")


# --- races -------------------------------------------------------------------------------


async def test_fifty_clicks_are_one_decision(bench: GateBench):
    run, gate = await bench.waiting()
    clicks = (bench.press(gate, SAM) for _ in range(50))
    told = await asyncio.gather(*clicks, return_exceptions=True)
    refused = [str(each) for each in told if isinstance(each, Refused)]
    assert len(refused) == 49
    assert all("already approved by @sam" in each for each in refused)
    assert len(await bench.facts(run, GateVoted)) == 1
    assert len(await bench.facts(run, GateClosed)) == 1


async def test_two_approvers_at_once_are_both_counted(bench: GateBench):
    bench.settle(TWO)
    run, gate = await bench.waiting()
    await asyncio.gather(bench.press(gate, SAM), bench.press(gate, LEE))
    state = await bench.state(run)
    assert {v.id for v in state.gates[0].votes} == {"USAM", "ULEE"}
    assert state.status is RunStatus.DELIVERING
    assert len(await bench.facts(run, GateClosed)) == 1


async def test_two_slack_users_of_one_gitlab_user_are_one_voice(bench: GateBench):
    bench.settle(TWO)
    run, gate = await bench.waiting()
    told = await asyncio.gather(
        bench.press(gate, SAM),
        bench.press(gate, replace(SAM, id="USAM2")),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Refused) for each in told) == 1
    assert len(await bench.facts(run, GateVoted)) == 1
    assert (await bench.state(run)).status is RunStatus.WAITING_FOR_APPROVAL


@pytest.mark.parametrize("first", [SAM, LEE])
async def test_of_a_yes_and_a_no_at_once_the_no_wins(bench: GateBench, first: object):
    run, gate = await bench.waiting()
    yes, no = bench.press(gate, SAM), bench.press(gate, LEE, "reject")
    await asyncio.gather(*((yes, no) if first is SAM else (no, yes)), return_exceptions=True)
    assert (await bench.state(run)).status is RunStatus.CANCELLED
    assert not await bench.merges(run, gate)


async def test_a_click_and_a_new_instruction_at_once_decide_one_thing(bench: GateBench):
    run, gate = await bench.waiting()
    await asyncio.gather(
        bench.press(gate, SAM),
        service(bench).instruct(run.id, "make it blue", TOM, message="5"),
        return_exceptions=True,
    )
    state = await bench.state(run)
    assert len(await bench.facts(run, InstructionGiven)) == 1
    if state.gates[0].approved:
        assert state.status is RunStatus.DELIVERING
        assert await bench.stands(run, gate) == ""
    else:
        assert state.status is RunStatus.QUEUED


# --- the clock ---------------------------------------------------------------------------


async def test_a_gate_that_nobody_decides_expires(bench: GateBench):
    run, gate = await bench.waiting()
    bench.clock.hours = 24.1
    bench.forge.faults["merge_request"] = [ForgeUnavailable("GitLab does not answer.")]
    await bench.keeper().look_after(run.id)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert "within 24 hours" in state.reason
    assert "Ask again" in state.reason
    assert state.deliveries[0].ended is not None
    assert state.deliveries[0].ended.outcome == "expired"
    with pytest.raises(Refused, match="expired at"):
        await bench.press(gate, SAM)
    await bench.keeper().look_after(run.id)
    assert len(await bench.facts(run, RunEnded)) == 1


async def test_a_flood_of_hints_asks_gitlab_once(bench: GateBench):
    run, _ = await bench.waiting()
    keeper = bench.keeper()
    for _ in range(20):
        await keeper.hinted(run.id)
    assert bench.forge.calls.count("merge_request") == 1
    other, _ = await bench.waiting()
    await keeper.hinted(other.id)
    assert bench.forge.calls.count("merge_request") == 2


async def test_a_difference_is_read_again_only_where_it_may_be_another_one(bench: GateBench):
    waiting = [await bench.waiting() for _ in range(20)]
    for _, gate in waiting:
        bench.forge.change(gate.iid, compared="base head")
    keeper = bench.keeper()
    asked: list[int] = []
    for _ in range(3):
        before = len(bench.forge.calls)
        for run, _ in waiting:
            await keeper.look_after(run.id)
        asked.append(len(bench.forge.calls) - before)
    assert asked == [40, 20, 20]
    run, gate = waiting[0]
    bench.forge.differences[gate.iid] = b"other"
    bench.forge.change(gate.iid, compared="another head")
    await keeper.look_after(run.id)
    assert "no longer what the request was for" in (await bench.state(run)).reason
    run, gate = waiting[1]
    bench.forge.differences[gate.iid] = b"other"
    with pytest.raises(Refused, match="no longer what the request was for"):
        await bench.press(gate, SAM, keeper=keeper)


async def test_people_are_reminded_once(bench: GateBench):
    run, gate = await bench.waiting()
    bench.clock.hours = 5.9
    await bench.keeper().look_after(run.id)
    assert await bench.facts(run, GateReminded) == []
    bench.clock.hours = 6.1
    await asyncio.gather(*(bench.keeper().look_after(run.id) for _ in range(3)))
    await bench.keeper().look_after(run.id)
    assert len(await bench.facts(run, GateReminded)) == 1
    assert (await bench.press(gate, SAM)).status is RunStatus.DELIVERING


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sha": CommitSha("d" * 40)}, "stands at dddddddd now"),
        ({"target_branch": "develop"}, "goes to `develop` now"),
        ({"state": "closed"}, "is closed at GitLab"),
        ({"state": "merged"}, "is merged at GitLab"),
    ],
)
async def test_a_gate_for_what_is_no_longer_so_is_superseded(
    bench: GateBench, change: dict[str, object], says: str
):
    run, gate = await bench.waiting()
    await bench.keeper().look_after(run.id)
    assert (await bench.state(run)).gate is not None
    bench.forge.change(gate.iid, **change)
    await bench.keeper().look_after(run.id)
    state = await bench.state(run)
    assert state.status is RunStatus.DELIVERING
    assert says in state.reason
    with pytest.raises(Refused, match="superseded"):
        await bench.press(gate, SAM)
    assert await bench.db.store.claim(run.id, "worker") is not None


async def test_other_contents_and_other_rules_supersede(bench: GateBench):
    run, gate = await bench.waiting()
    bench.forge.differences[gate.iid] = b"other"
    await bench.keeper().look_after(run.id)
    assert (await bench.state(run)).status is RunStatus.DELIVERING
    bench.forge.differences.clear()
    run, gate = await bench.waiting()
    assert bench.project is not None
    bench.project = replace(bench.project, policy=Policy(max_files=3))
    await bench.keeper().look_after(run.id)
    assert (await bench.state(run)).status is RunStatus.DELIVERING


async def test_a_gitlab_that_is_silent_supersedes_nothing(bench: GateBench):
    run, gate = await bench.waiting()
    bench.forge.change(gate.iid, sha=CommitSha("d" * 40))
    for method in ("merge_request", "difference"):
        bench.forge.faults[method] = [ForgeUnavailable("GitLab does not answer.")]
    await bench.keeper().look_after(run.id)
    assert (await bench.state(run)).gate is not None


async def test_a_job_that_was_started_elsewhere_supersedes(bench: GateBench):
    run, _ = await bench.waiting(environment="staging")
    await bench.keeper().look_after(run.id)
    assert (await bench.state(run)).gate is not None
    await bench.forge.play_job(PATH, 31)
    await bench.keeper().look_after(run.id)
    assert (await bench.state(run)).status is RunStatus.DELIVERING


# --- what ends the wait otherwise --------------------------------------------------------


async def test_an_instruction_takes_the_gate_away(bench: GateBench):
    run, gate = await bench.waiting()
    await service(bench).instruct(run.id, "make it blue", TOM, message="5")
    state = await bench.state(run)
    assert state.status is RunStatus.QUEUED
    assert [f.given.text for f in state.waiting_followups] == ["make it blue"]
    assert state.delivery is None
    assert state.gates[0].closed is not None
    assert state.gates[0].closed.reason == "@tom gave a new instruction."
    with pytest.raises(Refused, match="superseded"):
        await bench.press(gate, SAM)


async def test_an_instruction_beside_a_promotion_is_a_run_of_its_own(bench: GateBench):
    run, gate = await bench.waiting("promotion")
    bench.forge.requests.append(
        replace(bench.forge.requests[0], source_branch=run.branch, state="merged")
    )
    new = await service(bench).instruct(run.id, "make it blue", TOM, message="5")
    assert new.id != run.id
    assert (await bench.press(gate, SAM)).status is RunStatus.DELIVERING


async def test_a_stopped_run_leaves_no_open_gate(bench: GateBench):
    run, gate = await bench.waiting()
    await service(bench).stop(run.id, MIA, how="mention")
    state = await bench.state(run)
    assert state.status is RunStatus.CANCELLED
    assert len(await bench.facts(run, StopAsked)) == 1
    assert state.gates[0].closed is not None
    assert state.gates[0].closed.outcome == "cancelled"
    assert state.delivery is None
    with pytest.raises(Refused, match="run has ended"):
        await bench.press(gate, SAM)
    with pytest.raises(Refused, match="run has ended"):
        await bench.press(gate, SAM, "reject")


# --- afterwards --------------------------------------------------------------------------


async def test_a_promotion_goes_from_the_delivered_branch_to_the_next(bench: GateBench):
    run = await bench.delivered("develop")
    bench.forge.members[10] = 10
    with pytest.raises(Refused, match="you are a Guest"):
        await bench.keeper().begin(run.id, "promotion", TOM)
    bench.forge.members[10] = 30
    row = await bench.keeper().begin(run.id, "promotion", TOM)
    assert row.status is RunStatus.QUEUED
    begun = (await bench.facts(run, DeliveryBegun))[-1]
    assert (begun.number, begun.kind, begun.source, begun.target) == (
        2,
        "promotion",
        "develop",
        "main",
    )
    assert (begun.by and begun.by.id, begun.iid, begun.merged) == ("UTOM", None, None)
    with pytest.raises(Refused, match="on its way already"):
        await bench.keeper().begin(run.id, "promotion", TOM)


async def test_a_revert_takes_back_the_merge(bench: GateBench):
    run = await bench.delivered()
    await bench.keeper().begin(run.id, "revert", SAM)
    begun = (await bench.facts(run, DeliveryBegun))[-1]
    assert (begun.kind, begun.target, begun.reverts) == ("revert", "main", MERGED)
    assert begun.source == f"agent/{run.id}-revert-2"


async def test_pressing_twice_begins_once(bench: GateBench):
    run = await bench.delivered()
    keeper = bench.keeper()
    told = await asyncio.gather(
        *(keeper.begin(run.id, "revert", SAM) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(each, Refused) for each in told) == 4
    assert len(await bench.facts(run, DeliveryBegun)) == 2


async def test_the_same_click_begins_nothing_more_once_what_it_began_has_ended(bench: GateBench):
    """Else the same press would go on from the next branch."""
    run = await bench.delivered("develop")
    keeper = bench.keeper()
    for _ in range(2):
        row = await keeper.begin(run.id, "promotion", SAM, message="click 1")
        assert row.status is RunStatus.QUEUED
    await bench.write(run, DeliveryEnded(number=2, outcome="expired"))
    await bench.write(run, RunEnded(status=RunStatus.ESCALATED))
    again = await keeper.begin(run.id, "promotion", SAM, message="click 1")
    assert again.status is RunStatus.ESCALATED
    assert len(await bench.facts(run, DeliveryBegun)) == 2
    for _ in range(2):
        row = await keeper.ask_again(run.id, SAM, message="click 2")
        assert row.status is RunStatus.QUEUED
    assert len(await bench.facts(run, DeliveryBegun)) == 3


async def test_asking_again_for_a_change_by_the_same_click_sets_it_going_once(bench: GateBench):
    run, _ = await bench.waiting()
    bench.clock.hours = 25
    await bench.keeper().look_after(run.id)
    for _ in range(2):
        row = await bench.keeper().ask_again(run.id, TOM, message="click 1")
        assert row.status is RunStatus.QUEUED
    await bench.write(run, RunEnded(status=RunStatus.ESCALATED))
    again = await bench.keeper().ask_again(run.id, TOM, message="click 1")
    assert again.status is RunStatus.ESCALATED


async def test_what_cannot_be_begun_says_why(bench: GateBench):
    run = await bench.delivered()
    keeper = bench.keeper()
    with pytest.raises(Refused, match="`main` is promoted nowhere"):
        await keeper.begin(run.id, "promotion", SAM)
    assert bench.project is not None
    known, bench.project = bench.project, replace(bench.project, targets=())
    with pytest.raises(Refused, match="`main` is left to people"):
        await keeper.begin(run.id, "revert", SAM)
    bench.project = known
    fresh = await bench.run()
    with pytest.raises(Refused, match="Nothing of this run was delivered"):
        await keeper.begin(fresh.id, "revert", SAM)
    run, gate = await bench.waiting()
    await bench.press(gate, SAM, "reject")
    with pytest.raises(Refused, match="Nothing was merged"):
        await keeper.begin(run.id, "revert", SAM)


async def test_what_was_reverted_is_reverted_once(bench: GateBench):
    run = await bench.delivered()
    keeper = bench.keeper()
    await keeper.begin(run.id, "revert", SAM)
    begun = (await bench.facts(run, DeliveryBegun))[-1]
    await bench.db.store.claim(run.id, "worker")
    await bench.write(run, StatusChanged(status=RunStatus.DELIVERING))
    assert (await bench.state(run)).delivery is not None
    merged = EffectDone(key="k", effect=EffectKind.MERGE, result="merged", commit=HEAD)
    ended = DeliveryEnded(number=begun.number, outcome="delivered")
    await bench.write(run, merged, ended, RunEnded(status=RunStatus.SUCCEEDED))
    with pytest.raises(Refused, match="reverted already"):
        await keeper.begin(run.id, "revert", SAM)
    with pytest.raises(Refused, match="was reverted"):
        await keeper.begin(run.id, "promotion", SAM)


async def test_ask_again_after_expiry_sets_a_change_going(bench: GateBench):
    run, _ = await bench.waiting()
    bench.clock.hours = 25
    await bench.keeper().look_after(run.id)
    row = await bench.keeper().ask_again(run.id, TOM)
    assert row.status is RunStatus.QUEUED
    assert len(await bench.facts(run, DeliveryBegun)) == 1


@pytest.mark.parametrize("environment", ["", "staging"])
async def test_ask_again_begins_anew_what_was_merged_or_has_no_branch_of_its_own(
    bench: GateBench, environment: str
):
    if environment:
        run, gate = await bench.waiting(environment=environment)
    else:
        run, gate = await bench.waiting("promotion", by=TOM)
    await bench.press(gate, SAM, "reject")
    await bench.keeper().ask_again(run.id, LEE)
    old, new = await bench.facts(run, DeliveryBegun)
    assert new == replace(old, number=2)


async def test_there_is_nothing_to_ask_again_after_success(bench: GateBench):
    run = await bench.delivered()
    with pytest.raises(Refused, match="nothing to ask again"):
        await bench.keeper().ask_again(run.id, SAM)
    run, _ = await bench.waiting()
    with pytest.raises(Refused, match="on its way already"):
        await bench.keeper().ask_again(run.id, SAM)
