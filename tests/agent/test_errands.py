"""What takes judgement in a night: runs of the agent that programs accept, since nobody asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from engine_bench import BAD, FILES, FINISH, PLAN, Bench, edit, git, make_repository

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.database import Database
from agent.adapters.git_vault import GitVaults
from agent.errors import ModelRejected, ModelUnavailable
from agent.events import ErrandGiven, HealStarted, RunEnded
from agent.intents import PublishMergeRequest, Push
from agent.maintenance.acceptance import NightAcceptance
from agent.maintenance.errands import given, limits_of
from agent.maintenance.findings import Aside
from agent.maintenance.handing import NIGHT
from agent.maintenance.lint.task import lint
from agent.maintenance.night import Errand, Group, Task, TaskReport
from agent.maintenance.shift import NightShift
from agent.maintenance.tasks import Run as NightTask
from agent.maintenance.workshop import Night
from agent.policy import Policy
from agent.ports import Origin, Write
from agent.project import Maintenance, ProjectSettings
from agent.run import Limits, Run, RunStatus
from agent.testing import Reply, ScriptedModel, call, say

EARLIER = datetime(2020, 1, 1, tzinfo=UTC)
STYLE = """grep -n 'a + b' calc.py | grep -v noqa | while IFS=: read -r line rest; do
echo "calc.py:$line: the sum is the wrong way round"; done; grep -Hn hack *.py | sed 's/$/ hacks/'
"""
MENDED = say(edit("return a + b", "return b + a"))
IGNORED = say(edit("return a + b", "return a + b  # noqa"))
BACK = say(edit("return a + b  # noqa", "return b + a"))
ASKED = say(call("ask", question="Which way round is right?"))


@pytest.fixture
def bench(db: Database, tmp_path: Path, sandbox_folder: Path) -> Bench:
    make_repository(tmp_path / "origin", {**FILES, "style.sh": STYLE})
    bench = Bench(
        db=db,
        folder=tmp_path,
        sandbox=BubblewrapSandbox(sandbox_folder),
        vaults=GitVaults(tmp_path / "vaults"),
        project=ProjectSettings(
            path="team/calc",
            test_command="bash check.sh",
            maintenance=Maintenance(lint=("bash style.sh",)),
        ),
    )
    bench.acceptance = NightAcceptance(
        sandbox=bench.sandbox,
        installer=None,
        vaults=bench.vaults.of,
        clock=bench.clock,
        findings=db.nights,
    )
    return bench


def shift(bench: Bench, *, model: bool = True, task: NightTask = lint) -> NightShift:
    async def origin(path: str) -> Origin:
        return Origin(url=str(bench.repository))

    return NightShift(
        name="n1",
        diary=bench.db.nights,
        findings=bench.db.nights,
        store=bench.db.store,
        sandbox=bench.sandbox,
        installer=None,
        vaults=bench.vaults.of,
        origin=origin,
        projects=lambda path: bench.project,
        clock=bench.clock,
        model=model,
        tasks={Task.LINT: task},
    )


async def a_night(bench: Bench, **more: object) -> TaskReport:
    await bench.db.nights.add(bench.project.path, Task.LINT)
    assert await shift(bench, **more).work()
    report = (await bench.db.nights.entries(since=EARLIER))[-1].report
    assert report is not None
    return report


async def the_run(bench: Bench, report: TaskReport) -> Run:
    [errand] = report.errands
    assert errand.run is not None
    return await bench.db.store.run(errand.run)


async def done(bench: Bench, *replies: Reply) -> tuple[Run, ScriptedModel]:
    """A night, and its errand by a model that says these."""
    run = await the_run(bench, await a_night(bench))
    return run, await bench.go(run, replies)


async def the_end(bench: Bench, run: Run) -> RunEnded:
    state = await bench.state(run)
    assert state.end is not None, await bench.story(run)
    return state.end


async def test_findings_mended_by_the_agent_end_in_a_merge_request_and_nobody_is_asked(
    bench: Bench,
):
    run, model = await done(bench, PLAN, MENDED, FINISH)
    assert (run.status, run.request.requester) == (RunStatus.QUEUED, NIGHT)
    [given_] = await bench.facts(run, ErrandGiven)
    assert [each.path for each in given_.errand.findings] == ["calc.py"]
    first = model.prompts[0].decode()
    assert "`calc.py:2`" in first
    assert "RECORD" in first
    assert "the sum is the wrong way round" in first.partition("RECORD")[2]
    assert "`bash style.sh`" in first
    wants = await bench.wants(run)
    assert [type(each) for each in wants] == [Push, PublishMergeRequest], await bench.story(run)
    await bench.publish(run)
    await bench.go(run, [])
    assert (await bench.state(run)).status is RunStatus.SUCCEEDED, await bench.story(run)
    assert await bench.facts(run, HealStarted) == []


async def test_an_ignore_instead_of_a_fix_is_refused_and_sent_back(bench: Bench):
    run, model = await done(bench, PLAN, IGNORED, FINISH, BACK, FINISH)
    [heal] = await bench.facts(run, HealStarted)
    assert (heal.attempt, heal.failing) == (1, ())
    assert "noqa" in heal.refused[0]
    assert "did not accept your change" in model.prompts[3].decode()
    assert [type(each) for each in await bench.wants(run)] == [Push, PublishMergeRequest]


async def test_who_never_mends_it_gives_up_without_a_merge_request(bench: Bench):
    bench.project = replace(bench.project, limits=Limits(heal_attempts=1))
    other = say(edit("def add(a, b):", "def add(a, b):  # sum"))
    again = say(edit("# sum", "# the sum"))
    run, _ = await done(bench, PLAN, other, FINISH, again, FINISH)
    end = await the_end(bench, run)
    assert end.status is RunStatus.ESCALATED
    assert "After 1 attempts it is still not what was asked for" in end.reason
    assert "still stands" in end.reason
    assert [type(each) for each in await bench.wants(run)] == [Push]


async def test_a_new_finding_is_no_fix(bench: Bench):
    hack = say(edit("return a + b", "return b + a  # hack"))
    run, _ = await done(bench, PLAN, hack, FINISH, say(edit("  # hack", "")), FINISH)
    [heal] = await bench.facts(run, HealStarted)
    assert "was not there before" in heal.refused[0]
    assert [type(each) for each in await bench.wants(run)] == [Push, PublishMergeRequest]


async def test_the_checker_is_no_place_for_a_fix(bench: Bench):
    blind = say(call("write", path="ruff.toml", content="lint.ignore = ['ALL']\n"), MENDED_CALL)
    gone = say(call("run", command="rm ruff.toml"))
    run, _ = await done(bench, PLAN, blind, FINISH, gone, FINISH)
    [heal] = await bench.facts(run, HealStarted)
    assert "`ruff.toml`: it made this file" in heal.refused[0]
    assert [type(each) for each in await bench.wants(run)] == [Push, PublishMergeRequest]


MENDED_CALL = edit("return a + b", "return b + a")


async def test_a_question_ends_the_run_since_nobody_is_there(bench: Bench):
    run, _ = await done(bench, PLAN, ASKED)
    end = await the_end(bench, run)
    assert end.status is RunStatus.ESCALATED
    assert "at night nobody answers: Which way round is right?" in end.reason


async def test_what_a_person_would_have_to_accept_ends_the_run(bench: Bench):
    tight = replace(bench.project, policy=Policy(max_files=0))
    report = await a_night(bench)
    bench.project, run = tight, await the_run(bench, report)
    bench.acceptance = accepts_all
    await bench.go(run, [PLAN, MENDED, FINISH])
    end = await the_end(bench, run)
    assert end.status is RunStatus.ESCALATED
    assert "nobody is asked for what a night did" in end.reason
    assert await bench.wants(run) == []


async def accepts_all(case: object) -> Sequence[str]:
    return ()


async def test_with_the_model_down_the_run_fails_with_its_reason_and_may_be_tried_again(
    bench: Bench,
):
    run, _ = await done(bench, *[ModelUnavailable("The model does not answer.")] * 5)
    end = await the_end(bench, run)
    assert end.status is RunStatus.FAILED
    assert "The model does not answer." in end.reason
    again = await the_run(bench, await a_night(bench))
    assert again.id != run.id
    await bench.go(again, [ModelRejected("The key is wrong.")])
    assert "The key is wrong." in (await the_end(bench, again)).reason


async def test_with_the_linter_away_the_run_fails_unasked_and_may_be_tried_again(bench: Bench):
    run = await the_run(bench, await a_night(bench))
    settled = bench.project
    away = replace(settled.maintenance, lint=("bash gone.sh",))
    bench.project = replace(settled, maintenance=away)
    await bench.go(run, [PLAN, MENDED, FINISH])
    end = await the_end(bench, run)
    assert end.status is RunStatus.FAILED
    assert "could not be checked, since `bash style.sh` cannot look" in end.reason
    assert await bench.facts(run, HealStarted) == []
    bench.project = settled
    assert (await the_run(bench, await a_night(bench))).id != run.id


async def test_with_the_model_down_what_the_tools_did_is_published_all_the_same(bench: Bench):
    async def both(night: Night) -> TaskReport:
        async with night.place(night.base) as place:
            await place.exec(["bash", "-c", "echo '# tidy' >>check.sh"])
            made = await night.collect(place)
        group = Group(title="Tidy up", files=("check.sh",), base=night.base, tree=made.tree)
        return replace(await lint(night), groups=(group,))

    report = await a_night(bench, task=both)
    [group] = report.groups
    assert group.run is not None
    tidy, run = await bench.db.store.run(group.run), await the_run(bench, report)
    await bench.go(run, [ModelUnavailable("The model does not answer.")] * 5)
    assert (await the_end(bench, run)).status is RunStatus.FAILED
    await bench.go(tidy, [])
    assert [type(each) for each in await bench.wants(tidy)] == [Push, PublishMergeRequest]


async def test_what_the_agent_has_or_gave_up_lately_is_not_given_again(bench: Bench):
    run = await the_run(bench, await a_night(bench))
    assert (await a_night(bench)).errands == ()
    gave_up = Write(payloads=(RunEnded(status=RunStatus.ESCALATED, reason="It cannot be done."),))
    await bench.db.store.write(run.id, gave_up, actor="worker")
    assert (await a_night(bench)).errands == ()
    later = datetime.now(UTC) + timedelta(days=15)
    assert await given(bench.db.store, bench.db.nights, "team/calc", later) == frozenset()


async def test_what_breaks_three_nights_in_a_row_is_left_for_a_while(bench: Bench):
    broke = Write(payloads=(RunEnded(status=RunStatus.FAILED, reason="The model is away."),))
    for _ in range(3):
        run = await the_run(bench, await a_night(bench))
        await bench.db.store.write(run.id, broke, actor="worker")
    assert (await a_night(bench)).errands == ()
    later = datetime.now(UTC) + timedelta(days=15)
    assert await given(bench.db.store, bench.db.nights, "team/calc", later) == frozenset()


async def test_a_night_that_is_begun_again_and_finds_something_else_gives_that(bench: Bench):
    def about(name: str) -> NightTask:
        async def task(night: Night) -> TaskReport:
            errand = Errand(kind="repair", title=name, text=name, about=(name,))
            return TaskReport(task=Task.LINT, status="done", errands=(errand,))

        return task

    await bench.db.nights.add(bench.project.path, Task.LINT)
    due = await bench.db.nights.claim("dead", timedelta(0))
    assert due is not None
    await shift(bench, task=about("one"))._done(due, Aside(store=bench.db.nights))
    assert await shift(bench, task=about("two")).work()
    [entry] = await bench.db.nights.entries(since=EARLIER)
    assert entry.report is not None
    assert (await the_run(bench, entry.report)).request.text == "two"


async def test_what_stands_before_people_is_theirs_also_when_the_run_failed_later(bench: Bench):
    run, _ = await done(bench, PLAN, MENDED, FINISH)
    await bench.publish(run)
    failed = Write(payloads=(RunEnded(status=RunStatus.FAILED, reason="GitLab was away."),))
    await bench.db.store.write(run.id, failed, actor="worker")
    later = datetime.now(UTC) + timedelta(days=15)
    assert len(await given(bench.db.store, bench.db.nights, "team/calc", later)) == 1
    assert (await a_night(bench)).errands == ()


async def test_a_night_that_is_begun_again_gives_the_same_errand_once(bench: Bench):
    await bench.db.nights.add(bench.project.path, Task.LINT)
    due = await bench.db.nights.claim("dead", timedelta(0))
    assert due is not None
    aside = Aside(store=bench.db.nights)
    first = await shift(bench)._done(due, aside)  # and dies before it could store the report
    assert first is not None
    assert await shift(bench).work()
    [entry] = await bench.db.nights.entries(since=EARLIER)
    assert entry.report is not None
    assert [each.run for each in entry.report.errands] == [each.run for each in first.errands]
    assert len(await bench.db.store.runs()) == 1


async def test_a_night_that_is_begun_again_still_knows_what_is_new(bench: Bench):
    await a_night(bench)
    (bench.repository / "more.py").write_text("hack = 1\n")
    git(bench.repository, "add", "-A")
    git(bench.repository, "commit", "-qm", "More")
    await bench.db.nights.add(bench.project.path, Task.LINT)
    due = await bench.db.nights.claim("dead", timedelta(0))
    assert due is not None
    await shift(bench)._done(due, Aside(store=bench.db.nights))
    assert await shift(bench).work()
    report = (await bench.db.nights.entries(since=EARLIER))[-1].report
    assert report is not None
    assert [each.path for each in report.new] == ["more.py"]
    assert (await a_night(bench)).new == ()


async def test_without_money_or_a_model_nothing_is_given(bench: Bench):
    report = await a_night(bench, model=False)
    assert (report.errands, "no model is configured" in report.not_given) == ((), True)
    unpaid = replace(bench.project.maintenance, agent_money=0.0)
    bench.project = replace(bench.project, maintenance=unpaid)
    assert (await a_night(bench)).errands == ()
    assert await bench.db.store.runs() == []


async def test_a_repair_starts_from_its_tree_and_leaves_alone_what_it_has_to(bench: Bench):
    async def updated(night: Night) -> TaskReport:
        async with night.place(night.base) as place:
            await place.exec(["bash", "-c", "echo 'calc==2' >requirements.txt"])
            await place.exec(["sed", "-i", "s/a + b/a - b/", "calc.py"])
            made = await night.collect(place)
        errand = Errand(
            kind="repair",
            title="Repair the code for calc 2",
            text="The update of calc to 2 breaks the tests. Repair the code.",
            about=("pip calc 2",),
            tree=made.tree,
            keep=("requirements.txt",),
        )
        return TaskReport(task=Task.LINT, status="done", errands=(errand,))

    run = await the_run(bench, await a_night(bench, task=updated))
    undone = say(call("run", command="rm requirements.txt"), edit("return a - b", "return b + a"))
    redone = say(call("run", command="echo 'calc==2' >requirements.txt"))
    await bench.go(run, [PLAN, FINISH, undone, FINISH, redone, FINISH])
    first, second = await bench.facts(run, HealStarted)
    assert (len(first.failing), first.refused) == (1, ())  # the tests of the bare update
    assert second.refused == ("`requirements.txt` has to stay as it is.",)
    push = next(each for each in await bench.wants(run) if isinstance(each, Push))
    vault = bench.vaults.of(bench.project.path)
    assert await vault.read(push.commit, "requirements.txt") == b"calc==2\n"
    assert b"b + a" in (await vault.read(push.commit, "calc.py") or b"")


async def test_tests_that_break_are_told_before_anything_is_accepted(bench: Bench):
    right = say(edit("return a - b", "return b + a"))
    run, _ = await done(bench, PLAN, BAD, FINISH, right, FINISH)
    [heal] = await bench.facts(run, HealStarted)
    assert (bool(heal.failing), heal.refused) == (True, ())
    assert [type(each) for each in await bench.wants(run)] == [Push, PublishMergeRequest]
    assert git(bench.repository, "log", "-1", "--format=%s") == "Begin"


def test_the_money_of_a_night_is_shared():
    project = ProjectSettings(path="x", limits=Limits(money=0.2, steps=1000))
    assert limits_of(project, 1).money == 0.2
    project = replace(project, limits=Limits(money=5.0, steps=10))
    assert (limits_of(project, 2).money, limits_of(project, 2).steps) == (0.25, 10)
