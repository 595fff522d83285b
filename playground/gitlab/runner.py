"""Runs one job of a pipeline, in the sandbox and nowhere else."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import shlex
import zipfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from agent.errors import SandboxUnusable
from agent.ports import CommandLimits, CommandResult, Mount, Sandbox
from playground.gitlab import artifacts, ci_variables
from playground.gitlab.ci_records import Job, Pipeline
from playground.gitlab.git_repo import GitError, run_git
from playground.gitlab.records import Project

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

#: project path and commit -> the read-only folders that stand for the container image
Image = Callable[[str, str], Sequence[Mount] | Awaitable[Sequence[Mount]]]

LARGEST_TRACE = 4 << 20
AFTER_SCRIPT_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    exit_code: int
    reason: str | None = None  #: GitLab's failure_reason


class JobRunner(Protocol):
    slots: asyncio.Semaphore  #: taken while a job runs

    async def run(
        self, project: Project, pipeline: Pipeline, job: Job, sources: Sequence[Job]
    ) -> Outcome: ...


class Runner:
    def __init__(
        self, forge: Forge, sandbox: Sandbox, image: Image | None, *, slots: int = 2
    ) -> None:
        self.forge = forge
        self.sandbox = sandbox
        self.image = image
        self.slots = asyncio.Semaphore(slots)

    async def run(
        self, project: Project, pipeline: Pipeline, job: Job, sources: Sequence[Job]
    ) -> Outcome:
        """`sources` are the jobs whose artifacts and variables this one is given."""
        token = f"glcbt-{secrets.token_urlsafe(15)}"
        self.forge.auth.job_tokens[token] = job.user_id
        workspace = self.sandbox.new_folder(f"job-{job.id}")
        try:
            return await self._run(project, pipeline, job, sources, workspace, token)
        except SandboxUnusable as problem:
            self._say(job, f"ERROR: Job failed (system failure): {problem}")
            return Outcome(exit_code=1, reason="runner_system_failure")
        except (GitError, OSError, zipfile.BadZipFile) as problem:
            self._say(job, f"ERROR: Job failed (system failure): {problem}")
            return Outcome(exit_code=1, reason="runner_system_failure")
        finally:
            self.forge.auth.job_tokens.pop(token, None)
            await self.sandbox.remove(workspace)

    async def _run(
        self,
        project: Project,
        pipeline: Pipeline,
        job: Job,
        sources: Sequence[Job],
        workspace: Path,
        token: str,
    ) -> Outcome:
        repository = self.forge.repository(project)
        commit = await repository.commit(pipeline.sha)
        dotenv = {key: value for source in sources for key, value in source.dotenv.items()}
        values = ci_variables.for_job(self.forge, project, pipeline, job, commit, dotenv, token)
        self._say(job, f"Running with the playground's runner in {self.sandbox.name}")
        self._say(job, f"Checking out {pipeline.sha[:8]} as detached HEAD (ref is {pipeline.ref})")
        await self._checkout(project, pipeline, workspace)
        for source in sources:
            if archive := source.artifacts.get("archive"):
                self._say(job, f"Downloading artifacts for {source.name} ({source.id})...")
                await asyncio.to_thread(artifacts.restore, archive.file, workspace)
        mounts = await self._mounts(project, pipeline.sha)
        folders = [f"{m.target}/bin" for m in mounts if (m.source / "bin").is_dir()]
        values.setdefault("PATH", ":".join([*folders, "/usr/local/bin", "/usr/bin", "/bin"]))
        self.sandbox.adopt(workspace)
        outcome = await self._scripts(project, job, workspace, values, mounts)
        return await self._artifacts(job, workspace, outcome)

    async def _mounts(self, project: Project, sha: str) -> Sequence[Mount]:
        if self.image is None:
            return ()
        found = self.image(self.forge.state.full_path(project), sha)
        return await found if inspect.isawaitable(found) else found

    async def _checkout(self, project: Project, pipeline: Pipeline, workspace: Path) -> None:
        """A shallow clone, as GitLab's runner makes it; nothing of the job has run yet."""
        source = f"file://{self.forge.repository(project).path}"
        depth = str(project.setting("ci_default_git_depth") or 20)
        await run_git("init", "--quiet", str(workspace))
        await run_git(
            *("fetch", "--quiet", f"--depth={depth}", source, pipeline.sha), cwd=workspace
        )
        await run_git(
            *("-c", "core.hooksPath=/dev/null", "checkout", "--quiet", "--detach", pipeline.sha),
            cwd=workspace,
        )

    async def _scripts(
        self,
        project: Project,
        job: Job,
        workspace: Path,
        values: dict[str, str],
        mounts: Sequence[Mount],
    ) -> Outcome:
        spec = job.spec
        seconds = spec.timeout or float(project.setting("build_timeout") or 3600)
        async with self.sandbox.open(workspace, mounts=mounts) as box:

            async def run(lines: Sequence[str], limit: float, env: dict[str, str]) -> CommandResult:
                return await box.exec(
                    ["bash", "-c", _script(lines)],
                    env=env,
                    limits=CommandLimits(seconds=limit),
                    on_output=lambda data: self._print(job, data),
                )

            result = await run([*spec.before_script, *spec.script], seconds, values)
            good = result.exit_code == 0 and not result.stopped
            if spec.after_script:
                self._say(job, "Running after_script")
                status = {"CI_JOB_STATUS": "success" if good else "failed"}
                await run(spec.after_script, AFTER_SCRIPT_SECONDS, values | status)
        if result.stopped == "timeout":
            minutes = f"{seconds:g} seconds"
            self._say(job, f"ERROR: Job failed: execution took longer than {minutes}")
            return Outcome(exit_code=result.exit_code or 1, reason="job_execution_timeout")
        if result.stopped:
            self._say(job, f"ERROR: Job failed: ended by the sandbox ({result.stopped})")
            return Outcome(exit_code=result.exit_code or 1, reason="runner_system_failure")
        return Outcome(exit_code=result.exit_code, reason=None if good else "script_failure")

    async def _artifacts(self, job: Job, workspace: Path, outcome: Outcome) -> Outcome:
        folder = self.forge.folder / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        good = outcome.reason is None
        try:
            lines = await asyncio.to_thread(artifacts.collect, job, workspace, folder, success=good)
        except artifacts.ArtifactsTooLarge as problem:
            self._say(job, f"ERROR: Uploading artifacts failed: {problem}")
            return Outcome(exit_code=1, reason="runner_system_failure")
        for line in lines:
            self._say(job, line)
        if good:
            self._say(job, "Job succeeded")
        elif outcome.reason == "script_failure":
            self._say(job, f"ERROR: Job failed: exit code {outcome.exit_code}")
        return outcome

    def _print(self, job: Job, data: bytes) -> None:
        room = LARGEST_TRACE - len(job.trace)
        if room > 0:
            job.trace += data[:room]
            if len(data) >= room:
                job.trace += b"\nJob's log exceeded the limit of 4194304 bytes.\n"

    def _say(self, job: Job, line: str) -> None:
        if job.trace and not job.trace.endswith(b"\n"):
            job.trace += b"\n"
        job.trace += line.encode() + b"\n"


def _script(lines: Sequence[str]) -> str:
    """Each command is shown before it runs; the first that fails ends the script."""
    parts = ["set -eo pipefail"]
    for line in lines:
        first, more, _ = line.strip().partition("\n")
        shown = f"\x1b[32;1m$ {first}{' # collapsed multi-line command' if more else ''}\x1b[0;m"
        parts += [f"printf '%s\\n' {shlex.quote(shown)}", line]
    return "\n".join(parts)
