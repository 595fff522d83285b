"""What the service was told."""

from __future__ import annotations

from pathlib import Path

from road import Road

from agent.errors import SettingsError
from agent.project import ProjectSettings
from bot.build import engine_project
from bot.settings import load


def settings_of(road: Road) -> list[ProjectSettings]:
    """All that were ever written, of all projects."""
    file = Path(road.env["JOURNEYMAN_CONFIG"])
    then = road.folder / "settings-then.toml"
    found: list[ProjectSettings] = []
    for text in {*road.written, file.read_text() if file.is_file() else ""}:
        then.write_text(text)
        try:
            settings = load(road.env | {"JOURNEYMAN_CONFIG": str(then)})
        except SettingsError:
            continue  # with these no service has begun
        each = (engine_project(settings, path) for path in settings.listed_projects)
        found += [project for project in each if project]
    return found
