"""Nights on real things up to GitLab's merge requests: its stand-in, git, the effect plane."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import ClientSession
from engine_bench import Bench, git

from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter
from agent.effects import EffectExecutor
from agent.maintenance.night import Group, Task, TaskReport, Update
from agent.maintenance.shift import NightShift
from agent.maintenance.tasks import Run as NightTask
from agent.maintenance.workshop import Night
from agent.pace import Pace
from agent.ports import Origin
from agent.run import ENDED, CommitSha, Run, RunStatus
from agent.testing import FixedClock, ScriptedModel
from agent.work import Lookout
from playground.gitlab.merging import approve
from playground.gitlab.records import MergeRequest, Project, User
from playground.gitlab.server import GitLabStandIn

EARLIER = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A group that a night comes to: `text` is the line that it writes."""

    text: str
    title: str = "Mend what ruff can mend safely"
    kind: str = "fixes"
    updates: tuple[Update, ...] = ()


def update(package: str, target: str, *, major: bool = False) -> Update:
    return Update(
        ecosystem="npm",
        package=package,
        current="1.0.0",
        target=target,
        level="major" if major else "minor",
        direct=True,
        manifest="package.json",
    )


def bump(package: str, target: str) -> Change:
    made = update(package, target)
    return Change(
        text=f"{package} {target}", title=f"Update to {target}", kind="npm", updates=(made,)
    )


def task(changes: Sequence[Change]) -> NightTask:
    async def run(night: Night) -> TaskReport:
        groups = [await group(night, change) for change in changes]
        updates = [each for change in changes for each in change.updates]
        status = "done" if groups else "nothing"
        return TaskReport(
            task=Task.LINT, status=status, groups=tuple(groups), updates=tuple(updates)
        )

    return run


async def group(night: Night, change: Change) -> Group:
    folder = night.sandbox.new_folder("change")
    await night.vault.checkout(night.base, folder)
    (folder / "calc.py").write_text(f"def add(a, b):\n    return a + b  # {change.text}\n")
    made = await night.vault.collect(folder, night.base)
    night.vault.forget(folder)
    await night.sandbox.remove(folder)
    return Group(
        title=change.title,
        files=("calc.py",),
        base=night.base,
        tree=made.tree,
        kind=change.kind,
        offers=tuple(each.offer for each in change.updates),
    )


@dataclass(kw_only=True)
class Town:
    bench: Bench
    gitlab: GitLabStandIn
    project: Project
    reader: GitLabReader
    writer: GitLabWriter
    sam: User

    # --- nights

    def shift(self, *changes: Change, name: str = "n1") -> NightShift:
        bench = self.bench
        return NightShift(
            name=name,
            diary=bench.db.nights,
            findings=bench.db.nights,
            store=bench.db.store,
            sandbox=bench.sandbox,
            installer=None,
            vaults=bench.vaults.of,
            origin=self.origin,
            forge=self.reader,
            projects=lambda path: bench.project,
            clock=bench.clock,
            tasks={Task.LINT: task(changes)},
        )

    async def origin(self, path: str) -> Origin:
        return self.reader.origin(await self.reader.project(path))

    async def begun(self, *changes: Change) -> TaskReport:
        """A night up to its report: its runs are not worked on yet."""
        await self.bench.db.nights.add(self.bench.project.path, Task.LINT)
        assert await self.shift(*changes).work()
        entries = await self.bench.db.nights.entries(since=EARLIER)
        assert entries[-1].report is not None
        return entries[-1].report

    async def night(self, *changes: Change) -> TaskReport:
        """With everything that comes of it."""
        report = await self.begun(*changes)
        await self.published()
        return report

    async def published(self) -> None:
        for run in reversed(await self.runs()):
            if run.status is RunStatus.PUBLISHING:
                await self.publish(run)

    async def publish(self, run: Run) -> None:
        worker = self.bench.worker(ScriptedModel(replies=[]))
        await worker.advance(run.id)
        await self.executor.run_pending(run.id)
        await worker.advance(run.id)

    @property
    def executor(self) -> EffectExecutor:
        return EffectExecutor(
            store=self.bench.db.store,
            vaults=self.bench.vaults.of,
            reader=self.reader,
            writer=self.writer,
            projects=lambda path: self.bench.project,
            clock=self.bench.clock,
        )

    async def runs(self) -> list[Run]:
        """Newest first."""
        return list(await self.bench.db.store.runs())

    async def end_of(self, run: Run) -> tuple[RunStatus, str]:
        state = await self.bench.state(run)
        assert state.status in ENDED, await self.bench.story(run)
        return state.status, state.reason

    # --- GitLab

    @property
    def requests(self) -> list[MergeRequest]:
        return list(self.project.merge_requests.values())

    @property
    def open(self) -> list[MergeRequest]:
        return [request for request in self.requests if request.state == "opened"]

    async def at_gitlab(self, *arguments: str) -> str:
        said = await self.gitlab.forge.repository(self.project).git(*arguments)
        return said.decode().strip()

    async def head(self, branch: str) -> CommitSha:
        return CommitSha(await self.at_gitlab("rev-parse", f"refs/heads/{branch}"))

    async def line(self, branch: str) -> str:
        """What the newest change on the branch wrote."""
        return (await self.at_gitlab("show", f"{branch}:calc.py")).rpartition("# ")[2]

    async def branches(self) -> list[str]:
        told = await self.at_gitlab("for-each-ref", "--format=%(refname:short)", "refs/heads/agent")
        return told.split()

    async def close(self, iid: int) -> None:
        await self.put(iid, {"state_event": "close"})

    async def reopen(self, iid: int) -> None:
        await self.put(iid, {"state_event": "reopen"})

    async def merge(self, iid: int) -> None:
        await self.put(iid, {"title": "Ready"})
        await self.put(iid, {}, "/merge")

    async def approve(self, iid: int) -> None:
        approve(self.gitlab.forge, self.project, self.project.merge_requests[iid], self.sam)

    async def put(self, iid: int, values: dict[str, object], what: str = "") -> None:
        headers = {"PRIVATE-TOKEN": self.gitlab.state.add_token(self.sam, "api").secret}
        url = f"{self.gitlab.url}/api/v4/projects/{self.project.id}/merge_requests/{iid}{what}"
        async with ClientSession(headers=headers) as session, session.put(url, json=values) as said:
            assert said.status == 200, await said.text()

    async def pushes(self, branch: str, text: str = "mine") -> str:
        """Sam adds a commit of his own. Gives it."""

        def commit(clone: Path) -> None:
            (clone / "sam.txt").write_text(f"{text}\n")
            git(clone, "add", "-A")
            git(clone, "commit", "-qm", "By a person")

        return await self._pushes(branch, text, commit)

    async def revert(self, branch: str) -> str:
        """Sam takes the newest change back."""

        def commit(clone: Path) -> None:
            git(clone, "checkout", "-q", "HEAD^", "--", ".")
            git(clone, "commit", "-qm", "Revert")

        return await self._pushes(branch, "revert", commit)

    async def _pushes(self, branch: str, name: str, commit: Callable[[Path], None]) -> str:
        token = self.gitlab.state.add_token(self.sam, "api").secret
        remote = self.gitlab.url.replace("://", f"://sam:{token}@")
        remote = f"{remote}/{self.bench.project.path}.git"
        clone = self.bench.folder / f"clone-{name}"

        def push() -> str:
            git(self.bench.folder, "clone", "-q", "-b", branch, remote, clone.name)
            commit(clone)
            git(clone, "push", "-q")
            return git(clone, "rev-parse", "HEAD")

        return await asyncio.to_thread(push)


@asynccontextmanager
async def open_town(bench: Bench, folder: Path, *, watch: bool = False) -> AsyncGenerator[Town]:
    bench.clock = FixedClock(datetime.now(UTC))
    async with AsyncExitStack() as stack:
        gitlab = await stack.enter_async_context(GitLabStandIn(folder / "gitlab"))
        sam = gitlab.state.add_user("sam")
        agent = gitlab.state.add_user("journeyman", bot=True)
        project = await gitlab.add_project(bench.project.path, owner=sam, source=bench.repository)
        gitlab.state.add_member(project, agent, 30)

        def token(*scopes: str) -> str:
            return gitlab.state.add_token(agent, *scopes).secret

        read = GitLabReader(gitlab.url, token("read_api", "read_repository"))
        reader = await stack.enter_async_context(read)
        write = GitLabWriter(gitlab.url, token("api", "write_repository"))
        writer = await stack.enter_async_context(write)
        town = Town(
            bench=bench, gitlab=gitlab, project=project, reader=reader, writer=writer, sam=sam
        )
        bench.project = replace(bench.project, watch_pipeline=watch)
        if watch:
            bench.lookout = Lookout(forge=reader, origin=town.origin, pace=Pace(clock=bench.clock))
        yield town
