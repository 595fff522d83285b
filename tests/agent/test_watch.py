"""The pipeline of the pushed commit: what it is taken for, and when the run lets go of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from engine_bench import FINISH, GOOD, MIA, PLAN, Bench, git
from pipeline_bench import job, pipeline, scene

from agent.adapters.system_clock import SystemClock
from agent.errors import ForgeRejected, ForgeUnavailable, NotFound
from agent.events import PipelineSeen, RunClaimed
from agent.pipeline import ABSENT_AFTER, Pipeline, Verdict
from agent.run import CommitSha, RunStatus
from agent.testing import call, say
from agent.watch import WORDS, judge

SHA = CommitSha("a" * 40)
OTHER = CommitSha("b" * 40)
DOWN = ForgeUnavailable("GitLab does not answer.")


def judged(*pipelines: Pipeline, waited: float = 0.0) -> tuple[int | None, Verdict, str]:
    decides, judgement = judge(pipelines, SHA, waited)
    return decides.id if decides else None, judgement.verdict, judgement.sentence


@pytest.mark.parametrize(
    ("word", "verdict", "said"),
    [
        ("created", Verdict.RUNNING, "has not begun"),
        ("preparing", Verdict.RUNNING, "prepared"),
        ("pending", Verdict.RUNNING, "waits for a runner"),
        ("running", Verdict.RUNNING, "is running"),
        ("scheduled", Verdict.RUNNING, "delayed job"),
        ("canceling", Verdict.RUNNING, "being canceled"),
        ("waiting_for_callback", Verdict.RUNNING, "another system"),
        ("waiting_for_resource", Verdict.BLOCKED, "resource"),
        ("blocked", Verdict.BLOCKED, "approval"),
        ("manual", Verdict.MANUAL, "somebody to start"),
        ("success", Verdict.GREEN, "passed"),
        ("failed", Verdict.RED, "configuration may be wrong"),
        ("canceled", Verdict.CANCELED, "was canceled"),
        ("skipped", Verdict.SKIPPED, "nothing was checked"),
        ("quantum", Verdict.BLOCKED, "`quantum`, which is not known"),
    ],
)
def test_each_of_gitlab_s_words_has_a_verdict_and_a_sentence(
    word: str, verdict: Verdict, said: str
):
    number, found, sentence = judged(pipeline(SHA, word))
    assert (number, found) == (9, verdict)
    assert said in sentence
    assert sentence.startswith("Pipeline #9 ")
    assert sentence.endswith(".")


def test_only_one_word_is_green():
    assert [word for word, verdict in WORDS.items() if verdict is Verdict.GREEN] == ["success"]


def test_a_failed_job_is_named_while_others_run_and_at_the_end():
    jobs = (job("lint", "failed"), job("unit", "running", id=71))
    assert "lint" in judged(pipeline(SHA, "running", *jobs))[2]
    assert judged(pipeline(SHA, "failed", *jobs))[2] == "Pipeline #9 failed in `lint`."


def test_a_job_that_may_fail_makes_nothing_red():
    spare = job("audit", "failed", allow_failure=True)
    assert judged(pipeline(SHA, "success", job(), spare))[1] is Verdict.GREEN
    assert judged(pipeline(SHA, "running", spare))[2].endswith("1 of 1 jobs are done.")


def test_the_pipeline_of_the_branch_and_that_of_the_merge_request_must_both_pass():
    branch = pipeline(SHA, "success", id=1)
    detached = pipeline(SHA, "failed", job(status="failed"), id=2, source="merge_request_event")
    assert judged(detached, branch)[:2] == (2, Verdict.RED)
    assert judged(replace(detached, status="running"), branch)[:2] == (2, Verdict.RUNNING)
    assert judged(replace(detached, status="skipped"), branch)[:2] == (2, Verdict.SKIPPED)
    assert judged(replace(detached, status="success"), branch)[1] is Verdict.GREEN


def test_the_newest_pipeline_of_a_source_counts():
    assert judged(pipeline(SHA, "success", id=2), pipeline(SHA, "failed", id=1))[:2] == (
        2,
        Verdict.GREEN,
    )


def test_the_same_commit_on_another_branch_does_not_hide_what_failed():
    branch = pipeline(SHA, "failed", job(status="failed"), id=1)
    elsewhere = pipeline(SHA, "success", id=2, ref="fewer-checks")
    assert judged(elsewhere, branch)[:2] == (1, Verdict.RED)


def test_a_merged_result_is_told_and_never_green():
    merged = pipeline(OTHER, "success", source="merge_request_event")
    assert judged(merged)[1] is Verdict.AWAITED  # that of the commit may still come
    _, verdict, sentence = judged(merged, waited=ABSENT_AFTER)
    assert verdict is Verdict.OTHER_COMMIT
    assert "bbbbbbbb" in sentence
    assert judged(merged, pipeline(SHA, "success"))[1] is Verdict.GREEN


@pytest.mark.cell("F21", "C")
def test_a_pipeline_that_does_not_come_is_awaited_two_minutes():
    assert judged(waited=ABSENT_AFTER - 1)[:2] == (None, Verdict.AWAITED)
    assert judged(waited=ABSENT_AFTER)[:2] == (None, Verdict.ABSENT)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("pending", Verdict.RUNNING),
        ("running", Verdict.RUNNING),
        ("failed", Verdict.RED),
        ("canceled", Verdict.CANCELED),
        ("success", Verdict.GREEN),
    ],
)
def test_what_other_systems_report_counts_by_name(status: str, verdict: Verdict):
    outside = job("buildkite/unit", status, external=True)
    _, found, sentence = judged(pipeline(SHA, "success", job("lint", id=71), outside))
    assert found is verdict
    assert ("buildkite/unit" in sentence) is (verdict is not Verdict.GREEN)


# --- whole runs ---


async def test_a_green_pipeline_ends_the_run_with_what_the_model_said(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.look(run)
    await here.says(run, "running", job(status="running"))
    await here.look(run)
    assert await here.status(run) is RunStatus.WATCHING
    await here.says(run, "success", job())
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    assert state.end is not None
    assert state.end.summary == "Turn the sum around"
    assert await here.seen(run) == ["awaited", "running", "green"]  # only what changed
    assert here.model.prompts == []


async def test_looking_costs_no_conversation_and_leaves_no_trace(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.says(run, "running")
    before = len(await bench.log(run))
    for _ in range(3):
        await here.look(run, after=60.0)
    assert len(await bench.log(run)) == before
    assert len(await bench.facts(run, RunClaimed)) == 2  # the work, and the outcome of its effects


async def test_hints_in_swarms_ask_gitlab_once_in_fifteen_seconds_and_once_more(bench: Bench):
    here = scene(bench)
    run = await here.published()
    start = bench.clock.monotonic()
    for seconds, looks in ((1, 1), (2, 2), (15, 2), (16, 3), (31, 4), (91, 8)):
        while bench.clock.monotonic() - start < seconds:
            await here.look(run, after=1.0)
        assert here.forge.calls.count("pipelines") == looks, seconds
    assert await here.status(run) is RunStatus.WATCHING


async def test_a_hint_finds_its_look_unspent_however_long_the_run_has_looked(bench: Bench):
    here = scene(bench)
    run = await here.published()
    for _ in range(5):
        await here.look(run)
    before = here.forge.calls.count("pipelines")
    await here.look(run, after=2.0)
    assert here.forge.calls.count("pipelines") == before + 1
    await here.look(run, after=2.0)
    assert here.forge.calls.count("pipelines") == before + 1
    assert await later(bench) == pytest.approx(11.0, abs=1)


async def test_the_longer_it_takes_the_less_often_the_run_looks(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.says(run, "running")
    assert await later(bench) == pytest.approx(15.0, abs=2)
    await here.look(run, after=160.0)
    assert await later(bench) == pytest.approx(44.0, abs=5)
    await here.look(run, after=600.0)
    assert await later(bench) == pytest.approx(60.0, abs=2)


async def later(bench: Bench) -> float:
    """In how many seconds the only wake-up that waits comes."""
    rows = await bench.db.pool.fetch(
        "SELECT extract(epoch FROM execute_after - now())::float later FROM engine.pgqueuer "
        "WHERE status = 'queued' AND execute_after > now()"
    )
    (row,) = rows
    return row["later"]


async def test_a_project_without_pipelines_is_done_after_two_minutes_and_says_so(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.look(run, after=100.0)
    assert await here.status(run) is RunStatus.WATCHING
    await here.look(run, after=ABSENT_AFTER)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED
    assert state.reason.startswith("No pipeline came for ")
    assert state.reason.endswith(" within 2 minutes.")


async def test_a_gitlab_without_ci_says_so_in_its_own_words(bench: Bench):
    here = scene(bench)
    run = await here.published()
    here.forge.faults["pipelines"] = [ForgeRejected("403 Forbidden", status=403)]
    await here.look(run)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED
    assert state.reason == "GitLab shows no pipelines of this project: 403 Forbidden"


@pytest.mark.cell("F21", "C")
@pytest.mark.parametrize("word", ["canceled", "skipped"])
async def test_what_was_not_checked_needs_a_person(bench: Bench, word: str):
    here = scene(bench)
    run = await here.published()
    await here.says(run, word)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert word in state.reason
    assert state.reason.endswith(f"Branch {run.branch} is kept with 1 commit.")


@pytest.mark.cell("F22", "C")
@pytest.mark.parametrize("word", ["running", "manual", "waiting_for_resource"])
async def test_every_wait_has_an_end_that_is_told(bench: Bench, word: str):
    here = scene(bench)
    run = await here.published(limits={"pipeline_seconds": 600.0})
    await here.says(run, word)
    assert await here.status(run) is RunStatus.WATCHING
    await here.look(run, after=565.0)
    assert await here.status(run) is RunStatus.WATCHING
    assert await later(bench) < 20  # not beyond the end
    await here.look(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert state.reason.startswith("The pipeline was waited for 10 minutes, and no longer: ")


@pytest.mark.cell("F17", "C")
async def test_a_gitlab_that_is_down_is_asked_again_until_the_end_of_the_wait(bench: Bench):
    here = scene(bench)
    run = await here.published(limits={"pipeline_seconds": 600.0})
    here.forge.faults["merge_request"] = [DOWN, DOWN]
    await here.look(run)
    await here.look(run)
    assert await here.status(run) is RunStatus.WATCHING
    here.forge.faults["pipelines"] = [DOWN]
    await here.look(run, after=600.0)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert "GitLab does not answer." in state.reason


async def test_stop_ends_a_run_that_watches_at_once(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.says(run, "running")
    await bench.service().stop(run.id, MIA, how="mention")
    state = await bench.state(run)
    assert state.status is RunStatus.CANCELLED
    assert state.reason == "Stopped by @mia."


async def test_a_follow_up_while_watching_is_worked_on_at_once(bench: Bench):
    here = scene(bench)
    run = await here.published()
    first = here.head
    await here.says(run, "running")
    await bench.service().instruct(run.id, "say what it does", MIA, message="2")
    assert await later(bench) < 2  # it is woken
    model = await here.look(
        run, say(call("write", path="README", content="It adds.\n")), FINISH, after=1.0
    )
    assert b"mia (U1) adds:\\nsay what it does" in model.prompts[0]
    await here.effects(run)
    await here.look(run)
    assert here.head != first
    assert len(here.forge.requests) == 1
    await here.says(run, "success", id=10)
    assert await here.status(run) is RunStatus.SUCCEEDED


async def test_a_question_while_watching_changes_nothing_and_the_run_watches_on(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await bench.service().instruct(run.id, "why?", MIA, message="2")
    await here.look(run, say(call("finish", summary="Answered.", answer="Because.")))
    assert await here.status(run) is RunStatus.WATCHING
    await here.says(run, "success")
    assert await here.status(run) is RunStatus.SUCCEEDED


@pytest.mark.cell("F23", "C")
async def test_a_commit_of_somebody_else_stops_the_run_and_stands(bench: Bench):
    here = scene(bench)
    run = await here.published()
    git(bench.repository, "checkout", "-q", run.branch)
    git(bench.repository, "commit", "-q", "--allow-empty", "-m", "Mine")
    theirs = here.head
    here.forge.requests[-1] = replace(here.forge.requests[-1], sha=CommitSha(theirs))
    await here.look(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert f"Somebody else pushed {theirs[:8]} to the branch {run.branch}" in state.reason
    assert here.head == theirs
    assert await bench.wants(run) == []


@pytest.mark.cell("F19", "C")
async def test_a_merge_request_that_lags_behind_the_push_is_no_other_commit(bench: Bench):
    here = scene(bench)
    run = await here.published()
    here.forge.requests[-1] = replace(here.forge.requests[-1], sha=OTHER)
    await here.says(run, "running")
    assert await here.status(run) is RunStatus.WATCHING


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"state": "closed"}, RunStatus.ESCALATED, "!1 was closed meanwhile."),
        ({"state": "merged"}, RunStatus.SUCCEEDED, "!1 was merged meanwhile"),
        ({"target_branch": "old"}, RunStatus.ESCALATED, "retargeted from main to old"),
    ],
)
async def test_people_may_do_what_they_like_with_the_merge_request(
    bench: Bench, change: dict[str, object], status: RunStatus, said: str
):
    here = scene(bench)
    run = await here.published()
    here.forge.requests[-1] = replace(here.forge.requests[-1], **change)
    await here.look(run)
    state = await bench.state(run)
    assert state.status is status
    assert said in state.reason
    assert "pipelines" not in here.forge.calls


@pytest.mark.cell("F23", "C")
async def test_a_merge_request_that_was_deleted_stops_the_run(bench: Bench):
    here = scene(bench)
    run = await here.published()
    here.forge.faults["merge_request"] = [NotFound("404 Not found", status=404)]
    await here.look(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert state.reason.startswith("The merge request !1 is gone.")


async def test_a_look_at_a_pipeline_that_runs_is_one_request(bench: Bench):
    here = scene(bench)
    run = await here.published()
    runs = pipeline(here.head, "running")
    here.forge.lines = [runs]
    here.forge.change(1, pipeline=runs)
    here.forge.calls.clear()
    await here.look(run)
    assert here.forge.calls == ["merge_request"]
    assert await here.seen(run) == ["running"]
    here.forge.change(1, pipeline=replace(runs, status="success"))
    await here.look(run)  # what has settled is looked at in full
    assert await here.status(run) is RunStatus.WATCHING
    here.forge.change(1, pipeline=pipeline(OTHER, "running"))
    await here.says(run, "success", job())
    assert await here.status(run) is RunStatus.SUCCEEDED


async def test_a_worker_that_dies_while_it_looks_is_followed_by_another(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.says(run, "running")
    await bench.db.store.claim(run.id, "gone")  # and never heard of again
    await here.says(run, "success")
    assert await here.status(run) is RunStatus.SUCCEEDED


async def test_a_run_that_ended_without_green_watches_again_when_set_going(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.says(run, "canceled")
    await bench.service().retry(run.id, MIA)
    await here.says(run, "success", id=10)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    assert here.model.prompts == []


async def test_projects_that_are_not_watched_end_with_their_merge_request(bench: Bench):
    here = scene(bench)
    bench.project = replace(bench.project, watch_pipeline=False)
    run = await bench.ask()
    await here.work(run, PLAN, GOOD, FINISH)
    await here.effects(run)
    await here.look(run)
    assert await here.status(run) is RunStatus.SUCCEEDED
    assert await bench.facts(run, PipelineSeen) == []


async def test_watching_that_was_switched_off_meanwhile_ends_the_run(bench: Bench):
    here = scene(bench)
    run = await here.published()
    bench.project = replace(bench.project, watch_pipeline=False)
    await here.look(run)
    assert await here.status(run) is RunStatus.SUCCEEDED


def test_the_clocks_of_events_and_of_the_worker_agree():
    """What was waited is the difference of an event's time and the worker's."""
    assert SystemClock().now().utcoffset() == timedelta(0)
