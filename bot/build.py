"""Builds adapters from the settings. Each is imported when it is built, and not before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.canaries import Canaries
from agent.errors import Refused, SettingsError
from agent.files import make_enterable
from agent.maintenance.diary import Schedule
from agent.maintenance.night import Task
from agent.ports import Origin
from agent.project import ProjectSettings
from agent.run import DEVELOPER
from bot.settings import Settings

if TYPE_CHECKING:
    from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
    from agent.adapters.git_vault import GitVaults
    from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter
    from agent.adapters.gitlab_signin import GitLabSignIn
    from agent.adapters.minilm import MiniLM
    from agent.adapters.openai_embeddings import OpenAIEmbeddings
    from agent.adapters.openai_model import OpenAIModel
    from agent.dependencies import Installer
    from agent.maintenance.local import LocalNights
    from agent.retrieval.library import Library
    from agent.retrieval.merges import Forge, MergeStore
    from agent.retrieval.store import CodeStore

#: Below it root's sandboxes live: their users may not enter root's own folders.
SYSTEM_FOLDER = Path("/var/lib/journeyman")


def sandbox_folder(home: Path) -> Path:
    if os.geteuid() != 0:
        return home / "sandbox"
    home = home.resolve()
    folder = SYSTEM_FOLDER / f"sandbox-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"
    make_enterable(folder)
    (folder / "home").write_text(str(home))  # whose it is, for who tidies up
    return folder


def make_sandbox(settings: Settings) -> BubblewrapSandbox:
    from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
    from agent.adapters.fetch_access import FetchAccess
    from agent.adapters.package_config import RegistryEndpoints, read_sources

    folder = sandbox_folder(settings.home)
    endpoints = RegistryEndpoints(read_sources(settings.environment))
    return BubblewrapSandbox(folder, fetch=FetchAccess(folder / "fetch", endpoints))


def make_installer(settings: Settings, sandbox: BubblewrapSandbox) -> Installer:
    from agent.adapters.package_config import find_uv, read_sources
    from agent.dependencies import Installer

    return Installer(
        sandbox=sandbox,
        cache=sandbox.folder / "packages",
        sources=read_sources(settings.environment),
        uv=find_uv(),
    )


def make_vaults(settings: Settings) -> GitVaults:
    from agent.adapters.git_vault import GitVaults

    return GitVaults(settings.home / "vaults")


def make_embedder(settings: Settings) -> OpenAIEmbeddings | MiniLM | None:
    """Raises `SettingsError`."""
    if not settings.embedding_model:
        return None
    if settings.embedding_model.startswith("local:"):
        from agent.adapters.minilm import MODEL, MiniLM

        if settings.embedding_model != MODEL:
            raise SettingsError(
                f"The embedding model {settings.embedding_model!r} is not known: on this machine"
                f" there is {MODEL}."
            )
        return MiniLM()
    from agent.adapters.openai_embeddings import OpenAIEmbeddings

    told = settings.embeddings
    own = settings.openai_api_key if not told.base_url else ""  # no other endpoint gets that key
    return OpenAIEmbeddings(
        name=settings.embedding_model,
        api_key=settings.embeddings_api_key or own or "none",
        base_url=told.base_url or settings.openai_base_url or None,
        declared=told.dimensions,
        batch=told.batch,
        requests_per_minute=told.requests_per_minute,
        price=told.price,
        query_prefix=told.query_prefix,
    )


def make_library(
    settings: Settings,
    store: CodeStore,
    vaults: GitVaults,
    origin: Callable[[str], Awaitable[Origin]],
    merged: tuple[Forge, MergeStore] | None = None,
) -> Library:
    """`merged`: where merge requests are read, and where they are kept."""
    from agent.adapters.git_past import GitPast, VaultCode
    from agent.adapters.system_clock import SystemClock
    from agent.retrieval.library import Library
    from agent.retrieval.merges import Merges

    past = GitPast(settings.home / "past", origin)
    return Library(
        store=store,
        sources=lambda project: VaultCode(vaults.of(project).repository),
        clock=SystemClock(),
        past=past.changes,
        merges=Merges(forge=merged[0], store=merged[1], landed=past.landed) if merged else None,
    )


def make_nights(settings: Settings) -> LocalNights:
    from agent.adapters.night_file import NightFiles
    from agent.adapters.system_clock import SystemClock
    from agent.maintenance.local import LocalNights

    sandbox = make_sandbox(settings)
    _ = sandbox.host  # says what is missing before anything is begun
    kept = NightFiles(settings.home / "maintenance")
    return LocalNights(
        sandbox=sandbox,
        vaults=make_vaults(settings).of,
        clock=SystemClock(),
        installer=make_installer(settings, sandbox),
        findings=kept,
        branches=kept,
        canaries=make_canaries(settings),
    )


def make_model(settings: Settings) -> OpenAIModel:
    from agent.adapters.openai_model import OpenAIModel, Price

    return OpenAIModel(
        name=settings.model,
        api_key=settings.openai_api_key or "none",
        base_url=settings.openai_base_url or None,
        window=settings.window,
        windows=settings.windows,
        prices={
            name: Price(prompt=price.prompt, cached=price.cached, completion=price.completion)
            for name, price in settings.prices.items()
        },
    )


def make_sign_in(settings: Settings) -> GitLabSignIn:
    from agent.adapters.gitlab_signin import GitLabSignIn

    return GitLabSignIn(
        settings.gitlab_url, settings.gitlab_signin_id, settings.gitlab_signin_secret
    )


def make_canaries(settings: Settings) -> Canaries:
    """What must not leave with a change."""
    return Canaries(secrets=settings.credentials)


def engine_project(settings: Settings, path: str) -> ProjectSettings | None:
    """What the engine is told of a project; None for one that no rule allows anywhere."""
    if path not in settings.listed_projects:
        return None
    entry = settings.project(path)
    return ProjectSettings(
        path=path,
        test_command=entry.test_command,
        setup=entry.setup,
        rules=entry.rules,
        model=entry.model,
        model_plan=settings.model_plan or None,
        model_repair=settings.model_repair or None,
        limits=entry.limits,
        max_runs=entry.max_runs,
        policy=entry.policy,
        self_accept=entry.self_accept,
        watch_pipeline=entry.watch_pipeline,
        ci_logs=entry.ci_logs,
        maintenance=entry.maintenance,
        base_branch=entry.default_branch,
        targets=entry.targets,
        environments=entry.environments,
    )


async def tended_origin(
    reader: GitLabReader, path: str, writer: GitLabWriter | None = None
) -> Origin:
    """Where a night's code comes from. Raises `Refused` where nothing of it could be published.
    `writer` None: another process has that token, and its rights are not known here."""
    project = await reader.project(path)
    if project.archived:
        raise Refused(
            f"{path} is archived in GitLab, so nothing could be pushed to it. Unarchive it, or"
            " take its nights out of the settings."
        )
    if writer is not None and await reader.access(path, await writer.me()) < DEVELOPER:
        raise Refused(
            f"The account of {writer.token_name} may not push to {path}. Give it the role Developer"
            " there, or take the project's nights out of the settings."
        )
    return reader.origin(project)


def night_schedules(settings: Settings) -> tuple[Schedule, ...]:
    """Each task of each project that has nights."""
    return tuple(
        Schedule(project=path, task=Task(task), cron=nights.schedule, zone=nights.zone)
        for path in settings.listed_projects
        if (nights := settings.project(path).maintenance).schedule
        for task in nights.tasks
    )
