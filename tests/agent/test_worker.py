"""Whole runs, from the request to what the effect plane is asked to do."""

from __future__ import annotations

from engine_bench import Bench

from agent.events import EffectDone, EffectKind
from agent.intents import PublishMergeRequest, Push
from agent.run import RunStatus
from agent.testing import call, say

PLAN = say(call("update_plan", steps=[{"title": "Subtract", "status": "in_progress"}]))


def edit(old: str, new: str) -> tuple[str, str]:
    return call("edit", path="calc.py", old=old, new=new)


FINISH = say(call("finish", summary="Rename b"))


async def test_a_plan_an_edit_and_a_repair_become_a_merge_request(bench: Bench):
    run = await bench.ask("make add subtract")
    model = await bench.go(
        run,
        [
            say(call("search", query="def add")),
            PLAN,
            say(edit("return a + b", "return a - b")),
            FINISH,
            say(edit("return a - b", "return b + a")),
            FINISH,
        ],
    )
    state = await bench.state(run)
    assert state.status is RunStatus.PUBLISHING, await bench.story(run)
    assert [heal.attempt for heal in state.heals] == [1]
    assert state.tests_base and state.tests_base.green
    assert state.tests_change and state.tests_change.green
    assert model.given == 6
    commit = state.commits[-1].commit
    pending = await bench.db.store.pending_intents(run.id)
    assert [intent for _, intent in pending] == [
        Push(commit=commit),
        PublishMergeRequest(commit=commit),
    ]
    kinds = (EffectKind.PUSH, EffectKind.OPEN_MERGE_REQUEST)
    for (key, _), kind in zip(pending, kinds, strict=True):
        done = EffectDone(key=key, effect=kind, result="done")
        await bench.db.store.settle(run.id, key, done, wake=True)
    await bench.go(run, [])
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED
    assert state.end and state.end.summary == "Rename b"
