"""Projects with a package-lock.json."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agent.errors import ToolFailed, Unavailable
from agent.maintenance.dependencies.ecosystem import Audit, Outdated
from agent.maintenance.dependencies.javascript import (
    SECTIONS,
    Declared,
    advisories,
    declared,
    locked,
    outdated,
    read_object,
)
from agent.maintenance.dependencies.shop import NIGHT, Shop
from agent.maintenance.dependencies.versions import is_version, level, next_major, read
from agent.maintenance.night import LeftOut, Update
from agent.ports import Network

_NPM = "npm"
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
#: One question for each package; npm answers with the versions in that range.
_VIEW = 'for each in "$@"; do npm view --json -- "$each" version engines.node || exit; echo; done'


@dataclass(frozen=True)
class Npm:
    name: str = "npm"
    testable: bool = True

    def claims(self, paths: Collection[str]) -> Sequence[str]:
        wanted = ("package.json", "package-lock.json")
        return wanted if set(wanted) <= set(paths) else ()

    async def outdated(self, shop: Shop) -> Outdated:
        package = _package(shop)
        asked, odd = declared(package)
        if package.get("workspaces"):
            raise ToolFailed("npm's workspaces are not looked at yet.")
        pins = locked(read_object("package-lock.json", shop.text("package-lock.json")))
        ranges = {each.name: each.range for each in asked}
        shop.hand_in(f"{_APART}/package.json", json.dumps({"dependencies": ranges}))
        argv = [_NPM, "outdated", "--json", f"--prefix={NIGHT}/{_APART}"]
        answer = await shop.run(argv, ok=(0, 1))
        found = outdated(answer.out)
        if not found and answer.code and "error" in answer.err:
            raise Unavailable(f"`npm outdated` failed: {answer.err.strip()[:300]}")
        known = {each.name: each for each in asked if each.name in pins}
        if absent := sorted({each.name for each in asked} - pins.keys()):
            named = ", ".join(absent[:8])
            odd.append(f"{named}: not checked: package-lock.json does not say which version it is.")
        ahead = [
            name
            for name, (wanted, latest) in found.items()
            if name in known and level(pins[name], latest) == "major" and pins[name] == wanted
        ]
        within = await _within(shop, {name: pins[name] for name in ahead})
        pairs: dict[tuple[str, str], None] = {}
        for name, (wanted, latest) in found.items():
            for target in (wanted, within.get(name, wanted), latest):
                if name in known and level(pins[name], target) == "major" and target != latest:
                    continue
                pairs[name, target] = None
        updates = [
            self._update(known[name], pins[name], target)
            for name, target in _furthest(pairs, pins)
            if name in known
        ]
        return await _fitting(shop, package, updates, odd)

    def _update(self, asked: Declared, current: str, target: str) -> Update:
        return Update(
            ecosystem=self.name,
            package=asked.name,
            current=current,
            target=target,
            level=level(current, target) or "patch",
            direct=True,
            manifest="package.json",
        )

    async def audit(self, shop: Shop) -> Audit:
        pins = locked(read_object("package-lock.json", shop.text("package-lock.json")))
        argv = [_NPM, "audit", "--json", "--package-lock-only"]
        try:
            answer = await shop.run(argv, env={"npm_config_audit": "true"}, ok=(0, 1))
            return Audit(known=advisories(answer.out, pins))
        except (ToolFailed, Unavailable):
            why = "the registry gives no audit report"
            return Audit(not_checked=f"Vulnerabilities of npm packages: not checked: {why}.")

    async def apply(self, shop: Shop, updates: Sequence[Update]) -> None:
        asked = {each.name: each for each in declared(_package(shop))[0]}
        batches: dict[tuple[str, str], list[str]] = {}
        in_range: list[str] = []
        for update in updates:
            line = asked.get(update.package)
            if line is None or line.prefix is None:
                in_range.append(update.package)
            else:
                spec = f"{update.package}@{update.target}"
                batches.setdefault((line.section, line.prefix), []).append(spec)
        for (section, prefix), specs in sorted(batches.items()):
            exact = "--save-exact" if not prefix else f"--save-prefix={prefix}"
            await self._change(shop, "install", [SECTIONS[section], exact], specs)
        if in_range:
            await self._change(shop, "update", ["--no-save"], in_range)
        pins = locked(read_object("package-lock.json", shop.text("package-lock.json")))
        for update in updates:
            if pins.get(update.package) != update.target:
                stays = pins.get(update.package, "away")
                raise ToolFailed(
                    f"{update.package} {update.target} does not fit the ranges in package.json;"
                    f" npm would leave it at {stays}."
                )

    async def _change(
        self, shop: Shop, command: str, options: Sequence[str], packages: Sequence[str]
    ) -> None:
        argv = [_NPM, command, "--package-lock-only", "--ignore-scripts", "--engine-strict"]
        await shop.run([*argv, *options, "--", *packages])


def _package(shop: Shop) -> dict[str, Any]:
    text = shop.given["package.json"].decode("utf-8", "replace")
    return read_object("package.json", text)


def _furthest(
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


async def _within(shop: Shop, pins: Mapping[str, str]) -> dict[str, str]:
    """The newest of the same major version, where the declared range ends before it."""
    if not pins:
        return {}
    specs = [f"{name}@>={version} <{next_major(version)}" for name, version in pins.items()]
    answer = await shop.run(["bash", "-c", _VIEW, "sh", *specs])
    found: dict[str, str] = {}
    for name, data in zip(pins, _values(answer.out), strict=False):
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


def _values(text: str) -> list[Any]:
    """The JSON values that follow one another in an answer."""
    decoder, found, at = json.JSONDecoder(), list[Any](), 0
    while (at := len(text) - len(text[at:].lstrip())) < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise Unavailable(
                "The registry answered npm with something that is no JSON."
            ) from error
        found.append(value)
    return found


async def _fitting(
    shop: Shop, package: Mapping[str, Any], updates: Sequence[Update], odd: Sequence[str]
) -> Outdated:
    """Leaves out what does not run on every Node that the project promises."""
    engines: Any = package.get("engines")
    mine: Any = cast("dict[str, Any]", engines).get("node") if isinstance(engines, dict) else None
    if not isinstance(mine, str) or not updates:
        return Outdated(updates=tuple(updates), not_checked=tuple(odd))
    specs = [f"{update.package}@{update.target}" for update in updates]
    answer = await shop.run(["bash", "-c", _VIEW, "sh", *specs])
    theirs = [
        str(cast("dict[str, Any]", value).get("engines.node", "*"))
        if isinstance(value, dict)
        else "*"
        for value in _values(answer.out)
    ]
    question = shop.hand_in("engines.json", json.dumps([[mine, each] for each in theirs]))
    told = await shop.run(["node", "-e", _FITS, question], network=Network.NONE)
    fits = cast("list[bool]", json.loads(told.out))
    kept = [update for update, good in zip(updates, fits, strict=True) if good]
    left = [
        LeftOut(update=update, reason=f"It needs Node {need}; the project promises {mine}.")
        for update, need, good in zip(updates, theirs, fits, strict=True)
        if not good
    ]
    return Outdated(updates=tuple(kept), left_out=tuple(left), not_checked=tuple(odd))
