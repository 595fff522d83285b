"""Whose failure a red job is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from engine_bench import FINISH, MIA, Bench, edit
from pipeline_bench import Scene, job, pipeline, scene

from agent.errors import ForgeRejected, ForgeUnavailable, LogUnreadable
from agent.events import (
    EffectKind,
    FixStarted,
    PipelineSeen,
    PipelineTriaged,
    QuestionAsked,
)
from agent.outside import Place, prefix
from agent.pipeline import Blame, Job, Pipeline, Triage
from agent.run import CommitSha, Run, RunStatus
from agent.testing import call, say
from agent.testreport import CaseStatus, TestCase, TestReport
from agent.triage import INFRASTRUCTURE, Case, Evidence, names_one, triage

SHA = "a" * 40
UNIT = job("unit", "failed", failure_reason="script_failure")
GREEN_BASE = pipeline("b" * 40, "success", job("unit", id=3), id=4, ref="main")
NAMES_IT = Evidence(excerpt='File "calc.py", line 2', script=("make test",))
NAMES_NOTHING = Evidence(excerpt="connection reset by peer")


def judged(
    found: Evidence,
    red: Job = UNIT,
    base: Pipeline | None = GREEN_BASE,
    retried: dict[int, str] | None = None,
    tests: tuple[TestCase, ...] = (),
) -> Triage:
    case = Case(
        pipeline=pipeline(SHA, "failed", red),
        base=base,
        target="main",
        changed=["calc.py"],
        retried=retried or {},
        tests=tests,
    )
    (each,) = triage(case, {red.id: found})
    return each


def test_a_failure_that_names_what_was_changed_is_ours():
    each = judged(NAMES_IT)
    assert (each.blame, each.again) == (Blame.OURS, False)
    assert each.script == ("make test",)
    assert each.sentence == "`unit` failed, and passes on main."


def test_a_failing_test_that_names_it_is_enough():
    failed = TestCase(id="test_sums", status=CaseStatus.FAILED, message="wrong")
    named = replace(failed, path="calc.py")
    assert judged(NAMES_NOTHING, tests=(named,)).blame is Blame.OURS
    assert judged(NAMES_NOTHING, tests=(failed,)).blame is Blame.FLAKY


def test_what_fails_on_the_target_branch_too_is_not_ours():
    base = pipeline("b" * 40, "failed", replace(UNIT, id=3), id=4, ref="main")
    each = judged(NAMES_IT, base=base)
    assert (each.blame, each.again) == (Blame.BASE, False)
    assert "fails on main too (pipeline #4)" in each.sentence


def test_a_failure_that_names_nothing_runs_once_more_and_is_ours_the_second_time():
    each = judged(NAMES_NOTHING)
    assert (each.blame, each.again) == (Blame.FLAKY, True)
    assert each.sentence == "`unit` failed in nothing that names the change; it runs once more."
    second = judged(NAMES_NOTHING, retried={1: "unit"})
    assert (second.blame, second.again) == (Blame.OURS, False)
    assert second.sentence == "`unit` failed again, and passes on main."
    refused = judged(NAMES_NOTHING, retried={UNIT.id: "unit"})
    assert "failed, could not be run again, and" in refused.sentence


@pytest.mark.parametrize("reason", INFRASTRUCTURE)
def test_what_gitlab_blames_on_itself_runs_once_more_and_is_then_told(reason: str):
    red = replace(UNIT, failure_reason=reason)
    first, second = judged(NAMES_IT, red), judged(NAMES_IT, red, retried={1: "unit"})
    assert (first.blame, first.again) == (Blame.INFRASTRUCTURE, True)
    assert (second.blame, second.again) == (Blame.INFRASTRUCTURE, False)
    assert INFRASTRUCTURE[reason] in second.sentence
    assert second.sentence.endswith("and so again.")


@pytest.mark.parametrize(
    "last",
    [
        "ERROR: Job failed (system failure): prepare environment: waiting for pod",
        'WARNING: Failed to pull image "python:3.11"',
        "Back-off: ImagePullBackOff",
        "write /builds/x: No space left on device",
    ],
)
def test_a_runner_s_last_words_count_as_well(last: str):
    found = Evidence(excerpt=f"calc.py\n{last}")
    assert judged(found).blame is Blame.INFRASTRUCTURE
    assert judged(found, replace(UNIT, failure_reason="")).blame is Blame.INFRASTRUCTURE


def test_a_log_that_cannot_be_read_is_for_a_person_unless_tests_say_enough():
    hidden = Evidence(problem="its log cannot be read: 403 Forbidden")
    assert judged(hidden).blame is Blame.UNREADABLE
    failed = TestCase(id="calc.py::x", status=CaseStatus.FAILED)
    assert judged(hidden, tests=(failed,)).blame is Blame.OURS
    assert judged(Evidence(), replace(UNIT, external=True)).blame is Blame.UNREADABLE


def test_a_job_that_would_run_again_waits_for_the_fix_of_another():
    lint = replace(UNIT, id=71, name="lint")
    case = Case(
        pipeline=pipeline(SHA, "failed", UNIT, lint),
        base=None,
        target="main",
        changed=["calc.py"],
        retried={},
    )
    unit, other = triage(case, {UNIT.id: NAMES_IT, lint.id: NAMES_NOTHING})
    assert unit.sentence == "`unit` failed, and names what was changed."
    assert (other.blame, other.again) == (Blame.FLAKY, False)
    assert other.sentence.endswith("it runs with the fix.")


def test_names_are_found_as_words():
    assert names_one(["shop/cart.py"], "ImportError in shop.cart", ())
    assert names_one(["shop/cart.py"], "/builds/x/shop/cart.py:3: E501", ())
    assert not names_one(["shop/cart.py"], "shop/cart.pyx", ())
    assert not names_one(["cart.py"], "minicart.py", ())
    assert not names_one(["a.c"], "data.c", ())
    assert not names_one(["go"], "let it go", ())


# --- whole runs ---


async def red(here: Scene, run: Run, log: str, **more: object) -> None:
    here.forge.logs[70] = log.encode()
    await here.says(run, "failed", job("unit", "failed", **more))


@pytest.mark.cell("F22", "C")
async def test_a_flaky_job_runs_again_once_and_is_counted(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await red(here, run, "connection reset\n", failure_reason="script_failure")
    await here.effects(run)
    assert here.forge.calls.count("retry_job") == 1
    await here.look(run)
    assert await here.status(run) is RunStatus.WATCHING
    await here.says(run, "success", job("unit", id=71))
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    assert state.reason.startswith("`unit` passed when it ran again.")
    first, second = await bench.facts(run, PipelineTriaged)
    assert [t.blame for t in (*first.jobs, *second.jobs)] == [Blame.FLAKY, Blame.FLAKY]
    assert first.jobs[0].excerpt.endswith("connection reset")
    assert [e.effect for e in state.done_effects].count(EffectKind.RETRY_JOB) == 1
    assert await bench.facts(run, FixStarted) == []


@pytest.mark.cell("F18", "F")
@pytest.mark.parametrize("late", [False, True], ids=["seen", "seen late"])
async def test_a_retry_whose_answer_was_lost_is_found(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, late: bool
):
    here = scene(bench)
    run = await here.published()
    down = ForgeUnavailable("GitLab does not answer.")
    here.forge.faults["retry_job"] = [("after", down)]
    await red(here, run, "connection reset\n", failure_reason="script_failure")
    before = list(here.forge.lines)
    with pytest.raises(ForgeUnavailable):
        await here.effects(run)
    if late:
        shown, pipelines = iter([before]), here.forge.pipelines

        async def of_a_moment_ago(project: str, *, sha: CommitSha) -> Sequence[Pipeline]:
            return next(shown, None) or await pipelines(project, sha=sha)

        monkeypatch.setattr(here.forge, "pipelines", of_a_moment_ago)
    await here.effects(run)
    state = await bench.state(run)
    (done,) = [e for e in state.done_effects if e.effect is EffectKind.RETRY_JOB]
    assert done.found
    assert here.forge.calls.count("retry_job") == (2 if late else 1)
    assert [job.id for job in here.forge.lines[0].jobs] == [71]


async def test_a_job_has_one_retry_at_a_commit_whatever_happens(bench: Bench):
    here = scene(bench)
    run = await here.published()
    lost = {"failure_reason": "runner_system_failure"}
    await red(here, run, "", **lost)
    await here.effects(run)
    here.forge.logs[71] = b""
    await here.says(run, "failed", job("unit", "failed", id=71, **lost))
    await here.effects(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert "`unit` was not decided: its runner broke down, and so again." in state.reason
    assert here.forge.calls.count("retry_job") == 1


async def test_gitlab_may_be_slow_to_show_that_a_job_runs_again(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await red(here, run, "reset\n")
    await here.effects(run)
    await red(here, run, "reset\n")  # the very same job
    assert await here.status(run) is RunStatus.WATCHING
    assert len(await bench.facts(run, PipelineTriaged)) == 1
    bench.clock.advance(run.limits.pipeline_seconds)  # but not for ever
    await red(here, run, "reset\n")
    assert await here.status(run) is RunStatus.ESCALATED


async def test_a_retry_that_gitlab_refuses_makes_the_failure_ours(bench: Bench):
    here = scene(bench)
    run = await here.published()
    here.forge.faults["retry_job"] = [ForgeRejected("403 Forbidden", status=403)]
    await red(here, run, "reset\n")
    await here.effects(run)
    again = say(call("write", path="README", content="x\n"))
    await here.look(run, again, FINISH)
    (fix,) = await bench.facts(run, FixStarted)
    assert fix.jobs == ("unit",)


async def test_what_is_red_on_the_target_branch_is_said_and_left_alone(bench: Bench):
    here = scene(bench)
    run = await here.published()
    base = pipeline("b" * 40, "failed", job("unit", "failed", id=3), id=4, ref="main")
    here.forge.logs[70] = b"calc.py:2: wrong\n"
    head = pipeline(here.head, "failed", job("unit", "failed"))
    here.forge.lines = [head, base]
    await here.look(run)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED
    assert "fails on main too (pipeline #4): not this change's doing." in state.reason
    assert "retry_job" not in here.forge.calls


async def test_a_failure_elsewhere_asks_a_person_whose_answer_is_worked_with(bench: Bench):
    here = scene(bench)
    run = await here.published()
    outside = job("buildkite/unit", "failed", external=True, url="https://ci.example/7")
    await here.says(run, "failed", outside)
    state = await bench.state(run)
    assert state.status is RunStatus.WAITING_FOR_ANSWER
    assert state.question is not None
    assert "`buildkite/unit` is of another system" in state.question.question
    assert "https://ci.example/7" in state.question.question

    await bench.service().answer(run.id, "add must not change", MIA, message="3")
    model = await here.look(run, say(edit("b + a", "a + b  # as before")), FINISH)
    told = model.prompts[0].decode()
    assert "mia (U1) answers: add must not change" in told
    await here.effects(run)
    await here.look(run)
    await here.says(run, "success", id=10)
    assert await here.status(run) is RunStatus.SUCCEEDED


@dataclass
class Outside:
    """Logs of another system, by address."""

    logs: dict[str, bytes]

    async def read(
        self, url: str, prefixes: Sequence[Place], sink: Callable[[bytes], None]
    ) -> None:
        assert prefixes == (prefix("https://ci.example/"),)
        if url not in self.logs:
            raise LogUnreadable("Its log was refused with HTTP status 403.")
        sink(self.logs[url])


def outside(bench: Bench, **logs: bytes) -> Scene:
    here = scene(bench)
    by_url = {f"https://ci.example/{name}": log for name, log in logs.items()}
    bench.lookout = replace(bench.lookout, outside=Outside(by_url))
    bench.project = replace(bench.project, ci_logs=(prefix("https://ci.example/"),))
    return here


async def test_a_failure_elsewhere_whose_log_can_be_read_is_mended(bench: Bench):
    here = outside(bench, b7=b"$ make\nE   assert 1 == 2\n")
    run = await here.published()
    red = job("buildkite/unit", "failed", external=True, url="https://ci.example/b7")
    await here.says(run, "failed", red)
    (fix,) = await bench.facts(run, FixStarted)
    assert fix.jobs == ("buildkite/unit",)
    (triaged,) = await bench.facts(run, PipelineTriaged)
    assert triaged.jobs[0].sentence == "`buildkite/unit` failed at another system."
    assert triaged.jobs[0].excerpt == "$ make\nE   assert 1 == 2"
    assert "retry_job" not in here.forge.calls


async def test_a_failure_elsewhere_that_the_target_branch_has_too_is_left_alone(bench: Bench):
    here = outside(bench, b7=b"E   assert 1 == 2\n")
    run = await here.published()
    red = job("buildkite/unit", "failed", external=True, url="https://ci.example/b7")
    base = pipeline("b" * 40, "failed", replace(red, id=3), id=4, ref="main")
    here.forge.lines = [pipeline(here.head, "failed", red), base]
    await here.look(run)
    assert "fails on main too" in (await bench.state(run)).reason


async def test_a_failure_elsewhere_whose_log_is_refused_asks_with_the_reason(bench: Bench):
    here = outside(bench)
    run = await here.published()
    red = job("buildkite/unit", "failed", external=True, url="https://ci.example/b7")
    await here.says(run, "failed", red)
    state = await bench.state(run)
    assert state.question is not None
    assert state.question.question.startswith(
        "`buildkite/unit` is of another system: its log was refused with HTTP status 403."
    )


async def test_all_that_is_red_at_a_commit_is_mended_at_once(bench: Bench):
    here = scene(bench)
    run = await here.published()
    unit, lint = job("unit", "failed"), job("lint", "failed", id=81)
    here.forge.logs |= {70: b"calc.py:2: wrong\n", 81: b"calc.py:1: long\n"}
    failed = TestCase(id="test_sums", status=CaseStatus.FAILED)
    here.forge.tests[8] = TestReport(command="pipeline 8", tree=None, cases=(failed,))
    here.forge.lines = [
        pipeline(here.head, "failed", unit, id=9, source="merge_request_event"),
        pipeline(here.head, "failed", lint, id=8),
    ]
    await here.look(run)
    (fix,) = await bench.facts(run, FixStarted)
    assert (fix.pipeline, fix.jobs) == (9, ("unit", "lint"))
    (triaged,) = await bench.facts(run, PipelineTriaged)
    assert [case.id for case in triaged.tests] == ["test_sums"]
    (*_, seen) = await bench.facts(run, PipelineSeen)
    assert seen.judgement.sentence == "Pipeline #9 failed in `unit`. Pipeline #8 failed in `lint`."


async def test_a_job_that_is_red_in_two_pipelines_runs_again_in_both(bench: Bench):
    here = scene(bench)
    run = await here.published()
    here.forge.logs |= {70: b"reset\n", 81: b"reset\n"}
    red = [
        pipeline(here.head, "failed", job("unit", "failed"), source="merge_request_event"),
        pipeline(here.head, "failed", job("unit", "failed", id=81), id=8),
    ]
    here.forge.lines = list(red)
    await here.look(run)
    await here.effects(run)
    assert here.forge.calls.count("retry_job") == 2
    here.forge.lines = list(red)  # GitLab is slow to show it
    await here.look(run)
    assert await here.status(run) is RunStatus.WATCHING
    assert len(await bench.facts(run, PipelineTriaged)) == 1


async def test_the_excerpt_has_no_numbers_and_says_nothing_twice(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await red(here, run, "calc.py:2: wrong\nERROR: Job failed: exit code 1\n")
    (triaged,) = await bench.facts(run, PipelineTriaged)
    assert triaged.jobs[0].excerpt == "calc.py:2: wrong\nERROR: Job failed: exit code 1"


async def test_the_same_question_is_not_asked_twice(bench: Bench):
    here = scene(bench)
    run = await here.published()
    outside = job("buildkite/unit", "failed", external=True)
    await here.says(run, "failed", outside)
    await bench.service().answer(run.id, "leave it", MIA, message="3")
    await here.look(run, say(call("finish", summary="Left.", answer="It is left as it is.")))
    await here.says(run, "failed", outside)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert len(await bench.facts(run, QuestionAsked)) == 1


async def test_a_pipeline_that_fails_before_its_jobs_needs_a_person(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.says(run, "failed")
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert "its configuration may be wrong" in state.reason
