"""What an operator has settled for one project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from agent.gate import EnvironmentRule, TargetRule, version
from agent.outside import Place
from agent.policy import Policy
from agent.run import Digest, Limits


@dataclass(frozen=True, kw_only=True)
class Maintenance:
    """What is settled about a project's nights."""

    schedule: str = ""  #: cron of five fields, by the clock of `zone`; empty: no nights
    zone: str = "UTC"
    tasks: tuple[str, ...] = ("lint", "dependencies")
    digest: str = ""  #: channel that is told in the morning; empty: the project's own
    digest_at: str = "07:30"  #: by the clock of `zone`
    quiet_line: bool = False  #: one line also after nights, or a week, without news
    weekly: str = ""  #: "Mon", "Tue", …: when the week is told of, at `digest_at`; empty: never
    lint: tuple[str, ...] = ()  #: command lines; empty: found by looking at the project
    lint_seconds: float = 300.0  #: for one linter
    lint_memory_mb: int = 2048
    agent_money: float = 1.0  #: US dollars a night for what takes judgement; 0: nothing is given


@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """`path` is GitLab's path with namespace, or the path of a local repository."""

    path: str
    test_command: str | None = None  #: None: found by looking at the project
    setup: str | None = None  #: command that prepares a fresh checkout for its tests
    rules: str = ""  #: told to the model beside the project's own AGENTS.md
    model: str | None = None  #: None: the service's own
    model_plan: str | None = None  #: until there is a plan; None: as for the rest
    model_repair: str | None = None  #: after red tests or a red pipeline; None: as for the rest
    limits: Limits = field(default_factory=Limits)
    max_runs: int = 1  #: at work at once; further ones wait
    test_seconds: float = 1800.0
    command_seconds: float = 120.0  #: for one command of the model's, unless it asks for longer
    output: int = 12_000  #: characters of a tool's output that reach the model
    watch_pipeline: bool = True  #: a run goes on until the pipeline of its commit is green
    policy: Policy = field(default_factory=Policy)
    self_accept: bool = False  #: a maintainer may accept what is held of the own request
    base_branch: str | None = None  #: None: the one that GitLab calls the default
    targets: tuple[TargetRule, ...] = ()  #: branches without one are left to people
    environments: tuple[EnvironmentRule, ...] = ()  #: in the order in which they are deployed to
    ci_logs: tuple[Place, ...] = ()  #: where logs of other CI systems may be read, and below
    maintenance: Maintenance = field(default_factory=Maintenance)
    local: bool = False  #: no GitLab behind it: a branch is the result

    def target(self, branch: str) -> TargetRule | None:
        return next((each for each in self.targets if each.branch == branch), None)

    def environment(self, name: str) -> EnvironmentRule | None:
        return next((each for each in self.environments if each.name == name), None)

    def settled(self, target: str, environment: str = "") -> Digest | None:
        """Version of all that decides about a branch or an environment; None: nothing does."""
        rule = self.environment(environment) if environment else self.target(target)
        return version(rule, self.policy) if rule else None


#: None: the service does not know the project.
Projects = Callable[[str], ProjectSettings | None]
