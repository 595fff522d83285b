"""One run on a local repository: the engine without Slack and GitLab. A branch is the result."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from agent.canaries import Canaries
from agent.dependencies import Installer
from agent.errors import JourneymanError
from agent.events import (
    EffectDone,
    EffectFailed,
    EffectKind,
    FileChange,
    QuestionAnswered,
    QuestionAsked,
    RunEnded,
    RunEvent,
    StatusChanged,
)
from agent.intents import Push
from agent.pipeline import Violation
from agent.ports import Clock, Model, Origin, Sandbox, Store, Vault, Write
from agent.project import ProjectSettings
from agent.retrieval.library import Library
from agent.run import (
    WAITING,
    CommitSha,
    Limits,
    Person,
    Request,
    Run,
    RunId,
    RunStatus,
    Thread,
    Usage,
)
from agent.state import fold, step
from agent.testreport import TestReport
from agent.worker import Worker

Progress = Callable[[RunEvent], None]
#: Gives the answer to a question of the model's, None when nobody is there to give one.
Answerer = Callable[[QuestionAsked], Awaitable[str | None]]


@dataclass(frozen=True, kw_only=True)
class LocalResult:
    """`branch` and `commit` are None when nothing was changed."""

    run: RunId
    status: RunStatus
    reason: str
    summary: str
    answer: str
    question: QuestionAsked | None  #: nobody answered it; the run waits
    branch: str | None
    commit: CommitSha | None
    files: tuple[FileChange, ...]
    violations: tuple[Violation, ...]  #: what checks the change, and was changed with it
    tests_before: TestReport | None
    tests_after: TestReport | None
    usage: Usage
    seconds: Mapping[str, float]  #: by phase


@dataclass(kw_only=True)
class LocalRuns:
    """`vaults` gives the vault of a project, which is here the path of a repository."""

    store: Store
    model: Model
    sandbox: Sandbox
    vaults: Callable[[str], Vault]
    clock: Clock
    installer: Installer | None = None
    canaries: Canaries = field(default_factory=Canaries)
    library: Library | None = None  #: None: the model has exact search alone
    limits: Limits = field(default_factory=Limits)
    model_plan: str | None = None
    model_repair: str | None = None
    requester: str = "local"  #: who stands in the commit

    async def run(
        self,
        repository: Path,
        text: str,
        *,
        test_command: str | None = None,
        base_branch: str | None = None,
        branch: str | None = None,
        progress: Progress = lambda event: None,
        answer: Answerer | None = None,
    ) -> LocalResult:
        """The repository's work tree is never touched; the result is a branch in it."""
        path = str(repository.resolve())
        project = ProjectSettings(
            path=path,
            test_command=test_command,
            model_plan=self.model_plan,
            model_repair=self.model_repair,
            limits=self.limits,
            local=True,
        )
        run = await self._create(project, text, base_branch)
        worker = self._worker(project)
        origin = Origin(url=path)
        async with AsyncExitStack() as stack:
            watcher = asyncio.create_task(self._tell(run.id, progress))
            stack.push_async_callback(_ended, watcher)
            named: str | None = None
            while True:
                await worker.advance(run.id)
                if await self.store.pending_intents(run.id):
                    named = named or branch or await self._free_branch(origin, run)
                    await self._push(run.id, origin, named)
                    continue
                if not await self._answered(run.id, answer):
                    break
            await self._rest(run.id, watcher)
        return result_of(await self.store.events(run.id), named)

    async def _create(self, project: ProjectSettings, text: str, base: str | None) -> Run:
        once = uuid.uuid4().hex
        me = Person(id="local", name=self.requester, access=50)
        request = Request(
            text=text,
            project=project.path,
            base_branch=base,
            requester=me,
            thread=Thread(team="local", channel="local", ts=once),
            message=once,
        )
        run, _ = await self.store.create(once, request, self.limits)
        return run

    def _worker(self, project: ProjectSettings) -> Worker:
        async def origin(path: str) -> Origin:
            return Origin(url=path)

        return Worker(
            name="local",
            store=self.store,
            model=self.model,
            sandbox=self.sandbox,
            vaults=self.vaults,
            origin=origin,
            projects=lambda path: project,
            clock=self.clock,
            installer=self.installer,
            canaries=self.canaries,
            library=self.library,
        )

    async def _free_branch(self, origin: Origin, run: Run) -> str:
        """The run's own name, unless a run of another database has left it here."""
        vault, name, number = self.vaults(run.request.project), run.branch, 1
        while await vault.remote_head(origin, name) is not None:
            number += 1
            name = f"{run.branch}-{number}"
        return name

    async def _push(self, run: RunId, origin: Origin, branch: str) -> None:
        vault = self.vaults(origin.url)
        for key, intent in await self.store.pending_intents(run):
            assert isinstance(intent, Push)  # all that a local run wants
            try:
                await vault.push(origin, intent.commit, branch, expected=intent.expected)
                told = f"{branch} at {intent.commit[:8]}"
                outcome = EffectDone(key=key, effect=EffectKind.PUSH, result=told)
            except JourneymanError as error:
                outcome = EffectFailed(key=key, effect=EffectKind.PUSH, problem=str(error))
            await self.store.settle(run, key, outcome, wake=False)

    async def _answered(self, run: RunId, answer: Answerer | None) -> bool:
        state = fold(await self.store.events(run))
        if state.question is None or answer is None:
            return False
        said = await answer(state.question)
        if said is None:
            return False
        by = state.request.requester
        told = (
            QuestionAnswered(text=said, by=by),
            StatusChanged(status=RunStatus.QUEUED),
        )
        await self.store.write(run, Write(payloads=told), actor=by.id)
        return True

    async def _tell(self, run: RunId, progress: Progress) -> None:
        seen = 0
        async with self.store.changes() as changed:
            async for id in changed:
                if id == run:
                    for event in await self.store.events(run, after=seen):
                        seen = event.seq
                        progress(event)
                        if isinstance(event.payload, RunEnded):
                            return

    async def _rest(self, run: RunId, watcher: asyncio.Task[None]) -> None:
        """Lets the last events be told."""
        if (await self.store.run(run)).status is not RunStatus.WAITING_FOR_ANSWER:
            await asyncio.wait({watcher}, timeout=1.0)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


def result_of(events: Sequence[RunEvent], branch: str | None) -> LocalResult:
    state = fold(events)
    pushed = state.commits[-1] if state.pushed and state.commits else None
    judged = state.judged if pushed and state.judged and state.judged.tree == pushed.tree else None
    return LocalResult(
        run=state.run,
        status=state.status,
        reason=state.reason,
        summary=state.end.summary if state.end else "",
        answer=state.end.answer if state.end else "",
        question=state.question,
        branch=branch if pushed else None,
        commit=pushed.commit if pushed else None,
        files=pushed.files if pushed else (),
        violations=judged.violations if judged else (),
        tests_before=state.tests_base,
        tests_after=state.tests_change,
        usage=state.usage,
        seconds=phases(events),
    )


def phases(events: Sequence[RunEvent]) -> dict[str, float]:
    """How long the run was in each status, waiting for people left out."""
    spent: dict[str, float] = {}
    state, since = fold(events[:1]), events[0].at
    for event in events[1:]:
        after = step(state, event)
        if after.status is not state.status:
            passed = (event.at - since).total_seconds()
            spent[state.status] = round(spent.get(state.status, 0.0) + passed, 3)
            since = event.at
        state = after
    return {name: seconds for name, seconds in spent.items() if name not in WAITING}
