"""What the product reads of pipelines, from the stand-in's real ones."""

from __future__ import annotations

import textwrap
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from gitlab_scene import Scene

from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter
from agent.adapters.gitlab_pipelines import job_script, of_commit
from agent.adapters.gitlab_reviews import discussions
from agent.errors import ForgeRejected, NotFound
from agent.run import CommitSha
from agent.testreport import CaseStatus

PATH = "demo/app"
CONFIG = """
include: /ci/base.yml
default:
  before_script: [echo prepare]
unit:
  extends: .python
  script:
    - !reference [.steps, setup]
    - |
      cat > report.xml <<X
      <testsuite>
      <testcase classname="tests.test_a.TestA" name="test_ok" file="tests/test_a.py"/>
      <testcase classname="tests.test_a" name="test_bad" file="tests/test_a.py">
      <failure message="boom">tests/test_a.py:3: AssertionError</failure></testcase>
      </testsuite>
      X
    - echo checking; exit 1
  artifacts: {when: always, reports: {junit: report.xml}}
lint:
  before_script: []
  script: ["true"]
  parallel: 2
hand: {when: manual, script: ["true"]}
"""
BASE = """
.python: {stage: test}
.steps:
  setup: [echo set up, [echo nested]]
"""


def reader(ci: Scene) -> GitLabReader:
    return GitLabReader(ci.server.url, ci.token("mia", "read_api"))


def writer(ci: Scene) -> GitLabWriter:
    return GitLabWriter(ci.server.url, ci.token("mia", "api"))


async def _pushed(ci: Scene) -> CommitSha:
    await ci.commit({"ci/base.yml": BASE, ".gitlab-ci.yml": textwrap.dedent(CONFIG)})
    return CommitSha((await ci.pipeline()).sha)


async def test_a_red_pipeline_is_read_with_its_jobs_log_tests_and_script(ci: Scene) -> None:
    sha = await _pushed(ci)
    log = bytearray()
    async with reader(ci) as forge:
        (pipeline,) = await forge.pipelines(PATH, sha=sha)
        assert (pipeline.sha, pipeline.source, pipeline.status) == (sha, "push", "failed")
        assert [job.name for job in pipeline.jobs] == ["unit", "lint 1/2", "lint 2/2", "hand"]
        (unit,) = pipeline.red
        assert (unit.stage, unit.failure_reason) == ("test", "script_failure")
        assert unit.url.endswith(f"/-/jobs/{unit.id}")
        assert await forge.job(PATH, unit.id) == unit
        assert await forge.branch_pipeline(PATH, "main") == pipeline
        await forge.job_log(PATH, unit.id, log.extend)
        assert bytes(log).endswith(b"ERROR: Job failed: exit code 1\n")

        report = await forge.pipeline_tests(PATH, pipeline.id)
        assert report is not None
        assert (report.passed, report.failed) == (1, 1)
        (bad,) = [case for case in report.cases if case.status is CaseStatus.FAILED]
        assert bad.id == "tests/test_a.py::test_bad"
        assert bad.message == "boom\ntests/test_a.py:3: AssertionError"

        script = await forge.ci_script(PATH, sha, "unit")
        assert script[:3] == ("echo prepare", "echo set up", "echo nested")
        assert script[-1] == "echo checking; exit 1"
        assert await forge.ci_script(PATH, sha, "lint 2/2") == ("true",)
        assert await forge.ci_script(PATH, sha, "nobody") == ()
        with pytest.raises(NotFound):
            await forge.job(PATH, 4711)


async def test_a_job_is_run_again_once(ci: Scene) -> None:
    sha = await _pushed(ci)
    async with reader(ci) as forge, writer(ci) as write:
        (before,) = await forge.pipelines(PATH, sha=sha)
        (unit,) = before.red
        again = await write.retry_job(PATH, unit.id)
        assert again.id > unit.id
        with pytest.raises(ForgeRejected, match="not retryable"):
            await write.retry_job(PATH, unit.id)
        await ci.pipeline()
        (after,) = await forge.pipelines(PATH, sha=sha)
        assert [job.id for job in after.red] == [again.id]


async def test_a_running_pipeline_costs_one_request(ci: Scene) -> None:
    await ci.commit({".gitlab-ci.yml": "slow: {script: [sleep 20]}"})
    (line,) = ci.project.pipelines.values()
    asked: list[str] = []
    described = ci.server.on_exchange
    assert described is not None
    ci.server.on_exchange = lambda each: (asked.append(each.path), described(each))[1]
    async with reader(ci) as forge:
        (pipeline,) = await forge.pipelines(PATH, sha=CommitSha(line.sha))
        assert await forge.branch_pipeline(PATH, "main") is None
    assert pipeline.status in ("created", "pending", "running")
    assert pipeline.jobs == ()
    assert len(asked) == 2, asked
    ci.server.forge.pipelines.cancel(ci.project, line)


async def test_a_merge_request_names_the_pipeline_of_its_head(ci: Scene) -> None:
    mr = await ci.merge_request()
    async with reader(ci) as forge:
        assert (await forge.merge_request(PATH, mr.iid)).pipeline is None
        await ci.commit({".gitlab-ci.yml": "one: {script: ['true']}"}, "topic")
        sha = CommitSha((await ci.pipeline()).sha)
        (listed,) = await forge.pipelines(PATH, sha=sha)
        found = await forge.merge_request(PATH, mr.iid)
        assert found.sha == sha
        assert found.pipeline == replace(listed, jobs=())


async def test_what_other_systems_say_is_a_job_without_a_log(ci: Scene) -> None:
    await ci.commit(
        {".gitlab-ci.yml": "one: {script: ['true']}\nfar: {trigger: {include: other.yml}}"}
    )
    sha = CommitSha((await ci.pipeline()).sha)
    for state in ("running", "failed"):
        data = {"state": state, "name": "buildkite", "target_url": "https://ci.example/7"}
        data["description"] = "2 steps failed"
        commit = await ci.do(ci.api("sam").commits.get, sha)
        await ci.do(commit.statuses.create, data)
    async with reader(ci) as forge:
        (pipeline,) = await forge.pipelines(PATH, sha=sha)
        assert [(job.name, job.external) for job in pipeline.jobs] == [
            ("one", False),
            ("buildkite", True),
        ]
        assert await forge.branch_pipeline(PATH, "main") == pipeline
        (red,) = pipeline.red
        assert (red.url, red.failure_reason) == ("https://ci.example/7", "2 steps failed")
        with pytest.raises(NotFound):
            await forge.job_log(PATH, red.id, lambda _: None)


@pytest.mark.parametrize("endless", ["statuses", "jobs", "discussions"])
async def test_more_than_is_read_is_refused_and_never_cut(endless: str) -> None:
    sha = CommitSha("a" * 40)
    line = {"id": 5, "sha": sha, "ref": "main", "source": "push", "status": "success"}

    async def get(path: str, **query: str | int) -> object:
        what = path.rpartition("/")[2]
        if what == "pipelines":
            return [line | {"web_url": ""}]
        return [{"id": 7, "notes": []}] * 100 if what == endless else []

    talks = discussions(get, "/projects/1/merge_requests/1")
    lines = of_commit(get, "/projects/1", sha)
    asked, other = (talks, lines) if endless == "discussions" else (lines, talks)
    with pytest.raises(ForgeRejected, match="1,000"):
        await asked
    await other


async def test_a_repository_without_pipelines_has_none(ci: Scene) -> None:
    made = await ci.commit({"a": "b"})
    async with reader(ci) as forge:
        assert not await forge.pipelines(PATH, sha=CommitSha(made.id))
        assert not await forge.pipelines(PATH, sha=CommitSha("0" * 40))
        assert await forge.branch_pipeline(PATH, "main") is None
        assert await forge.ci_script(PATH, CommitSha(made.id), "unit") == ()


def test_a_script_is_read_from_whatever_the_configuration_holds() -> None:
    top = "before_script: [a]\nx: {script: b}\ny: {script: [c], inherit: {default: false}}"
    assert job_script(top, "x") == ("a", "b")
    assert job_script(top, "y") == ("c",)
    assert job_script("x: {script: [a]}", "x: [3.12, postgres]") == ("a",)
    for odd in ("", "- a", "x: 1", "x: {script: {a: b}}", "x: [", "x: {run: [a]}", "&a [*a]"):
        assert job_script(odd, "x") == ()
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "\n".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 10)
    )
    assert len(job_script(f"{bomb}\nx: {{script: *a9}}", "x")) <= 500


@asynccontextmanager
async def _log_server(size: int, breaks: int, *, ranges: bool) -> AsyncIterator[str]:
    """A log that breaks off a few times before its end."""
    line = b"0123456789abcde\n"
    left = breaks

    async def trace(request: web.Request) -> web.StreamResponse:
        nonlocal left
        start = int(request.headers.get("Range", "bytes=0-")[6:-1]) if ranges else 0
        if start >= size:
            return web.Response(status=416)
        answer = web.StreamResponse(status=206 if start else 200)
        answer.content_length = size - start
        await answer.prepare(request)
        end = size if left == 0 else min(size, start + size // 2)
        block = line * (65_536 // len(line))
        for place in range(start, end, len(block)):
            offset = place % len(line)
            await answer.write((block[offset:] + block[:offset])[: end - place])
        if end < size:
            left -= 1
            assert request.transport is not None
            request.transport.close()
        return answer

    app = web.Application()
    app.router.add_get("/api/v4/projects/demo%2Fapp/jobs/7/trace", trace)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_log_that_breaks_off_is_read_on(*, ranges: bool) -> None:
    size = 1_000_003
    got = bytearray()
    async with (
        _log_server(size, 2, ranges=ranges) as url,
        GitLabReader(url, "token") as forge,
    ):
        await forge.job_log("demo/app", 7, got.extend)
    assert len(got) == size
    assert bytes(got) == (b"0123456789abcde\n" * (size // 16 + 1))[:size]


async def test_a_long_log_is_not_kept_in_memory() -> None:
    size, got = 30_000_000, 0

    def count(piece: bytes) -> None:
        nonlocal got
        got += len(piece)

    async with (
        _log_server(size, 0, ranges=True) as url,
        GitLabReader(url, "token") as forge,
    ):
        tracemalloc.start()
        await forge.job_log("demo/app", 7, count)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert got == size
    assert peak < 5_000_000
