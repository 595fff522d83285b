"""Pipelines really run: order, rules, artifacts, reports, retries, deployments."""

from __future__ import annotations

import asyncio
import io
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import gitlab as python_gitlab
import pytest
from gitlab_scene import Scene, git

from playground.gitlab.records import Job, Pipeline


async def _push(ci: Scene, config: str, branch: str = "main", **files: str) -> Pipeline:
    """Commits a configuration and returns its pipeline."""
    text = textwrap.dedent(config)
    named = {name.replace("__", "/").replace("_", "."): body for name, body in files.items()}
    await ci.commit({".gitlab-ci.yml": text, **named}, branch)
    pushed = [p for p in ci.project.pipelines.values() if p.source == "push"]
    return pushed[-1]


def _job(pipeline: Pipeline, name: str) -> Job:
    return next(job for job in pipeline.jobs if job.name == name and not job.retried)


def _statuses(pipeline: Pipeline) -> dict[str, str]:
    return {job.name: job.status for job in pipeline.jobs if not job.retried}


async def test_stages_artifacts_reports_and_variables(ci: Scene) -> None:
    await _push(
        ci,
        """
        variables: {GREETING: hello}
        default:
          before_script: [echo "before $CI_JOB_NAME"]
        build:
          stage: build
          script:
            - mkdir out
            - echo "$GREETING from $CI_COMMIT_BRANCH" > out/text
            - echo "VERSION=1.2" > build.env
          artifacts:
            paths: [out/]
            reports: {dotenv: build.env}
        unit:
          stage: test
          script:
            - test "$(cat out/text)" = "hello from main"
            - test "$VERSION" = 1.2
            - |
              cat > report.xml <<X
              <testsuite><testcase classname="a" name="ok" time="0.5"/>
              <testcase classname="a" name="bad"><failure message="boom">line 3</failure></testcase>
              </testsuite>
              X
            - exit 3
          after_script: [echo "after $CI_JOB_STATUS"]
          artifacts:
            when: always
            reports: {junit: report.xml}
        """,
    )
    pipeline = await ci.pipeline()
    assert _statuses(pipeline) == {"build": "success", "unit": "failed"}
    assert pipeline.status == "failed"
    api = ci.api("mia")
    unit = await ci.do(api.jobs.get, _job(pipeline, "unit").id)
    assert unit.failure_reason == "script_failure"
    log = (await ci.do(unit.trace)).decode()
    assert "before unit" in log
    assert "after failed" in log
    assert "ERROR: Job failed: exit code 3" in log
    found = await ci.do(api.pipelines.get, pipeline.id)
    report = await ci.do(found.test_report.get)
    assert (report.total_count, report.failed_count) == (2, 1)
    assert report.test_suites[0]["test_cases"][1]["system_output"] == "boom\nline 3"
    summary = await ci.do(found.test_report_summary.get)
    assert summary.total["failed"] == 1
    build = await ci.do(api.jobs.get, _job(pipeline, "build").id)
    archive = zipfile.ZipFile(io.BytesIO(await ci.do(build.artifacts)))
    assert archive.read("out/text") == b"hello from main\n"
    assert await ci.do(build.artifact, "out/text") == b"hello from main\n"


async def test_needs_are_a_graph_and_not_waves(ci: Scene) -> None:
    pipeline = await _push(
        ci,
        """
        stages: [build, test, deploy]
        slow: {stage: build, script: [sleep 1.5]}
        quick: {stage: build, script: [echo made > made], artifacts: {paths: [made]}}
        early: {stage: deploy, needs: [quick], script: [cat made]}
        late: {stage: test, script: ["true"]}
        """,
    )
    await ci.pipeline(pipeline)
    assert pipeline.status == "success"
    early, slow, late = (_job(pipeline, name) for name in ("early", "slow", "late"))
    assert early.finished_at is not None
    assert slow.finished_at is not None
    assert late.started_at is not None
    assert early.finished_at < slow.finished_at <= late.started_at


async def test_rules_choose_the_jobs(ci: Scene) -> None:
    config = """
        workflow:
          rules:
            - if: $CI_PIPELINE_SOURCE == "merge_request_event"
            - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
        docs:
          script: ["true"]
          rules:
            - changes: ["docs/**/*"]
        python:
          script: ["true"]
          rules:
            - exists: ["*.py"]
        main-only:
          script: ["true"]
          rules:
            - if: $CI_COMMIT_BRANCH =~ /^ma/ && $MISSING == null
              variables: {WHERE: main}
        """
    pipeline = await _push(ci, config, docs__a_md="x")
    assert set(_statuses(pipeline)) == {"docs", "main-only"}
    assert _job(pipeline, "main-only").variables["WHERE"] == "main"
    count = len(ci.project.pipelines)
    await ci.commit({"a.py": "x"}, "topic")
    assert len(ci.project.pipelines) == count  # branches have none
    data = {"source_branch": "topic", "target_branch": "main", "title": "x"}
    mr = await ci.do(ci.api("mia").mergerequests.create, data)
    made = list(ci.project.pipelines.values())[-1]
    assert set(_statuses(made)) == {"python"}
    assert mr.head_pipeline["id"] == made.id
    assert made.source == "merge_request_event"


async def test_extends_references_includes_and_matrices(ci: Scene) -> None:
    pipeline = await _push(
        ci,
        """
        include: /ci/base.yml
        .shared: {script: [echo shared]}
        one:
          extends: .base
          script: [!reference [.shared, script], 'echo "$KIND"']
        many:
          parallel: {matrix: [{A: [x, y], B: z}]}
          script: ['echo "$A-$B"']
        """,
        ci__base_yml=".base: {variables: {KIND: based}}\n",
    )
    await ci.pipeline(pipeline)
    assert set(_statuses(pipeline)) == {"one", "many: [x, z]", "many: [y, z]"}
    trace = _job(pipeline, "one").trace.decode()
    assert "\nshared\n" in trace
    assert "\nbased\n" in trace
    assert "y-z" in _job(pipeline, "many: [y, z]").trace.decode()


async def test_failures_that_are_allowed_retried_or_timed_out(ci: Scene) -> None:
    pipeline = await _push(
        ci,
        """
        allowed: {script: [exit 1], allow_failure: true}
        by-code: {script: [exit 42], allow_failure: {exit_codes: [42]}}
        retried: {script: [exit 1], retry: 1, allow_failure: true}
        endless: {script: [sleep 60], timeout: 1 second, allow_failure: true}
        later: {stage: deploy, script: ["true"]}
        """,
    )
    await ci.pipeline(pipeline)
    assert pipeline.status == "success"
    assert _job(pipeline, "by-code").status == "failed"
    assert sum(job.name == "retried" for job in pipeline.jobs) == 2
    assert _job(pipeline, "endless").failure_reason == "job_execution_timeout"
    api = ci.api("mia")
    shown = await ci.do((await ci.do(api.pipelines.get, pipeline.id)).jobs.list)
    assert len(shown) == 5
    with_old = (await ci.do(api.pipelines.get, pipeline.id)).jobs.list
    assert len(await ci.do(with_old, include_retried=True)) == 6


async def test_a_red_stage_skips_what_follows_and_a_retry_takes_it_up(ci: Scene) -> None:
    pipeline = await _push(
        ci,
        """
        flaky: {script: ['test "$FIXED" = yes']}
        cleanup: {stage: deploy, when: on_failure, script: [echo cleaning]}
        ship: {stage: deploy, script: ["true"]}
        """,
    )
    await ci.pipeline(pipeline)
    assert _statuses(pipeline) == {"flaky": "failed", "cleanup": "success", "ship": "skipped"}
    await ci.do(ci.api("sam").variables.create, {"key": "FIXED", "value": "yes"})
    job = await ci.do(ci.api("sam").jobs.get, _job(pipeline, "flaky").id)
    await ci.do(job.retry)
    assert pipeline.status in ("pending", "running")
    await ci.pipeline(pipeline)
    assert _statuses(pipeline)["ship"] == "success"
    assert pipeline.status == "success"


async def test_manual_jobs_wait_and_deploy(ci: Scene) -> None:
    pipeline = await _push(
        ci,
        """
        ship:
          stage: deploy
          script: ['echo to $CI_ENVIRONMENT_NAME']
          environment: {name: production, url: "https://app.example.com"}
          rules: [{when: manual}]
        """,
    )
    await ci.pipeline(pipeline)
    assert pipeline.status == "manual"
    protected = {"name": "production", "deploy_access_levels": [{"access_level": 40}]}
    await ci.do(
        ci.client("sam").http_post, "/projects/1/protected_environments", post_data=protected
    )
    job = await ci.do(ci.api("sam").jobs.get, _job(pipeline, "ship").id)
    await ci.do(job.play)
    await ci.pipeline(pipeline)
    assert pipeline.status == "success"
    deployment = (await ci.do(ci.api("mia").deployments.list))[0]
    assert (deployment.status, deployment.environment["name"]) == ("success", "production")
    place = (await ci.do(ci.api("mia").environments.list))[0]
    place = await ci.do(ci.api("mia").environments.get, place.id)
    assert (place.tier, place.external_url) == ("production", "https://app.example.com")
    assert place.last_deployment["sha"] == pipeline.sha


async def test_a_protected_environment_refuses_who_may_not_deploy(ci: Scene) -> None:
    ci.server.state.protect(ci.project, "topic", push=30, merge=30)
    data = {"name": "staging", "deploy_access_levels": [{"access_level": 40}]}
    await ci.do(ci.client("sam").http_post, "/projects/1/protected_environments", post_data=data)
    config = """
        ship: {script: ["true"], environment: staging, when: manual}
        auto: {script: ["true"], environment: staging}
        """
    pipeline = await _push(ci, config, "topic")
    job = await ci.do(ci.api("mia").jobs.get, _job(pipeline, "ship").id)
    with pytest.raises(python_gitlab.GitlabJobPlayError, match="403"):
        await ci.do(job.play)
    assert _job(pipeline, "ship").status == "manual"
    again = await ci.do(ci.api("mia").pipelines.create, {"ref": "topic"})
    by_mia = ci.project.pipelines[again.id]
    assert _job(by_mia, "auto").failure_reason == "protected_environment_failure"


async def test_cancelling_ends_the_running_job(ci: Scene) -> None:
    pipeline = await _push(ci, "long: {script: [echo started, sleep 300]}\n")
    job = _job(pipeline, "long")
    await ci.until(lambda: b"\nstarted" in job.trace)
    found = await ci.do(ci.api("mia").pipelines.get, pipeline.id)
    await ci.do(found.cancel)
    await ci.pipeline(pipeline, 5)
    assert (pipeline.status, job.status) == ("canceled", "canceled")


async def test_a_job_sees_its_checkout_and_nothing_else(ci: Scene) -> None:
    secret = {"key": "SECRET", "value": "hunter2hunter2", "masked": True}
    await ci.do(ci.api("sam").variables.create, secret)
    port = ci.server.url.rsplit(":", 1)[1]
    pipeline = await _push(
        ci,
        f"""
        look:
          script:
            - cat README.md
            - git log -1 --format=%s
            - test "$(git rev-parse HEAD)" = "$CI_COMMIT_SHA"
            - echo "the secret is $SECRET"
            - if (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; then exit 9; fi
            - test ! -e /root
            - if env | grep PYTEST; then exit 8; fi
        """,
    )
    await ci.pipeline(pipeline)
    job = await ci.do(ci.api("mia").jobs.get, _job(pipeline, "look").id)
    log = (await ci.do(job.trace)).decode()
    assert pipeline.status == "success", log
    assert "# App" in log
    assert "hunter2" not in log
    assert "the secret is [MASKED]" in log


async def test_the_log_can_be_read_in_pieces(ci: Scene) -> None:
    pipeline = await _push(ci, "talk: {script: [echo one, echo two]}\n")
    await ci.pipeline(pipeline)
    job = _job(pipeline, "talk")
    path = f"/projects/1/jobs/{job.id}/trace"

    def read(span: str) -> tuple[int, bytes]:
        client = ci.client("mia")
        answer = client.http_request("get", path, extra_headers={"Range": span}, raw=True)
        return answer.status_code, answer.content

    whole = bytes(job.trace)
    assert await ci.do(read, "bytes=-10") == (206, whole[-10:])
    assert await ci.do(read, "bytes=5-9") == (206, whole[5:10])


async def test_pipelines_that_cannot_be(ci: Scene) -> None:
    pipeline = await _push(ci, "broken: {stage: nowhere, script: [x]}\n")
    assert pipeline.status == "failed"
    assert "chosen stage nowhere does not exist" in (pipeline.yaml_errors or "")
    with pytest.raises(python_gitlab.GitlabCreateError, match="nowhere"):
        await ci.do(ci.api("sam").pipelines.create, {"ref": "main"})
    await ci.commit({".gitlab-ci.yml": "t: {script: [x]}\n"}, message="Tidy [skip ci]")
    skipped = list(ci.project.pipelines.values())[-1]
    assert (skipped.status, _statuses(skipped)) == ("skipped", {"t": "skipped"})


async def test_a_push_may_ask_for_no_pipeline(ci: Scene, tmp_path: Path) -> None:
    await ci.commit({".gitlab-ci.yml": "t: {script: ['true']}\n"})
    await git(tmp_path, "clone", "--quiet", ci.remote(ci.token("mia")), "work")
    work = tmp_path / "work"
    for branch, option in (("quiet", ["-o", "ci.skip"]), ("loud", [])):
        await git(work, "checkout", "--quiet", "-b", branch)
        await git(work, "commit", "--quiet", "--allow-empty", "-m", branch)
        code, output = await git(work, "push", *option, "origin", branch)
        assert code == 0, output
    found = {p.ref: p for p in ci.project.pipelines.values()}
    assert found["quiet"].status == "skipped"
    assert (await ci.pipeline(found["loud"])).status == "success"


async def test_started_by_hand_and_by_trigger_with_variables(ci: Scene) -> None:
    config = """
        ask: {script: ['test "$ASKED" = yes'], rules: [{if: $ASKED}]}
        """
    await ci.commit({".gitlab-ci.yml": textwrap.dedent(config)})
    assert not ci.project.pipelines
    given = [{"key": "ASKED", "value": "yes"}]
    await ci.do(ci.api("sam").pipelines.create, {"ref": "main", "variables": given})
    assert (await ci.pipeline()).status == "success"
    trigger = await ci.do(ci.api("sam").triggers.create, {"description": "x"})
    anonymous: Any = python_gitlab.Gitlab(ci.server.url).projects.get(1, lazy=True)
    started = await ci.do(anonymous.trigger_pipeline, "main", trigger.token, {"ASKED": "yes"})
    assert started.source == "trigger"
    assert (await ci.pipeline()).status == "success"


async def test_a_trigger_job_starts_another_pipeline(ci: Scene) -> None:
    pipeline = await _push(
        ci,
        """
        child:
          trigger: {include: child.yml, strategy: depend}
          variables: {FROM: parent}
        """,
        child_yml="inner: {script: ['test \"$FROM\" = parent']}\n",
    )
    await ci.pipeline(pipeline)
    assert pipeline.status == "success"
    bridge = (await ci.do((await ci.do(ci.api("mia").pipelines.get, pipeline.id)).bridges.list))[0]
    assert bridge.downstream_pipeline["source"] == "parent_pipeline"
    assert bridge.downstream_pipeline["status"] == "success"


async def test_auto_merge_waits_for_the_pipeline(ci: Scene) -> None:
    ci.project.settings["only_allow_merge_if_pipeline_succeeds"] = True
    config = "check: {script: [sleep 0.5], rules: [{if: $CI_MERGE_REQUEST_IID}]}\n"
    await ci.commit({".gitlab-ci.yml": config})
    mr = await ci.merge_request()
    assert mr.detailed_merge_status == "ci_still_running"
    path = "/projects/1/merge_requests/1/merge"
    data = {"auto_merge": True, "sha": mr.sha}
    answer = await ci.do(ci.client("sam").http_put, path, post_data=data)
    assert (answer["state"], answer["merge_when_pipeline_succeeds"]) == ("opened", True)
    await ci.pipeline()
    await ci.until(lambda: ci.project.merge_requests[1].state == "merged")


async def test_statuses_of_other_systems_join_the_pipeline(ci: Scene) -> None:
    head = await ci.do(ci.api("mia").branches.get, "main")
    commit = await ci.do(ci.api("mia").commits.get, head.commit["id"])
    await ci.do(commit.statuses.create, {"state": "running", "name": "scan"})
    await ci.do(commit.statuses.create, {"state": "failed", "name": "scan"})
    found = await ci.do(commit.statuses.list)
    assert [(status.name, status.status) for status in found] == [("scan", "failed")]
    assert list(ci.project.pipelines.values())[-1].status == "failed"


async def test_without_a_runner_jobs_stay_pending(scene: Scene) -> None:
    pipeline = await _push(scene, "t: {script: [x]}\n")
    await asyncio.sleep(0.1)
    assert (pipeline.status, _job(pipeline, "t").status) == ("pending", "pending")
