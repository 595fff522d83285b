"""Tonight's tasks now, on a local repository: branches are the result, the work tree stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from agent.canaries import Canaries
from agent.dependencies import Installer
from agent.difference import read_patch
from agent.errors import Conflict, ForgeRejected
from agent.leaks import leaks
from agent.maintenance.findings import Findings, FindingStore
from agent.maintenance.night import Group, Task, TaskReport
from agent.maintenance.tasks import TASKS
from agent.maintenance.workshop import Night, begin
from agent.ports import Clock, Origin, Sandbox, Vault
from agent.project import ProjectSettings
from agent.run import CommitSha, TreeSha
from agent.stages.keep import AUTHOR

NAMES = 20  #: of branches that are tried


@dataclass(frozen=True, kw_only=True)
class Put:
    """What a branch got from a night."""

    commit: CommitSha
    tree: TreeSha
    base: CommitSha


class BranchStore(Protocol):
    """Knows a branch as ours while it is where a night has put it."""

    async def put(self, project: str, branch: str) -> Put | None: ...

    async def note(self, project: str, branch: str, put: Put) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Forgetful:
    """For a dry run: reads only, where there is anything to read."""

    findings: FindingStore | None = None

    async def last(self, project: str) -> Findings | None:
        return await self.findings.last(project) if self.findings else None

    async def keep(self, project: str, findings: Findings) -> None: ...


@dataclass(frozen=True, kw_only=True)
class LocalNights:
    """`vaults` gives the vault of a project, which is here the path of a repository."""

    sandbox: Sandbox
    vaults: Callable[[str], Vault]
    clock: Clock
    installer: Installer | None
    findings: FindingStore
    branches: BranchStore
    canaries: Canaries = field(default_factory=Canaries)

    async def run(
        self,
        repository: Path,
        tasks: Sequence[Task],
        project: ProjectSettings,
        *,
        dry_run: bool = False,
        tell: Callable[[str], None] = lambda line: None,
    ) -> tuple[TaskReport, ...]:
        """`project` says how; its path is not asked. `dry_run`: no branch, and nothing is
        remembered."""
        path = str(repository.resolve())
        vault, origin = self.vaults(path), Origin(url=path)
        night = await begin(
            replace(project, path=path, local=True, base_branch=None),
            vault,
            origin,
            sandbox=self.sandbox,
            installer=self.installer,
            clock=self.clock,
            findings=Forgetful(findings=self.findings) if dry_run else self.findings,
            tell=tell,
        )
        reports: list[TaskReport] = []
        for task in tasks:
            report = replace(await TASKS[task](night), errands=())  # nobody is there to do them
            reports.append(report if dry_run else await self._kept(night, origin, report))
        return tuple(reports)

    async def _kept(self, night: Night, origin: Origin, report: TaskReport) -> TaskReport:
        """Each group of it on a branch of its own."""
        groups: list[Group] = []
        problems = list(report.problems)
        for number, group in enumerate(report.groups, 1):
            wanted = group.branch or f"maintenance/{report.task}" + (f"-{number}" * (number > 1))
            night.tell(f"{wanted} gets {len(group.files)} files")
            try:
                groups.append(await self._put(night, origin, group, wanted))
                if groups[-1].branch != wanted:
                    problems.append(
                        f"The branch {wanted} holds work of somebody else, and was left alone: "
                        f"{groups[-1].branch} has the change."
                    )
            except (Conflict, ForgeRejected, _Withheld) as error:
                problems.append(str(error))
                groups.append(replace(group, branch=""))
        status = "partial" if len(problems) > len(report.problems) else report.status
        return replace(report, groups=tuple(groups), problems=tuple(problems), status=status)

    async def _put(self, night: Night, origin: Origin, group: Group, wanted: str) -> Group:
        await self._search(night, group)
        name, head, mine = await self._own(night, origin, wanted)
        if mine and (mine.tree, mine.base) == (group.tree, group.base):
            return replace(group, commit=mine.commit, branch=name)  # as last night
        commit = await night.vault.commit(
            group.tree, group.base, f"{group.title}\n", author=AUTHOR, at=self.clock.now()
        )
        await night.vault.push(origin, commit, name, expected=head)
        put = Put(commit=commit, tree=group.tree, base=group.base)
        await self.branches.note(night.project.path, name, put)
        return replace(group, commit=commit, branch=name)

    async def _own(
        self, night: Night, origin: Origin, wanted: str
    ) -> tuple[str, CommitSha | None, Put | None]:
        """The first name that is free, or ours."""
        for number in range(1, NAMES + 1):
            name = wanted if number == 1 else f"{wanted}-{number}"
            head = await night.vault.remote_head(origin, name)
            mine = await self.branches.put(night.project.path, name)
            if head is None:
                return name, None, None
            if mine and mine.commit == head:
                return name, head, mine
        raise Conflict(
            f"No branch was written: {wanted} and {NAMES - 1} like it hold work of somebody else. "
            "Delete those that are done with.",
            status=409,
        )

    async def _search(self, night: Night, group: Group) -> None:
        """For credentials of ours, as before every push."""
        folder = self.sandbox.new_folder("search")
        try:
            await night.vault.checkout(group.tree, folder)
            patch = (await night.vault.collect(folder, group.base)).patch
        finally:
            night.vault.forget(folder)
            await self.sandbox.remove(folder)
        diffs = await asyncio.to_thread(read_patch, patch)
        if await leaks(self.canaries, night.vault, group.tree, diffs):
            raise _Withheld(
                f"No branch was written for “{group.title}”: a credential of this machine is in "
                "the change. Have it renewed, and see how it got there."
            )


class _Withheld(Exception): ...
