"""What holds a push, who lets it go, and what never leaves."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from engine_bench import BAD, FINISH, GOOD, MIA, PLAN, Bench, edit, git, make_repository

from agent.canaries import Canaries
from agent.errors import Refused
from agent.events import HoldLifted, PushHeld
from agent.intents import PublishMergeRequest, Push
from agent.pipeline import Weakening
from agent.policy import Policy
from agent.run import MAINTAINER, Person, RunStatus
from agent.testing import call, say

LEE = Person(id="U2", name="lee", gitlab_id=8)
TESTED = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "test_calc.py": "import calc\n\n\ndef test_add():\n    assert calc.add(1, 2) == 3\n",
    "check.sh": "true\n",
}
SECRET = "glpat-Zx81_kkQ-77vTTyPq0aB"
LOOSER = say(call("edit", path="test_calc.py", old=" == 3", new=""))


@pytest.fixture
def tested(bench: Bench) -> Bench:
    """A project with a test file."""
    bench.folder = bench.folder / "tested"
    bench.folder.mkdir()
    make_repository(bench.repository, TESTED)
    return bench


async def held(bench: Bench, *edits: object) -> tuple[object, PushHeld]:
    run = await bench.ask()
    await bench.go(run, [PLAN, *(edits or (LOOSER,)), FINISH])
    state = await bench.state(run)
    assert state.held is not None, await bench.story(run)
    return run, state.held


async def test_a_loosened_assertion_holds_the_push_until_a_maintainer_accepts_it(tested: Bench):
    run, hold = await held(tested)
    state = await tested.state(run)
    assert state.status is RunStatus.WAITING_FOR_ANSWER
    assert [v.rule for v in hold.violations] == [Weakening.ASSERTION_LOOSENED]
    assert (hold.violations[0].path, hold.violations[0].line) == ("test_calc.py", 5)
    assert await tested.wants(run) == []
    assert state.commits == ()

    await tested.service(MAINTAINER).lift(run.id, LEE, hold=state.held_seq)
    await tested.go(run, [])
    state = await tested.state(run)
    assert state.held is None
    assert state.lifted[0].by.name == "lee"
    assert state.lifted[0].violations == hold.violations
    commit = state.commits[-1].commit
    assert await tested.wants(run) == [Push(commit=commit), PublishMergeRequest(commit=commit)]
    await tested.publish(run)
    await tested.go(run, [])
    assert (await tested.state(run)).status is RunStatus.SUCCEEDED
