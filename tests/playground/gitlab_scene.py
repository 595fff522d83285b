"""A GitLab with people in it, for the tests of the stand-in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import gitlab as python_gitlab

from playground.gitlab.pipeline_order import DONE
from playground.gitlab.records import DEVELOPER, GUEST, MAINTAINER, Pipeline, Project, User
from playground.gitlab.server import GitLabStandIn

Result = TypeVar("Result")
PEOPLE = {"sam": MAINTAINER, "mia": DEVELOPER, "gus": GUEST}


class HeldClock:
    """Stands still until a test lets it go on."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds


@dataclass(kw_only=True)
class Scene:
    """`demo/app` with a maintainer, a developer and a guest; `stranger` is no member."""

    server: GitLabStandIn
    project: Project
    people: Mapping[str, User]
    folder: Path

    def token(self, name: str, *scopes: str) -> str:
        return self.server.state.add_token(self.people[name], *(scopes or ("api",))).secret

    def client(self, name: str, *scopes: str) -> python_gitlab.Gitlab:
        return python_gitlab.Gitlab(
            self.server.url, private_token=self.token(name, *scopes), timeout=20
        )

    def api(self, name: str, *scopes: str) -> Any:
        """The project as python-gitlab shows it to one person."""
        return self.client(name, *scopes).projects.get("demo/app", lazy=True)

    async def do(self, work: Callable[..., Result], *args: Any, **more: Any) -> Result:
        """A blocking call of python-gitlab, beside the server's loop."""
        return await asyncio.to_thread(work, *args, **more)

    def remote(self, secret: str, user: str = "anyone") -> str:
        return self.server.url.replace("://", f"://{user}:{secret}@") + "/demo/app.git"

    async def commit(
        self, files: Mapping[str, str], branch: str = "main", *, message: str = "Change files"
    ) -> Any:
        """Through the API, by the maintainer; a branch that is new starts at main."""
        heads = await self.server.forge.repository(self.project).refs("heads")
        tree = {}
        if heads:
            start = branch if branch in heads else "main"
            entries = await self.server.forge.repository(self.project).tree(start, recursive=True)
            tree = {entry.path: entry for entry in entries}
        data: dict[str, Any] = {
            "branch": branch,
            "commit_message": message,
            "actions": [
                {
                    "action": "update" if path in tree else "create",
                    "file_path": path,
                    "content": text,
                }
                for path, text in files.items()
            ],
        }
        if heads and branch not in heads:
            data["start_branch"] = "main"
        return await self.do(self.api("sam").commits.create, data)

    async def merge_request(self, branch: str = "topic", **more: Any) -> Any:
        await self.commit({f"{branch}.txt": "new\n"}, branch)
        data = {"source_branch": branch, "target_branch": "main", "title": "A change", **more}
        return await self.do(self.api("mia").mergerequests.create, data)

    async def pipeline(self, pipeline: Pipeline | None = None, seconds: float = 30) -> Pipeline:
        """The newest pipeline, or the given one, once nothing of it runs any more."""
        found = pipeline or list(self.project.pipelines.values())[-1]
        await self.until(lambda: found.status in (*DONE, "manual"), seconds)
        return found

    async def until(self, true: Callable[[], bool], seconds: float = 60) -> None:
        """Looks again after each change, and now and then for what changes silently."""
        moved = asyncio.Event()
        stop = self.server.state.subscribe(lambda change: moved.set())
        try:
            async with asyncio.timeout(seconds):
                while not true():
                    moved.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.05):
                            await moved.wait()
        finally:
            stop()


async def git(folder: Path, *args: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "git",
        *args,
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_NAME": "Mia" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "mia@example.com" for who in ("AUTHOR", "COMMITTER")},
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()
