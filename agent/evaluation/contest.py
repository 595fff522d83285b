"""Gives one instance to a run, and judges what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from agent.dependencies import Installer
from agent.errors import JourneymanError
from agent.evaluation.instance import Instance, Outcome
from agent.evaluation.judging import run_named, share, statuses
from agent.events import QuestionAsked
from agent.local import LocalResult, LocalRuns, Progress
from agent.pipeline import Weakening
from agent.ports import Sandbox, Vault
from agent.project import ProjectSettings
from agent.run import CommitSha, RunStatus, TreeSha

ANSWER = "Nobody is there to ask. Decide as you think best, and go on."
REPOSITORY = "repository.git"  #: in an instance's folder
_QUESTIONS = 3  #: of a run that get the answer


class Ground(Protocol):
    """A repository that holds the past of a base commit, and nothing else."""

    @property
    def path(self) -> Path: ...

    @property
    def vault(self) -> Vault:
        """Over the same objects."""
        ...

    async def lay(self, source: Path, base: CommitSha) -> None: ...

    async def refuses(self, base: CommitSha, patch: str) -> str: ...

    async def patch(self, base: CommitSha, commit: CommitSha) -> str: ...

    async def judged(self, base: CommitSha, commit: CommitSha, test_patch: str) -> TreeSha: ...


@dataclass(kw_only=True)
class Contest:
    """Each instance gets a repository of its own, in a folder of its own; `runs` keep there, too,
    whatever they know of it."""

    runs: Callable[[Path], AbstractAsyncContextManager[LocalRuns]]
    sandbox: Sandbox
    installer: Installer | None
    ground: Callable[[Path], Ground]

    async def evaluate(
        self, instance: Instance, source: Path, folder: Path, slot: str, show: Show
    ) -> Outcome:
        """`folder` is not there yet; the caller removes it. `slot`: two that are at work at once
        have different ones; those of one repository share its downloads of packages."""
        blank = Outcome(instance=instance.id, digest=instance.digest)
        ground, base = self.ground(folder / REPOSITORY), CommitSha(instance.base)
        downloads = f"{source.resolve()} {slot}"
        installer = self.installer and replace(self.installer, shared=downloads)
        try:
            await ground.lay(source, base)
            if said := await ground.refuses(base, instance.test_patch):
                problem = f"Its test patch does not apply to its base commit: {said}"
                return replace(blank, problem=problem)
            async with self.runs(folder) as runs:
                result = await replace(runs, installer=installer).run(
                    ground.path,
                    instance.problem,
                    test_command=instance.test_command,
                    progress=show.run,
                    answer=_Silence(),
                )
        except (JourneymanError, OSError) as error:
            return replace(blank, problem=str(error))
        show.judging()
        outcome = _outcome(blank, result)
        if result.status is RunStatus.FAILED:  # not by what it did: a model that is not there
            return replace(outcome, problem=f"The run broke off: {result.reason}")
        began = time.monotonic()
        try:
            return await self._judged(instance, outcome, ground, result, installer, began)
        except (JourneymanError, OSError) as error:
            return replace(outcome, problem=f"What it left could not be judged: {error}")

    async def _judged(
        self,
        instance: Instance,
        outcome: Outcome,
        ground: Ground,
        result: LocalResult,
        installer: Installer | None,
        began: float,
    ) -> Outcome:
        base = CommitSha(instance.base)
        commit = result.commit or base
        patch = await ground.patch(base, commit)
        named = (*instance.fail_to_pass, *instance.pass_to_pass)
        project = ProjectSettings(
            path=str(ground.path), test_command=instance.test_command, local=True
        )
        tried = await run_named(
            await ground.judged(base, commit, instance.test_patch),
            ground.vault,
            project,
            sandbox=self.sandbox,
            installer=installer,
            named=named,
            way=await ground.judged(base, base, instance.test_patch),
        )
        if tried is None:
            problem = "No way to run its tests is known: give one with --test-command."
            return replace(outcome, patch=patch, problem=problem)
        if tried.missing and tried.report.bad:
            outcome = replace(outcome, missing=tried.missing)
        cases = statuses(tried.report.cases)
        return replace(
            outcome,
            patch=patch,
            fail_to_pass=share(instance.fail_to_pass, cases),
            pass_to_pass=share(instance.pass_to_pass, cases),
            judging=round(time.monotonic() - began, 1),
        )


@dataclass(frozen=True, kw_only=True)
class Show:
    """Who looks on: at each event of the run, and when its tests are run."""

    run: Progress
    judging: Callable[[], None]


@dataclass(kw_only=True)
class _Silence:
    """Answers a few questions, and none of a run that does nothing else."""

    asked: list[str] = field(default_factory=list[str])

    async def __call__(self, question: QuestionAsked) -> str | None:
        self.asked.append(question.question)
        return ANSWER if len(self.asked) <= _QUESTIONS else None


def _outcome(blank: Outcome, result: LocalResult) -> Outcome:
    used = result.usage
    weak = [each for each in result.violations if each.rule in frozenset(Weakening)]
    return replace(
        blank,
        run=result.run,
        status=result.status.value,
        reason=result.reason,
        weakened=tuple(f"{each.path}: {each.detail}" for each in weak),
        steps=used.steps,
        prompt_tokens=used.prompt_tokens,
        cached_tokens=used.cached_tokens,
        completion_tokens=used.completion_tokens,
        money=used.money,
        seconds=round(sum(result.seconds.values()), 1),
    )
