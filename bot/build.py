"""Builds adapters from the settings. Each is imported when it is built, and not before."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from agent.project import ProjectSettings
from bot.settings import Settings

if TYPE_CHECKING:
    from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
    from agent.adapters.git_vault import GitVaults
    from agent.adapters.openai_model import OpenAIModel

#: Below it root's sandboxes live: their users may not enter root's own folders.
SYSTEM_FOLDER = Path("/var/lib/journeyman")


def sandbox_folder(home: Path) -> Path:
    if os.geteuid() != 0:
        return home / "sandbox"
    name = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:12]
    return SYSTEM_FOLDER / f"sandbox-{name}"


def make_sandbox(settings: Settings) -> BubblewrapSandbox:
    from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox

    return BubblewrapSandbox(sandbox_folder(settings.home))


def make_vaults(settings: Settings) -> GitVaults:
    from agent.adapters.git_vault import GitVaults

    return GitVaults(settings.home / "vaults")


def make_model(settings: Settings) -> OpenAIModel:
    from agent.adapters.openai_model import OpenAIModel, Price

    return OpenAIModel(
        name=settings.model,
        api_key=settings.openai_api_key or "none",
        base_url=settings.openai_base_url or None,
        window=settings.window,
        prices={
            name: Price(prompt=price.prompt, cached=price.cached, completion=price.completion)
            for name, price in settings.prices.items()
        },
    )


def engine_project(settings: Settings, path: str) -> ProjectSettings | None:
    """What the engine is told of a project; None for one that no rule allows anywhere."""
    listed = settings.projects.keys() | {p for paths in settings.channels.values() for p in paths}
    if path not in listed:
        return None
    entry = settings.project(path)
    return ProjectSettings(
        path=path,
        test_command=entry.test_command,
        setup=entry.setup,
        rules=entry.rules,
        model=entry.model,
        limits=entry.limits,
    )
