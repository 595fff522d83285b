"""Questions to the registry of npm's packages, which pnpm and Yarn use as well: npm asks them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from agent.errors import ToolFailed, Unavailable
from agent.maintenance.dependencies import javascript
from agent.maintenance.dependencies.ecosystem import Outdated
from agent.maintenance.dependencies.shop import NIGHT, Shop
from agent.maintenance.dependencies.versions import is_version, level, next_major, read
from agent.maintenance.night import LeftOut, Update
from agent.ports import Network

NPM = "npm"
#: Where npm takes every dependency for one of production: of others that are not installed, as
#: none is here, it tells nothing.
_APART = "outdated"
#: npm's own idea of ranges: whether every Node that the project promises can run the package.
_FITS = """
const path = require('path'), fs = require('fs');
const which = require('child_process').execFileSync('which', ['npm']).toString().trim();
const npm = fs.realpathSync(which);
const semver = require(require.resolve('semver', {paths: [path.dirname(npm), npm]}));
const asked = JSON.parse(fs.readFileSync(process.argv[1], 'utf8'));
const fits = (mine, theirs) => {
  try { return semver.subset(mine, theirs); } catch { return true; }
};
console.log(JSON.stringify(asked.map(([mine, theirs]) => fits(mine, theirs))));
"""
#: One question for each package; npm answers with the versions in that range, or with nothing.
#: After each answer stands what it is about.
_VIEW = """for each in "$@"; do
npm view --json -- "$each" version engines.node || exit
printf '\\0%s\\0' "$each"
done"""


async def behind(shop: Shop, ranges: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Name -> newest in the range, newest of all; whichever tool has locked it."""
    shop.hand_in(f"{_APART}/package.json", json.dumps({"dependencies": dict(ranges)}))
    argv = [NPM, "outdated", "--json", f"--prefix={NIGHT}/{_APART}"]
    answer = await shop.run(argv, ok=(0, 1))
    found = javascript.outdated(answer.out)
    if not found and answer.code and "error" in answer.err:
        raise Unavailable(f"`npm outdated` failed: {answer.err.strip()[:300]}")
    return found


def furthest(
    pairs: Mapping[tuple[str, str], None], pins: Mapping[str, str]
) -> list[tuple[str, str]]:
    """For each package the furthest step of the same major version, and the one beyond."""
    best: dict[tuple[str, bool], str] = {}
    for name, target in pairs:
        far = level(pins[name], target) if name in pins else None
        if far is None:
            continue
        key = name, far == "major"
        if key not in best or level(best[key], target) is not None:
            best[key] = target
    return [(name, target) for (name, _), target in best.items()]


async def within(shop: Shop, pins: Mapping[str, str]) -> dict[str, str]:
    """The newest of the same major version, where the declared range ends before it."""
    if not pins:
        return {}
    specs = [f"{name}@>={version} <{next_major(version)}" for name, version in pins.items()]
    found: dict[str, str] = {}
    for name, data in zip(pins, await _viewed(shop, specs), strict=True):
        versions = [
            str(cast("dict[str, Any]", each).get("version"))
            if isinstance(each, dict)
            else str(each)
            for each in (cast("list[Any]", data) if isinstance(data, list) else [data])
        ]
        steps = [v for v in versions if is_version(v) and level(pins[name], v)]
        if steps:
            found[name] = max(steps, key=lambda v: _order(v))
    return found


def _order(text: str) -> tuple[int, ...]:
    version = read(text)
    return version.release if version else ()


async def _viewed(shop: Shop, specs: Sequence[str]) -> list[Any]:
    """What npm tells of each; None of what it knows nothing of."""
    answer = await shop.run(["bash", "-c", _VIEW, "sh", *specs])
    parts = answer.out.split("\0")
    if parts[1::2] != list(specs):
        raise ToolFailed("`npm view` told not all of what it was asked for.")
    return [_value(text) for text in parts[:-1:2]]


def _value(text: str) -> Any:
    try:
        return json.loads(text) if text.strip() else None
    except (ValueError, RecursionError) as error:
        raise Unavailable("The registry answered npm with something that is no JSON.") from error


async def fitting(
    shop: Shop, package: Mapping[str, Any], updates: Sequence[Update], odd: Sequence[str]
) -> Outdated:
    """Leaves out what does not run on every Node that the project promises."""
    engines: Any = package.get("engines")
    mine: Any = cast("dict[str, Any]", engines).get("node") if isinstance(engines, dict) else None
    if not isinstance(mine, str) or not updates:
        return Outdated(updates=tuple(updates), not_checked=tuple(odd))
    specs = [f"{update.package}@{update.target}" for update in updates]
    theirs = [
        str(cast("dict[str, Any]", value).get("engines.node", "*"))
        if isinstance(value, dict)
        else "*"
        for value in await _viewed(shop, specs)
    ]
    question = shop.hand_in("engines.json", json.dumps([[mine, each] for each in theirs]))
    told = await shop.run(["node", "-e", _FITS, question], network=Network.NONE)
    fits = _verdicts(told.out, len(updates))
    kept = [update for update, good in zip(updates, fits, strict=True) if good]
    left = [
        LeftOut(update=update, reason=f"It needs Node {need}; the project promises {mine}.")
        for update, need, good in zip(updates, theirs, fits, strict=True)
        if not good
    ]
    return Outdated(updates=tuple(kept), left_out=tuple(left), not_checked=tuple(odd))


def _verdicts(text: str, number: int) -> list[bool]:
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    found = cast("list[object]", said) if isinstance(said, list) else []
    if len(found) != number or not all(isinstance(each, bool) for each in found):
        raise ToolFailed("`node` did not tell which of the updates run on the project's Node.")
    return cast("list[bool]", found)
