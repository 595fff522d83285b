"""A night's updates: find them, put them in groups, keep of each group what leaves the tests as
they were."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.dependencies import Installer
from agent.errors import ToolFailed, Unavailable
from agent.maintenance.dependencies.bisect import split
from agent.maintenance.dependencies.ecosystem import Audit, Project
from agent.maintenance.dependencies.repair import Broken, repairs
from agent.maintenance.dependencies.shop import LARGEST, opened
from agent.maintenance.dependencies.table import ECOSYSTEMS
from agent.maintenance.dependencies.trial import Trials, Tried
from agent.maintenance.dependencies.versions import level
from agent.maintenance.night import Advisory, Group, LeftOut, Outcome, Task, TaskReport, Update
from agent.maintenance.workshop import Night

INSTALLS = 24  #: tries for one group
MAJORS = 10  #: groups of one major update each, a night
SECONDS = 3600.0


@dataclass(kw_only=True)
class _Told:
    updates: list[Update] = field(default_factory=list[Update])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    not_checked: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])
    groups: list[Group] = field(default_factory=list[Group])
    broken: list[Broken] = field(default_factory=list[Broken])
    looked: bool = False  #: the updates of one ecosystem at least are known
    away: bool = False  #: a registry was


async def dependencies(night: Night) -> TaskReport:
    """Nothing is written anywhere but in the vault: each group is a tree."""
    began, told = time.monotonic(), _Told()
    projects = await _projects(night, told)
    if night.installer is None:
        told.problems.append("Packages are not installed here, so no update can be tried.")
    else:
        for project in projects:
            await _one(night, night.installer, project, told, began + SECONDS)
    if not projects and not told.problems:
        told.not_checked.append("Dependencies: not checked: no package manager that is known here.")
    # on a local repository nobody does errands, and making them takes long
    nobody = night.project.local or night.project.maintenance.agent_money <= 0
    return TaskReport(
        task=Task.DEPENDENCIES,
        status=_outcome(told),
        updates=tuple(told.updates),
        left_out=tuple(told.left_out),
        not_checked=tuple(dict.fromkeys(told.not_checked)),
        problems=tuple(told.problems),
        groups=tuple(told.groups),
        errands=() if nobody else await repairs(told.broken),
        seconds=time.monotonic() - began,
    )


def _outcome(told: _Told) -> Outcome:
    if not told.groups and (told.problems or (told.away and not told.looked)):
        return "failed"
    if told.problems or told.not_checked:
        return "partial"
    return "done" if told.groups or told.left_out else "nothing"


async def _projects(night: Night, told: _Told) -> list[Project]:
    found: list[Project] = []
    for ecosystem in ECOSYSTEMS:
        paths = ecosystem.claims(night.paths)
        manifests: dict[str, bytes] = {}
        for path in paths:
            data = await night.vault.read(night.base, path, limit=LARGEST + 1)
            manifests[path] = data or b""
        large = [path for path, data in manifests.items() if len(data) > LARGEST]
        torn = [path for path, data in manifests.items() if _in_conflict(data)]
        if torn:
            told.problems.append(
                f"{torn[0]} has the marks of an unresolved conflict; nothing of {ecosystem.name}"
                " was updated. Resolve it on the branch."
            )
        elif large:
            told.problems.append(
                f"{large[0]} is larger than {LARGEST // 2**20} MB; nothing of {ecosystem.name}"
                " was updated."
            )
        elif paths:
            found.append(Project(ecosystem=ecosystem, manifests=manifests))
    return found


def _in_conflict(data: bytes) -> bool:
    lines = data.split(b"\n")
    starts = [line[:8] for line in lines if line.startswith((b"<<<<<<< ", b">>>>>>> "))]
    return b"<<<<<<< " in starts and b">>>>>>> " in starts


async def _one(
    night: Night, installer: Installer, project: Project, told: _Told, until: float
) -> None:
    name = project.ecosystem.name
    night.tell(f"{name}: looking for updates")
    try:
        async with opened(
            project.manifests,
            sandbox=night.sandbox,
            installer=installer,
            project=night.project.path,
        ) as shop:
            audit = await project.ecosystem.audit(shop)
            outdated = await project.ecosystem.outdated(shop)
    except Unavailable as error:
        told.away = True
        told.not_checked.append(f"Updates of {name}: not checked: {error}")
        return
    except ToolFailed as error:
        told.problems.append(f"Updates of {name} were not looked for: {error}")
        return
    told.looked = True
    if audit.not_checked:
        told.not_checked.append(audit.not_checked)
    told.not_checked += outdated.not_checked
    told.left_out += outdated.left_out
    updates = ordered(_with_advisories(each, audit) for each in outdated.updates)
    told.not_checked += _unmended(audit, updates)
    if not updates:
        return
    if not project.ecosystem.testable:
        why = f"Packages of {name} are not installed on this machine, so it was not tried."
        told.left_out += [LeftOut(update=update, reason=why) for update in updates]
        return
    night.tell(f"{name}: {len(updates)} updates found; running the tests as they are")
    async with night.place(night.base) as place:
        problem = place.packages.record.problem
    if problem:
        told.problems.append(f"No update of {name} could be tried: {problem}")
        return
    trials = Trials(
        night=night,
        installer=installer,
        project=project,
        before=await night.test(night.base),
        in_time=lambda: time.monotonic() < until,
    )
    for title, group in groups(updates, name):
        await _group(night, trials, title, group, told)


async def _group(
    night: Night, trials: Trials, title: str, updates: Sequence[Update], told: _Told
) -> None:
    began = time.monotonic()

    async def attempt(some: Sequence[Update]) -> str | None:
        return (await trials.attempt(some)).red or None

    night.tell(f"trying: {title}")
    try:
        found = await split(updates, attempt, limit=INSTALLS)
        tried = await trials.attempt(found.kept) if found.kept else Tried()
    except Unavailable as error:
        told.problems.append(f"{title}: not finished, and nothing of it is kept: {error}")
        return
    # first, since these are what somebody can do something about
    told.left_out[:0] = [LeftOut(update=each.item, reason=each.reason) for each in found.broken]
    told.broken += [Broken(trials=trials, update=each.item) for each in found.broken]
    why = f"Which update breaks was not found within {INSTALLS} installs, so it waits."
    told.left_out += [LeftOut(update=update, reason=why) for update in found.undecided]
    if tried.tree is None:
        return
    told.updates += found.kept
    made = Group(
        title=title_of(found.kept),
        files=tried.files,
        base=night.base,
        tree=tried.tree,
        kind=kind_of(found.kept),
        offers=tuple(update.offer for update in found.kept),
        tests_before=trials.before,
        tests_after=tried.tests,
        seconds=time.monotonic() - began,
    )
    told.groups.append(made)
    night.tell(f"kept: {made.title} ({found.tries} installs, {made.seconds:.0f} s)")


def groups(updates: Sequence[Update], name: str) -> list[tuple[str, list[Update]]]:
    """One for all that is patch or minor, one for each major; first what mends most."""
    small = [update for update in updates if update.level != "major"]
    large = [[update] for update in updates if update.level == "major"]
    found = [*([small] if small else []), *large[:MAJORS]]
    found.sort(key=lambda group: not any(update.advisories for update in group))
    return [(f"{name}: {title_of(group)}", group) for group in found]


def kind_of(updates: Sequence[Update]) -> str:
    """The same whichever versions are offered."""
    first = updates[0]
    return f"{first.ecosystem}:{first.package}" if first.level == "major" else first.ecosystem


def title_of(updates: Sequence[Update]) -> str:
    first = updates[0]
    fixes = "security: " if any(update.advisories for update in updates) else ""
    if len(updates) == 1:
        return f"{fixes}Update {first.package} from {first.current} to {first.target}"
    return f"{fixes}Update {len(updates)} packages"


def ordered(updates: Iterable[Update]) -> list[Update]:
    """Security first; what comes first is what a bisection rather keeps."""
    return sorted(updates, key=lambda u: (not u.advisories, not u.direct, u.package, u.target))


def _with_advisories(update: Update, audit: Audit) -> Update:
    """Those that the target does away with."""
    mended: Mapping[str, Advisory] = {
        advisory.id: advisory
        for known in audit.known
        if known.package == update.package and known.version in ("", update.current)
        for advisory in known.advisories
        if advisory.fixed_in
        and (advisory.fixed_in == update.target or level(advisory.fixed_in, update.target))
    }
    return replace(update, advisories=tuple(mended.values()))


def _unmended(audit: Audit, updates: Sequence[Update]) -> list[str]:
    mended = {(u.package, advisory.id) for u in updates for advisory in u.advisories}
    return [
        f"{known.package} {known.version} has a known vulnerability ({advisory.id}) that no update"
        " found here does away with."
        for known in audit.known
        for advisory in known.advisories
        if (known.package, advisory.id) not in mended
    ]
