"""One open merge request of a kind, brought up to date night after night, and people's word on
it: asserted on what stands at GitLab."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from engine_bench import Bench
from nightly_town import EARLIER, Change, Town, bump, open_town, update

from agent.adapters import event_codec as codec
from agent.adapters.postgres_store import PostgresStore
from agent.errors import Refused, StoreUnavailable
from agent.events import Committed, DeliveryBegun, EffectFailed, InstructionGiven, RunEnded
from agent.gate import Rule, TargetRule
from agent.hints import Hint, HintKind, Hints
from agent.intents import Merge, Push
from agent.maintenance.findings import Aside
from agent.maintenance.night import Task
from agent.ports import Write
from agent.run import (
    CommitSha,
    Follows,
    Person,
    Request,
    RunId,
    RunStatus,
    Thread,
    Upkeep,
    branch_of,
)
from agent.service import RunService
from agent.testing import ScriptedModel
from playground.faults import Fault, FaultMode

ONE, TWO = Change(text="one", title="Mend one"), Change(text="two", title="Mend two")


@pytest.fixture
async def town(bench: Bench, tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(bench, tmp_path) as opened:
        yield opened


@pytest.fixture
async def watching(bench: Bench, tmp_path: Path) -> AsyncIterator[Town]:
    async with open_town(bench, tmp_path, watch=True) as opened:
        yield opened


async def test_the_open_merge_request_gets_the_next_night_s_change(watching: Town):
    town = watching
    await town.night(ONE)
    [first] = await town.runs()
    assert first.status is RunStatus.WATCHING
    before = await town.head(first.branch)
    report = await town.night(TWO)
    second, first = await town.runs()
    [request] = town.requests
    assert (request.state, request.title) == ("opened", "Draft: Mend two")
    assert f"journeyman-run: {second.id} " in request.description
    assert f"journeyman-run: {first.id} " not in request.description
    assert await town.branches() == [first.branch] == [second.branch]
    assert await town.line(first.branch) == "two"
    base = await town.head("main")
    assert await town.at_gitlab("rev-parse", f"{first.branch}^") == base
    assert await town.head(first.branch) != before
    assert [(g.run, g.waits) for g in report.groups] == [(second.id, "")]
    assert second.status is RunStatus.WATCHING
    status, reason = await town.end_of(first)
    assert status is RunStatus.CANCELLED
    assert reason == "A later night changes !1 anew, so this run has let go of it."


async def test_a_night_rebuilds_on_today_s_base(town: Town):
    await town.night(ONE)
    [first] = await town.runs()
    newer = await town.pushes("main", "new")
    await town.night(TWO)
    assert await town.at_gitlab("rev-parse", f"{first.branch}^") == newer
    assert len(town.requests) == 1


async def test_many_nights_in_a_row_keep_one_merge_request(town: Town):
    for number in range(4):
        await town.night(Change(text=f"{number}", title=f"Mend {number}"))
    assert [request.title for request in town.requests] == ["Draft: Mend 3"]
    [branch] = await town.branches()
    assert await town.line(branch) == "3"


async def test_kinds_have_merge_requests_of_their_own(town: Town):
    major = Change(text="m", kind="npm:left", updates=(update("left", "2.0.0", major=True),))
    await town.night(ONE, bump("left", "1.1.0"), major)
    await town.night(TWO, bump("left", "1.2.0"), major)
    assert len(town.requests) == len(town.open) == 3
    assert town.requests[1].title == "Draft: Update to 1.2.0"


async def test_what_is_open_already_is_not_pushed_again(town: Town):
    await town.night(ONE)
    [run] = await town.runs()
    before = await town.head(run.branch)
    report = await town.night(ONE)
    assert await town.runs() == [run]
    assert await town.head(run.branch) == before
    assert [(g.run, g.waits) for g in report.groups] == [(run.id, "")]


async def test_what_stands_again_after_another_change_is_pushed(town: Town):
    for change in (ONE, TWO, ONE):
        await town.night(change)
    [request] = town.requests
    assert await town.line(request.source_branch) == "one"
    assert request.title == "Draft: Mend one"


async def test_commits_of_a_person_are_left_alone(town: Town):
    await town.night(ONE)
    [run] = await town.runs()
    mine = await town.pushes(run.branch)
    for _ in range(2):
        report = await town.night(TWO)
        assert len(await town.runs()) == len(town.requests) == 1
        assert await town.head(run.branch) == mine
        [group] = report.groups
        assert (group.run, group.branch) == (run.id, run.branch)
        assert group.waits.startswith("!1 has commits of a person, so it is left to people")
    await town.merge(1)
    await town.night(TWO)
    assert [request.state for request in town.requests] == ["merged", "opened"]


async def test_what_a_person_has_merged_begins_a_merge_request_anew(town: Town):
    await town.night(ONE)
    await town.merge(1)
    await town.night(TWO)
    first, second = town.requests
    assert (first.state, second.state) == ("merged", "opened")
    assert first.source_branch != second.source_branch


async def test_what_was_merged_and_then_reverted_is_not_offered_again(town: Town):
    await town.night(ONE)
    await town.night(TWO)
    await town.merge(1)
    await town.revert("main")
    merged, _ = await town.runs()
    report = await town.night(TWO)
    assert [group.run for group in report.groups] == [merged.id]
    assert [request.state for request in town.requests] == ["merged"]


async def test_what_people_asked_for_in_its_review_is_not_replaced(town: Town):
    await town.night(ONE)
    [run] = await town.runs()
    said = InstructionGiven(text="Name it sum", by=Person(id="gitlab:9", name="sam"))
    await town.bench.db.store.write(run.id, Write(payloads=(said,)), actor="service")
    before = await town.head(run.branch)
    [group] = (await town.night(TWO)).groups
    assert group.waits == "!1 has changes that people asked for in its review."
    assert await town.head(run.branch) == before


async def test_a_merge_request_with_another_target_is_left_alone(town: Town):
    await town.night(ONE)
    await town.at_gitlab("branch", "develop", "main")
    await town.put(1, {"target_branch": "develop"})
    [group] = (await town.night(TWO)).groups
    assert group.waits == "!1 goes to `develop` by now, and not to `main`."
    assert [request.title for request in town.requests] == ["Draft: Mend one"]


async def test_what_a_person_has_approved_is_not_pushed_over_also_where_approvals_stay(town: Town):
    town.project.settings["reset_approvals_on_push"] = False
    await town.night(ONE)
    [run] = await town.runs()
    before = await town.head(run.branch)
    await town.begun(TWO)
    await town.approve(1)
    second, _ = await town.runs()
    await town.publish(second)
    assert (await town.end_of(second))[1].startswith("!1 is approved by now, so nothing was pushed")
    [group] = (await town.night(TWO)).groups
    assert group.waits == (
        "!1 is approved by @sam, so it stays as it is until it is merged or closed."
    )
    assert await town.head(run.branch) == before


async def test_what_gitlab_is_to_merge_by_itself_is_not_pushed_over(town: Town):
    await town.night(ONE)
    [run] = await town.runs()
    before = await town.head(run.branch)
    town.requests[0].auto_merge = {"sha": before}
    [group] = (await town.night(TWO)).groups
    assert group.waits == (
        "!1 is set to be merged automatically, so it stays as it is until it is merged or closed."
    )
    assert await town.head(run.branch) == before


async def test_a_branch_that_a_person_has_set_back_is_left_alone(town: Town):
    await town.night(ONE)
    [first] = await town.runs()
    earlier = await town.head(first.branch)
    await town.night(TWO)
    newer = await town.head(first.branch)
    assert newer != earlier
    await town.at_gitlab("update-ref", f"refs/heads/{first.branch}", earlier)
    [group] = (await town.night(Change(text="three"))).groups
    assert group.waits.startswith("!1 was set back to an earlier commit, so it is left to people")
    assert await town.head(first.branch) == earlier


async def test_closed_fixes_are_not_offered_again_until_they_are_others(town: Town):
    await town.night(ONE)
    await town.close(1)
    report = await town.night(ONE)
    assert [group.waits for group in report.groups] == [
        "!1 was closed without being merged: that is a no until there is another change."
    ]
    assert (await town.night(ONE)).groups == ()
    assert town.open == []
    await town.night(TWO)
    assert [request.title for request in town.open] == ["Draft: Mend two"]


async def test_a_closed_update_is_not_offered_again_until_its_next_version(town: Town):
    both = Change(
        text="both", kind="npm", updates=(update("left", "1.1.0"), update("right", "3.0.0"))
    )
    await town.night(both)
    await town.close(1)
    report = await town.night(bump("left", "1.1.0"))
    no = "!1 was closed without being merged: that is a no until there is the next version."
    assert [group.waits for group in report.groups] == [no]
    assert report.updates == ()
    assert [(e.update.package, e.reason, e.refused) for e in report.left_out] == [
        ("left", no, True)
    ]
    report = await town.night(bump("left", "1.1.0"))
    assert report.groups == ()  # said once
    assert len(report.left_out) == 1
    assert len(town.requests) == 1
    report = await town.night(bump("left", "1.2.0"))
    assert report.left_out == ()
    assert [request.title for request in town.open] == ["Draft: Update to 1.2.0"]


async def test_a_reopened_merge_request_is_no_refusal_any_more(town: Town):
    await town.night(bump("left", "1.1.0"))
    await town.close(1)
    await town.reopen(1)
    await town.night(bump("left", "1.2.0"))
    assert [request.title for request in town.requests] == ["Draft: Update to 1.2.0"]


async def test_while_gitlab_is_away_nothing_is_begun(town: Town):
    await town.night(ONE)
    runs = await town.runs()
    look = "GET /projects/:id/merge_requests/:iid"
    outage = town.gitlab.faults.set(Fault(mode=FaultMode.FAIL, method=look, times=0, status=503))
    await town.bench.db.nights.add(town.bench.project.path, Task.LINT)
    assert await town.shift(bump("left", "1.1.0"), TWO).work()
    assert outage.hits
    assert await town.runs() == runs  # nor for the kind that has no merge request yet
    *_, entry = await town.bench.db.nights.entries(since=EARLIER)
    assert entry.report is None  # it comes again by itself
    town.gitlab.faults.clear()
    await town.night(TWO)
    assert [request.title for request in town.requests] == ["Draft: Mend two"]


async def test_a_person_who_pushes_in_between_is_not_overwritten(town: Town):
    await town.night(ONE)
    await town.begun(TWO)
    second, first = await town.runs()
    mine = await town.pushes(first.branch)
    await town.publish(second)
    status, reason = await town.end_of(second)
    assert status is RunStatus.ESCALATED
    where = f"The branch {first.branch} is not where this night had found it: it stands at"
    assert reason == (
        f"{where} {mine[:8]} now. Nothing was overwritten. The change is kept in the run's record."
    )
    assert await town.head(first.branch) == mine
    [request] = town.requests
    assert request.title == "Draft: Mend one"
    [group] = (await town.night(TWO)).groups
    assert "!1 has commits of a person" in group.waits
    assert len(await town.runs()) == 2


@pytest.mark.parametrize(("deed", "state"), [("close", "closed"), ("merge", "merged")])
async def test_what_people_decide_in_between_stands(town: Town, deed: str, state: str):
    await town.night(ONE)
    await town.begun(TWO)
    second, _ = await town.runs()
    await getattr(town, deed)(1)
    stood = await town.at_gitlab("for-each-ref")
    await town.publish(second)
    assert (await town.end_of(second))[1].startswith(f"!1 is {state} by now, so nothing was pushed")
    assert await town.at_gitlab("for-each-ref") == stood
    assert [request.state for request in town.requests] == [state]
    await town.night(TWO)  # begun anew, since this was neither published nor refused
    assert [request.state for request in town.requests] == [state, "opened"]


async def test_what_is_closed_after_the_push_is_not_opened_again_beside_it(town: Town):
    await town.night(ONE)
    await town.begun(TWO)
    second, _ = await town.runs()
    await town.bench.worker(ScriptedModel(replies=[])).advance(second.id)
    push, opens = await town.bench.db.store.pending_intents(second.id)
    assert isinstance(push[1], Push)
    done = await town.executor._settled(second.id, *push)
    await town.bench.db.store.settle(second.id, push[0], done, wake=False)
    await town.close(1)
    await town.publish(second)
    assert "!1 is not open any more" in (await town.end_of(second))[1]
    assert [request.state for request in town.requests] == ["closed"]
    assert opens


async def test_two_nights_at_once_make_one_merge_request(town: Town):
    for changes in ((ONE, TWO), (TWO, Change(text="three"))):
        for _ in changes:
            await town.bench.db.nights.add(town.bench.project.path, Task.LINT)
        shifts = [town.shift(each, name=each.text) for each in changes]
        await asyncio.gather(*(shift.work() for shift in shifts))
        await town.published()
        assert len(town.requests) == 1
        assert len(await town.branches()) == 1
    entries = await town.bench.db.nights.entries(since=EARLIER)
    groups = [group for entry in entries if entry.report for group in entry.report.groups]
    waiting = [group.waits for group in groups if group.waits]
    assert len(groups) == 4
    assert all("at work on this" in told or "worked on" in told for told in waiting)


async def test_a_night_killed_before_its_run_began_is_done_again(town: Town):
    """The earlier run has let go already; nothing is lost by that."""
    await town.night(ONE)
    await town.bench.db.nights.add(town.bench.project.path, Task.LINT)
    due = await town.bench.db.nights.claim("dead", timedelta(0))
    assert due is not None
    shift = town.shift(TWO)
    shift.store = Dying(town.bench.db.store)
    with pytest.raises(StoreUnavailable):
        await shift._done(due, Aside(store=town.bench.db.nights))
    assert len(await town.runs()) == 1
    assert await town.shift(TWO).work()
    await town.published()
    assert [request.title for request in town.requests] == ["Draft: Mend two"]
    assert len(await town.runs()) == 2


async def test_a_night_killed_after_its_run_began_finds_it_again(town: Town):
    await town.night(ONE)
    await town.bench.db.nights.add(town.bench.project.path, Task.LINT)
    due = await town.bench.db.nights.claim("dead", timedelta(0))
    assert due is not None
    first = await town.shift(TWO)._done(due, Aside(store=town.bench.db.nights))
    assert await town.shift(TWO).work()
    *_, entry = await town.bench.db.nights.entries(since=EARLIER)
    assert first is not None
    assert entry.report is not None
    assert [g.run for g in entry.report.groups] == [g.run for g in first.groups]
    await town.published()
    assert len(await town.runs()) == 2
    assert [request.title for request in town.requests] == ["Draft: Mend two"]


async def test_while_the_earlier_run_is_at_work_the_next_night_waits(town: Town):
    await town.begun(ONE)
    [run] = await town.runs()
    [group] = (await town.begun(TWO)).groups
    assert (group.run, group.waits) == (
        run.id,
        f"Run {run.id}, of an earlier night, is still at work on this.",
    )
    await town.published()
    assert len(town.requests) == 1


async def test_a_merge_request_that_a_person_took_over_is_theirs(town: Town):
    await town.night(ONE)
    [run] = await town.runs()
    service = RunService(
        store=town.bench.db.store, forge=town.reader, projects=lambda path: town.bench.project
    )
    by = Person(id="U9", name="sam", gitlab_id=town.sam.id)
    await service.take_over(run.id, by)
    before = await town.head(run.branch)
    [group] = (await town.night(TWO)).groups
    assert group.waits == "!1 was taken over by @sam."
    assert await town.head(run.branch) == before
    assert len(town.requests) == 1


async def test_a_merge_request_that_is_no_draft_any_more_stays_none(town: Town):
    await town.night(ONE)
    await town.put(1, {"title": "Mend one"})
    await town.night(TWO)
    assert [request.title for request in town.requests] == ["Mend two"]


async def test_an_earlier_run_can_do_nothing_to_the_new_head(watching: Town):
    """Neither its merge, begun before, nor its publishing, nor a retry."""
    town = watching
    await town.night(ONE)
    [first] = await town.runs()
    [commit] = [fact.commit for fact in await town.bench.facts(first, Committed)]
    begun = DeliveryBegun(
        number=1, kind="change", source=first.branch, target="main", iid=1, commit=commit
    )
    store = town.bench.db.store
    merging = Merge(delivery=1, commit=commit)
    to = Write(payloads=(begun,), status=RunStatus.DELIVERING, intents=(merging,))
    await store.write(first.id, to, actor="worker")
    rule = TargetRule(branch="main", rule=Rule(approvals=0))
    town.bench.project = replace(town.bench.project, targets=(rule,))
    await town.night(TWO)
    head = await town.head(first.branch)
    assert head != commit
    await town.executor.run_pending(first.id)
    [failed] = await town.bench.facts(first, EffectFailed)
    assert "so nothing more is done for it" in failed.problem
    [request] = town.requests
    assert (request.state, request.title) == ("opened", "Draft: Mend two")
    service = RunService(store=store, forge=town.reader, projects=lambda path: town.bench.project)
    by = Person(id="U9", name="sam", gitlab_id=town.sam.id)
    with pytest.raises(Refused, match="of a later night, goes on with this run's branch"):
        await service.retry(first.id, by)
    with pytest.raises(Refused, match="of a later night, goes on with this run's branch"):
        await service.take_over(first.id, by)
    assert await town.head(first.branch) == head


async def test_what_happens_to_a_branch_is_told_to_its_newest_run(watching: Town):
    town, told = watching, list[int]()
    await town.night(ONE)
    await town.begun(TWO)
    second, first = await town.runs()

    async def note(run: RunId) -> None:
        told.append(run)

    hints = Hints(town.bench.db.store, on_note=note)
    project = town.bench.project.path
    assert await hints.hear(Hint(kind=HintKind.NOTE, project=project, branch=first.branch)) is False
    await town.publish(second)
    assert await hints.hear(Hint(kind=HintKind.PIPELINE, project=project, branch=first.branch))
    ended = Write(payloads=(RunEnded(status=RunStatus.SUCCEEDED),))
    await town.bench.db.store.write(second.id, ended, actor="worker")
    assert await hints.hear(Hint(kind=HintKind.NOTE, project=project, branch=first.branch))
    assert told == [second.id]


async def test_a_run_that_never_got_there_is_told_nothing(town: Town):
    await town.night(ONE)
    await town.begun(TWO)
    second, first = await town.runs()
    ended = Write(payloads=(RunEnded(status=RunStatus.FAILED, reason="It broke."),))
    await town.bench.db.store.write(second.id, ended, actor="worker")
    told: list[int] = []

    async def note(run: RunId) -> None:
        told.append(run)

    hints = Hints(town.bench.db.store, on_note=note)
    where = {"project": town.bench.project.path, "branch": first.branch}
    assert await hints.hear(Hint(kind=HintKind.NOTE, **where))
    assert told == [first.id]


def test_requests_of_before_are_read_as_they_were():
    asked = Request(
        text="x",
        project="p",
        base_branch=None,
        requester=Person(id="U1", name="mia"),
        thread=Thread(team="T", channel="C", ts="1"),
        message="1",
    )
    old = json.loads(codec.to_json(asked))
    del old["upkeep"]
    assert codec.request(json.dumps(old)) == asked
    follows = Follows(runs=(RunId(5),), branch="agent/5", iid=3, head=CommitSha("a" * 40))
    new = replace(asked, upkeep=Upkeep(offers=("npm:left@1",), follows=follows))
    assert codec.request(codec.to_json(new)) == new
    assert branch_of(RunId(9), new) == "agent/5"


class Dying:
    """The store of a process that dies before it has begun a run."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def create(self, *arguments: object, **more: object) -> None:
        raise StoreUnavailable("The database is away.")
