"""A run goes on at a host that has nothing of it, while its base branch moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine_bench import BAD, FINISH, GOOD, MIA, PLAN, Bench, edit, git
from test_resume import Crash, DyingStore

from agent.adapters.git_vault import GitVaults
from agent.events import CheckpointTaken, Committed
from agent.ports import Write
from agent.run import RunStatus
from agent.testing import Reply, ScriptedModel, call, say

MORE = say(call("write", path="README", content="It adds.\n"))


def move_base(bench: Bench) -> None:
    (bench.repository / "calc.py").write_text("def add(a, b):\n    return sum((a, b))\n")
    git(bench.repository, "commit", "-qam", "By somebody else")


def on_another_host(bench: Bench, name: str = "other") -> None:
    bench.vaults = GitVaults(bench.folder / name)


def holds(kind: type) -> Callable[[Write], str]:
    return lambda write: "after" if any(isinstance(p, kind) for p in write.payloads) else ""


def is_tested(write: Write) -> str:
    return "after" if write.status is RunStatus.TESTING else ""


DIES = {"working": holds(CheckpointTaken), "testing": is_tested, "made": holds(Committed)}


@pytest.mark.parametrize("dies", DIES.values(), ids=DIES)
async def test_another_host_makes_the_very_same_commit(bench: Bench, dies: Callable[[Write], str]):
    run = await bench.ask()
    replies: list[Reply] = [PLAN, BAD, say(edit("a - b", "b + a")), FINISH]
    worker = bench.worker(ScriptedModel(replies=replies), store=DyingStore(bench.db.store, dies))
    with pytest.raises(Crash):
        await worker.advance(run.id)
    ready = (await bench.state(run)).workspace
    assert ready is not None
    move_base(bench)
    on_another_host(bench)
    await bench.go(run, replies[(await bench.state(run)).calls :])
    state = await bench.state(run)
    assert state.status is RunStatus.PUBLISHING, await bench.story(run)
    assert state.workspace is not None
    assert state.workspace.base == ready.base
    (made,) = state.commits
    record = await bench.vaults.of(bench.project.path).record(made.commit)
    assert f"parent {ready.base}\n".encode() in record
    assert f"tree {made.tree}\n".encode() in record


async def test_a_second_round_stands_on_the_commit_of_another_host(bench: Bench):
    run = await bench.ask()
    await bench.go(run, [PLAN, GOOD, FINISH])
    await bench.publish(run)
    await bench.go(run, [])
    first = (await bench.state(run)).commits[-1].commit
    move_base(bench)
    on_another_host(bench)
    await bench.service().instruct(run.id, "say what it does", MIA, message="2")
    await bench.go(run, [MORE, FINISH])
    state = await bench.state(run)
    assert state.status is RunStatus.PUBLISHING, await bench.story(run)
    vault = bench.vaults.of(bench.project.path)
    second = state.commits[-1].commit
    assert f"parent {first}\n".encode() in await vault.record(second)
    assert await vault.read(second, "README") == b"It adds.\n"
    assert await vault.read(second, "calc.py") == b"def add(a, b):\n    return b + a\n"


async def test_a_base_that_is_gone_ends_the_run_in_a_sentence_and_keeps_the_change(bench: Bench):
    run = await bench.ask()
    store = DyingStore(bench.db.store, holds(CheckpointTaken))
    worker = bench.worker(ScriptedModel(replies=[PLAN, GOOD]), store=store)
    with pytest.raises(Crash):
        await worker.advance(run.id)
    git(bench.repository, "checkout", "-q", "--orphan", "anew")
    git(bench.repository, "commit", "-qm", "Rewritten")
    git(bench.repository, "branch", "-fM", "main")
    git(bench.repository, "reflog", "expire", "--expire=now", "--all")
    git(bench.repository, "gc", "-q", "--prune=now")
    on_another_host(bench)
    await bench.go(run, [])
    state = await bench.state(run)
    assert state.status is RunStatus.FAILED
    assert "is not at GitLab any more: its branch was rewritten." in state.reason
    assert "The change is kept in the run's record" in state.reason
