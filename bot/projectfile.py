"""journeyman.toml: which projects and channels there are. Holds no secret."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from agent import outside
from agent.errors import SettingsError
from agent.policy import Policy
from agent.run import Limits
from bot.embedfile import Embeddings
from bot.gatefile import STRICT, Environment, Gates, Pattern, Target
from bot.nightfile import Channel, Nights
from bot.settings import DIRECT, ModelPrice, ProjectEntry

_Path = Annotated[str, StringConstraints(pattern=r"^[\w.-]+(/[\w.-]+)+$")]
_AnyChannel = Annotated[str, StringConstraints(pattern=rf"^([CG][A-Z0-9_]+|{DIRECT})$")]


def _log_prefix(url: str) -> str:
    try:
        outside.prefix(url)
    except ValueError as error:
        raise PydanticCustomError("log_prefix", "it {why}", {"why": str(error)}) from error
    return url


_NONE = ProjectEntry(path="")
_LogPrefix = Annotated[str, AfterValidator(_log_prefix)]


class _Strict(BaseModel):
    model_config = STRICT


class _Price(_Strict):
    prompt: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    completion: float = Field(ge=0)


_Window = Annotated[int, Field(ge=8_000)]


class _Model(_Strict):
    name: str = ""
    plan: str = ""
    repair: str = ""
    window: _Window = 128_000
    windows: dict[str, _Window] = {}
    prices: dict[str, _Price] = {}


class _Limits(_Strict):
    steps: int | None = Field(default=None, gt=0)
    tokens: int | None = Field(default=None, gt=0)
    money: float | None = Field(default=None, gt=0)
    minutes: float | None = Field(default=None, gt=0)
    heal_attempts: int | None = Field(default=None, ge=0, le=10)

    def over(self, base: Limits) -> Limits:
        return Limits(
            steps=self.steps or base.steps,
            tokens=self.tokens or base.tokens,
            money=self.money or base.money,
            seconds=self.minutes * 60 if self.minutes else base.seconds,
            heal_attempts=base.heal_attempts if self.heal_attempts is None else self.heal_attempts,
        )


class _Defaults(_Strict):
    test_command: str | None = None
    setup: str | None = None
    rules: str = ""
    model: str | None = None
    default_branch: str | None = None
    max_runs: int | None = Field(default=None, gt=0)
    plan_approval: bool | None = None
    allow_paths: list[Pattern] | None = None
    deny_paths: list[Pattern] | None = None
    max_files: int | None = Field(default=None, gt=0)
    max_lines: int | None = Field(default=None, gt=0)
    max_binary_mb: float | None = Field(default=None, ge=0)
    self_accept: bool | None = None
    watch_pipeline: bool | None = None
    ci_logs: list[_LogPrefix] | None = None
    limits: _Limits = _Limits()
    maintenance: Nights = Nights()
    targets: dict[str, Target] = {}
    environments: dict[str, Environment] = {}

    @property
    def gates(self) -> Gates:
        return Gates(targets=self.targets, environments=self.environments)

    def over(self, base: ProjectEntry, path: str, channels: tuple[str, ...] = ()) -> ProjectEntry:
        return ProjectEntry(
            path=path,
            channels=channels,
            test_command=self.test_command or base.test_command,
            setup=self.setup or base.setup,
            rules=self.rules or base.rules,
            model=self.model or base.model,
            default_branch=self.default_branch or base.default_branch,
            limits=self.limits.over(base.limits),
            max_runs=self.max_runs or base.max_runs,
            plan_approval=base.plan_approval if self.plan_approval is None else self.plan_approval,
            policy=self.policy(base.policy),
            self_accept=base.self_accept if self.self_accept is None else self.self_accept,
            watch_pipeline=(
                base.watch_pipeline if self.watch_pipeline is None else self.watch_pipeline
            ),
            ci_logs=(
                base.ci_logs
                if self.ci_logs is None
                else tuple(outside.prefix(url) for url in self.ci_logs)
            ),
            maintenance=self.maintenance.over(base.maintenance),
        )

    def policy(self, base: Policy) -> Policy:
        allow, deny, binary = self.allow_paths, self.deny_paths, self.max_binary_mb
        return Policy(
            allow_paths=base.allow_paths if allow is None else tuple(allow),
            deny_paths=base.deny_paths if deny is None else tuple(deny),
            max_files=self.max_files or base.max_files,
            max_lines=self.max_lines or base.max_lines,
            max_binary=base.max_binary if binary is None else int(binary * 1_000_000),
        )


class _Project(_Defaults):
    channels: list[Channel] = []


class _File(_Strict):
    parallel_runs: int = Field(default=4, gt=0, le=64)
    operators: list[Annotated[int, Field(gt=0)]] = []
    model: _Model = _Model()
    embeddings: Embeddings = Embeddings()
    defaults: _Defaults = _Defaults()
    projects: dict[_Path, _Project] = {}
    channels: dict[_AnyChannel, list[_Path]] = {}


def read(path: Path, *, given: Mapping[str, str]) -> dict[str, Any]:
    """The fields of `Settings` that the file sets. `given` by the environment, which wins.

    Raises `SettingsError`.
    """
    try:
        text = path.read_text(encoding="utf-8")
        file = _File.model_validate(tomllib.loads(text))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}. Correct that line.") from error
    except ValidationError as error:
        raise SettingsError(_sentence(path, error)) from error
    defaults = _gated(path, "defaults", file.defaults.gates, file.defaults.over(_NONE, ""))
    fields: dict[str, Any] = {
        "parallel_runs": file.parallel_runs,
        "operators": tuple(file.operators),
        "window": file.model.window,
        "windows": MappingProxyType(file.model.windows),
        "prices": MappingProxyType({n: _price(p) for n, p in file.model.prices.items()}),
        "embeddings": file.embeddings.settings(),
        "defaults": defaults,
        "projects": MappingProxyType(
            {
                name: _gated(
                    path,
                    f'projects."{name}"',
                    table.gates.over(file.defaults.gates),
                    table.over(defaults, name, tuple(table.channels)),
                )
                for name, table in file.projects.items()
            }
        ),
        "channels": MappingProxyType({c: tuple(p) for c, p in file.channels.items()}),
    }
    models = {"model": "name", "model_plan": "plan", "model_repair": "repair"}
    for field, key in models.items():
        if not given.get(field) and (name := getattr(file.model, key)):
            fields[field] = name
    if not given.get("embedding_model") and file.embeddings.model:
        fields["embedding_model"] = file.embeddings.model
    _one_default(path, file)
    return fields


def _gated(path: Path, table: str, gates: Gates, entry: ProjectEntry) -> ProjectEntry:
    for told in gates.wrong():
        raise SettingsError(f"{path}: {table}.{told}")
    return replace(
        entry,
        targets=gates.target_rules(entry.policy),
        environments=gates.environment_rules(),
    )


def _price(price: _Price) -> ModelPrice:
    cached = price.prompt if price.cached is None else price.cached
    return ModelPrice(prompt=price.prompt, cached=cached, completion=price.completion)


def _one_default(path: Path, file: _File) -> None:
    owner: dict[str, str] = {}
    for project, settings in file.projects.items():
        for channel in settings.channels:
            if channel in owner:
                raise SettingsError(
                    f"{path}: channel {channel} is the default of both {owner[channel]} and "
                    f"{project}: keep it in one of them, and list both under [channels]."
                )
            owner[channel] = project


_KEY_REMEDIES = {
    "projects": "a project is a path like group/name",
    "channels": f'a channel is an id like C024BE91L, or "{DIRECT}"',
    "embeddings": "an address begins with https://",
    "groups": "a group is its full path, like platform/operations",
}


_PEOPLE = (
    "people is not a setting any more: everybody links their GitLab account in Slack, by "
    "`@agent settings`. Remove the table, and see docs/connect.md for GITLAB_SIGNIN_ID."
)


def _sentence(path: Path, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"] if part != "[key]"]
    key = ".".join(f'"{part}"' if "/" in part else part for part in where)
    more = error.error_count() - 1
    rest = f" ({more} more after this one)" if more else ""
    if where[0] == "people":
        return f"{path}: {_PEOPLE}"
    if first["type"] == "extra_forbidden":
        known = _known(where[:-1])
        close = difflib.get_close_matches(where[-1], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}."
        return f"{path}: {key} is not a setting{rest}; {hint}"
    if "[key]" in first["loc"] or first["type"] == "string_pattern_mismatch":
        remedy = _KEY_REMEDIES.get(where[-2] if where[-1].isdigit() else where[0], "")
        if where[0] == "channels" and "[key]" not in first["loc"]:
            remedy = _KEY_REMEDIES["projects"]
        return f"{path}: {key} has a wrong form{rest}; {remedy}."
    told = first["msg"][0].lower() + first["msg"][1:]
    return f"{path}: {key} is {first['input']!r}, but {told}{rest}; correct it."


def _known(where: list[str]) -> list[str]:
    """Names of the settings that a table may have."""
    table: type[BaseModel] = _File
    by_name: dict[str, type[BaseModel]] = {
        "model": _Model,
        "prices": _Price,
        "embeddings": Embeddings,
        "defaults": _Defaults,
        "projects": _Project,
        "limits": _Limits,
        "maintenance": Nights,
        "targets": Target,
        "environments": Environment,
    }
    for part in where:
        if table in (Target, Environment):
            break  # what follows is the name of a branch or an environment
        table = by_name.get(part, table)
    return sorted(table.model_fields)
