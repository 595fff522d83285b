"""A project as its own tests find it installed, without building it: on the path of its virtual
environment, also for programs that they start with an environment of their own, and known by name
and version to `importlib.metadata`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, cast

#: Where a project's modules are looked for.
ROOTS = ("/workspace", "/workspace/src")

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def site_files(pyproject: bytes | None) -> dict[str, str]:
    """Files for `site-packages`, by their path in it."""
    files = {"journeyman-project.pth": "".join(f"{root}\n" for root in ROOTS)}
    project = _project(pyproject)
    name, version = str(project.get("name", "")), str(project.get("version", "0"))
    if not (_SAFE.fullmatch(name) and _SAFE.fullmatch(version.replace("+", "-"))):
        return files
    folder = f"{re.sub(r'[-_.]+', '_', name).lower()}-{version}.dist-info"
    files[f"{folder}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if points := _entry_points(project):
        files[f"{folder}/entry_points.txt"] = points
    return files


def _project(pyproject: bytes | None) -> Mapping[str, Any]:
    try:
        project = tomllib.loads((pyproject or b"").decode("utf-8", "replace")).get("project", {})
    except tomllib.TOMLDecodeError:
        return {}
    return cast("Mapping[str, Any]", project) if isinstance(project, dict) else {}


def _entry_points(project: Mapping[str, Any]) -> str:
    groups: dict[str, Any] = {
        "console_scripts": project.get("scripts"),
        "gui_scripts": project.get("gui-scripts"),
    }
    named = project.get("entry-points")
    if isinstance(named, dict):
        groups |= cast("dict[str, Any]", named)
    parts: list[str] = []
    for group, points in groups.items():
        if not isinstance(points, dict):
            continue
        lines = [f"{n} = {v}" for n, v in cast("dict[str, Any]", points).items()]
        parts.append("\n".join([f"[{group}]", *(line.replace("\n", " ") for line in lines)]))
    return "\n\n".join(parts) + "\n" if parts else ""
