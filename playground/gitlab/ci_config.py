"""`.gitlab-ci.yml`, read into jobs: includes, `extends`, `!reference`, `default`, matrices."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from playground.gitlab.ci_yaml import ConfigError as ConfigError
from playground.gitlab.ci_yaml import ReadFile, dereference, extended, with_includes

Json = dict[str, Any]

GLOBAL_KEYS = {
    "default",
    "include",
    "stages",
    "variables",
    "workflow",
    "image",
    "services",
    "cache",
    "before_script",
    "after_script",
    "spec",
}
INHERITED = (
    *("before_script", "after_script", "image", "services", "cache", "retry", "timeout"),
    *("interruptible", "tags", "artifacts", "id_tokens", "hooks"),
)
JOB_KEYS = {
    *INHERITED,
    *("script", "run", "stage", "only", "except", "rules", "variables", "extends", "when"),
    *("start_in", "allow_failure", "needs", "dependencies", "environment", "trigger", "parallel"),
    *("coverage", "resource_group", "release", "secrets", "inherit", "pages", "publish"),
    *("manual_confirmation", "dast_configuration", "identity"),
}


@dataclass(frozen=True, kw_only=True)
class Need:
    job: str
    artifacts: bool = True
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    name: str
    stage: str
    script: tuple[str, ...] = ()
    before_script: tuple[str, ...] = ()
    after_script: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[Json, ...] | None = None
    only: Any = None
    excepted: Any = None
    when: str = "on_success"
    start_in: float = 0.0
    allow_failure: bool | None = None
    allow_exit_codes: tuple[int, ...] = ()
    needs: tuple[Need, ...] | None = None
    dependencies: tuple[str, ...] | None = None
    artifacts: Json = field(default_factory=dict)
    retry_max: int = 0
    retry_when: tuple[str, ...] = ("always",)
    timeout: float | None = None
    environment: Json | None = None
    trigger: Json | None = None
    coverage: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Config:
    stages: tuple[str, ...]
    variables: Mapping[str, str]
    workflow_rules: tuple[Json, ...] | None
    workflow_name: str
    jobs: tuple[JobSpec, ...]


async def read(text: str, read_file: ReadFile) -> Config:
    """Raises `ConfigError`. `read_file` gives other files of the same commit."""
    return _config(await with_includes(text, read_file, 0))


def _config(raw: Json) -> Config:
    stages = ("build", "test", "deploy")
    if "stages" in raw:
        stages = tuple(raw["stages"])
    stages = (".pre", *(s for s in stages if s not in (".pre", ".post")), ".post")
    defaults = {k: raw[k] for k in INHERITED if k in raw} | (raw.get("default") or {})
    names = [name for name in raw if name not in GLOBAL_KEYS and not str(name).startswith(".")]
    workflow = raw.get("workflow") or {}
    jobs: list[JobSpec] = []
    for name in names:
        if not isinstance(raw[name], dict):
            raise ConfigError(f"jobs:{name} config should be a hash")
        body = dereference(extended(raw, str(name), ()), raw, 0)
        inherit = body.get("inherit") or {}
        wanted = inherit.get("default", True)
        for key, value in dereference(defaults, raw, 0).items():
            if wanted is True or (isinstance(wanted, list) and key in wanted):
                body.setdefault(key, value)
        jobs += _matrix(_job(str(name), body, stages), body.get("parallel"))
    if not jobs:
        raise ConfigError("jobs config should contain at least one visible job")
    _check_needs(jobs)
    rules = workflow.get("rules")
    return Config(
        stages=stages,
        variables=_variables(raw.get("variables")),
        workflow_rules=tuple(rules) if rules else None,
        workflow_name=str(workflow.get("name") or ""),
        jobs=tuple(jobs),
    )


def _job(name: str, body: Json, stages: tuple[str, ...]) -> JobSpec:
    if unknown := sorted(set(map(str, body)) - JOB_KEYS):
        raise ConfigError(f"jobs:{name} config contains unknown keys: {', '.join(unknown)}")
    if "script" not in body and "trigger" not in body and "run" not in body:
        raise ConfigError(
            f"jobs:{name} config should implement a script:, run:, or trigger: keyword"
        )
    stage = str(body.get("stage", "test"))
    if stage not in stages:
        shown = ", ".join(stages)
        raise ConfigError(
            f"{name} job: chosen stage {stage} does not exist; available stages are {shown}"
        )
    allow = body.get("allow_failure")
    codes = allow.get("exit_codes", []) if isinstance(allow, dict) else []
    retry = body.get("retry") or 0
    retry = retry if isinstance(retry, dict) else {"max": retry}
    environment = body.get("environment")
    trigger = body.get("trigger")
    rules = body.get("rules")
    return JobSpec(
        name=name,
        stage=stage,
        script=_lines(body.get("script")),
        before_script=_lines(body.get("before_script")),
        after_script=_lines(body.get("after_script")),
        variables=_variables(body.get("variables")),
        rules=tuple(rules) if rules is not None else None,
        only=body.get("only"),
        excepted=body.get("except"),
        when=str(body.get("when", "on_success")),
        start_in=seconds(body.get("start_in", 0)),
        allow_failure=allow if isinstance(allow, bool) else None,
        allow_exit_codes=tuple(codes if isinstance(codes, list) else [codes]),
        needs=_needs(body["needs"]) if "needs" in body else None,
        dependencies=tuple(body["dependencies"]) if "dependencies" in body else None,
        artifacts=body.get("artifacts") or {},
        retry_max=int(retry.get("max", 0)),
        retry_when=_lines(retry.get("when", "always")),
        timeout=seconds(body["timeout"]) if "timeout" in body else None,
        environment={"name": environment} if isinstance(environment, str) else environment,
        trigger={"project": trigger} if isinstance(trigger, str) else trigger,
        coverage=str(body.get("coverage") or ""),
        tags=_lines(body.get("tags")),
    )


def _lines(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        return (str(value),)
    return tuple(line for item in value for line in _lines(item))


def _variables(value: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, item in (value or {}).items():
        item = item.get("value", "") if isinstance(item, dict) else item
        found[str(key)] = (
            {True: "true", False: "false", None: ""}.get(item, str(item))
            if (isinstance(item, bool) or item is None)
            else str(item)
        )
    return found


def _needs(value: Any) -> tuple[Need, ...]:
    needs: list[Need] = []
    for item in value or []:
        item = {"job": item} if isinstance(item, str) else item
        if "job" in item:
            needs.append(
                Need(
                    job=str(item["job"]),
                    artifacts=item.get("artifacts", True),
                    optional=item.get("optional", False),
                )
            )
    return tuple(needs)


def _matrix(job: JobSpec, parallel: Any) -> list[JobSpec]:
    if isinstance(parallel, int):
        return [
            replace(
                job,
                name=f"{job.name} {number}/{parallel}",
                variables={
                    **job.variables,
                    "CI_NODE_INDEX": str(number),
                    "CI_NODE_TOTAL": str(parallel),
                },
            )
            for number in range(1, parallel + 1)
        ]
    if not isinstance(parallel, dict):
        return [job]
    jobs: list[JobSpec] = []
    for row in parallel.get("matrix", []):
        choices = [_lines(values) for values in row.values()]
        for values in itertools.product(*choices):
            variables = {**job.variables, **dict(zip(map(str, row), values, strict=True))}
            jobs.append(
                replace(job, name=f"{job.name}: [{', '.join(values)}]", variables=variables)
            )
    return jobs


def _check_needs(jobs: list[JobSpec]) -> None:
    names = {job.name for job in jobs} | {base_name(job.name) for job in jobs}
    for job in jobs:
        for need in job.needs or ():
            if need.job not in names and not need.optional:
                raise ConfigError(f"{job.name} job: undefined need: {need.job}")
        for name in job.dependencies or ():
            if name not in names:
                raise ConfigError(f"{job.name} job: undefined dependency: {name}")
    _check_circles({job.name: [n.job for n in job.needs or ()] for job in jobs})


def _check_circles(needs: dict[str, list[str]]) -> None:
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ConfigError("The pipeline has circular dependencies: self-dependency: " + name)
        if name not in done:
            for need in needs.get(name, ()):
                walk(need, (*path, name))
            done.add(name)

    for name in needs:
        walk(name, ())


def base_name(name: str) -> str:
    """The job's name in the file: without what `parallel` added."""
    return re.sub(r"( \d+/\d+|: \[.*\])$", "", name)


def seconds(text: Any) -> float:
    """`1h 30m`, `90 seconds`, `2 hours`, or a number of seconds."""
    if isinstance(text, (int, float)):
        return float(text)
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    total = 0.0
    for amount, unit in re.findall(r"([\d.]+)\s*([a-z]*)", str(text).lower()):
        if unit.startswith("mo"):
            total += float(amount) * 30 * 86400
        else:
            total += float(amount) * units.get(unit[:1], 1)
    return total
