"""What holds a push, who lets it go, and what never leaves."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from engine_bench import FINISH, GOOD, MIA, PLAN, Bench, git, make_repository

from agent.canaries import Canaries
from agent.errors import ForgeUnavailable, Refused
from agent.events import HoldLifted, HoldRefused, PushHeld
from agent.intents import PublishMergeRequest, Push
from agent.pipeline import Weakening
from agent.policy import Policy
from agent.ports import Message
from agent.run import DEVELOPER, MAINTAINER, Person, Run, RunStatus
from agent.service import RunService
from agent.testing import FakeForge, call, say

LEE = Person(id="U2", name="lee", gitlab_id=8)
SAM = Person(id="U3", name="sam", gitlab_id=9)
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


async def held(bench: Bench, *edits: Message) -> tuple[Run, PushHeld]:
    run = await bench.ask()
    await bench.go(run, [PLAN, *(edits or (LOOSER,)), FINISH])
    state = await bench.state(run)
    assert state.held is not None, await bench.story(run)
    return run, state.held


async def test_a_click_on_a_hold_that_was_refused_stays_so_when_it_comes_again(tested: Bench):
    run, _ = await held(tested)
    told = "You can't accept changes of"
    with pytest.raises(Refused, match=told):
        await tested.service(DEVELOPER).lift(run.id, LEE, message="click 1")
    with pytest.raises(Refused, match=told):
        await tested.service(MAINTAINER).lift(run.id, LEE, message="click 1")
    for _ in range(2):
        await tested.service(MAINTAINER).lift(run.id, LEE, message="click 2")
    assert len(await tested.facts(run, HoldRefused)) == 1
    assert len(await tested.facts(run, HoldLifted)) == 1


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


async def test_who_may_accept(tested: Bench):
    run, _ = await held(tested)
    with pytest.raises(Refused, match="you are a Developer there, Maintainer is needed"):
        await tested.service(DEVELOPER).lift(run.id, LEE)
    with pytest.raises(Refused, match="You asked for this change yourself"):
        await tested.service(MAINTAINER).lift(run.id, MIA)
    same_person = replace(LEE, gitlab_id=MIA.gitlab_id)
    with pytest.raises(Refused, match="You asked for this change yourself"):
        await tested.service(MAINTAINER).lift(run.id, same_person)
    with pytest.raises(Refused, match="no longer held"):
        await tested.service(MAINTAINER).lift(run.id, LEE, hold=1)
    assert (await tested.state(run)).held is not None
    refused = await tested.facts(run, HoldRefused)
    assert [each.by.id for each in refused] == ["U2", "U1", "U2", "U2"]
    assert "Maintainer is needed" in refused[0].reason
    assert refused[3].hold == 1

    tested.project = replace(tested.project, self_accept=True)
    await tested.service(MAINTAINER).lift(run.id, MIA)
    with pytest.raises(Refused, match="no longer held"):
        await tested.service(MAINTAINER).lift(run.id, LEE)
    assert len(await tested.facts(run, HoldLifted)) == 1


async def test_whoever_instructed_may_not_accept_and_others_still_may(tested: Bench):
    run = await tested.ask()
    await tested.service().instruct(run.id, "make it looser", LEE, message="2")
    await tested.go(run, [PLAN, LOOSER, FINISH])
    with pytest.raises(Refused, match="You gave the run instructions"):
        await tested.service(MAINTAINER).lift(run.id, LEE)
    assert (await tested.state(run)).held is not None
    await tested.service(MAINTAINER).lift(run.id, SAM)
    assert (await tested.state(run)).lifted[0].by.id == "U3"


async def test_a_right_that_cannot_be_checked_is_a_refusal(tested: Bench):
    run, _ = await held(tested)
    forge = FakeForge(clone_url="", path=tested.project.path, members={8: 40})
    forge.faults["access"] = [ForgeUnavailable("GitLab does not answer.")]
    service = RunService(store=tested.db.store, forge=forge, projects=lambda path: tested.project)
    with pytest.raises(Refused, match="could not be checked"):
        await service.lift(run.id, LEE)
    assert (await tested.state(run)).held is not None
    await service.lift(run.id, LEE)


async def test_another_instruction_sends_the_run_back_to_work_and_drops_the_hold(tested: Bench):
    run, _ = await held(tested)
    await tested.service().instruct(run.id, "keep the assertion", MIA, message="2")
    state = await tested.state(run)
    assert (state.status, state.held) == (RunStatus.QUEUED, None)
    back = say(call("edit", path="test_calc.py", old="(1, 2)", new="(1, 2) == 3"))
    model = await tested.go(run, [back, GOOD, FINISH])
    assert b"was not pushed: a person had to accept this" in model.prompts[0]
    assert b"keep the assertion" in model.prompts[0]
    state = await tested.state(run)
    assert state.held is None
    assert len(state.commits) == 1
    with pytest.raises(Refused, match="no longer held"):
        await tested.service(MAINTAINER).lift(run.id, LEE)


async def test_what_was_accepted_counts_for_that_tree_alone(tested: Bench):
    run, _ = await held(tested)
    await tested.service(MAINTAINER).lift(run.id, LEE)
    await tested.go(run, [])
    await tested.publish(run)
    await tested.go(run, [])
    await tested.service().instruct(run.id, "once more", MIA, message="3")
    more = say(call("write", path="README", content="Adds.\n"))
    await tested.go(run, [more, FINISH])
    state = await tested.state(run)
    assert state.held is not None
    assert len(state.commits) == 1
    assert await tested.wants(run) == []


async def test_a_run_that_ends_red_pushes_no_weakened_tests_either(tested: Bench):
    run = await tested.ask(limits={"steps": 3})
    await tested.go(run, [PLAN, LOOSER, say(call("read", path="calc.py")), FINISH])
    state = await tested.state(run)
    assert state.status is RunStatus.ESCALATED
    assert "a person has to accept it first (assertion loosened)" in state.reason
    assert await tested.wants(run) == []
    assert state.commits == ()


LEAKS = {
    "plain": SECRET,
    "base64": base64.b64encode(b"x" + SECRET.encode()).decode(),
    "base64 in short lines": "\n".join(
        base64.b64encode(SECRET.encode()).decode()[at : at + 10] for at in range(0, 40, 10)
    ),
    "backwards": SECRET[::-1],
    "hexadecimal": SECRET.encode().hex(),
}


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS)
async def test_a_credential_of_ours_never_leaves_and_nobody_can_accept_it(tested: Bench, text: str):
    tested.canaries = Canaries(secrets=frozenset({SECRET}))
    run = await tested.ask()
    await tested.go(run, [PLAN, say(call("write", path="notes.txt", content=text)), FINISH])
    state = await tested.state(run)
    assert state.status is RunStatus.ESCALATED
    assert state.reason.startswith("A credential of this service is in the change.")
    assert await tested.wants(run) == []
    assert state.commits == ()
    assert SECRET not in state.reason
    with pytest.raises(Refused):
        await tested.service(MAINTAINER).lift(run.id, LEE)

    await tested.service().retry(run.id, MIA)
    await tested.go(run, [FINISH, FINISH])
    assert await tested.wants(run) == []


@pytest.mark.parametrize("where", ["name", "summary", "binary", "stopped"])
async def test_nor_in_names_words_or_binary_files_or_what_is_kept(tested: Bench, where: str):
    tested.canaries = Canaries(secrets=frozenset({SECRET}))
    name = f"{SECRET}.txt" if where == "name" else "notes.txt"
    content = SECRET if where == "stopped" else "hello\n"
    edits = [say(call("write", path=name, content=content))]
    if where == "binary":
        hidden = f"printf '\\000\\001{SECRET}\\000' > blob"
        edits.append(say(call("run", command=hidden)))
    finish = say(call("finish", summary=f"Uses {SECRET}" if where == "summary" else "Done"))
    limits = {"steps": 3} if where == "stopped" else {}
    run = await tested.ask(limits=limits)
    look = [say(call("read", path="calc.py"))] if where == "stopped" else []
    await tested.go(run, [PLAN, *edits, *look, finish])
    state = await tested.state(run)
    assert state.status is RunStatus.ESCALATED, await tested.story(run)
    assert "A credential of this service" in state.reason
    assert state.commits == ()
    assert await tested.wants(run) == []


async def test_to_take_a_credential_out_of_the_project_is_allowed(bench: Bench):
    bench.folder = bench.folder / "leaked"
    bench.folder.mkdir()
    make_repository(bench.repository, {**TESTED, "settings.py": f"TOKEN = '{SECRET}'\n"})
    bench.canaries = Canaries(secrets=frozenset({SECRET}))
    run = await bench.ask()
    cleaned = say(call("write", path="settings.py", content="TOKEN = environ['TOKEN']\n"))
    await bench.go(run, [PLAN, cleaned, FINISH])
    assert len((await bench.state(run)).commits) == 1


async def test_paths_and_sizes_of_the_settings_hold_too(tested: Bench):
    policy = Policy(deny_paths=("infra/",), max_lines=10)
    tested.project = replace(tested.project, policy=policy)
    large = say(call("write", path="infra/a.tf", content="x\n" * 11))
    _, hold = await held(tested, large)
    assert [(v.rule, v.path) for v in hold.violations] == [("path", "infra/a.tf"), ("size", "")]


async def test_fewer_tests_than_before_are_a_fact_even_if_no_file_tells_why(tested: Bench):
    text = (
        "import os, unittest\n\n\nclass N(unittest.TestCase):\n    def test_a(self): pass\n\n\n"
        "if not os.path.exists('x'):\n    N.test_b = lambda self: None\n"
    )
    (tested.repository / "test_calc.py").write_text(text)
    git(tested.repository, "add", "-A")
    git(tested.repository, "commit", "-qm", "Two")
    tested.project = replace(tested.project, test_command="python3 -m unittest -v")
    _, hold = await held(tested, say(call("write", path="x", content="")))
    assert [v.rule for v in hold.violations] == [Weakening.TEST_REMOVED]
    assert "ran 2 tests before the change and 1 with it" in hold.violations[0].detail


async def test_a_second_hold_of_a_run_is_asked_about_anew(tested: Bench):
    run, first = await held(tested)
    await tested.service().instruct(run.id, "no", MIA, message="2")
    gone = say(call("write", path="test_calc.py", content="import calc\n"))
    await tested.go(run, [gone, FINISH])
    second = (await tested.state(run)).held
    assert second is not None
    assert second.tree != first.tree
    assert [v.rule for v in second.violations] == [Weakening.TEST_REMOVED]
    with pytest.raises(Refused, match="no longer held"):
        await tested.service(MAINTAINER).lift(run.id, LEE, hold=1)


EXPECTS_MORE = say(
    call("edit", path="test_calc.py", old=" == 3", new=" == 4"),
    call("edit", path="calc.py", old="a + b", new="a + b + 1"),
)


async def test_another_expected_value_may_be_what_was_asked_for(tested: Bench):
    run = await tested.ask("let add count one more")
    await tested.go(run, [PLAN, EXPECTS_MORE, FINISH])
    state = await tested.state(run)
    assert state.held is None, await tested.story(run)
    assert state.commits


async def test_another_expected_value_that_makes_a_red_test_green_holds_the_push(bench: Bench):
    bench.folder = bench.folder / "red"
    bench.folder.mkdir()
    really = "python3 -c 'import test_calc; test_calc.test_add()'\n"
    make_repository(bench.repository, TESTED | {"check.sh": really})
    run = await bench.ask("let add count one more")
    code = say(call("edit", path="calc.py", old="a + b", new="a + b + 1"))
    test = say(call("edit", path="test_calc.py", old=" == 3", new=" == 4"))
    await bench.go(run, [PLAN, code, FINISH, test, FINISH])
    state = await bench.state(run)
    assert state.heals, await bench.story(run)
    assert state.held is not None, await bench.story(run)
    assert [v.rule for v in state.held.violations] == [Weakening.EXPECTATION_CHANGED]
