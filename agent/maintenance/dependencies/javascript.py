"""package.json and what npm says, read with suspicion: both were written by others."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from agent.errors import ToolFailed
from agent.maintenance.dependencies.ecosystem import Known
from agent.maintenance.dependencies.versions import Grammar, is_name, is_version
from agent.maintenance.night import Advisory

#: Sections of package.json, and how `npm install` is told to write to them.
SECTIONS: Mapping[str, str] = {
    "dependencies": "--save-prod",
    "devDependencies": "--save-dev",
    "optionalDependencies": "--save-optional",
}
_PLAIN = re.compile(r"([\^~]?)v?\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?")


@dataclass(frozen=True, kw_only=True)
class Declared:
    name: str
    section: str
    range: str

    @property
    def prefix(self) -> str | None:
        """How the range is written when it is about one version; None for any other range."""
        match = _PLAIN.fullmatch(self.range.strip())
        return match[1] if match else None


def read_object(path: str, text: str) -> dict[str, Any]:
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ToolFailed(f"{path} is no JSON: {error}.") from error
    if not isinstance(data, dict):
        raise ToolFailed(f"{path} is no JSON object.")
    return cast("dict[str, Any]", data)


def declared(package: Mapping[str, Any]) -> tuple[list[Declared], list[str]]:
    """The dependencies that a registry can be asked about, and sentences on odd ones."""
    found: list[Declared] = []
    odd: list[str] = []
    for section in SECTIONS:
        entries: Any = package.get(section)
        for name, range_ in cast(
            "dict[str, Any]", entries if isinstance(entries, dict) else {}
        ).items():
            if not is_name(name, Grammar.NPM) or not isinstance(range_, str):
                odd.append(f"{name[:60]!r} was not looked at: that is no name of an npm package.")
            elif ":" in range_ or "/" in range_:
                odd.append(f"{name} was not looked at: it does not come from the registry.")
            else:
                found.append(Declared(name=name, section=section, range=range_))
    return found, odd


def locked(lock: Mapping[str, Any]) -> dict[str, str]:
    """Name -> version of what stands at the top of node_modules."""
    packages: Any = lock.get("packages")
    if isinstance(packages, dict):
        entries = {
            path.removeprefix("node_modules/"): entry
            for path, entry in cast("dict[str, Any]", packages).items()
            if path.startswith("node_modules/")
        }
    else:
        old: Any = lock.get("dependencies")
        entries = cast("dict[str, Any]", old if isinstance(old, dict) else {})
    found: dict[str, str] = {}
    for name, entry in entries.items():
        version: Any = (
            cast("dict[str, Any]", entry).get("version") if isinstance(entry, dict) else ""
        )
        if is_name(name, Grammar.NPM) and is_version(version):
            found[name] = version
    return found


def outdated(text: str) -> dict[str, tuple[str, str]]:
    """Of `npm outdated --json`: name -> newest in the declared range, newest of all."""
    if not text.strip():
        return {}
    found: dict[str, tuple[str, str]] = {}
    for name, entry in read_object("The answer of npm", text).items():
        several = cast("list[Any]", entry) if isinstance(entry, list) else [entry]
        first: Any = several[0] if several else None
        if not isinstance(first, dict) or not is_name(name, Grammar.NPM):
            continue
        facts = cast("dict[str, Any]", first)
        wanted, latest = facts.get("wanted"), facts.get("latest")
        if is_version(wanted) and is_version(latest):
            found[name] = str(wanted), str(latest)
    return found


def advisories(text: str, versions: Mapping[str, str]) -> tuple[Known, ...]:
    """Of `npm audit --json`, for the packages that an advisory is about, not those that only use
    them."""
    data = read_object("The answer of npm", text)
    reported: Any = data.get("vulnerabilities")
    if not isinstance(reported, dict):
        raise ToolFailed("npm answered something that is no report of its own.")
    found: list[Known] = []
    for name, entry in cast("dict[str, Any]", reported).items():
        via: Any = cast("dict[str, Any]", entry).get("via") if isinstance(entry, dict) else None
        own = [
            _advisory(cast("dict[str, Any]", each))
            for each in (cast("list[Any]", via) if isinstance(via, list) else [])
            if isinstance(each, dict)
        ]
        if own and is_name(name, Grammar.NPM):
            version = versions.get(name, "")
            found.append(Known(package=name, version=version, advisories=tuple(own)))
    return tuple(found)


def _advisory(data: Mapping[str, Any]) -> Advisory:
    vulnerable = re.fullmatch(r"(?:.*\s)?<\s*([0-9][\w.+-]*)", str(data.get("range", "")))
    url = str(data.get("url", ""))
    return Advisory(
        id=url.rsplit("/", 1)[-1][:60] or str(data.get("source", ""))[:60],
        severity=str(data.get("severity", ""))[:20],
        summary=" ".join(str(data.get("title", "")).split())[:300],
        fixed_in=vulnerable[1] if vulnerable else "",
    )
