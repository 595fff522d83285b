"""Reads from a checkout what a project says it needs, without running any of it."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from agent import node_tools
from agent.files import WorkspaceFiles
from agent.poetry_lock import pins

_LIMIT = 8 * 1024 * 1024
#: Manager -> its lock file; the first that is there counts.
JAVASCRIPT = {"npm": "package-lock.json", "pnpm": "pnpm-lock.yaml", "yarn": "yarn.lock"}
_TEST_GROUPS = ("test", "tests", "testing", "dev", "development")
_REQUIREMENTS = re.compile(
    r"(?:requirements|(?:dev|test|tests)[-_]requirements"
    r"|requirements[-_.](?:dev|develop|development|test|tests|testing))\.(?:txt|in)"
)
_INCLUDED = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[ =]?\s*([^\s#]+)", re.MULTILINE)
_LOCAL = re.compile(r"^\s*(?:-e\b|--editable\b|\.{1,2}(?:/|\[|\s*$)|file:).*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Manifests:
    """What has to be in sight to install, and how. `manager` is empty when nothing is declared."""

    manager: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    #: of a Python project: arguments for `uv pip install`; None: `uv sync` reads the lock file;
    #: of a JavaScript one: the tool to fetch
    arguments: tuple[str, ...] | None = ()
    problem: str = ""  #: a sentence on what was left out

    @property
    def lock(self) -> bytes:
        """Everything that decides what gets installed."""
        parts = [self.manager.encode(), repr(self.arguments).encode()]
        for name in sorted(self.files):
            parts += [name.encode(), self.files[name]]
        return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def find(files: WorkspaceFiles) -> Manifests:
    """The project's manifests: JavaScript's when it has no Python ones, as the root says."""
    names = set(files.listing())
    if "uv.lock" in names and "pyproject.toml" in names:
        return _uv_lock(files)
    python = _python(files, names)
    if python.manager:
        return python
    return _javascript(files, names) if "package.json" in names else python


def _javascript(files: WorkspaceFiles, names: set[str]) -> Manifests:
    for manager, lock in JAVASCRIPT.items():
        if lock not in names:
            continue
        shown = ["package.json", lock]
        if manager == "pnpm" and "pnpm-workspace.yaml" in names:
            shown.append("pnpm-workspace.yaml")
        found = _read(files, shown)
        tool = {
            "npm": "npm",
            "pnpm": node_tools.pnpm(found["package.json"], found[lock]),
            "yarn": "" if b"__metadata:" in found[lock] else node_tools.YARN,
        }[manager]
        if tool:
            arguments = () if manager == "npm" else (tool,)
            return Manifests(manager=manager, files=found, arguments=arguments)
    problem = (
        "Only JavaScript projects with a lock file of npm, pnpm or Yarn 1 get their packages"
        " installed."
    )
    return Manifests(problem=problem)


def wants_pytest(files: WorkspaceFiles) -> bool:
    names = set(files.listing())
    signs = {"tests/", "test/", "pytest.ini", "conftest.py", "tox.ini"}
    return bool(signs & names) or any(
        name.startswith("test_") and name.endswith(".py") for name in names
    )


def _uv_lock(files: WorkspaceFiles) -> Manifests:
    found = _read(files, ["pyproject.toml", "uv.lock"])
    return Manifests(manager="uv", files=found, arguments=None)


def _python(files: WorkspaceFiles, names: set[str]) -> Manifests:
    requirements = sorted(name for name in names if _REQUIREMENTS.fullmatch(name))
    if "requirements/" in names:
        inside = files.listing("requirements")
        wanted = ("base.txt", "main.txt", *(f"{group}.txt" for group in _TEST_GROUPS))
        requirements += [f"requirements/{name}" for name in wanted if name in inside]
    pinned = {name.removesuffix(".txt") for name in requirements if name.endswith(".txt")}
    requirements = [
        name for name in requirements if name.endswith(".txt") or name[:-3] not in pinned
    ]
    found = _with_included(files, requirements)
    arguments = [word for name in requirements for word in ("-r", name)]
    problem = ""
    if "poetry.lock" in names:
        both = _read(files, {"poetry.lock", "pyproject.toml"} & set(names))
        try:
            found["poetry.txt"] = pins(both["poetry.lock"], both.get("pyproject.toml", b""))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            return Manifests(
                problem=f"poetry.lock cannot be read, so nothing is installed: {error}."
            )
        return Manifests(manager="uv", files=found, arguments=("--no-deps", "-r", "poetry.txt"))
    if "pyproject.toml" in names:
        found |= _read(files, ["pyproject.toml"])
    for name, reader in (("pyproject.toml", _pyproject), ("setup.cfg", _setup_cfg)):
        if name in names:
            text = _read(files, [name])[name].decode("utf-8", "replace")
            try:
                declared = reader(text)
            except (tomllib.TOMLDecodeError, configparser.Error) as error:
                problem = f"{name} cannot be read and was left out: {error}."
                continue
            if declared:
                made = f"from-{name}.txt"
                text = "\n".join(declared) + "\n"
                found[made] = text.encode()
                found |= _with_included(files, _INCLUDED.findall(text))
                arguments += ["-r", made]
    if not arguments and "setup.py" in names:
        problem = "setup.py is not run to learn the dependencies; declare them in pyproject.toml."
    manager = "uv" if arguments else ""
    return Manifests(manager=manager, files=found, arguments=tuple(arguments), problem=problem)


def _read(files: WorkspaceFiles, names: Iterable[str]) -> dict[str, bytes]:
    return {name: files.read(name, _LIMIT) for name in names}


def _with_included(files: WorkspaceFiles, names: Iterable[str]) -> dict[str, bytes]:
    """Requirement files with those they include; lines that mean the project itself are taken
    out, since its code is not in sight when packages are fetched."""
    found: dict[str, bytes] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in found or "://" in name:
            continue
        text = files.read(name, _LIMIT).decode("utf-8", "replace")
        folder = name.rpartition("/")[0]
        todo += [f"{folder}/{other}" if folder else other for other in _INCLUDED.findall(text)]
        found[name] = _LOCAL.sub("", text).encode()
    return found


def _pyproject(text: str) -> list[str]:
    data = tomllib.loads(text)
    project = _table(data, "project")
    declared = _strings(project.get("dependencies"))
    for extra, items in _table(project, "optional-dependencies").items():
        if extra.lower() in _TEST_GROUPS:
            declared += _strings(items)
    groups = _table(data, "dependency-groups")
    for group in groups:
        if group.lower() in _TEST_GROUPS:
            declared += _group(groups, group, frozenset())
    dynamic = _table(_table(_table(data, "tool"), "setuptools"), "dynamic")
    for source in _as_list(_table(dynamic, "dependencies").get("file")):
        declared.append(f"-r {source}")
    return [item for item in declared if item]


def _group(groups: Mapping[str, Any], name: str, seen: frozenset[str]) -> list[str]:
    found: list[str] = []
    for item in cast("list[Any]", groups.get(name) or []):
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            included = str(cast("dict[str, Any]", item).get("include-group", ""))
            if included and included not in seen:
                found += _group(groups, included, seen | {name})
    return found


def _setup_cfg(text: str) -> list[str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    declared = parser.get("options", "install_requires", fallback="").splitlines()
    if parser.has_section("options.extras_require"):
        for extra, items in parser.items("options.extras_require"):
            if extra.lower() in _TEST_GROUPS:
                declared += items.splitlines()
    return [line.strip() for line in declared if line.strip()]


def _table(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _strings(value: Any) -> list[str]:
    return [item for item in _as_list(value) if not item.lower().startswith("file:")]


def _as_list(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [item for item in items if isinstance(item, str)]
