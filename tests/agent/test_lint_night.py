"""A night of linting on real things: git, the sandbox, ruff. Other linters are small scripts."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine_bench import git, make_repository

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.git_vault import GitVaults
from agent.adapters.night_file import NightFiles
from agent.dependencies import Installed, Installer
from agent.events import DependenciesReady
from agent.maintenance.local import LocalNights
from agent.maintenance.night import Finding, Task, TaskReport
from agent.package_sources import PackageSources
from agent.ports import Mount
from agent.project import Maintenance, ProjectSettings
from agent.testing import FixedClock

TEST = "import unittest\n\nimport calc\n\n\nclass T(unittest.TestCase):\n    def test_it(self):\n"
FILES = {
    "pyproject.toml": "[tool.ruff.lint]\nselect = ['E', 'F']\n",
    "calc.py": "import os\n\n\ndef add(a, b):\n    x = 1\n    return a + b\n",
    "test_calc.py": f"{TEST}        self.assertEqual(calc.add(1, 2), 3)\n",
}


@dataclass(frozen=True, kw_only=True)
class Shelf(Installer):
    """The project's packages are the programs in a folder."""

    async def install(self, checkout: Path, *, project: str) -> Installed:
        env = {"PATH": "/deps:/usr/local/bin:/usr/bin:/bin"}
        record = DependenciesReady(manager="uv", cached=True, seconds=0)
        return Installed(mounts=(Mount(source=self.cache, target="/deps"),), env=env, record=record)


@dataclass(kw_only=True)
class Nights:
    folder: Path
    repository: Path
    shelf: Path
    nights: LocalNights

    def program(self, name: str, text: str) -> None:
        (self.shelf / name).write_text(f"#!/bin/bash\n{text}\n")
        (self.shelf / name).chmod(0o755)

    def commit(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            (self.repository / name).write_text(text)
        git(self.repository, "add", "-A")
        git(self.repository, "commit", "-qm", "More")

    async def run(self, *lint: str, seconds: float = 60, dry_run: bool = False) -> TaskReport:
        settled = Maintenance(lint=lint, lint_seconds=seconds)
        project = ProjectSettings(path="x", maintenance=settled)
        [report] = await self.nights.run(self.repository, [Task.LINT], project, dry_run=dry_run)
        return report

    def left(self, report: TaskReport, path: str) -> str:
        """A file on the branch that the night left."""
        return git(self.repository, "show", f"{report.groups[0].branch}:{path}")


@pytest.fixture
def nights(tmp_path: Path, sandbox_folder: Path) -> Nights:
    make_repository(tmp_path / "project", FILES)
    shelf = sandbox_folder / f"shelf-{tmp_path.name}"
    shelf.mkdir()
    shutil.copy(Path(sys.executable).parent / "ruff", shelf / "ruff")
    sandbox = BubblewrapSandbox(sandbox_folder)
    kept = NightFiles(tmp_path / "kept")
    return Nights(
        folder=tmp_path,
        repository=tmp_path / "project",
        shelf=shelf,
        nights=LocalNights(
            sandbox=sandbox,
            vaults=GitVaults(tmp_path / "vaults").of,
            clock=FixedClock(),
            installer=Shelf(sandbox=sandbox, cache=shelf, sources=PackageSources(), uv=None),
            findings=kept,
            branches=kept,
        ),
    )


def rules(found: Sequence[Finding]) -> list[str]:
    return [each.rule for each in found]


async def test_what_ruff_mends_is_tested_and_left_on_a_branch(nights: Nights):
    (nights.repository / "draft.py").write_text("mine")
    report = await nights.run()
    assert (report.status, report.not_checked, report.problems) == ("done", (), ())
    assert rules(report.findings) == ["F841"]
    assert rules(report.fixed) == ["F401"]
    [group] = report.groups
    assert (group.branch, group.files) == ("maintenance/lint", ("calc.py",))
    assert group.tests_before is not None
    assert group.tests_after is not None
    assert group.tests_after.green
    assert "import os" not in nights.left(report, "calc.py")
    assert git(nights.repository, "status", "--porcelain") == "?? draft.py"
    assert git(nights.repository, "branch", "--show-current") == "main"


async def test_a_second_night_says_what_is_new_and_what_is_gone(nights: Nights):
    first = await nights.run()
    assert first.new == ()  # there is nothing that it could be compared with
    head = git(nights.repository, "rev-parse", "maintenance/lint")
    moved = f"# hello\n\n{FILES['calc.py'].replace('    x = 1', '')}\n\ndef f():\n    y = 2\n"
    nights.commit({"calc.py": moved})
    second = await nights.run()
    assert rules(second.findings) == ["F841"]
    assert [(each.rule, each.line) for each in second.new] == [("F841", 11)]
    assert rules(second.gone) == ["F841"]
    assert second.fixed[0].fingerprint == first.fixed[0].fingerprint
    assert git(nights.repository, "rev-parse", "maintenance/lint") != head
    assert git(nights.repository, "branch", "--list", "maintenance/*").count("\n") == 0


async def test_nothing_to_do_is_nothing_and_leaves_nothing(nights: Nights):
    nights.commit({"calc.py": "def add(a, b):\n    return a + b\n"})
    report = await nights.run()
    assert (report.status, report.groups, report.findings) == ("nothing", (), ())
    assert git(nights.repository, "branch", "--list", "maintenance/*") == ""


@pytest.mark.parametrize(
    ("lint", "why"),
    [
        ("bash -c 'echo calc.py:1: bad; exit 2'", "it ended with exit code 2"),
        ("bash -c 'echo I broke >&2; exit 1'", "named nothing and said: I broke"),
        ("bash -c 'echo calc.py:1: bad; kill -9 $$'", "it ended with exit code 137"),
        ("sleep 60", "it did not end within"),
        ("head -c 100000000 /dev/zero", "it printed more than 16 MB"),
        ("bash -c 'head -c 100000000 /dev/zero >&2; exit 2'", "it ended with exit code 2"),
        ("mypy", "it is installed neither with the project's packages nor"),
        (" ", "it is installed neither"),
        ("'unclosed", "it is installed neither with the project's packages nor"),
    ],
)
async def test_a_linter_that_fails_is_not_checked_and_nothing_else(
    nights: Nights, lint: str, why: str
):
    report = await nights.run(lint, "ruff check", seconds=3)
    [sentence] = report.not_checked
    assert why in sentence
    assert report.status == "partial"
    assert {each.tool for each in (*report.findings, *report.fixed)} == {"ruff check"}
    assert len(report.groups) == 1


async def test_no_linter_that_did_its_work_is_a_failure_and_not_a_clean_project(nights: Nights):
    report = await nights.run("mypy")
    assert (report.status, len(report.not_checked)) == ("failed", 1)
    nights.commit({"pyproject.toml": ""})
    report = await nights.run()
    assert (report.status, len(report.not_checked)) == ("nothing", 1)


async def test_a_linter_that_fails_for_a_night_makes_nothing_gone_or_new(nights: Nights):
    nights.program("lint", "echo 'calc.py:5: it is bad'; exit 1")
    assert len((await nights.run("lint")).findings) == 1
    nights.program("lint", "exit 3")
    assert (await nights.run("lint")).gone == ()
    nights.program("lint", "echo 'calc.py:5: it is bad'; exit 1")
    again = await nights.run("lint")
    assert (len(again.findings), again.new, again.gone) == (1, (), ())


async def test_names_are_never_parts_of_a_command(nights: Nights):
    odd = "a b;$(touch pwned)`id`'\".py"
    nights.commit({odd: "import os\n", "-rf.py": "import os\n"})
    report = await nights.run("ruff check --select 'F401;$(touch pwned)'", "ruff check .")
    assert len(report.not_checked) == 1  # ruff knows no such rule
    assert {each.path for each in report.fixed} == {odd, "-rf.py", "calc.py"}
    assert report.groups[0].files == ("-rf.py", odd, "calc.py")
    names = git(nights.repository, "ls-tree", "-z", "--name-only", "maintenance/lint").split("\0")
    assert sorted(filter(None, names)) == sorted([odd, "-rf.py", *FILES])


async def test_a_linter_that_writes_while_it_looks_changes_nothing(nights: Nights):
    nights.program("lint", "echo 'calc.py:5: it is bad' | tee -a calc.py report.txt; exit 1")
    report = await nights.run("lint", "ruff check")
    assert "`lint` changed files although it was only to look" in report.problems[0]
    assert report.groups[0].files == ("calc.py",)
    assert "it is bad" not in nights.left(report, "calc.py")


async def test_a_linter_that_fills_the_workspace_takes_nothing_from_the_next(nights: Nights):
    nights.program("lint", "for n in {1..12}; do truncate -s 19M big$n; done")
    report = await nights.run("lint", "ruff check")
    assert "`lint` changed files" in report.problems[0]
    assert rules(report.findings) == ["F841"]
    assert report.groups[0].files == ("calc.py",)


async def test_fixes_that_break_a_test_are_left_out_and_others_kept(nights: Nights):
    nights.program("gofmt", 'if [ "$1" = -w ]; then sed -i "s/a + b/a - b/" calc.py; fi')
    report = await nights.run("gofmt", "ruff check")
    [problem] = report.problems
    assert problem.startswith("The fixes of `gofmt` were left out: with them test_calc.T.test_it")
    assert report.groups[0].title == "Mend what ruff check can mend safely"
    assert nights.left(report, "calc.py").endswith("return a + b")
    after = report.groups[0].tests_after
    assert after is not None
    assert after.green


async def test_ignores_configuration_and_new_files_are_no_fixes(nights: Nights):
    nights.commit({"other.py": "y = 1\n", "gone.py": "", ".gitlab-ci.yml": "a: 1\n"})
    nights.program(
        "gofmt",
        """[ "$1" = -w ] || exit 0
sed -i "s/import os/import os  # noqa: F401/" calc.py
echo "ignore = ['F']" >>pyproject.toml
sed -i s/1/2/ .gitlab-ci.yml
echo 1 >new.py; rm gone.py; ln -sf /etc/passwd other.py
sed -i s/calc.add/calc.add/ test_calc.py; sed -i s/assertEqual/assertTrue/ test_calc.py""",
    )
    report = await nights.run("gofmt")
    assert report.groups == ()
    said = "\n".join(report.problems)
    for path in (
        *("calc.py", "pyproject.toml", ".gitlab-ci.yml", "new.py", "gone.py", "other.py"),
        "test_calc.py",
    ):
        assert path in said
    assert git(nights.repository, "branch", "--list", "maintenance/*") == ""


async def test_a_fixer_that_hangs_mends_nothing(nights: Nights):
    nights.program("gofmt", '[ "$1" = -w ] && { echo >>calc.py; sleep 60; }; exit 0')
    report = await nights.run("gofmt", seconds=2)
    assert report.groups == ()
    assert report.problems[0].startswith("`gofmt` mended nothing: it did not end within")


async def test_fixes_without_tests_say_so(nights: Nights):
    git(nights.repository, "rm", "-q", "test_calc.py")
    nights.commit({})
    report = await nights.run()
    assert report.groups[0].tests_after is None
    assert "not tested" in report.not_checked[0]


async def test_work_of_people_on_the_branch_is_left_alone(nights: Nights):
    git(nights.repository, "branch", "maintenance/lint")
    report = await nights.run()
    assert report.groups[0].branch == "maintenance/lint-2"
    assert "maintenance/lint holds work of somebody else" in report.problems[0]
    assert git(nights.repository, "rev-parse", "maintenance/lint") == report.groups[0].base
    again = await nights.run()
    assert again.groups[0].branch == "maintenance/lint-2"
    assert again.groups[0].commit == report.groups[0].commit


async def test_a_dry_run_leaves_and_remembers_nothing(nights: Nights):
    report = await nights.run(dry_run=True)
    assert len(report.groups) == 1
    assert git(nights.repository, "branch", "--list", "maintenance/*") == ""
    assert not (nights.folder / "kept").exists()
