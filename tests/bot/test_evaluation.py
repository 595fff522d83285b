"""`journeyman eval` as a shell sees it: tasks with a known answer, each through a run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.git_ground import GitGround
from agent.adapters.instance_file import read_instances
from agent.adapters.postgres import Connection
from agent.difference import read_patch
from agent.errors import GitFailed, SettingsError
from agent.evaluation.judging import share, statuses
from agent.local import LocalResult, LocalRuns
from agent.run import CommitSha
from agent.testreport import CaseStatus, TestCase
from benchmarks.mine import mine
from bot.build import sandbox_folder
from bot.evaluation import eval_command, folder_name
from playground.model.server import ModelStandIn

ROOT = Path(__file__).parents[2]
ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{r}_{p}": "a@b" for r in ("AUTHOR", "COMMITTER") for p in ("NAME", "EMAIL")},
}
BROKEN = "def add(a, b):\n    return a - b\n\n\ndef double(a):\n    return a\n"
MENDED = "def add(a, b):\n    return a + b\n\n\ndef double(a):\n    return 2 * a\n"
OLD_TESTS = """import unittest

import calc


class Old(unittest.TestCase):
    def test_nothing(self):
        self.assertEqual(calc.add(0, 0), 0)
"""
TOP = "import unittest\n\n\nclass Top(unittest.TestCase):\n    def test_top(self): ...\n"
SECRET = "known-only-to-the-judge"
NEW_TESTS = f"""{OLD_TESTS}

class New(unittest.TestCase):
    def test_add(self):
        self.assertEqual(calc.add(1, 2), 3, "{SECRET}")

    def test_double(self):
        self.assertEqual(calc.double(4), 8, "{SECRET}")
"""


MESSAGE = """fix: Let add add, and double double (#7)

Closes #6

Signed-off-by: Mia <mia@example.com>
"""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=ENV, check=True, capture_output=True, text=True
    )
    return done.stdout


@dataclass(frozen=True)
class Origin:
    """A repository in which the answer is one commit away, under a tag and on a branch."""

    path: Path
    base: str
    fix: str
    test_patch: str

    def instance(self, id: str, problem: str, fails: list[str], **more: object) -> dict[str, Any]:
        return {
            "instance_id": id,
            "repo": "team/calc",
            "base_commit": self.base,
            "problem_statement": problem,
            "test_patch": self.test_patch,
            "FAIL_TO_PASS": json.dumps(fails),  # as in the published data
            "PASS_TO_PASS": ["test_calc.Old.test_nothing"],
        } | more


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    folder = tmp_path / "repos" / "team__calc"
    (folder / "tests").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / "calc.py").write_text(BROKEN)
    (folder / "tests/test_calc.py").write_text(OLD_TESTS)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Begin")
    base = git(folder, "rev-parse", "HEAD").strip()
    (folder / "calc.py").write_text(MENDED)
    (folder / "tests/test_calc.py").write_text(NEW_TESTS)
    git(folder, "commit", "-qam", MESSAGE)
    git(folder, "tag", "v2")
    git(folder, "branch", "later")
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    fix = git(folder, "rev-parse", "HEAD").strip()
    return Origin(folder, base, fix, git(folder, "diff", base, fix, "--", "tests"))


ADD = ["test_calc.New.test_add"]
DOUBLE = ["test_calc.New.test_double"]


def answer(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Mends `add`, whatever is asked; loosens a test when it is told to double."""
    given = sum(message["role"] == "assistant" for message in messages)
    wanted = json.dumps(messages)
    calls = [
        {"name": "update_plan", "arguments": {"steps": [{"title": "Do it"}]}},
        _edit("calc.py", "return a - b", "return a + b"),
        {"name": "finish", "arguments": {"summary": "Mended it"}},
    ]
    if "doubles nothing" in wanted:
        calls.insert(2, _edit("tests/test_calc.py", "self.assertEqual(calc.add(0, 0), 0)", "pass"))
    if "begun elsewhere" in wanted:
        calls.insert(2, {"name": "write", "arguments": {"path": "test_top.py", "content": TOP}})
    if "never ends" in wanted:
        calls[1] = {"name": "run", "arguments": {"command": "sleep 100"}}
    return {"content": None, "tool_calls": [calls[min(given, len(calls) - 1)]]}


def _edit(path: str, old: str, new: str) -> dict[str, Any]:
    return {"name": "edit", "arguments": {"path": path, "old": old, "new": new}}


@pytest.fixture
async def model() -> AsyncIterator[ModelStandIn]:
    async with ModelStandIn(answer=answer) as running:
        yield running


@dataclass(kw_only=True)
class Shell:
    folder: Path
    model: ModelStandIn
    environment: dict[str, str]
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def write(self, *lines: dict[str, Any] | str) -> None:
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (self.folder / "tasks.jsonl").write_text("\n".join(texts) + "\n")

    async def start(self, *more: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "eval", "--instances", str(self.folder / "tasks.jsonl")),
            *("--repos", str(self.folder / "repos"), "--out", str(self.folder / "out"), *more),
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    async def eval(self) -> tuple[int, dict[str, Any], str]:
        """In this process, which is quicker."""
        for name, value in self.environment.items():
            self.monkeypatch.setenv(name, value)
        code = await eval_command(
            instances=str(self.folder / "tasks.jsonl"),
            repos=str(self.folder / "repos"),
            out=str(self.folder / "out"),
            parallel=2,
            test_command=None,
            retrieval=True,
            as_json=True,
        )
        printed = self.capsys.readouterr()
        return code, json.loads(printed.out), printed.err

    def lines(self, name: str) -> list[dict[str, Any]]:
        text = (self.folder / "out" / name).read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def shell(
    tmp_path: Path,
    model: ModelStandIn,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shell]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "JOURNEYMAN_HOME": str(tmp_path / "home"),
        "OPENAI_BASE_URL": model.url,
        "JOURNEYMAN_MODEL": "scripted",
        "DATABASE_URL": database_url,
    }
    yield Shell(
        folder=tmp_path,
        model=model,
        environment=environment,
        monkeypatch=monkeypatch,
        capsys=capsys,
    )
    shutil.rmtree(sandbox_folder(tmp_path / "home"), ignore_errors=True)


async def test_one_is_solved_one_says_so_falsely_and_both_are_not_done_again(
    shell: Shell, origin: Origin
):
    shell.write(
        origin.instance("../../add", "add takes away", ADD),
        origin.instance("calc__2", "double doubles nothing", DOUBLE),
    )
    code, result, told = await shell.eval()
    assert code == 0, told
    add, double = result["instances"]
    assert (add["result"], add["FAIL_TO_PASS"]["passed"], add["weakened"]) == ("solved", 1, [])
    assert add["steps"] >= 3
    assert add["tokens"]["prompt"] > 0
    assert (double["result"], double["status"]) == ("false done", "succeeded")
    assert double["FAIL_TO_PASS"] == {"passed": 0, "of": 1, "not_passed": DOUBLE}
    assert double["PASS_TO_PASS"]["passed"] == 1  # by the judge's tests, not by the run's
    assert ["test_calc.py" in each for each in double["weakened"]] == [True]
    assert result["totals"]["solved"] == result["totals"]["false_done"] == 1

    asked = json.dumps(shell.model.requests)
    assert "add takes away" in asked
    assert SECRET not in asked
    assert origin.fix not in asked
    predictions = shell.lines("predictions.jsonl")
    assert [set(each) for each in predictions] == [
        {"instance_id", "model_name_or_path", "model_patch"}
    ] * 2
    mended = next(each for each in predictions if each["instance_id"] == "../../add")
    assert "+    return a + b" in mended["model_patch"]
    assert mended["model_name_or_path"] == "journeyman/scripted"
    assert not any((shell.folder / "out" / "work").iterdir())
    assert not (shell.folder / "add").exists()

    before = len(shell.model.requests)
    again = await shell.eval()
    assert again[:2] == (0, result)
    assert "2 of 2 were judged before" in again[2]
    assert len(shell.model.requests) == before


async def test_how_tests_are_run_is_not_found_in_what_the_run_wrote(shell: Shell, origin: Origin):
    shell.write(origin.instance("calc", "tests are begun elsewhere, and add takes away", ADD))
    _, result, told = await shell.eval()
    assert result["instances"][0]["PASS_TO_PASS"]["passed"] == 1, told
    assert result["instances"][0]["FAIL_TO_PASS"]["passed"] == 1
    assert "test_top.py" in shell.lines("predictions.jsonl")[0]["model_patch"]


async def test_a_run_that_breaks_leaves_no_index_and_no_history(
    shell: Shell, origin: Origin, owner: Connection, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []
    kept = "SELECT (SELECT count(*) FROM code_trees) + (SELECT count(*) FROM code_changes)"
    run = LocalRuns.run

    async def broken(self: LocalRuns, *arguments: Any, **more: Any) -> LocalResult:
        await run(self, *arguments, **more)
        seen.append(int(await owner.fetchval(kept)))
        raise GitFailed("It broke.")

    monkeypatch.setattr(LocalRuns, "run", broken)
    shell.write(origin.instance("calc", "add takes away", ADD))
    _, result, _ = await shell.eval()
    assert result["instances"][0]["problem"] == "It broke."
    assert seen[0] >= 1
    assert await owner.fetchval(kept) == 0


async def test_what_cannot_be_tried_is_told_and_the_rest_goes_on(shell: Shell, origin: Origin):
    shell.write(
        origin.instance("gone", "add takes away", ADD, repo="team/gone"),
        "{ no json",
        origin.instance("web", "add takes away", ADD, repo="https://127.0.0.1:1/team/calc"),
        origin.instance("other", "add takes away", ADD, base_commit="f" * 40),
        origin.instance("patch", "add takes away", ADD, test_patch="--- a/x\n+++ b/x\n"),
        origin.instance("calc", "add takes away", ADD, repo="./repos/team__calc"),
        origin.instance("calc", "the same name", ADD),
    )
    code, result, told = await shell.eval()
    assert code == 1
    by_name = {each["instance_id"]: each for each in result["instances"]}
    assert "There is no git repository" in by_name["gone"]["problem"]
    assert "neither a path nor the name" in by_name["web"]["problem"]
    assert "cannot be had" in by_name["other"]["problem"]
    assert "does not apply" in by_name["patch"]["problem"]
    assert by_name["calc"]["solved"]
    assert "Line 2 of tasks.jsonl is left out: it is no JSON" in told
    assert "Line 7 of tasks.jsonl is left out: calc stands further up, too." in told
    assert len(result["problems"]) == 2

    (shell.folder / "repos/team__gone").symlink_to(origin.path)
    shell.write(origin.instance("gone", "add takes away", ADD, repo="team/gone"))
    code, result, told = await shell.eval()
    assert (code, result["totals"]["solved"]) == (0, 1), told


async def test_a_run_that_the_model_refused_is_no_result(shell: Shell, origin: Origin):
    shell.write(origin.instance("a", "add takes away", ADD))
    async with ModelStandIn(answer=answer, key="right") as strict:
        shell.environment |= {"OPENAI_BASE_URL": strict.url, "OPENAI_API_KEY": "wrong"}
        code, result, told = await shell.eval()
        assert (code, result["instances"][0]["result"]) == (1, "not judged"), told
        assert "The run broke off" in told
        assert shell.lines("predictions.jsonl") == []
        shell.environment["OPENAI_API_KEY"] = "right"
        code, result, told = await shell.eval()
        assert (code, result["totals"]["solved"]) == (0, 1), told


async def test_what_is_left_torn_or_changed_is_done_again(shell: Shell, origin: Origin):
    shell.write(origin.instance("a", "add takes away", ADD), origin.instance("b", "add, too", ADD))
    await shell.eval()
    file = shell.folder / "out" / "results.jsonl"
    whole = file.read_text()
    file.write_text(whole[: whole.index("\n") + 30])  # killed while it wrote
    before = len(shell.model.requests)
    code, result, told = await shell.eval()
    assert (code, result["totals"]["solved"]) == (0, 2), told
    assert "1 of 2 were judged before" in told
    assert len(shell.lines("results.jsonl")) == 2
    spent = len(shell.model.requests) - before

    shell.write(origin.instance("a", "add is wrong", ADD), origin.instance("b", "add, too", ADD))
    await shell.eval()
    assert len(shell.model.requests) - before == 2 * spent
    assert len(shell.lines("results.jsonl")) == 3
    assert len(shell.lines("predictions.jsonl")) == 2


async def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(shell: Shell, origin: Origin):
    ends = origin.instance("ends", "add takes away", ADD)
    shell.write(ends, origin.instance("waits", "it never ends", ADD))
    asked = asyncio.Event()

    def told_when_asked(messages: list[dict[str, Any]]) -> dict[str, Any]:
        if "it never ends" in json.dumps(messages):
            asked.set()
        return answer(messages)

    shell.model._answer = told_when_asked
    process = await shell.start("--parallel", "1")
    assert process.stderr is not None
    told: list[str] = []
    async for line in process.stderr:
        told.append(line.decode())
        if "ends: solved" in told[-1]:
            await asked.wait()
            process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 1, told
    assert any("Stopping; what is done is kept." in line for line in told)
    assert "1 of 2 are left" in told[-1]
    assert [each["instance"] for each in shell.lines("results.jsonl")] == ["ends"]
    assert len(shell.lines("predictions.jsonl")) == 1
    shell.write(ends, origin.instance("waits", "add takes away", ADD))
    code, result, _ = await shell.eval()
    assert (code, result["totals"]["solved"]) == (0, 2)

    shell.environment["JOURNEYMAN_MODEL"] = "another"
    with pytest.raises(SettingsError, match="holds results of the model scripted"):
        await shell.eval()


async def test_nothing_after_the_base_is_in_what_a_run_begins_with(origin: Origin, tmp_path: Path):
    ground = GitGround(tmp_path / "ground" / "repository.git")
    await ground.lay(origin.path, CommitSha(origin.base))
    assert git(ground.path, "rev-list", "--all").split() == [origin.base]
    assert git(ground.path, "for-each-ref", "--format=%(refname)").split() == ["refs/heads/main"]
    held = git(ground.path, "cat-file", "--batch-check", "--batch-all-objects", "--unordered")
    assert origin.fix not in held
    assert len(held.splitlines()) == len(
        git(origin.path, "rev-list", "--objects", origin.base).splitlines()
    )
    assert not (ground.path / "objects/info/alternates").exists()
    assert await ground.refuses(CommitSha(origin.base), origin.test_patch) == ""
    again = git(ground.path, "cat-file", "--batch-check", "--batch-all-objects", "--unordered")
    assert again == held  # not even the tests' blobs


async def test_a_commit_that_mends_what_its_tests_show_becomes_a_task(shell: Shell, origin: Origin):
    shell.monkeypatch.setenv("JOURNEYMAN_HOME", shell.environment["JOURNEYMAN_HOME"])
    out = shell.folder / "tasks.jsonl"
    (origin.path / "calc.py").write_text(MENDED + "# nothing that a test would see\n")
    (origin.path / "tests/test_calc.py").write_text(NEW_TESTS + "# nothing either\n")
    git(origin.path, "commit", "-qam", "Say something in the code and in its tests")

    assert await mine(origin.path, out, most=5, tries=10, command=None) == 1
    assert "no test of it fails before it and passes after it" in shell.capsys.readouterr().err
    assert await mine(origin.path, out, most=5, tries=10, command=None) == 0
    (task,), problems = read_instances(out)
    assert not problems
    assert task.base == origin.base
    assert task.problem == "Let add add, and double double"
    assert set(task.fail_to_pass) == {*ADD, *DOUBLE}
    assert task.pass_to_pass == ("test_calc.Old.test_nothing",)
    assert SECRET in task.test_patch
    assert "calc.py" not in {diff.path for diff in read_patch(task.test_patch)}
    assert "return 2 * a" in json.loads(out.read_text())["patch"]


def test_names_of_published_data_are_found_in_reports():
    cases = statuses(
        [
            TestCase(id="tests/test_a.py::test_b[x y]", status=CaseStatus.PASSED),
            TestCase(id="tests/test_a.py::test_b[x z]", status=CaseStatus.FAILED),
            TestCase(id="tests/test_a.py::test_b[w v]", status=CaseStatus.PASSED),
            TestCase(id="tests/test_a.py::test_b[w u]", status=CaseStatus.PASSED),
            TestCase(id="app.tests.Views.test_get", status=CaseStatus.PASSED),
            TestCase(id="skipped", status=CaseStatus.SKIPPED),
            TestCase(id="twice", status=CaseStatus.ERROR),
            TestCase(id="twice", status=CaseStatus.PASSED),
        ]
    )
    passing = ["tests/test_a.py::test_b[x y]", "tests/test_a.py::test_b[w"]
    passing.append("test_get (app.tests.Views)")
    failing = ["tests/test_a.py::test_b[x", "skipped", "twice", "nowhere", "test_b"]
    found = share([*passing, *failing], cases)
    assert (found.passed, found.of, found.others) == (3, 8, tuple(failing))


def test_any_name_of_a_task_makes_one_folder_and_stays_in_it():
    names = ["../../etc", "a/b", "a b", "..", "/", "x" * 200, "ö", "-rf", "a\\b"]
    folders = {folder_name(name) for name in names}
    assert len(folders) == len(names)
    assert all("/" not in each and ".." not in each and len(each) < 60 for each in folders)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"instance_id": "a\x1b[2Jb"}, "instance_id is not a printable text"),
        ({"instance_id": "x" * 201}, "at most 200 characters"),
        ({"base_commit": "HEAD"}, "not the whole id of a commit"),
        ({"base_commit": "--upload-pack=x"}, "not the whole id of a commit"),
        ({"problem_statement": " "}, "it has no problem_statement"),
        ({"FAIL_TO_PASS": "[]"}, "FAIL_TO_PASS names no test"),
        ({"FAIL_TO_PASS": "no json"}, "a text that is no JSON"),
        ({"PASS_TO_PASS": [1]}, "PASS_TO_PASS is no list of texts"),
        ({"repo": "a\0b"}, "repo holds what is no text"),
        ({"test_patch": "\ud800"}, "test_patch holds what is no text"),
    ],
)
def test_a_task_that_is_none_is_told_by_its_line(tmp_path: Path, change: dict[str, Any], told: str):
    whole = Origin(tmp_path, "a" * 40, "", "diff").instance("one", "mend it", ADD)
    path = tmp_path / "tasks.jsonl"
    lines = (
        json.dumps(whole),
        "",
        "[" * 5_000,
        "7",
        json.dumps(whole | {"instance_id": "x"} | change),
    )
    path.write_text("\n".join(lines))
    found, problems = read_instances(path)
    assert [each.id for each in found] == ["one"]
    assert [problem.split(" of ")[0] for problem in problems] == ["Line 3", "Line 4", "Line 5"]
    assert told in problems[-1]
