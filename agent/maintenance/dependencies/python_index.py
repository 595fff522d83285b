"""Asks the index of Python packages, by uv's resolver, how far each pin could go: yanked files,
prereleases and those for another Python are not answers to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.errors import Unavailable
from agent.maintenance.dependencies.answers import read_toml, table
from agent.maintenance.dependencies.shop import UV, Shop, is_down, telling
from agent.maintenance.dependencies.versions import (
    Grammar,
    is_name,
    is_version,
    level,
    next_major,
    read,
)

_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\#]+)", re.MULTILINE)
_LOWEST = re.compile(r"(?:>=|~=|==|\^|~)\s*(\d+\.\d+)")
#: Runs the command in front with each question, four at a time.
_EACH = r"""
command=("${@:2:$1}"); shift "$(($1 + 1))"
for each in "$@"; do
  "${command[@]}" "$each" >"$each.out" &
  while [ "$(jobs -rp | wc -l)" -ge 4 ]; do wait -n || :; done
done
wait || :
number=0
for each in "$@"; do printf '\0%d\n' "$number"; cat -- "$each.out"; number=$((number + 1)); done
"""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """`within`: the newest of the same major version. Both may be the current one."""

    within: str
    latest: str


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def no_build(shop: Shop) -> list[str]:
    """What keeps uv from running code of packages, and from an index that nobody configured."""
    return ["--no-build", *(() if shop.indexed else ("--no-index",))]


def python_arguments(shop: Shop) -> list[str]:
    """The oldest Python that the project promises to run on; none: the one of this machine."""
    data = shop.given.get("pyproject.toml")
    if data is None:
        return []
    parsed = read_toml("pyproject.toml", data.decode("utf-8", "replace"))
    poetry = table(table(table(parsed.get("tool")).get("poetry")).get("dependencies"))
    text = table(parsed.get("project")).get("requires-python") or poetry.get("python")
    match = _LOWEST.search(text) if isinstance(text, str) else None
    return ["--python-version", match[1]] if match else []


async def reach(shop: Shop, pins: Mapping[str, str]) -> tuple[dict[str, Reach], tuple[str, ...]]:
    """For each pinned package, and sentences on those that the index gave no answer for."""
    fit: dict[str, str] = {}
    odd: list[str] = []
    for name, version in pins.items():
        if is_name(name, Grammar.PYTHON) and is_version(version) and "+" not in version:
            fit[name] = version
        else:
            odd.append(f"{name[:60]!r} was not looked at: its name or version is unusual.")
    latest = await newest(shop, [f"{name}>={version}" for name, version in fit.items()])
    ahead = {n: v for n, v in latest.items() if level(fit[n], v) == "major"}
    bounded = [f"{name}>={fit[name]},<{next_major(fit[name])}" for name in ahead]
    within = await newest(shop, bounded)
    found = {
        name: Reach(
            within=within.get(name, fit[name]) if name in ahead else version, latest=version
        )
        for name, version in latest.items()
    }
    if missing := fit.keys() - latest.keys():
        named = ", ".join(sorted(missing)[:8])
        odd.append(f"The package index had no installable version of {named}: not checked.")
    return found, tuple(odd)


async def newest(shop: Shop, requirements: Sequence[str]) -> dict[str, str]:
    """By name, each asked for alone: what they need must not hold back one another here, but has
    to fit the Python. One without an answer is left out."""
    if not requirements:
        return {}
    questions = [
        shop.hand_in(f"question-{number}.in", requirement + "\n")
        for number, requirement in enumerate(requirements)
    ]
    argv = [UV, "pip", "compile", "-q", "--no-annotate", "--no-header", *no_build(shop)]
    argv += ["--prerelease", "if-necessary-or-explicit", *python_arguments(shop), "--"]
    answer = await shop.run(["bash", "-c", _EACH, "sh", str(len(argv)), *argv, *questions])
    if not _PINNED.search(answer.out) and is_down(answer.err):
        raise Unavailable(f"`uv` could not use the package index: {telling(answer.err)}")
    parts = re.split(r"^\0(\d+)\n", answer.out, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        name = canonical(requirements[int(number)].partition(">")[0])
        pins = {canonical(each): version for each, version in _PINNED.findall(text)}
        if is_version(pins.get(name)) and read(pins[name]):
            found[name] = pins[name]
    return found
