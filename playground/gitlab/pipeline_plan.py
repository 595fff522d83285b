"""Which jobs of a configuration belong to a pipeline, and how they start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from playground.gitlab.ci_config import Config, ConfigError, JobSpec, Need, base_name, seconds
from playground.gitlab.ci_records import Pipeline
from playground.gitlab.ci_rules import RuleError, any_match, expand, holds
from playground.gitlab.git_repo import GitError, Repository


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files of the commit and those that changed; None: everything counts as changed."""

    files: Sequence[str]
    changed: Sequence[str] | None


async def read_tree(repository: Repository, sha: str, base: str | None) -> Tree:
    files = [e.path for e in await repository.tree(sha, recursive=True) if e.kind == "blob"]
    changed: list[str] | None = None
    if base:
        try:
            diff = await repository.diff(base, sha)
            changed = [path for file in diff for path in {file.old_path, file.new_path}]
        except GitError:
            changed = None
    return Tree(files=files, changed=changed)


def runs_at_all(config: Config, variables: Mapping[str, str], tree: Tree) -> dict[str, str] | None:
    """What `workflow:rules` adds to the variables; None: no pipeline."""
    if config.workflow_rules is None:
        return {}
    rule = _first(config.workflow_rules, variables, tree, "workflow")
    if rule is None or rule.get("when") == "never":
        return None
    return {str(k): str(v) for k, v in (rule.get("variables") or {}).items()}


def chosen(
    config: Config, variables: Mapping[str, str], tree: Tree, pipeline: Pipeline
) -> list[JobSpec]:
    jobs = [spec for job in config.jobs if (spec := _settled(job, variables, tree, pipeline))]
    return [_with_known_needs(job, jobs) for job in jobs]


def _settled(
    job: JobSpec, variables: Mapping[str, str], tree: Tree, pipeline: Pipeline
) -> JobSpec | None:
    own = {k: expand(v, variables) if "$" in v else v for k, v in job.variables.items()}
    known = {**variables, **own, "CI_JOB_NAME": job.name}
    if job.rules is None:
        if not _only(job, known, tree, pipeline):
            return None
        manual = job.when == "manual"
        return replace(
            job, allow_failure=manual if job.allow_failure is None else job.allow_failure
        )
    rule = _first(job.rules, known, tree, f"jobs:{job.name}")
    if rule is None:
        return None
    when = str(rule.get("when", job.when))
    if when == "never":
        return None
    allow = rule.get("allow_failure", job.allow_failure)
    codes = allow.get("exit_codes", []) if isinstance(allow, dict) else job.allow_exit_codes
    added = {str(k): str(v) for k, v in (rule.get("variables") or {}).items()}
    return replace(
        job,
        when=when,
        start_in=seconds(rule.get("start_in", job.start_in)),
        allow_failure=bool(allow) if isinstance(allow, bool) else False,
        allow_exit_codes=tuple(codes if isinstance(codes, (list, tuple)) else [codes]),
        variables={**job.variables, **added},
    )


def _first(
    rules: Sequence[Any], variables: Mapping[str, str], tree: Tree, where: str
) -> dict[str, Any] | None:
    for rule in rules:
        rule = {"when": rule} if isinstance(rule, str) else rule
        try:
            if "if" in rule and not holds(str(rule["if"]), variables):
                continue
        except RuleError as problem:
            raise ConfigError(f"{where}:rules:rule if {problem}") from problem
        changes = rule.get("changes")
        paths = changes.get("paths", []) if isinstance(changes, dict) else changes
        known = paths is not None and tree.changed is not None
        if known and not any_match(_many(paths), tree.changed or (), variables):
            continue
        exists = rule.get("exists")
        wanted = exists.get("paths", []) if isinstance(exists, dict) else exists
        if wanted is not None and not any_match(_many(wanted), tree.files, variables):
            continue
        return rule
    return None


def _many(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _only(job: JobSpec, variables: Mapping[str, str], tree: Tree, pipeline: Pipeline) -> bool:
    only = job.only if job.only is not None else ["branches", "tags"]
    return _listed(only, variables, tree, pipeline) and not (
        job.excepted is not None and _listed(job.excepted, variables, tree, pipeline)
    )


def _listed(value: Any, variables: Mapping[str, str], tree: Tree, pipeline: Pipeline) -> bool:
    if isinstance(value, dict):
        refs = "refs" not in value or _listed(value["refs"], variables, tree, pipeline)
        conditions = value.get("variables")
        variable = not conditions or any(holds(str(c), variables) for c in _many(conditions))
        changes = value.get("changes")
        changed = not changes or tree.changed is None or any_match(changes, tree.changed, variables)
        return bool(refs and variable and changed)
    merge_request = pipeline.merge_request_iid is not None
    for ref in _many(value):
        if ref.startswith("/") and ref.rpartition("/")[0]:
            if not merge_request and re.search(ref[1:].rpartition("/")[0], pipeline.ref):
                return True
        elif ref == {"branches": "branches", "tags": "tags"}.get(ref):
            if not merge_request and (ref == "tags") == pipeline.tag:
                return True
        elif ref in ("merge_requests", "external_pull_requests"):
            if merge_request and ref == "merge_requests":
                return True
        elif ref in ("pushes", "web", "schedules", "triggers", "api", "pipelines"):
            sources = {"pushes": "push", "schedules": "schedule", "triggers": "trigger"}
            if pipeline.source == sources.get(ref, ref.removesuffix("s")):
                return True
        elif ref == pipeline.ref and not merge_request:
            return True
    return False


def _with_known_needs(job: JobSpec, jobs: Sequence[JobSpec]) -> JobSpec:
    """A need of a matrix means all its jobs; one that this pipeline leaves out is an error."""
    if job.needs is None:
        return job
    needs: list[Need] = []
    for need in job.needs:
        found = [other.name for other in jobs if need.job in (other.name, base_name(other.name))]
        if not found and not need.optional:
            raise ConfigError(
                f"'{job.name}' job needs '{need.job}' job, but '{need.job}' does not exist in the "
                "pipeline. This might be because of the only, except, or rules keywords. To need "
                "a job that sometimes does not exist in the pipeline, use needs:optional."
            )
        needs += [replace(need, job=name) for name in found]
    return replace(job, needs=tuple(needs))
