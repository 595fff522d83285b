"""The whole playground: stand-ins, the service and the page, wired together."""

from __future__ import annotations

import asyncio
import fcntl
import secrets
import shutil
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.fetch_access import FetchAccess
from agent.adapters.package_config import RegistryEndpoints, read_sources
from agent.dependencies import Installer
from agent.ports import Sandbox
from bot.build import sandbox_folder
from playground import janitor, seed
from playground.gitlab.server import GitLabStandIn
from playground.image import ProjectImage
from playground.keep import Keep, Ports
from playground.links import NotLinked, link_people
from playground.model import ModelStandIn
from playground.page.actions import Actions
from playground.page.chat import Chat
from playground.page.forge import ForgeView
from playground.page.server import Page
from playground.service import ROOT, Service, ServiceFailed
from playground.slack.server import SlackStandIn
from playground.slack.world import World

DEFAULT_PORT = 8700
DEFAULT_MODEL = "gpt-5.2"
#: The scripted model answers at a pace that people can follow.
THINKS_SECONDS = 0.4


class InUse(Exception):
    """Another playground runs on this folder."""


@dataclass(frozen=True, kw_only=True)
class Options:
    home: Path
    port: int = 0
    project: Path | None = None
    nightly: bool = False  #: with the projects of the demo of the night
    #: OPENAI_* and JOURNEYMAN_MODEL* of the caller; empty: the scripted model
    model: Mapping[str, str] = field(default_factory=dict[str, str])
    #: what the service may see of the caller's environment besides
    machine: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def service_home(self) -> Path:
        """The service's own folder, named anew when this one was removed: run by root, it keeps
        its database elsewhere, under a name made from the path."""
        mark = self.home / "mark"
        if not mark.exists():
            mark.write_text(secrets.token_hex(4))
        return self.home / f"service-{mark.read_text()}"


@dataclass(frozen=True, kw_only=True)
class Playground:
    slack: SlackStandIn
    gitlab: GitLabStandIn
    page: Page
    service: Service
    model_url: str
    model_line: str

    @property
    def world(self) -> World:
        return self.slack.world

    def addresses(self) -> dict[str, str]:
        return {
            "page": self.page.url,
            "slack": self.slack.api_url,
            "gitlab": self.gitlab.url,
            "model": self.model_url,
            "bot": self.service.url,
        }


@asynccontextmanager
async def running(options: Options) -> AsyncGenerator[Playground]:
    """Raises InUse, OtherVersion, ServiceFailed, ValueError for a project that is none."""
    options = replace(options, home=options.home.absolute())
    home = options.home
    home.mkdir(parents=True, exist_ok=True)
    ports = Ports(home)
    async with AsyncExitStack() as stack:
        stack.enter_context(_lock(home))
        old = _begin_anew(options) if options.nightly else []
        sweeping = asyncio.create_task(asyncio.to_thread(_sweep, old))
        stack.push_async_callback(asyncio.wait, {sweeping})
        slack = SlackStandIn(
            seed.make_world(ROOT / "slack-manifest.json"), port=ports.take("slack")
        )
        sandbox, image = _runner(options)
        gitlab = GitLabStandIn(
            home / "gitlab", sandbox=sandbox, image=image, port=ports.take("gitlab")
        )
        image.forge = gitlab.forge
        keep = Keep(home, slack.world, gitlab.state)
        known = keep.restore()
        await stack.enter_async_context(slack)
        await stack.enter_async_context(gitlab)
        if known:
            _go_on(gitlab)
        else:
            await seed.seed_gitlab(gitlab)
        projects = {"billing": f"{seed.GROUP}/invoices"}
        if options.project is not None:
            projects |= await _own_project(slack.world, gitlab, options.project)
        if options.nightly:
            projects |= await _nightly_projects(slack.world, gitlab)
        stack.push_async_callback(_stopped, asyncio.create_task(keep.follow()))
        model_env, model_line = dict(options.model), _line(options.model)
        if not model_env:
            model = await stack.enter_async_context(
                ModelStandIn(port=ports.take("model"), latency=THINKS_SECONDS)
            )
            model_env = {
                "OPENAI_BASE_URL": model.url,
                "OPENAI_API_KEY": f"sk-{secrets.token_hex(16)}",
                "JOURNEYMAN_MODEL": model.name,
            }
        service = _service(options, slack, gitlab, projects, model_env, ports.take("bot"))
        page = Page(
            _chat(slack.world, projects),
            ForgeView(gitlab.forge),
            Actions(slack.people, gitlab.forge),
            model=model_line,
            port=ports.take("page", options.port, DEFAULT_PORT),
        )
        await stack.enter_async_context(service)
        await _link_people(options, slack, service)
        await stack.enter_async_context(page)
        yield Playground(
            slack=slack,
            gitlab=gitlab,
            page=page,
            service=service,
            model_url=model_env.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
            model_line=model_line,
        )


def _begin_anew(options: Options) -> list[Path]:
    """A second night would find the first one's merge requests, and have no news. Packages that
    were fetched are kept. Gives what can be removed."""
    before = sandbox_folder(options.service_home)
    old = janitor.forget(options.home)
    after = sandbox_folder(options.service_home)
    after.mkdir(parents=True, exist_ok=True)
    for name in ("packages", "cache"):
        if (before / name).is_dir():
            (before / name).rename(after / name)
    return old


def _sweep(old: Sequence[Path]) -> None:
    janitor.remove(old)
    janitor.sweep()


async def _link_people(options: Options, slack: SlackStandIn, service: Service) -> None:
    """Once: whoever unlinks their account later stays so."""
    done = options.home / f"linked-{options.service_home.name}"
    if done.exists():
        return
    try:
        await link_people(slack, [each.name for each in seed.PEOPLE])
    except NotLinked as problem:
        raise ServiceFailed(f"{problem}\nThe log of the service: {service.log}") from problem
    done.touch()


def _runner(options: Options) -> tuple[Sandbox, ProjectImage]:
    """Where pipelines run: the service's own kind of sandbox, with the same package cache."""
    folder, machine = sandbox_folder(options.service_home), options.machine
    sources = read_sources(machine)
    sandbox = BubblewrapSandbox(
        folder, fetch=FetchAccess(folder / "fetch", RegistryEndpoints(sources))
    )
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{machine.get('PATH', '')}")
    installer = Installer(
        sandbox=sandbox, cache=folder / "cache", sources=sources, uv=Path(uv) if uv else None
    )
    return sandbox, ProjectImage(installer)


def _go_on(gitlab: GitLabStandIn) -> None:
    """Jobs that were cut off begin again."""
    for project in gitlab.state.projects.values():
        for pipeline in project.pipelines.values():
            if any(job.status == "created" for job in pipeline.jobs):
                gitlab.forge.pipelines.advance(project, pipeline)


def _line(model: Mapping[str, str]) -> str:
    if not model:
        return "A scripted model answers from recorded sessions; OPENAI_API_KEY brings a real one."
    where = model.get("OPENAI_BASE_URL") or "api.openai.com"
    return f"{model['JOURNEYMAN_MODEL']} at {where} answers."


def _service(
    options: Options,
    slack: SlackStandIn,
    gitlab: GitLabStandIn,
    projects: Mapping[str, str],
    model: Mapping[str, str],
    port: int,
) -> Service:
    home, world, state = options.home, slack.world, gitlab.state
    config = home / "journeyman.toml"
    nightly = [f"{seed.GROUP}/{seed.slug(each)}" for each in seed.NIGHTLY]
    config.write_text(seed.settings_file(world, state, projects, nightly), encoding="utf-8")
    url = f"http://127.0.0.1:{port}/"
    secret = secrets.token_urlsafe(24)
    for path in projects.values():
        seed.add_hook(state, path, url, secret)
    application = seed.application(state, url)
    by_kind = {token.kind: token.value for token in world.tokens.values()}
    env = {
        **options.machine,
        **model,
        "SLACK_API_URL": slack.api_url,
        "SLACK_BOT_TOKEN": by_kind["bot"],
        "SLACK_APP_TOKEN": by_kind["app"],
        "SLACK_SIGNING_SECRET": world.app.signing_secret,
        "GITLAB_URL": gitlab.url,
        "GITLAB_TOKEN": seed.token(state, "write").secret,
        "GITLAB_WEBHOOK_SECRET": secret,
        "GITLAB_SIGNIN_ID": application.id,
        "GITLAB_SIGNIN_SECRET": application.secret,
        "GITLAB_READ_TOKEN": seed.token(state, "read").secret,
        "JOURNEYMAN_HOME": str(options.service_home),
        "JOURNEYMAN_CONFIG": str(config),
        "JOURNEYMAN_LISTEN": f"127.0.0.1:{port}",
        "JOURNEYMAN_PUBLIC_URL": url,
        "PYTHONUNBUFFERED": "1",
    }
    return Service(env=env, url=url, folder=home, log=home / "serve.log")


def _chat(world: World, projects: Mapping[str, str]) -> Chat:
    purposes = {
        **{name: f"The agent works on {path} here." for name, path in projects.items()},
        **seed.PURPOSES,
        seed.MORNING: "What the night came to, once in the morning.",
    }
    return Chat(
        world, titles=seed.TITLES, purposes=purposes, suggestions={"billing": seed.SUGGESTIONS}
    )


async def _own_project(world: World, gitlab: GitLabStandIn, path: Path) -> dict[str, str]:
    """The repository as a project with a channel of its own, new or brought up to date."""
    path = path.absolute()
    if not (path / ".git").exists() and not (path / "HEAD").exists():
        raise ValueError(f"{path} is not a git repository: run `git init` in it, or name another.")
    name = seed.slug(path)
    project = gitlab.state.project_by(f"{seed.GROUP}/{name}")
    if project is None:
        await seed.add_project(gitlab, name, path)
    else:
        branch = f"refs/heads/{project.default_branch}"
        spec = f"+{branch}:{branch}"
        await gitlab.forge.repository(project).git("fetch", "--quiet", str(path), spec)
    if not any(each.name == name for each in world.channels.values()):
        world.add_channel(name, *world.users)
    return {name: f"{seed.GROUP}/{name}"}


async def _nightly_projects(world: World, gitlab: GitLabStandIn) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in seed.NIGHTLY:
        name = seed.slug(source)
        found[name] = f"{seed.GROUP}/{name}"
        if gitlab.state.project_by(found[name]) is None:
            await seed.add_project(gitlab, name, source)
    for name in (*found, seed.MORNING):
        if not any(each.name == name for each in world.channels.values()):
            world.add_channel(name, *world.users)
    return found


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@contextmanager
def _lock(home: Path) -> Generator[None]:
    """One playground a folder."""
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUse(
                f"A playground already runs on {home}: "
                "stop it first, or name another folder with --home."
            ) from None
        yield
