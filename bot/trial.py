"""`journeyman try`: one run on a local repository, told on the terminal."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.adapters.database import Database, open_database
from agent.adapters.system_clock import SystemClock
from agent.errors import JourneymanError, SettingsError
from agent.events import QuestionAsked, RunEvent, StopAsked
from agent.local import LocalResult, LocalRuns
from agent.ports import Model, Origin, Store
from agent.retrieval.library import Library
from agent.retrieval.vectors import Similarity
from agent.run import Person, RunId, RunStatus
from agent.testreport import TestReport
from bot.build import (
    make_canaries,
    make_embedder,
    make_installer,
    make_library,
    make_model,
    make_sandbox,
    make_vaults,
)
from bot.progress import Progress, make_progress
from bot.repository import local_repository
from bot.settings import Settings, load, require

if TYPE_CHECKING:
    from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox


async def try_command(
    *,
    repo: str,
    request: str,
    test_command: str | None,
    branch: str | None,
    as_json: bool,
) -> int:
    settings = load()
    require(settings, ("try",))
    repository = local_repository(repo)
    if not request.strip():
        raise SettingsError("The request is empty: say what to do.")
    sandbox = make_sandbox(settings)
    _ = sandbox.host  # says what is missing before anything is begun
    interrupts = Interrupts(progress=make_progress(quiet=as_json))
    try:
        with interrupts.heard():
            result = await _run(
                settings, sandbox, interrupts, repository, request, test_command, branch, as_json
            )
    except asyncio.CancelledError:
        if not interrupts.asked:
            raise
        return 1
    if as_json:
        print(json.dumps(as_record(result)))
    else:
        interrupts.progress.end(result)
    return 0 if result.status is RunStatus.SUCCEEDED else 1


async def _run(
    settings: Settings,
    sandbox: BubblewrapSandbox,
    interrupts: Interrupts,
    repository: Path,
    request: str,
    test_command: str | None,
    branch: str | None,
    as_json: bool,
) -> LocalResult:
    async with (
        open_database(home=settings.home, url=settings.database_url) as database,
        make_model(settings) as model,
    ):
        interrupts.store = database.store
        async with local_library(settings, database) as library:
            runs = local_runs(settings, database, model, sandbox, library)
            with interrupts.progress:
                return await runs.run(
                    repository,
                    request,
                    test_command=test_command,
                    branch=branch,
                    progress=interrupts.show,
                    answer=None if as_json or not sys.stdin.isatty() else _ask,
                )


def local_runs(
    settings: Settings,
    database: Database,
    model: Model,
    sandbox: BubblewrapSandbox,
    library: Library | None = None,
) -> LocalRuns:
    return LocalRuns(
        store=database.store,
        model=model,
        sandbox=sandbox,
        vaults=make_vaults(settings).of,
        clock=SystemClock(),
        installer=make_installer(settings, sandbox),
        canaries=make_canaries(settings),
        library=library,
        limits=settings.defaults.limits,
        model_plan=settings.model_plan or None,
        model_repair=settings.model_repair or None,
    )


@asynccontextmanager
async def local_library(settings: Settings, database: Database) -> AsyncGenerator[Library]:
    """Of repositories on this machine, whose path is their project. What is embedded of them is
    compared by meaning; nothing is embedded here but what is asked."""

    async def origin(path: str) -> Origin:
        return Origin(url=path)

    async with AsyncExitStack() as stack:
        library = make_library(settings, database.code, make_vaults(settings), origin)
        if (embedder := make_embedder(settings)) is not None:
            await stack.enter_async_context(embedder)
            library.similarity = Similarity(store=database.vectors, embedder=embedder)
        yield await stack.enter_async_context(library)


async def _ask(asked: QuestionAsked) -> str | None:
    choices = "".join(f"\n  {n}. {choice}" for n, choice in enumerate(asked.choices, 1))
    said = (await asyncio.to_thread(input, f"\n? {asked.question}{choices}\n> ")).strip()
    if said.isdigit() and 0 < int(said) <= len(asked.choices):
        return asked.choices[int(said) - 1]
    return said or None


@dataclass(kw_only=True)
class Interrupts:
    """Ctrl-C stops the run as a person in the thread would, once there is one; before that, and
    the second time, it ends the program."""

    progress: Progress
    store: Store | None = None  #: None: no run can have begun
    asked: bool = False
    _asking: asyncio.Task[None] | None = None

    @contextmanager
    def heard(self) -> Generator[None]:
        loop, program = asyncio.get_running_loop(), asyncio.current_task()
        assert program is not None

        def stop() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            self.asked = True
            if self.store is None:
                self.progress.say("Interrupted before the run began; nothing was changed.")
                program.cancel()
                return
            self.progress.say("Stopping the run. Press Ctrl-C again to leave at once.")
            if self.progress.run is not None:
                self._ask(self.progress.run)

        loop.add_signal_handler(signal.SIGINT, stop)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def show(self, event: RunEvent) -> None:
        self.progress.show(event)
        if self.asked and self._asking is None:  # Ctrl-C came between the start and its first word
            self._ask(event.run)

    def _ask(self, run: RunId) -> None:
        self._asking = asyncio.create_task(self._stop(run))

    async def _stop(self, run: RunId) -> None:
        by = Person(id="local", name="you")
        assert self.store is not None
        try:
            await self.store.ask_stop(run, StopAsked(by=by, how="shell"), actor="local")
        except JourneymanError as error:
            self.progress.say(str(error))


def as_record(result: LocalResult) -> dict[str, Any]:
    """The object that `--json` prints."""
    usage = result.usage
    return {
        "run": result.run,
        "status": result.status,
        "reason": result.reason,
        "summary": result.summary,
        "answer": result.answer,
        "question": result.question.question if result.question else None,
        "branch": result.branch,
        "commit": result.commit,
        "files": [
            {"path": f.path, "status": f.status, "added": f.added, "removed": f.removed}
            for f in result.files
        ],
        "violations": [
            {"rule": v.rule, "path": v.path, "line": v.line, "detail": v.detail}
            for v in result.violations
        ],
        "tests": {"before": _counts(result.tests_before), "after": _counts(result.tests_after)},
        "steps": usage.steps,
        "tokens": {
            "prompt": usage.prompt_tokens,
            "cached": usage.cached_tokens,
            "completion": usage.completion_tokens,
        },
        "cost": usage.money,
        "seconds": dict(result.seconds),
    }


def _counts(report: TestReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "command": report.command,
        "passed": report.passed,
        "failed": report.failed,
        "errors": report.errors,
        "skipped": report.skipped,
        "exit_code": report.exit_code,
        "green": report.green,
        "stopped": report.stopped,
        "seconds": report.seconds,
    }
