"""`journeyman eval`: tasks with a known answer from a file, each through a run, and a table."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.adapters.database import open_database
from agent.adapters.git_ground import GitGround
from agent.adapters.instance_file import read_instances
from agent.adapters.result_file import RESULTS, ResultFiles
from agent.errors import JourneymanError, SettingsError
from agent.evaluation.contest import REPOSITORY, Contest, Show
from agent.evaluation.instance import Instance, Outcome
from agent.events import RunEvent, StopAsked
from agent.local import LocalRuns
from agent.ports import Store
from agent.run import Person, RunId
from bot.build import make_installer, make_model, make_sandbox
from bot.scores import Board, as_record, make_board, show_table
from bot.settings import Settings, load, require
from bot.trial import local_library, local_runs

_NAME = re.compile(r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+)*")


async def eval_command(
    *,
    instances: str,
    repos: str | None,
    out: str,
    parallel: int,
    test_command: str | None,
    retrieval: bool,
    as_json: bool,
) -> int:
    settings = load()
    require(settings, ("try",))
    found, problems = read_instances(Path(instances), test_command)
    if not found:
        raise SettingsError(" ".join((f"{instances} holds no instance.", *problems)))
    folder = Path(out).resolve()
    files = ResultFiles(folder, settings.model if retrieval else f"{settings.model} without index")
    board = make_board(len(found))
    async with AsyncExitStack() as stack:
        stack.enter_context(files.opened())
        stack.enter_context(board)
        for problem in problems:
            board.say(problem)
        waiting = [each for each in found if not _known(files, each)]
        board.begin(done=len(found) - len(waiting))
        if waiting:
            place = _Places(Path(instances), repos)
            await _evaluate(settings, stack, waiting, place, files, board, parallel, retrieval)
    outcomes = [files.outcomes[each.id] for each in found if each.id in files.outcomes]
    if as_json:
        print(json.dumps(as_record(outcomes, problems, missing=len(found) - len(outcomes))))
    else:
        show_table(outcomes)
    if len(outcomes) < len(found):
        print(
            f"{len(found) - len(outcomes)} of {len(found)} are left; {len(outcomes)} are kept in"
            f" {folder / RESULTS}. The same command goes on there.",
            file=sys.stderr,
        )
    return 0 if len(outcomes) == len(found) and not problems and _sound(outcomes) else 1


def _sound(outcomes: Sequence[Outcome]) -> bool:
    return not any(outcome.problem for outcome in outcomes)


def _known(files: ResultFiles, instance: Instance) -> bool:
    """Judged before, and the same since."""
    known = files.outcomes.get(instance.id)
    return known is not None and not known.problem and known.digest == instance.digest


@dataclass(frozen=True)
class _Places:
    """Where repositories are looked for; nothing is fetched from anywhere."""

    instances: Path
    repos: str | None

    def of(self, instance: Instance) -> Path | str:
        """A repository's path, or a sentence that says where there is none."""
        name = instance.repo
        if name.startswith(("/", ".")):
            places = [self.instances.parent / name]
        elif not _NAME.fullmatch(name):
            return f"{name!r} is neither a path nor the name of a repository."
        elif self.repos is None:
            return f"{name} is looked up in the folder that --repos names, and none was given."
        else:
            flat = Path(self.repos, name.replace("/", "__"))
            deep = Path(self.repos, name)
            places = [flat, flat.with_name(f"{flat.name}.git")]
            places += [deep, deep.with_name(f"{deep.name}.git")]
        for place in places:
            if (place / ".git").exists() or (place / "HEAD").is_file():
                return place
        return f"There is no git repository {' or '.join(str(place) for place in places)}."


async def _evaluate(
    settings: Settings,
    stack: AsyncExitStack,
    waiting: Sequence[Instance],
    places: _Places,
    files: ResultFiles,
    board: Board,
    parallel: int,
    retrieval: bool,
) -> None:
    sandbox = make_sandbox(settings)
    _ = sandbox.host  # says what is missing before anything is begun
    database = await stack.enter_async_context(
        open_database(home=settings.home, url=settings.database_url)
    )
    model = await stack.enter_async_context(make_model(settings))

    @asynccontextmanager
    async def runs(folder: Path) -> AsyncGenerator[LocalRuns]:
        own = replace(settings, home=folder)
        try:
            async with local_library(own, database) as library:
                yield local_runs(own, database, model, sandbox, library if retrieval else None)
        finally:
            await database.code.forget(str(folder / REPOSITORY), keep=0)

    contest = Contest(
        runs=runs,
        sandbox=sandbox,
        installer=make_installer(settings, sandbox),
        ground=GitGround,
    )
    session = _Session(
        contest=contest, places=places, files=files, board=board, store=database.store
    )
    with session.interruptible():
        await session.run(waiting, parallel)


@dataclass(kw_only=True)
class _Session:
    contest: Contest
    places: _Places
    files: ResultFiles
    board: Board
    store: Store
    stopped: bool = False
    _runs: dict[RunId, asyncio.Task[None]] = field(default_factory=dict[RunId, asyncio.Task[None]])
    _judging: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _asking: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    async def run(self, waiting: Sequence[Instance], parallel: int) -> None:
        slots = asyncio.Queue[int]()
        for number in range(parallel):
            slots.put_nowait(number)

        async def one(instance: Instance) -> None:
            slot = await slots.get()
            try:
                if not self.stopped:
                    await self._one(instance, f"{self.files.folder} {slot}")
            finally:
                slots.put_nowait(slot)

        self._tasks = {asyncio.create_task(one(each)) for each in waiting}
        try:
            ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for problem in ended:
            if isinstance(problem, BaseException) and not isinstance(
                problem, asyncio.CancelledError
            ):
                raise problem

    async def _one(self, instance: Instance, slot: str) -> None:
        source = self.places.of(instance)
        if isinstance(source, str):
            self._done(Outcome(instance=instance.id, digest=instance.digest, problem=source))
            return
        folder = self.files.folder / "work" / folder_name(instance.id)
        task = asyncio.current_task()
        assert task is not None

        def seen(event: RunEvent) -> None:
            if event.run not in self._runs:
                self._runs[event.run] = task
                self.board.working(instance.id, "at work")
                if self.stopped:
                    self._stop()

        def judging() -> None:
            self.board.working(instance.id, "its tests run")
            self._runs = {run: each for run, each in self._runs.items() if each is not task}
            self._judging.add(task)

        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self.board.working(instance.id, "prepared")
        try:
            outcome = await self.contest.evaluate(
                instance, source, folder, slot, Show(run=seen, judging=judging)
            )
        finally:
            self.board.left(instance.id)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if not (self.stopped and outcome.status == "cancelled"):
            self._done(outcome)

    def _done(self, outcome: Outcome) -> None:
        self.files.add(outcome)
        self.board.done(outcome)

    @contextmanager
    def interruptible(self) -> Generator[None]:
        """Ctrl-C stops the runs as a person in the thread would, and what has ended is judged and
        kept; the second time it leaves at once."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            self.stopped = True
            self.board.say("Stopping; what is done is kept. Press Ctrl-C again to leave at once.")
            for task in self._tasks - set(self._runs.values()) - self._judging:
                task.cancel()
            self._stop()

        loop.add_signal_handler(signal.SIGINT, stop)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _stop(self) -> None:
        for run in self._runs:
            self._asking.append(asyncio.create_task(self._ask(run)))

    async def _ask(self, run: RunId) -> None:
        by = Person(id="local", name="you")
        try:
            await self.store.ask_stop(run, StopAsked(by=by, how="shell"), actor="local")
        except JourneymanError as error:
            self.board.say(str(error))


def folder_name(instance: str) -> str:
    """Of any id; readable, and none like that of another."""
    digest = hashlib.sha256(instance.encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', instance)[:40].strip('-')}-{digest}"
