"""A run on real things: PostgreSQL, git, the sandbox. Only the model follows a script."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.database import Database
from agent.adapters.git_vault import GitVaults
from agent.canaries import Canaries
from agent.errors import ForgeUnavailable, NotFound
from agent.events import EffectDone, EffectFailed, RunEvent
from agent.intents import KIND, Intent
from agent.ports import MergeRequest, Origin, Project
from agent.project import ProjectSettings
from agent.retrieval.library import Library
from agent.run import Limits, Linked, Person, Request, Run, RunStatus, Thread
from agent.service import RunService
from agent.state import RunState, fold
from agent.testing import FixedClock, Reply, ScriptedModel, call, say
from agent.work import Acceptance, Lookout
from agent.worker import Worker

MIA = Person(id="U1", name="mia", gitlab_id=7, access=30)
ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{r}_{p}": "a@b" for r in ("AUTHOR", "COMMITTER") for p in ("NAME", "EMAIL")},
}
PLAN = say(call("update_plan", steps=[{"title": "Do it", "status": "in_progress"}]))
FINISH = say(call("finish", summary="Turn the sum around"))
FILES = {
    "AGENTS.md": "Say it in one line.\n",
    "calc.py": "def add(a, b):\n    return a + b\n",
    "check.sh": "set -e\nPYTHONPATH=. python3 -c 'import calc; assert calc.add(1, 2) == 3'\n",
}


def edit(old: str, new: str) -> tuple[str, str]:
    return call("edit", path="calc.py", old=old, new=new)


GOOD = say(edit("return a + b", "return b + a"))
BAD = say(edit("return a + b", "return a - b"))


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=ENV, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def make_repository(folder: Path, files: Mapping[str, str] = FILES) -> None:
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Begin")


P = TypeVar("P")


class Members:
    """Of GitLab, what the service asks: everybody has the same access."""

    def __init__(self, level: int, linked: Mapping[int, Linked] | None = None) -> None:
        self._level = level
        self._linked = linked or {}
        self.made: list[MergeRequest] = []

    async def access(self, project: str, user_id: int) -> int:
        return self._level

    async def project(self, path: str) -> Project:
        return Project(
            id=1,
            path=path,
            default_branch="main",
            clone_url="",
            web_url=f"https://gitlab.example.com/{path}",
        )

    async def merge_requests(self, project: str, source_branch: str) -> Sequence[MergeRequest]:
        return self.made

    async def linked(self, project: str, kind: str, iid: int) -> Linked:
        if iid not in self._linked:
            raise NotFound("404 Not found")
        return self._linked[iid]


@dataclass(kw_only=True)
class Bench:
    """Everything that a worker needs, and a project to work on."""

    db: Database
    folder: Path
    sandbox: BubblewrapSandbox
    vaults: GitVaults
    project: ProjectSettings
    known: bool = True  #: to the settings
    canaries: Canaries = field(default_factory=Canaries)
    clock: FixedClock = field(default_factory=FixedClock)
    lookout: Lookout | None = None
    acceptance: Acceptance | None = None
    library: Library | None = None
    dark: int = 0  #: how often GitLab does not say where the code is

    @property
    def repository(self) -> Path:
        return self.folder / "origin"

    def worker(self, model: ScriptedModel, name: str = "w1", store: object = None) -> Worker:
        async def origin(path: str) -> Origin:
            if self.dark:
                self.dark -= 1
                raise ForgeUnavailable("GitLab does not answer.")
            return Origin(url=str(self.repository))

        return Worker(
            name=name,
            store=store or self.db.store,
            model=model,
            sandbox=self.sandbox,
            vaults=self.vaults.of,
            origin=origin,
            projects=lambda path: self.project if self.known else None,
            clock=self.clock,
            canaries=self.canaries,
            lookout=self.lookout,
            acceptance=self.acceptance,
            library=self.library,
        )

    async def ask(self, text: str = "make add subtract", **more: object) -> Run:
        request = Request(
            text=text,
            project=self.project.path,
            base_branch=None,
            requester=MIA,
            thread=Thread(team="T", channel="C", ts=text),
            message=text,
        )
        limits = replace(Limits(), **more.pop("limits", {}))
        run, _ = await self.db.store.create(text, replace(request, **more), limits)
        return run

    async def go(self, run: Run, replies: Sequence[Reply], **more: object) -> ScriptedModel:
        model = ScriptedModel(replies=list(replies), **more)
        worker, watched = self.worker(model), (await self.db.store.run(run.id)).status
        await worker.advance(run.id)
        status = (await self.db.store.run(run.id)).status
        if watched is RunStatus.WATCHING and status is RunStatus.WORKING:
            await worker.advance(run.id)  # what a look sets to work comes from the queue again
        return model

    async def state(self, run: Run) -> RunState:
        return fold(await self.db.store.events(run.id))

    async def log(self, run: Run) -> list[RunEvent]:
        return list(await self.db.store.events(run.id))

    async def facts(self, run: Run, kind: type[P]) -> list[P]:
        return [e.payload for e in await self.log(run) if isinstance(e.payload, kind)]

    def service(self, access: int = 30) -> RunService:
        return RunService(
            store=self.db.store, forge=Members(access), projects=lambda path: self.project
        )

    async def publish(self, run: Run, problem: str = "") -> None:
        """What the effect plane does with everything that the run wants."""
        for key, intent in await self.db.store.pending_intents(run.id):
            kind = KIND[type(intent)]
            done = EffectDone(key=key, effect=kind, result="done", iid=7)
            failed = EffectFailed(key=key, effect=kind, problem=problem)
            await self.db.store.settle(run.id, key, failed if problem else done, wake=True)

    async def wants(self, run: Run) -> list[Intent]:
        return [intent for _, intent in await self.db.store.pending_intents(run.id)]

    async def story(self, run: Run) -> str:
        """The log as lines, for a failing test's message."""
        return "\n".join(f"{e.seq} {e.payload}"[:400] for e in await self.log(run))
