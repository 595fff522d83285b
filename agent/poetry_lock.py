"""What a poetry.lock pins, as requirements that uv installs."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, cast

Table = Mapping[str, Any]


def pins(lock: bytes, project: bytes) -> bytes:
    """A line for each package, with the marker that the lock file gives it. Locks before 2.1 give
    none: there a package that others bring along for some platforms only (`colorama`, on Windows)
    is known by what each of those says of it. `project`: the pyproject.toml."""
    packages = [p for p in _tables(tomllib.loads(lock.decode()).get("package")) if _from_index(p)]
    brought: defaultdict[str, list[str]] = defaultdict(list)
    for package in packages:
        for name, marker in _brought(package):
            brought[name].append(marker)
    own = _declared(tomllib.loads(project.decode("utf-8", "replace")) if project else {})
    lines: list[str] = []
    for package in packages:
        name = _normal(str(package.get("name")))
        marker = _of_lock(package)
        if not marker and name not in own:
            marker = _one_of(brought[name])
        lines.append(
            f"{package.get('name')}=={package.get('version')}{f' ; {marker}' * bool(marker)}"
        )
    return "\n".join(lines).encode() + b"\n"


def _from_index(package: Table) -> bool:
    return "source" not in package or _table(package, "source").get("type") == "legacy"


def _of_lock(package: Table) -> str:
    said = package.get("markers")
    if isinstance(said, Mapping):  # one for each group
        groups = list(cast("Mapping[str, Any]", said).values())
        return _one_of([each if isinstance(each, str) else "" for each in groups])
    return said if isinstance(said, str) and _plain(said) else ""


def _brought(package: Table) -> Iterator[tuple[str, str]]:
    for name, said in _table(package, "dependencies").items():
        for each in cast("list[Any]", said) if isinstance(said, list) else [said]:
            marker = _table({"_": each}, "_").get("markers", "")
            yield _normal(name), marker if isinstance(marker, str) and _plain(marker) else ""


def _one_of(markers: list[str]) -> str:
    """Empty when any of them is: then it is wanted everywhere."""
    if not markers or not all(markers):
        return ""
    return " or ".join(dict.fromkeys(f"({marker})" for marker in markers))


def _plain(marker: str) -> bool:
    """About the platform. Extras are not chosen here, and a marker stays on its line."""
    return "extra" not in marker and "\n" not in marker and ";" not in marker


def _declared(project: Table) -> set[str]:
    """What the project itself asks for."""
    poetry = _table(_table(project, "tool"), "poetry")
    groups = [_table(group, "dependencies") for group in _table(poetry, "group").values()]
    tables = [_table(poetry, "dependencies"), _table(poetry, "dev-dependencies"), *groups]
    names = {name for table in tables for name in table}
    metadata = _table(project, "project")
    listed = [metadata.get("dependencies"), *_table(metadata, "optional-dependencies").values()]
    for several in [*listed, *_table(project, "dependency-groups").values()]:
        for each in cast("list[Any]", several) if isinstance(several, list) else []:
            if isinstance(each, str) and (found := re.match(r"[\w.-]+", each.strip())):
                names.add(found[0])
    return {_normal(name) for name in names}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _table(data: Any, name: str) -> Table:
    value: Any = cast("Table", data).get(name) if isinstance(data, Mapping) else None
    return cast("Table", value) if isinstance(value, Mapping) else {}


def _tables(value: Any) -> list[Table]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("Table", item) for item in items if isinstance(item, Mapping)]
