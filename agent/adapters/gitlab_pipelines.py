"""Pipelines, jobs and their logs, as GitLab's REST API gives them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, cast

import yaml

from agent.adapters.gitlab_client import Get
from agent.adapters.gitlab_paging import PAGE, whole
from agent.adapters.gitlab_payloads import Json, integer, pipeline_of, record, records, text
from agent.errors import ForgeRejected
from agent.junit import TEXT, case_id, merged
from agent.pipeline import Job, Pipeline
from agent.run import CommitSha
from agent.testreport import CaseStatus, TestCase, TestReport

_MOST = 1000  #: jobs or statuses that are read
_READ = 5  #: pipelines of one commit whose jobs are read; of further ones the status alone counts
_NODES = 10_000  #: of a job's script that are looked at
_LINES = 500

#: While one of these is a pipeline's status its jobs are not read: a look is one request.
UNSETTLED = frozenset(
    {
        *("created", "waiting_for_resource", "preparing", "waiting_for_callback"),
        *("pending", "running", "canceling", "scheduled"),
    }
)
_STATUSES = {
    "success": CaseStatus.PASSED,
    "failed": CaseStatus.FAILED,
    "error": CaseStatus.ERROR,
    "skipped": CaseStatus.SKIPPED,
}


async def of_commit(get: Get, project: str, sha: CommitSha) -> Sequence[Pipeline]:
    found = records(await get(f"{project}/pipelines", sha=sha, per_page=PAGE))
    if not found:
        return await _of_merge_requests(get, project, sha)
    if len(found) >= PAGE:
        raise ForgeRejected(
            f"GitLab has {PAGE} pipelines of {sha[:8]} or more: too many to tell whether it passed."
        )
    pipelines = [pipeline_of(item) for item in found]
    told: Sequence[Json] | None = None
    seen: set[tuple[str, str]] = set()
    read = 0
    for place, each in enumerate(pipelines):
        kind = each.source, each.ref
        if kind in seen or each.status in UNSETTLED or read >= _READ:
            seen.add(kind)
            continue
        seen.add(kind)
        read += 1
        if told is None:
            told = await _listed(get, f"{project}/repository/commits/{sha}/statuses")
        own = await _jobs(get, project, each.id)
        external = await _external(get, project, each, own, told)
        pipelines[place] = replace(each, jobs=(*own, *external))
    return pipelines


async def of_branch(get: Get, project: str, branch: str) -> Pipeline | None:
    found = await get(f"{project}/pipelines", ref=branch, scope="finished", per_page=20)
    for item in records(found):
        if item.get("status") in ("success", "failed"):
            pipeline = pipeline_of(item)
            own = await _jobs(get, project, pipeline.id)
            told = await _listed(get, f"{project}/repository/commits/{pipeline.sha}/statuses")
            external = await _external(get, project, pipeline, own, told)
            return replace(pipeline, jobs=(*own, *external))
    return None


async def tests(get: Get, project: str, pipeline: int) -> TestReport | None:
    found = record(await get(f"{project}/pipelines/{pipeline}/test_report"))
    cases: list[TestCase] = []
    for suite in records(found.get("test_suites") or []):
        cases += [_case(item) for item in records(suite.get("test_cases") or [])]
    if not cases:
        return None
    by_id = merged(cases)
    count = {status: sum(c.status is status for c in by_id) for status in CaseStatus}
    return TestReport(
        command=f"pipeline {pipeline}",
        tree=None,
        passed=count[CaseStatus.PASSED],
        failed=count[CaseStatus.FAILED],
        errors=count[CaseStatus.ERROR],
        skipped=count[CaseStatus.SKIPPED],
        cases=by_id,
        exit_code=1 if count[CaseStatus.FAILED] or count[CaseStatus.ERROR] else 0,
    )


async def script(get: Get, project: str, commit: CommitSha, job: str) -> tuple[str, ...]:
    try:
        found = record(await get(f"{project}/ci/lint", sha=commit, dry_run="false"))
    except ForgeRejected:
        return ()  # no configuration in the repository, or none that may be read
    return job_script(text(found, "merged_yaml"), job)


def job_script(merged_yaml: str, name: str) -> tuple[str, ...]:
    """Commands of one job, by the name that it has in the pipeline. GitLab has looked up what is
    included and extended; what is said once for all jobs stands apart."""
    try:
        loaded: object = yaml.safe_load(merged_yaml)
    except (yaml.YAMLError, RecursionError):
        return ()
    config = _table(loaded)
    job = _table(config.get(name) or config.get(re.sub(r"( \d+/\d+|: \[.*\])$", "", name)))
    if "script" not in job:
        return ()
    before: object = job.get("before_script")
    if "before_script" not in job and _inherits(job, "before_script"):
        before = _table(config.get("default")).get("before_script", config.get("before_script"))
    nodes = islice(_flat([before, job["script"]]), _NODES)
    return tuple(islice((line for line in nodes if line), _LINES))


def job(found: Json) -> Job:
    return Job(
        id=integer(found, "id"),
        name=text(found, "name"),
        stage=text(found, "stage"),
        status=text(found, "status"),
        url=text(found, "web_url"),
        allow_failure=bool(found.get("allow_failure")),
        failure_reason=text(found, "failure_reason"),
    )


async def _of_merge_requests(get: Get, project: str, sha: CommitSha) -> Sequence[Pipeline]:
    """Where only a merged result was tested, its pipeline has another commit."""
    try:
        merges = records(await get(f"{project}/repository/commits/{sha}/merge_requests"))
    except ForgeRejected:
        return ()  # the commit is gone from the branch
    opened = [item for item in merges if item.get("state") == "opened"]
    if not opened:
        return ()
    iid = integer(opened[0], "iid")
    found = records(await get(f"{project}/merge_requests/{iid}/pipelines", per_page=20))
    return [pipeline_of(item) for item in found]


async def _jobs(get: Get, project: str, pipeline: int) -> tuple[Job, ...]:
    found = await _listed(get, f"{project}/pipelines/{pipeline}/jobs")
    return tuple(sorted((job(item) for item in found), key=lambda each: each.id))


async def _external(
    get: Get, project: str, pipeline: Pipeline, own: Sequence[Job], told: Sequence[Json]
) -> tuple[Job, ...]:
    """Commit statuses are GitLab's own jobs, its triggers of other pipelines, and the rest."""
    ids = {each.id for each in own}
    rest = [
        item
        for item in told
        if item.get("pipeline_id") == pipeline.id and integer(item, "id") not in ids
    ]
    if rest and pipeline.source != "external":
        bridges = await _listed(get, f"{project}/pipelines/{pipeline.id}/bridges")
        known = {integer(item, "id") for item in bridges}
        rest = [item for item in rest if integer(item, "id") not in known]
    return tuple(
        Job(
            id=integer(item, "id"),
            name=text(item, "name"),
            stage="external",
            status=text(item, "status"),
            url=text(item, "target_url"),
            allow_failure=bool(item.get("allow_failure")),
            failure_reason=text(item, "description"),
            external=True,
        )
        for item in rest
    )


async def _listed(get: Get, path: str) -> Sequence[Json]:
    too_many = (
        f"GitLab has {_MOST:,} jobs or statuses of one commit or more: too many to tell whether "
        "it passed."
    )
    return await whole(get, path, most=_MOST, too_many=too_many)


def _case(found: Json) -> TestCase:
    file = text(found, "file")
    status = _STATUSES.get(text(found, "status"), CaseStatus.ERROR)
    bad = status in (CaseStatus.FAILED, CaseStatus.ERROR)
    said: Any = found.get("system_output")
    output = said if isinstance(said, str) else str(said or "")
    return TestCase(
        id=case_id(text(found, "classname"), text(found, "name"), file),
        status=status,
        message=output.strip()[-TEXT:] if bad else "",
        path=file if bad else "",
    )


def _table(value: object) -> Mapping[object, object]:
    return cast("Mapping[object, object]", value) if isinstance(value, dict) else {}


def _inherits(job: Mapping[object, object], key: str) -> bool:
    wanted = _table(job.get("inherit")).get("default", True)
    return key in cast("list[object]", wanted) if isinstance(wanted, list) else bool(wanted)


def _flat(value: object, depth: int = 0) -> Iterator[str]:
    """Lines of nested lists; an empty one for each list, so that whoever counts sees them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth < 12:
        yield ""
        for item in cast("list[object]", value):
            yield from _flat(item, depth + 1)
