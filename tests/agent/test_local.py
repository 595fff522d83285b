"""One run on a local repository: a branch is the result, the work tree stays as it is."""

from __future__ import annotations

from engine_bench import BAD, FINISH, GOOD, PLAN, Bench, edit, git

from agent.canaries import Canaries
from agent.events import QuestionAsked, RunEvent
from agent.local import LocalRuns
from agent.pipeline import Weakening
from agent.run import RunStatus
from agent.testing import Reply, ScriptedModel, call, say


def local(bench: Bench, *replies: Reply) -> LocalRuns:
    return LocalRuns(
        store=bench.db.store,
        model=ScriptedModel(replies=list(replies)),
        sandbox=bench.sandbox,
        vaults=bench.vaults.of,
        clock=bench.clock,
    )


async def test_a_run_leaves_a_branch_and_tells_how_it_went(bench: Bench):
    (bench.repository / "draft.txt").write_text("mine\n")
    told: list[RunEvent] = []
    runs = local(bench, PLAN, BAD, FINISH, say(edit("a - b", "b + a")), FINISH)
    result = await runs.run(
        bench.repository, "turn it", test_command="bash check.sh", progress=told.append
    )
    assert result.status is RunStatus.SUCCEEDED, result.reason
    assert result.branch == f"agent/{result.run}"
    assert git(bench.repository, "rev-parse", result.branch) == result.commit
    assert git(bench.repository, "show", f"{result.branch}:calc.py").endswith("return b + a")
    assert [file.path for file in result.files] == ["calc.py"]
    assert result.tests_before is not None
    assert result.tests_after is not None
    assert result.tests_after.green
    assert result.usage.steps == 5
    assert set(result.seconds) >= {"planning", "working", "testing", "publishing"}
    assert told[-1].payload == (await bench.db.store.events(result.run))[-1].payload
    assert git(bench.repository, "status", "--porcelain") == "?? draft.txt"
    assert git(bench.repository, "branch", "--show-current") == "main"


async def test_weakened_checks_are_told_and_hold_nothing_here(bench: Bench):
    (bench.repository / "test_calc.py").write_text("def test_a():\n    assert f() == 3\n")
    git(bench.repository, "add", "-A")
    git(bench.repository, "commit", "-qm", "Test")
    looser = say(call("edit", path="test_calc.py", old=" == 3", new=""))
    result = await local(bench, PLAN, looser, FINISH).run(bench.repository, "turn it")
    assert result.status is RunStatus.SUCCEEDED, result.reason
    assert result.branch is not None
    assert [(v.rule, v.path, v.line) for v in result.violations] == [
        (Weakening.ASSERTION_LOOSENED, "test_calc.py", 2)
    ]


async def test_a_credential_blocks_here_too(bench: Bench):
    runs = local(bench, PLAN, say(call("write", path="a", content="glpat-0123456789abc")), FINISH)
    runs.canaries = Canaries(secrets=frozenset({"glpat-0123456789abc"}))
    result = await runs.run(bench.repository, "turn it")
    assert result.status is RunStatus.ESCALATED
    assert result.branch is None
    assert "agent/" not in git(bench.repository, "branch", "-a")


async def test_a_branch_of_an_earlier_time_is_left_alone(bench: Bench):
    git(bench.repository, "branch", "agent/1")
    result = await local(bench, PLAN, GOOD, FINISH).run(bench.repository, "turn it")
    assert result.branch == "agent/1-2"


async def test_a_question_is_put_to_who_sits_there(bench: Bench):
    async def answer(question: QuestionAsked) -> str:
        return question.choices[1]

    ask = say(call("ask", question="What?", choices=["speed", "words"]))
    runs = local(bench, ask, PLAN, GOOD, FINISH)
    result = await runs.run(bench.repository, "better", answer=answer, branch="better")
    assert result.status is RunStatus.SUCCEEDED
    assert result.branch == "better"


async def test_a_question_that_nobody_answers_is_the_result(bench: Bench):
    ask = say(call("ask", question="What?", choices=["speed", "words"]))
    result = await local(bench, ask).run(bench.repository, "better")
    assert result.status is RunStatus.WAITING_FOR_ANSWER
    assert result.question is not None
    assert result.question.question == "What?"
    assert result.branch is None


async def test_a_branch_that_cannot_be_written_escalates(bench: Bench):
    git(bench.repository, "branch", "taken")
    other = say(call("write", path="other", content="x"))
    await local(bench, PLAN, other, FINISH).run(bench.repository, "a", branch="other")
    result = await local(bench, PLAN, GOOD, FINISH).run(bench.repository, "b", branch="other")
    assert result.status is RunStatus.ESCALATED
    assert result.commit is None
