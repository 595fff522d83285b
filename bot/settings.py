"""Settings: secrets from the environment, projects and channels from journeyman.toml.

The only reader of the environment; nothing is read before `load` is called.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from agent import failpoints
from agent.errors import SettingsError
from agent.gate import EnvironmentRule, TargetRule
from agent.outside import Place
from agent.policy import Policy
from agent.project import Maintenance
from agent.run import Limits
from bot.variables import VARIABLES

FILE_NAME = "journeyman.toml"

_SECRET = 6  # characters from which on a value is blotted out of the log

#: The key of `[channels]` that stands for direct messages to the bot.
DIRECT = "direct"


@dataclass(frozen=True, kw_only=True)
class ModelPrice:
    """US dollars for a million tokens."""

    prompt: float
    cached: float
    completion: float


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """How code is embedded, where `Settings.embedding_model` is set."""

    base_url: str = ""  #: empty: the model's endpoint, and its key
    dimensions: int | None = None  #: None: as many as the model has
    batch: int = 64
    requests_per_minute: float = 600
    price: float = 0  #: US dollars for a million tokens
    query_prefix: str = ""


@dataclass(frozen=True, kw_only=True)
class ProjectEntry:
    """What is set for one project, over `[defaults]`."""

    path: str
    channels: tuple[str, ...] = ()  #: whose default project it is
    test_command: str | None = None
    setup: str | None = None  #: prepares a fresh checkout for its tests
    rules: str = ""  #: told to the model beside the project's own AGENTS.md
    model: str | None = None
    default_branch: str | None = None
    limits: Limits = field(default_factory=Limits)
    max_runs: int = 1
    plan_approval: bool = False
    policy: Policy = field(default_factory=Policy)
    self_accept: bool = False
    watch_pipeline: bool = True
    ci_logs: tuple[Place, ...] = ()  #: where logs of other CI systems may be read, and below
    maintenance: Maintenance = field(default_factory=Maintenance)
    targets: tuple[TargetRule, ...] = ()
    environments: tuple[EnvironmentRule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Settings:
    slack_bot_token: str = field(default="", repr=False)
    slack_app_token: str = field(default="", repr=False)
    slack_signing_secret: str = field(default="", repr=False)
    slack_api_url: str = "https://slack.com/api/"
    gitlab_url: str = ""
    gitlab_token: str = field(default="", repr=False)
    gitlab_read_token: str = field(default="", repr=False)
    gitlab_merge_token: str = field(default="", repr=False)
    gitlab_webhook_secret: str = field(default="", repr=False)
    gitlab_signin_id: str = ""
    gitlab_signin_secret: str = field(default="", repr=False)
    openai_api_key: str = field(default="", repr=False)
    openai_base_url: str = ""
    model: str = ""
    model_plan: str = ""
    model_repair: str = ""
    embedding_model: str = ""  #: empty: no embeddings
    embeddings_api_key: str = field(default="", repr=False)
    embeddings: EmbeddingSettings = field(default_factory=EmbeddingSettings)
    window: int = 128_000
    windows: Mapping[str, int] = field(default_factory=dict[str, int])  #: of models by name
    prices: Mapping[str, ModelPrice] = field(default_factory=dict[str, ModelPrice])
    database_url: str = field(default="", repr=False)
    database_admin_url: str = field(default="", repr=False)
    others: frozenset[str] = field(default=frozenset(), repr=False)  #: credentials, by `only`
    home: Path = Path()
    config: Path | None = None  #: the file that was read
    public_url: str = ""
    listen: str = "127.0.0.1:8080"
    failpoints: str = ""  #: as `agent.failpoints` reads it
    parallel_runs: int = 4  #: at once, over all projects
    #: what is left of the environment: package managers are configured there, too
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    defaults: ProjectEntry = field(default_factory=lambda: ProjectEntry(path=""))
    projects: Mapping[str, ProjectEntry] = field(default_factory=dict[str, ProjectEntry])
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    operators: tuple[int, ...] = ()  #: GitLab user ids of who may freeze everything

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.listen.rpartition(":")
        if not port.isdigit() or int(port) > 65535:
            raise SettingsError(
                f"JOURNEYMAN_LISTEN is {self.listen!r}: give an address and a port, for example "
                "127.0.0.1:8080."
            )
        return host.strip("[]") or "127.0.0.1", int(port)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not stand in any log."""
        named = (
            getattr(self, v.field)
            for v in VARIABLES
            if any(word in v.field for word in ("token", "key", "secret", "database"))
        )
        return tuple(v for v in named if len(v) >= _SECRET)

    @property
    def credentials(self) -> frozenset[str]:
        """Every one that this process was given: none of them may leave it."""
        found = {*self.secrets, self.gitlab_webhook_secret, *self.others}
        for url in (self.database_url, self.database_admin_url):
            found.add(unquote(urlsplit(url).password or ""))
        return frozenset(found - {""})

    @property
    def listed_projects(self) -> tuple[str, ...]:
        """Every project that some rule names."""
        by_channel = (path for paths in self.channels.values() for path in paths)
        return tuple(dict.fromkeys((*self.projects, *by_channel)))

    def only(self, roles: Collection[str]) -> Settings:
        """Without the credentials that are none of these roles' business. They stand in its
        environment all the same, so they are still looked for in what leaves it."""
        none: dict[str, Any] = {name: "" for name in CREDENTIALS if not _theirs(name, roles)}
        return replace(self, **none, others=self.credentials)

    def surplus(self, roles: Collection[str]) -> tuple[str, ...]:
        """The variables of what is set here beyond that."""
        return tuple(
            v.name
            for v in VARIABLES
            if v.field in CREDENTIALS and getattr(self, v.field) and not _theirs(v.field, roles)
        )

    def project(self, path: str) -> ProjectEntry:
        return self.projects.get(path) or replace(self.defaults, path=path)

    def allowed(self, channel: str) -> tuple[str, ...]:
        """Projects that may be worked on from a channel. No rule: none."""
        listed = self.channels.get(DIRECT if channel.startswith("D") else channel, ())
        default = self.default_project(channel)
        return tuple(dict.fromkeys(((default,) if default else ()) + listed))

    def default_project(self, channel: str) -> str | None:
        return next((p.path for p in self.projects.values() if channel in p.channels), None)


#: Which roles each credential is for. That of the schema's owner is for `migrate` alone.
CREDENTIALS: Mapping[str, frozenset[str]] = {
    "slack_bot_token": frozenset({"front"}),
    "slack_app_token": frozenset({"front"}),
    "slack_signing_secret": frozenset({"front"}),
    "gitlab_signin_secret": frozenset({"front"}),
    "gitlab_webhook_secret": frozenset({"front"}),
    "gitlab_read_token": frozenset({"front", "worker"}),
    "gitlab_token": frozenset({"effects"}),
    "gitlab_merge_token": frozenset({"effects"}),
    "openai_api_key": frozenset({"worker"}),
    "embeddings_api_key": frozenset({"worker"}),
    "database_admin_url": frozenset(),
}

#: What each role cannot do without, and the sentence that says how to get it.
_NEEDED: Mapping[str, Mapping[str, str]] = {
    "front": {
        "slack_bot_token": "create a Slack app from slack-manifest.json and copy its bot token",
        "gitlab_url": "give the address of your GitLab",
        "gitlab_read_token": "create a GitLab token with the scopes read_api and read_repository",
        "gitlab_signin_id": "create an application at GitLab with the scope read_user, by which "
        "people link their accounts",
        "public_url": "give the address of our pages, for example http://127.0.0.1:8080; people "
        "link their GitLab accounts there",
    },
    "worker": {
        "model": f"name the model there or as name under [model] in {FILE_NAME}",
        "openai_api_key": "give the key of your model endpoint",
        "gitlab_url": "give the address of your GitLab",
        "gitlab_read_token": "create a GitLab token with the scopes read_api and read_repository",
    },
    "effects": {
        "gitlab_url": "give the address of your GitLab",
        "gitlab_token": "create a GitLab token of a Developer with the scope api",
    },
    "maintenance": {
        "gitlab_url": "give the address of your GitLab, or look at a local repository with --repo",
        "gitlab_read_token": "create a GitLab token with the scopes read_api and read_repository",
    },
    "try": {
        "model": f"name the model there or as name under [model] in {FILE_NAME}",
        "openai_api_key": "give the key of your model endpoint",
    },
}


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Raises `SettingsError`, which names file, key and remedy."""
    env = os.environ if environ is None else environ
    values = {v.field: value for v in VARIABLES if (value := _value(env, v.name))}
    home = Path(values.pop("home", "") or _default_home(env)).expanduser()
    config = values.pop("config", "")
    path = Path(config or FILE_NAME)
    if config and not path.is_file():
        raise SettingsError(f"JOURNEYMAN_CONFIG names {config}, which is not there: correct it.")
    own = {name for v in VARIABLES for name in (v.name, f"{v.name}_FILE")}
    others = {name: value for name, value in env.items() if name not in own}
    settings = Settings(home=home, environment=others, **_checked(values))
    if settings.failpoints:
        failpoints.parse(settings.failpoints, home)
    if not path.is_file():
        return settings
    from bot.projectfile import read

    return replace(settings, config=path, **read(path, given=values))


def require(settings: Settings, roles: Collection[str]) -> None:
    """Raises `SettingsError` for the first thing that a role needs and lacks."""
    for role in roles:
        for name, remedy in _NEEDED.get(role, {}).items():
            local = name == "openai_api_key" and settings.openai_base_url
            if not getattr(settings, name) and not local:
                variable = next(v.name for v in VARIABLES if v.field == name)
                raise SettingsError(f"{variable} is not set: {remedy}.")
    if "front" in roles and not (settings.slack_app_token or settings.slack_signing_secret):
        raise SettingsError(
            "Neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set: give the app-level token "
            "(xapp-…) for Socket Mode, or the signing secret for HTTP."
        )


def _theirs(credential: str, roles: Collection[str]) -> bool:
    return not CREDENTIALS[credential].isdisjoint(roles)


def _value(env: Mapping[str, str], name: str) -> str:
    """The variable, or the content of the file that `…_FILE` names."""
    direct, file = env.get(name, "").strip(), env.get(f"{name}_FILE", "").strip()
    if not file:
        return direct
    if direct:
        raise SettingsError(f"Both {name} and {name}_FILE are set: remove one of them.")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{name}_FILE names {file}, which cannot be read ({_reason(error)}): correct the path "
            "or its permissions."
        ) from error


def _reason(error: Exception) -> str:
    return (error.strerror or "unreadable") if isinstance(error, OSError) else "not text"


def _checked(values: dict[str, str]) -> dict[str, Any]:
    for name in ("slack_api_url", "gitlab_url", "openai_base_url", "public_url"):
        url = values.get(name, "")
        if url and not url.startswith(("https://", "http://")):
            variable = next(v.name for v in VARIABLES if v.field == name)
            raise SettingsError(f"{variable} is {url!r}: an address begins with https://.")
    for name, prefix in (("slack_bot_token", "xoxb-"), ("slack_app_token", "xapp-")):
        token = values.get(name, "")
        if token and not token.startswith(prefix):
            variable = next(v.name for v in VARIABLES if v.field == name)
            raise SettingsError(f"{variable} does not begin with {prefix}: copy the right token.")
    if "slack_api_url" in values:
        values["slack_api_url"] = values["slack_api_url"].rstrip("/") + "/"
    return dict(values)


def _default_home(env: Mapping[str, str]) -> str:
    return str(Path(env.get("HOME") or Path.home()) / ".journeyman")
