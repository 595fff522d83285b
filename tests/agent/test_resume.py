"""A worker dies, another goes on: same prompts, same files, nothing done twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from engine_bench import BAD, FINISH, PLAN, Bench, edit

from agent.adapters.postgres_store import PostgresStore
from agent.events import RunEvent, kind_of
from agent.ports import Write
from agent.run import Run, RunStatus
from agent.testing import ScriptedModel, call, say

SCRIPT = [
    say(call("read", path="calc.py"), call("search", query="add", mode="ranked")),
    PLAN,
    say(call("run", command="echo one >> notes"), edit("return a + b", "return a - b")),
    say(call("run", command="cat notes"), call("nothing")),
    say(text="I think."),
    FINISH,
    say(
        edit("a - b", "b + a"),
        call("run", command="echo two >> notes"),
        call("finish", summary="Done"),
    ),
]


class Crash(BaseException):
    """The process is gone: nothing may catch it."""


class DyingStore:
    """Passes everything on; dies at the writes that `dies` names, before or after they are
    committed."""

    def __init__(self, store: PostgresStore, dies: Dies) -> None:
        self._store = store
        self._dies = dies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, run: int, write: Write, **more: Any) -> Run:
        with self._mortal(write):
            return await self._store.write(run, write, **more)

    async def append(self, run: int, write: Write, **more: Any) -> tuple[Run, Sequence[RunEvent]]:
        with self._mortal(write):
            return await self._store.append(run, write, **more)

    @contextmanager
    def _mortal(self, write: Write) -> Iterator[None]:
        when = self._dies(write)
        if when == "before":
            raise Crash
        yield
        if when == "after":
            raise Crash


Dies = Callable[[Write], str]


class OnceAtEach:
    """Once before and once after each different write."""

    def __init__(self) -> None:
        self._done: set[tuple[str, str]] = set()

    def __call__(self, write: Write) -> str:
        facts = repr(
            [(kind_of(type(p)), getattr(p, "call", 0), write.status) for p in write.payloads]
        )
        for when in ("before", "after"):
            if (facts, when) not in self._done:
                self._done.add((facts, when))
                return when
        return ""


class AtRandom:
    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def __call__(self, write: Write) -> str:
        return self._chance.choice(["before", "after", *[""] * 6])


async def uninterrupted(bench: Bench) -> list[bytes]:
    run = await bench.ask("whole")
    model = await bench.go(run, SCRIPT, by_prompt=True)
    assert (await bench.state(run)).status is RunStatus.PUBLISHING, await bench.story(run)
    return [prompt.replace(b"whole", b"TEXT") for prompt in model.prompts]


async def crashing(bench: Bench, run: Run, dies: Dies) -> ScriptedModel:
    """One worker after another, each dies sooner or later, until the run is parked."""
    model = ScriptedModel(replies=list(SCRIPT), by_prompt=True)
    for number in range(200):
        store = DyingStore(bench.db.store, dies)
        try:
            await bench.worker(model, name=f"w{number}", store=store).advance(run.id)
        except Crash:
            continue
        assert (await bench.state(run)).status is RunStatus.PUBLISHING, await bench.story(run)
        return model
    raise AssertionError(await bench.story(run))


def distinct(prompts: list[bytes]) -> list[bytes]:
    return [prompt.replace(b"broken", b"TEXT") for prompt in dict.fromkeys(prompts)]


@pytest.mark.parametrize("dies", [OnceAtEach(), AtRandom(1)], ids=lambda d: type(d).__name__)
async def test_deaths_change_no_byte_of_any_prompt(bench: Bench, dies: Dies):
    whole = await uninterrupted(bench)
    run = await bench.ask("broken")
    model = await crashing(bench, run, dies)
    assert distinct(model.prompts) == whole
    await same_outcome(bench, run)


async def same_outcome(bench: Bench, run: Run) -> None:
    state = await bench.state(run)
    vault = bench.vaults.of(bench.project.path)
    commit = state.commits[-1].commit
    assert await vault.read(commit, "notes") == b"one\ntwo\n"
    assert await vault.read(commit, "calc.py") == b"def add(a, b):\n    return b + a\n"
    assert len(state.heals) == 1


async def test_every_prompt_begins_with_the_whole_one_before(bench: Bench):
    prompts = await uninterrupted(bench)
    assert len(prompts) == len(SCRIPT)
    for before, after in pairwise(prompts):
        assert after.startswith(before + b"\n")


async def test_two_runs_share_the_system_prompt_and_the_tools(bench: Bench):
    one, two = await bench.ask("one"), await bench.ask("two")
    first, second = await bench.go(one, SCRIPT[:1] * 4), await bench.go(two, SCRIPT[:1] * 4)
    system = first.prompts[0].split(b"\n")[0]
    assert second.prompts[0].split(b"\n")[0] == system
    assert first.tools == second.tools


async def test_a_worker_that_was_overtaken_writes_nothing_more(bench: Bench):
    run = await bench.ask()
    thief = bench.db.store

    class Slow(ScriptedModel):
        async def complete(self, *args: Any, **more: Any) -> Any:
            await thief.claim(run.id, "other")
            return await super().complete(*args, **more)

    model = Slow(replies=[PLAN, BAD])
    await bench.worker(model).advance(run.id)
    state = await bench.state(run)
    assert state.calls == 0
    assert state.status is RunStatus.PLANNING
