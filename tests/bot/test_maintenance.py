"""`journeyman maintenance run`, as a shell sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = '[defaults.maintenance]\nlint = ["bash lint.sh"]\nlint_minutes = 1\n'
LINT = 'for f in *.py; do echo "$f:1: it is \\033[31mbad"; done; exit 1\n'


def maintenance(folder: Path, *words: str, settings: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "journeyman.toml").write_text(settings)
    return subprocess.run(
        [sys.executable, "-m", "bot", "maintenance", "run", *words],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "JOURNEYMAN_CONFIG": str(folder / "journeyman.toml"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def repository(tmp_path: Path) -> str:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "lint.sh").write_text(LINT)
    (folder / "a\x1b[31m b.py").write_text("x = 1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "First"]):
        who = ["-c", "user.name=Mia", "-c", "user.email=mia@example.com"]
        subprocess.run(["git", "-C", str(folder), *who, *words], check=True)
    return str(folder)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--repo", "docs-of-nothing"), "--repo docs-of-nothing is no git repository"),
        (("--repo", str(ROOT), "--project", "team/x"), "--project team/x is not among those"),
        (("--task", "lint"), "Name a project of the settings with --project, or a --repo."),
        (("--repo", ".", "--task", "dishes"), "invalid choice: 'dishes'"),
    ],
)
def test_wrong_usage_exits_2(tmp_path: Path, words: tuple[str, ...], told: str):
    done = maintenance(tmp_path, *words)
    assert done.returncode == 2
    assert told in done.stderr


def test_findings_are_told_and_nothing_in_them_reaches_the_terminal(
    tmp_path: Path, repository: str
):
    words = ("--repo", repository, "--task", "lint")
    done = maintenance(tmp_path, *words, settings=SETTINGS)
    assert done.returncode == 0, done.stderr
    assert "Lint: 1 stand" in done.stdout
    assert "a?[31m b.py:1  it is \\033[31mbad [bash lint.sh]" in done.stdout
    assert "\x1b" not in done.stdout

    printed = maintenance(tmp_path, *words, "--json", settings=SETTINGS)
    report = json.loads(printed.stdout)["lint"]
    assert (report["status"], report["new"], report["not_checked"]) == ("done", [], [])
    assert report["findings"][0]["path"] == "a\x1b[31m b.py"


def test_no_linter_that_works_exits_1(tmp_path: Path, repository: str):
    settings = '[defaults.maintenance]\nlint = ["bash nothing.sh"]\n'
    done = maintenance(tmp_path, "--repo", repository, "--task", "lint", settings=settings)
    assert done.returncode == 1
    assert "`bash nothing.sh` was not checked: " in done.stdout


def test_a_wrong_setting_is_one_sentence(tmp_path: Path):
    settings = "[defaults.maintenance]\nlinters = []\n"
    done = maintenance(tmp_path, "--repo", ".", settings=settings)
    assert done.returncode == 2
    assert "did you mean lint?" in done.stderr


@pytest.mark.parametrize(
    ("settings", "tasks"),
    [
        ("", ["lint", "dependencies"]),
        ('[defaults.maintenance]\ntasks = ["tests"]\n', ["lint", "dependencies", "tests"]),
    ],
)
def test_tests_are_off_unless_the_settings_have_them(
    tmp_path: Path, repository: str, settings: str, tasks: list[str]
):
    done = maintenance(tmp_path, "--repo", repository, "--dry-run", "--json", settings=settings)
    reports = json.loads(done.stdout)
    assert list(reports) == tasks, done.stderr
    if "tests" in reports:
        assert "only Python is measured" in reports["tests"]["not_checked"][0]
