"""What a changelog says between two versions. It is foreign text: read, cut, and never believed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.maintenance.dependencies.versions import Version, key, read
from agent.prompt import clean, cut

LIMIT = 12_000  #: characters that a prompt has room for
_HEADING = 160  #: characters of the longest line that may be a heading
_FEWEST = 1_500  #: a section is rather left out than cut to less
_MARK = re.compile(r"#{1,6}(?=[\s\[v\d])|={1,5}(?=\s)")
_UNDERLINE = re.compile(r"([=\-~^\"'*+#.:_`])\1{2,}\s*")
_LINK = re.compile(r"\[([^\[\]]*)\]\([^()]*\)|<[^<>]*>")
_DATE = re.compile(r"\d{4}[-/]\d\d?[-/]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4}")
_VERSION = re.compile(r"[vV]?\d[0-9A-Za-z.!+_-]{0,60}")
_WORDS = {
    *("version", "versions", "ver", "v", "release", "releases", "released", "rel", "notes"),
    *("changes", "change", "changelog", "in", "for", "new", "the", "what's", "what’s", "whats"),
}
_NEXT = {"unreleased", "next", "upcoming", "head", "master", "main"}
_NEVER = (" ", "\t", "- ", "* ", "+ ")
_AFTER = tuple("([-–—/:,*")


@dataclass(frozen=True)
class _Section:
    version: Version | None  #: None: what is not released yet
    start: int
    end: int


def between(text: str, current: str, target: str, *, package: str = "", limit: int = LIMIT) -> str:
    """The sections after `current`, up to `target`; empty when headings name none. Where they
    are too long, those of larger releases go first."""
    old, new = read(current), read(target)
    if old is None or new is None:
        return ""
    lines = clean(text).replace("\r", "\n").split("\n")
    wanted = [
        each
        for each in _sections(lines, package)
        if each.version and key(old) < key(each.version) <= key(new)
    ]
    return _fitted(lines, wanted, limit)


def _fitted(lines: Sequence[str], wanted: Sequence[_Section], limit: int) -> str:
    kept: dict[int, str] = {}
    room = limit - 60  # for the last line
    for each in sorted(wanted, key=_weight):
        text = "\n".join(lines[each.start : each.end]).strip()
        if len(text) > room and room < _FEWEST:
            continue
        kept[each.start] = cut(text, room - 100) if len(text) > room else text
        room -= len(kept[each.start]) + 2
    told = "\n\n".join(kept[start] for start in sorted(kept))
    missing = len(wanted) - len(kept)
    return f"{told}\n\n[… {missing} sections left out here.]" if missing else told


def _weight(section: _Section) -> int:
    """First what a major version changed: that is what breaks code."""
    version = section.version
    if version is None or version.prerelease:
        return 3
    return 0 if not any(version.release[1:]) else 1 if not any(version.release[2:]) else 2


def _sections(lines: Sequence[str], package: str) -> list[_Section]:
    heads: list[tuple[int, Version | None]] = []
    for number, line in enumerate(lines):
        if not line or len(line) > _HEADING or line.startswith(_NEVER):
            continue
        below = lines[number + 1] if number + 1 < len(lines) else ""
        mark = _MARK.match(line)
        marked = mark is not None or _UNDERLINE.fullmatch(below) is not None
        title = _LINK.sub(r"\1", line[mark.end() :] if mark else line)
        if marked and title.strip("[]#= ").lower() in _NEXT:
            heads.append((number, None))
        elif found := _named(title, package, marked=marked):
            heads.append((number, found))
    ends = [*(start for start, _ in heads[1:]), len(lines)][: len(heads)]
    return [_Section(found, start, end) for (start, found), end in zip(heads, ends, strict=True)]


def _named(title: str, package: str, *, marked: bool) -> Version | None:
    """The version that a heading is about: nothing but a few words may stand before it."""
    words = title.split()
    known = False
    for number, word in enumerate(words[:8]):
        bare = word.strip("[]()*_`'\",:;#-–—=")
        if package and bare.lower().startswith(f"{package.lower()}@"):
            bare = bare[len(package) + 1 :]
        if not bare or _DATE.fullmatch(bare):
            continue
        lower = bare.lower()
        if lower in _WORDS or _same(lower, package):
            known = True
            continue
        version = read(bare.lstrip("vV")) if _VERSION.fullmatch(bare) else None
        if version is None or version.rest.strip(".-") in ("x", "*"):
            return None
        rest = [each for each in words[number + 1 :] if each.strip("#= ")]
        if "." not in bare and (rest or not (marked or known or bare[0] in "vV")):
            return None
        return version if marked or _alone(word, rest) else None
    return None


def _same(word: str, package: str) -> bool:
    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    return bool(package) and plain(word) in (plain(package), plain(package.rpartition("/")[2]))


def _alone(word: str, rest: Sequence[str]) -> bool:
    """Of a line without any mark: it is no sentence that begins with a version."""
    if not rest or word.endswith(":") or word.startswith("**"):
        return len(rest) <= 6
    return len(rest) <= 6 and (rest[0].startswith(_AFTER) or bool(_DATE.match(rest[0])))
