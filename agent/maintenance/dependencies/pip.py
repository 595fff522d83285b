"""Requirement files: compiled ones by compiling again, exact pins written by hand as text."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from agent.errors import ToolFailed
from agent.maintenance.dependencies import python_audit, requirements_files
from agent.maintenance.dependencies.ecosystem import Audit, Outdated
from agent.maintenance.dependencies.python_index import (
    canonical,
    no_build,
    python_arguments,
    reach,
)
from agent.maintenance.dependencies.python_updates import Locked
from agent.maintenance.dependencies.requirements_files import RequirementsFile
from agent.maintenance.dependencies.shop import UV, Shop
from agent.maintenance.dependencies.versions import next_major
from agent.maintenance.night import Update

_HASHED = re.compile(
    r"^([A-Za-z0-9][\w.-]*)==\S+ \\\n((?:    --hash=\S+(?: \\\n)?)+)", re.MULTILINE
)


@dataclass(frozen=True)
class Pip:
    name: str = "pip"
    testable: bool = True

    def claims(self, paths: Collection[str]) -> Sequence[str]:
        found = requirements_files.paths_of(paths)
        if not found or {"uv.lock", "poetry.lock"} & set(paths):
            return ()
        return [*found, *(("pyproject.toml",) if "pyproject.toml" in paths else ())]

    async def outdated(self, shop: Shop) -> Outdated:
        updates: dict[tuple[str, str], Update] = {}
        unknown: list[str] = []
        for file in requirements_files.read_all(shop.given):
            pins = dict(file.pins)
            direct = frozenset(pins)
            if file.source:
                direct = requirements_files.named(shop.text(file.source))
            source = file.source or file.path
            locked = Locked(ecosystem=self.name, pins=pins, direct=direct, own=source, lock=source)
            found, odd = await reach(shop, locked.asked)
            unknown += odd
            more = (await self._indirect(shop, file, direct)).items()
            for update in locked.updates(found, more):
                updates.setdefault((update.package, update.target), update)
        return Outdated(updates=tuple(updates.values()), not_checked=tuple(unknown))

    async def audit(self, shop: Shop) -> Audit:
        return await python_audit.audit(
            shop,
            {n: v for f in requirements_files.read_all(shop.given) for n, v in f.pins.items()},
        )

    async def apply(self, shop: Shop, updates: Sequence[Update]) -> None:
        targets = {canonical(update.package): update.target for update in updates}
        for file in requirements_files.read_all(shop.given):
            mine = {name: target for name, target in targets.items() if name in file.pins}
            if not mine:
                continue
            if file.source:
                await self._compile(shop, file, mine)
            else:
                blocks = await _hashes(shop, mine) if file.hashed else {}
                text = requirements_files.with_versions(shop.text(file.path), mine, blocks)
                shop.files.write(file.path, text.encode())

    async def _indirect(
        self, shop: Shop, file: RequirementsFile, direct: frozenset[str]
    ) -> dict[str, str]:
        """Where packages that others bring along could go, as far as those permit."""
        bounded = [
            f"{name}<{next_major(version)}"
            for name, version in file.pins.items()
            if name not in direct
        ]
        if not file.source or not bounded:
            return {}
        held = [f"{name}=={version}" for name, version in file.pins.items() if name in direct]
        limits = shop.hand_in("limits.txt", "\n".join([*bounded, *held]) + "\n")
        argv = [UV, "pip", "compile", "-q", "--no-annotate", "--no-header", "--upgrade"]
        argv += [*no_build(shop), *python_arguments(shop), "--constraint", limits]
        try:
            answer = await shop.run([*argv, "--", file.source])
        except ToolFailed:
            return {}  # what is pinned does not fit together any more: its own update says so
        found = requirements_files.pins_of(answer.out)
        return {name: version for name, version in found.items() if name in file.pins}

    async def _compile(self, shop: Shop, file: RequirementsFile, targets: dict[str, str]) -> None:
        source, before = shop.text(file.source), shop.text(file.path)
        asked = requirements_files.with_versions(source, targets, {})
        if asked != source:
            shop.files.write(file.source, asked.encode())
        argv = [UV, "pip", "compile", "-q", *requirements_files.style(before), *no_build(shop)]
        argv += python_arguments(shop)
        for name, target in sorted(targets.items()):
            argv += ["--upgrade-package", f"{name}=={target}"]
        await shop.run([*argv, "--output-file", file.path, "--", file.source])
        after = requirements_files.header(before) + shop.text(file.path)
        shop.files.write(file.path, after.encode())
        got = requirements_files.pins_of(after)
        for name, target in targets.items():
            if got.get(name) not in (target, None):
                raise ToolFailed(
                    f"{name} {target} does not fit what {file.source} and the other packages ask"
                    f" for; it would stay at {got[name]}."
                )


async def _hashes(shop: Shop, targets: dict[str, str]) -> dict[str, str]:
    question = shop.hand_in("hashes.in", "".join(f"{n}=={v}\n" for n, v in targets.items()))
    argv = [UV, "pip", "compile", "-q", "--no-deps", "--no-annotate", "--no-header"]
    argv += ["--generate-hashes", *no_build(shop), *python_arguments(shop), "--", question]
    answer = await shop.run(argv)
    found = {canonical(name): block.rstrip("\n") for name, block in _HASHED.findall(answer.out)}
    if missing := set(targets) - set(found):
        raise ToolFailed(f"The index gives no hashes for {', '.join(sorted(missing))}.")
    return found
