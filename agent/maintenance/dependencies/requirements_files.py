"""Requirement files as text: which packages they pin, and the same with other versions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from agent.maintenance.dependencies.python_index import canonical

_FILE = re.compile(
    r"(?:requirements/[\w.-]+|(?:[\w-]+[-_.])?requirements(?:[-_.][\w.-]+)?"
    r"|constraints[\w.-]*)\.(?:txt|in)",
    re.ASCII,
)
_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?P<extras>\[[A-Za-z0-9,._ -]*\])?[ \t]*==[ \t]*"
    r"(?P<version>[^\s;,\\#*]+)(?=[ \t]*(?:$|;|\\|#|[ \t]--hash))"
)
_NAMED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class RequirementsFile:
    """`source` is the file that it is compiled from, empty for one that is written by hand."""

    path: str
    source: str
    pins: Mapping[str, str]  #: canonical name -> version
    hashed: bool


def paths_of(paths: Collection[str]) -> list[str]:
    return sorted(path for path in paths if _FILE.fullmatch(path))


def read_all(given: Mapping[str, bytes]) -> list[RequirementsFile]:
    """Those that pin versions, in the order of their paths; compiled ones come with their source,
    which pins nothing of its own then."""
    names = paths_of(given)
    compiled = {p for p in names if p.endswith(".txt") and f"{p[:-4]}.in" in given}
    sources = {f"{path[:-4]}.in" for path in compiled}
    found: list[RequirementsFile] = []
    for path in names:
        text = given[path].decode("utf-8", "replace")
        pins = pins_of(text)
        if path not in sources and pins:
            source = f"{path[:-4]}.in" if path in compiled else ""
            found.append(
                RequirementsFile(path=path, source=source, pins=pins, hashed="--hash=" in text)
            )
    return found


def pins_of(text: str) -> dict[str, str]:
    return {canonical(match["name"]): match["version"] for _, match in _pins(text)}


def named(text: str) -> frozenset[str]:
    """The packages that a source asks for itself."""
    return frozenset(canonical(name) for name in _NAMED.findall(text))


def with_versions(text: str, targets: Mapping[str, str], blocks: Mapping[str, str]) -> str:
    """Exact pins are moved to their targets. `blocks`: for a package with hashes, the new ones, as
    continuation lines."""
    lines = text.splitlines(keepends=True)
    for number, match in reversed(list(_pins(text))):
        name = canonical(match["name"])
        if name not in targets:
            continue
        line = lines[number]
        lines[number] = (
            line[: match.start("version")] + targets[name] + line[match.end("version") :]
        )
        last = number
        while last < len(lines) - 1 and lines[last].rstrip().endswith("\\"):
            last += 1
        if last > number:
            ending = "\n" if lines[last].endswith("\n") else ""
            lines[number + 1 : last + 1] = [blocks.get(name, "") + ending]
    return "".join(lines)


def header(text: str) -> str:
    """The comment and the options that a compiled file begins with."""
    kept: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.strip() and not line.startswith(("#", "--")):
            break
        kept.append(line)
    return "".join(kept)


def style(text: str) -> list[str]:
    """Options of `uv pip compile` that make a file look as this one does."""
    options = ["--no-header"]
    if "--hash=" in text:
        options.append("--generate-hashes")
    if not re.search(r"#\s*via\b", text):
        options.append("--no-annotate")
    elif re.search(r"^[^#\n]+#\s*via\b", text, re.MULTILINE):
        options.append("--annotation-style=line")
    if re.search(r"^[A-Za-z0-9][\w.-]*\[", text, re.MULTILINE):
        options.append("--no-strip-extras")
    if re.search(r"==[^\n#]*;", text):
        options.append("--universal")
    return options


def _pins(text: str) -> Iterator[tuple[int, re.Match[str]]]:
    for number, line in enumerate(text.splitlines()):
        if match := _PIN.match(line):
            yield number, match
