"""Our dependency night beside renovate: same repositories, same night. Renovate is run where it is
installed, and is no part of this; its branches are judged by the trials that ours went through."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from agent.adapters.night_file import NightFiles
from agent.adapters.package_config import read_sources
from agent.adapters.system_clock import SystemClock
from agent.errors import Unavailable
from agent.maintenance.dependencies.ecosystem import Project
from agent.maintenance.dependencies.table import ECOSYSTEMS
from agent.maintenance.dependencies.trial import Trials
from agent.maintenance.dependencies.versions import level
from agent.maintenance.night import Task, TaskReport, Update
from agent.maintenance.workshop import Night, begin
from agent.ports import Origin
from agent.project import ProjectSettings
from benchmarks.outdated import samples
from benchmarks.renovated import Offer, Renovated, Unusable, find
from benchmarks.renovated import renovate as look
from benchmarks.scratch import scratch
from benchmarks.scripted import ROOT, environment
from benchmarks.table import Row, Table, skipped
from bot.build import make_installer, make_sandbox, make_vaults
from bot.settings import Settings, load

SECONDS = 1200  #: for one repository

Key = tuple[str, str]  # package, target


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A repository's night. `verdicts`: by branch of renovate's, why it is red; None is green."""

    name: str
    ours: TaskReport
    seconds: float
    theirs: Renovated
    verdicts: Mapping[str, str | None]
    judging: float

    @property
    def found(self) -> dict[Key, Update]:
        every = (*self.ours.updates, *(left.update for left in self.ours.left_out))
        return {(each.package, each.target): each for each in every}

    @property
    def offered(self) -> dict[Key, Offer]:
        return {(each.package, each.target): each for each in self.theirs.offers}

    @property
    def green(self) -> int:
        return sum(bool(g.tests_after and g.tests_after.green) for g in self.ours.groups)

    @property
    def theirs_green(self) -> int:
        return sum(why is None for why in self.verdicts.values())


def renovate() -> list[Table]:
    title = "Beside renovate, dependencies of the same repositories"
    try:
        program, version = find()
        with scratch() as folder:
            settings = load(environment(JOURNEYMAN_HOME=str(folder / "home")))
            (folder / "samples").mkdir()
            (folder / "renovate").mkdir()
            seen = [
                _beside(name, repository, settings, program, folder / "renovate")
                for name, repository in samples(folder / "samples").items()
            ]
    except (Unusable, subprocess.SubprocessError) as error:
        return [Table(title=title, rows=[skipped("renovate", str(error))])]
    return [
        Table(title=f"{title} (renovate {version})", rows=[*map(_row, seen), *_totals(seen)]),
        Table(
            title="Found by one of them only", rows=[row for each in seen for row in _only(each)]
        ),
    ]


def _beside(name: str, repository: Path, settings: Settings, program: str, folder: Path) -> Beside:
    theirs = look(program, repository, read_sources(settings.environment), folder)
    began = time.monotonic()
    ours = _ours(repository, settings)
    seconds, began = time.monotonic() - began, time.monotonic()
    verdicts = asyncio.run(_judged(repository, theirs, settings))
    return Beside(
        name=name,
        ours=ours,
        seconds=seconds,
        theirs=theirs,
        verdicts=verdicts,
        judging=time.monotonic() - began,
    )


def _ours(repository: Path, settings: Settings) -> TaskReport:
    argv = [sys.executable, "-m", "bot", "maintenance", "run", "--repo", str(repository)]
    done = subprocess.run(
        [*argv, "--task", Task.DEPENDENCIES, "--json"],
        cwd=ROOT,
        env=dict(settings.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=SECONDS,
    )
    return TypeAdapter(TaskReport).validate_python(json.loads(done.stdout)[Task.DEPENDENCIES])


async def _judged(repository: Path, theirs: Renovated, settings: Settings) -> dict[str, str | None]:
    """Each branch alone on the base, as its pipeline would find it."""
    night = await _night(repository, settings)
    installer = night.installer
    assert installer is not None
    found: dict[str, str | None] = {}
    for ecosystem in ECOSYSTEMS:
        paths = ecosystem.claims(night.paths)
        if not paths:
            continue
        read = [await night.vault.read(night.base, path) or b"" for path in paths]
        project = Project(ecosystem=ecosystem, manifests=dict(zip(paths, read, strict=True)))
        before = await night.test(night.base)
        trials = Trials(
            night=night, installer=installer, project=project, before=before, in_time=lambda: True
        )
        for branch, offers in theirs.branches().items():
            try:
                tried = await trials.attempt([_update(ecosystem.name, each) for each in offers])
            except Unavailable as error:
                found[branch] = str(error)
            else:
                found[branch] = tried.red or None
    return found


async def _night(repository: Path, settings: Settings) -> Night:
    sandbox = make_sandbox(settings)
    return await begin(
        ProjectSettings(path=str(repository), local=True),
        make_vaults(settings).of(str(repository)),
        Origin(url=str(repository)),
        sandbox=sandbox,
        installer=make_installer(settings, sandbox),
        clock=SystemClock(),
        findings=NightFiles(settings.home / "judge"),
    )


def _update(ecosystem: str, offer: Offer) -> Update:
    return Update(
        ecosystem=ecosystem,
        package=offer.package,
        current=offer.current,
        target=offer.target,
        level=level(offer.current, offer.target) or "minor",
        direct=True,
        manifest="",
    )


def _row(each: Beside) -> Row:
    return Row(
        what=each.name,
        value=len(each.found),
        unit="updates",
        baseline=f"{len(each.offered)} updates",
        note=f"{each.green} of {len(each.ours.groups)} merge requests green, {each.seconds:.0f} s;"
        f" renovate: {each.theirs_green} of {len(each.verdicts)},"
        f" {each.theirs.seconds:.0f} s to look up, {each.judging:.0f} s to try",
    )


def _totals(seen: Sequence[Beside]) -> list[Row]:
    missed = [(each, key) for each in seen for key in each.offered.keys() - each.found.keys()]
    able = [key for each, key in missed if each.verdicts.get(each.offered[key].branch) is None]
    groups, green = sum(len(each.ours.groups) for each in seen), sum(each.green for each in seen)
    branches = sum(len(each.verdicts) for each in seen)
    theirs_green = sum(each.theirs_green for each in seen)
    inside = sum(not update.direct for each in seen for update in each.found.values())
    unknown = dict.fromkeys(why for each in seen for why in each.theirs.unknown)
    return [
        Row(
            what="updates found",
            value=sum(len(each.found) for each in seen),
            unit="updates",
            baseline=f"{sum(len(each.offered) for each in seen)} updates",
            note=f"{inside} of ours are of packages that others bring along",
        ),
        Row(what="of renovate's, not found by us", value=len(missed), unit="updates"),
        Row(
            what="of these, with green tests",
            value=len(able),
            unit="updates",
            limit=0,
            note=", ".join(f"{package} {target}" for package, target in able),
        ),
        Row(
            what="merge requests",
            value=groups,
            unit="opened",
            limit=branches,
            baseline=f"{branches} branches",
            note="renovate's as its defaults name them, without its limits of an hour and in all",
        ),
        Row(
            what="green of these",
            value=green / max(groups, 1),
            limit=theirs_green / max(branches, 1),
            at_least=True,
            baseline=f"{theirs_green / max(branches, 1):.3f}",
            note=f"{green} of {groups}; renovate {theirs_green} of {branches}, in our trials",
        ),
        Row(
            what="wall time",
            value=sum(each.seconds for each in seen),
            unit="s",
            baseline=f"{sum(each.theirs.seconds for each in seen):.0f} s, looking up only",
            note="ours with installing, testing and bisecting; renovate's branches took"
            f" {sum(each.judging for each in seen):.0f} s more to install and test",
        ),
        Row(
            what="not looked up by renovate",
            value=len(unknown),
            note="no token, no changelogs and no local folders of packages. " + "; ".join(unknown),
        ),
    ]


def _only(each: Beside) -> list[Row]:
    rows: list[Row] = []
    for key in sorted(each.found.keys() ^ each.offered.keys()):
        offer, update = each.offered.get(key), each.found.get(key)
        if offer is not None:
            why = each.verdicts.get(offer.branch)
            note = f"in our trial: {'green' if why is None else why[:160]}"
        else:
            left = [x.reason[:160] for x in each.ours.left_out if x.update == update]
            note = f"left out: {left[0]}" if left else "in a merge request"
            note = f"{'' if update and update.direct else 'brought along by another; '}{note}"
        who = "ours" if offer is None else "renovate"
        rows.append(Row(what=f"{each.name}: {' '.join(key)}", value=None, baseline=who, note=note))
    return rows
