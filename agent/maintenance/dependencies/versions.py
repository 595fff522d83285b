"""Names and versions as each ecosystem writes them, and how far apart two versions are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from agent.maintenance.night import Level

_LONGEST = 214  # npm's own cap, the widest that matters
#: Nothing here can begin with a dash, and no space, quote, slash or colon can come in unnoticed:
#: a name is one argument, and never an option.
_SEGMENT = r"[A-Za-z0-9][A-Za-z0-9._~-]*"
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.!+_-]{0,99}", re.ASCII)
_PARTS = re.compile(r"v?(?:(?P<epoch>\d{1,9})!)?(?P<release>\d{1,18}(?:\.\d{1,18})*)(?P<rest>.*)")
_PRE = re.compile(r"[-_.]?(a|b|c|rc|alpha|beta|pre|preview|dev|snapshot|m|cr|ea)[-_.]?\d*")
_POST = re.compile(r"[-_.]?(post|rev|r)[-_.]?\d*|-\d+|[-.](final|ga|release|jre|android)")


class Grammar(StrEnum):
    """How an ecosystem names its packages."""

    PYTHON = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
    NPM = rf"(?:@{_SEGMENT}/)?{_SEGMENT}"
    GO = rf"[a-z0-9][a-z0-9.-]*\.[a-z]{{2,}}(?:/{_SEGMENT})*"
    CARGO = r"[A-Za-z][A-Za-z0-9_-]*"
    GEM = r"[A-Za-z0-9][A-Za-z0-9._-]*"
    MAVEN = r"[A-Za-z0-9_][A-Za-z0-9._-]*:[A-Za-z0-9_][A-Za-z0-9._-]*"


def is_name(text: object, grammar: Grammar) -> bool:
    return (
        isinstance(text, str)
        and len(text) <= _LONGEST
        and ".." not in text
        and re.fullmatch(grammar, text, re.ASCII) is not None
    )


def is_version(text: object) -> bool:
    return isinstance(text, str) and _VERSION.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class Version:
    """What a level needs to know. `release` has three parts at least."""

    epoch: int
    release: tuple[int, ...]
    prerelease: bool
    rest: str

    @property
    def major(self) -> tuple[int, int]:
        return self.epoch, self.release[0]


def read(text: str) -> Version | None:
    """By the rules of semantic versions and of PEP 440, which agree on what is asked here."""
    match = _PARTS.fullmatch(text.strip())
    if match is None:
        return None
    release = tuple(int(part) for part in match["release"].split("."))
    rest = match["rest"].partition("+")[0].lower()
    pre = bool(rest) and not _POST.fullmatch(rest)
    if pre and not rest.startswith("-"):
        pre = bool(_PRE.match(rest))
    return Version(
        epoch=int(match["epoch"] or 0),
        release=release + (0,) * (3 - len(release)),
        prerelease=pre,
        rest=rest,
    )


def level(current: str, target: str) -> Level | None:
    """None: the target is no step forward, or a prerelease for somebody who is on none."""
    old, new = read(current), read(target)
    if old is None or new is None or (new.prerelease and not old.prerelease):
        return None
    width = max(len(old.release), len(new.release))
    before = (old.epoch, *old.release, *(0,) * (width - len(old.release)))
    after = (new.epoch, *new.release, *(0,) * (width - len(new.release)))
    if after < before or (after == before and not _later(old, new)):
        return None
    if new.major != old.major:
        return "major"
    return "minor" if new.release[1] != old.release[1] else "patch"


def key(version: Version) -> tuple[int, list[int], bool, list[tuple[int, int | str]]]:
    """Puts versions in order, those before their release included."""
    release = list(version.release)
    while release and not release[-1]:
        del release[-1]
    return version.epoch, release, not version.prerelease, _natural(version.rest)


def _later(old: Version, new: Version) -> bool:
    """Of the same release: the final one after its prereleases, a post-release after both."""
    if old.prerelease != new.prerelease:
        return old.prerelease
    return _natural(new.rest) > _natural(old.rest)


def _natural(rest: str) -> list[tuple[int, int | str]]:
    parts = re.findall(r"\d+|[a-z]+", rest)
    return [(1, int(part)) if part.isdigit() else (0, part) for part in parts]


def next_major(text: str) -> str:
    """The first version that counts as another major one."""
    version = read(text)
    if version is None:
        return ""
    epoch = f"{version.epoch}!" if version.epoch else ""
    return f"{epoch}{version.release[0] + 1}"
