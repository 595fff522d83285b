"""A run on real things: PostgreSQL, git, the sandbox. Only the model follows a script."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.database import Database
from agent.adapters.git_vault import GitVaults
from agent.events import Payload, RunEvent
from agent.ports import Origin
from agent.project import ProjectSettings
from agent.run import Limits, Person, Request, Run, Thread
from agent.state import RunState, fold
from agent.testing import FixedClock, Reply, ScriptedModel
from agent.worker import Worker

MIA = Person(id="U1", name="mia", gitlab_id=7, access=30)
ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{r}_{p}": "a@b" for r in ("AUTHOR", "COMMITTER") for p in ("NAME", "EMAIL")},
}
FILES = {
    "AGENTS.md": "Say it in one line.\n",
    "calc.py": "def add(a, b):\n    return a + b\n",
    "check.sh": "set -e\nPYTHONPATH=. python3 -c 'import calc; assert calc.add(1, 2) == 3'\n",
}


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


@dataclass(kw_only=True)
class Bench:
    """Everything that a worker needs, and a project to work on."""

    db: Database
    folder: Path
    sandbox: BubblewrapSandbox
    vaults: GitVaults
    project: ProjectSettings
    clock: FixedClock = field(default_factory=FixedClock)

    @property
    def repository(self) -> Path:
        return self.folder / "origin"

    def worker(self, model: ScriptedModel, name: str = "w1", store: object = None) -> Worker:
        async def origin(path: str) -> Origin:
            return Origin(url=str(self.repository))

        return Worker(
            name=name,
            store=store or self.db.store,
            model=model,
            sandbox=self.sandbox,
            vaults=self.vaults.of,
            origin=origin,
            projects=lambda path: self.project,
            clock=self.clock,
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
        await self.worker(model).advance(run.id)
        return model

    async def state(self, run: Run) -> RunState:
        return fold(await self.db.store.events(run.id))

    async def log(self, run: Run) -> list[RunEvent]:
        return list(await self.db.store.events(run.id))

    async def facts(self, run: Run, kind: type[Payload]) -> list[Payload]:
        return [e.payload for e in await self.log(run) if isinstance(e.payload, kind)]

    async def story(self, run: Run) -> str:
        """The log as lines, for a failing test's message."""
        return "\n".join(f"{e.seq} {e.payload}"[:400] for e in await self.log(run))
