"""What the stand-in remembers of pipelines, jobs, environments and deployments."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(kw_only=True)
class Artifact:
    file: Path
    size: int
    kind: str = "archive"


@dataclass(kw_only=True)
class Job:
    id: int
    pipeline_id: int
    name: str
    stage: str
    ref: str
    tag: bool
    user_id: int
    created_at: datetime
    spec: Any  #: `ci_config.JobSpec`; None for a status that an outside system reported
    status: str = "created"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    erased_at: datetime | None = None
    failure_reason: str | None = None
    allow_failure: bool = False
    retried: bool = False
    trace: bytearray = field(default_factory=bytearray)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    junit: list[bytes] = field(default_factory=list)
    dotenv: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    coverage: float | None = None
    variables: dict[str, str] = field(default_factory=dict)
    masks: tuple[str, ...] = ()  #: values that the trace must not show
    external: dict[str, Any] = field(default_factory=dict)
    downstream_id: int | None = None

    @property
    def manual(self) -> bool:
        return self.status == "manual"


@dataclass(kw_only=True)
class Pipeline:
    id: int
    iid: int
    project_id: int
    sha: str
    ref: str
    source: str
    user_id: int
    created_at: datetime
    updated_at: datetime
    before_sha: str = "0" * 40
    tag: bool = False
    status: str = "created"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    yaml_errors: str | None = None
    name: str | None = None
    variables: dict[str, str] = field(default_factory=dict)  #: given by who started it
    merge_request_iid: int | None = None
    stages: list[str] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)


@dataclass(kw_only=True)
class Environment:
    id: int
    name: str
    slug: str
    created_at: datetime
    updated_at: datetime
    external_url: str | None = None
    tier: str = "other"
    state: str = "available"
    description: str | None = None


@dataclass(kw_only=True)
class Deployment:
    id: int
    iid: int
    environment_id: int
    ref: str
    sha: str
    tag: bool
    user_id: int
    created_at: datetime
    updated_at: datetime
    status: str = "created"
    finished_at: datetime | None = None
    job_id: int | None = None
    approvals: list[dict[str, Any]] = field(default_factory=list)
