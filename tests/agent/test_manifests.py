"""What a checkout says it needs, read without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.files import WorkspaceFiles
from agent.manifests import Manifests, find, wants_pytest


@pytest.fixture
def tree(tmp_path: Path) -> WorkspaceFiles:
    return WorkspaceFiles(tmp_path)


def put(tree: WorkspaceFiles, files: dict[str, str]) -> Manifests:
    for name, text in files.items():
        tree.write(name, text.encode())
    return find(tree)


def test_nothing_is_declared(tree: WorkspaceFiles):
    found = put(tree, {"README.md": "", "src/app.py": ""})
    assert (found.manager, found.problem, dict(found.files)) == ("", "", {})


def test_requirements_with_what_they_include(tree: WorkspaceFiles):
    found = put(
        tree,
        {
            "requirements.txt": "-r requirements/base.txt\nflask\n-e .\n./local[x]\n.\n",
            "requirements/base.txt": "-c limits.txt\nrequests  # comment\n",
            "requirements/limits.txt": "requests<3\n",
            "requirements/docs.txt": "sphinx\n",
            "requirements-dev.txt": "-r requirements.txt\npytest\n",
            "requirements.in": "flask\n",
        },
    )
    assert found.arguments == (
        *("-r", "requirements-dev.txt", "-r", "requirements.txt"),
        *("-r", "requirements/base.txt"),
    )
    assert sorted(found.files) == [
        "requirements-dev.txt",
        "requirements.txt",
        "requirements/base.txt",
        "requirements/limits.txt",
    ]
    assert found.files["requirements.txt"].split() == [b"-r", b"requirements/base.txt", b"flask"]


def test_pyproject_with_its_test_groups(tree: WorkspaceFiles):
    text = """
[project]
dependencies = ["flask>=3"]
[project.optional-dependencies]
test = ["pytest"]
docs = ["sphinx"]
[dependency-groups]
dev = ["ruff", {include-group = "lint"}]
lint = ["mypy", {include-group = "dev"}]
"""
    found = put(tree, {"pyproject.toml": text})
    assert found.files["from-pyproject.toml.txt"].decode().split() == [
        *("flask>=3", "pytest", "ruff", "mypy"),
    ]


def test_pyproject_whose_dependencies_are_in_a_file(tree: WorkspaceFiles):
    text = '[tool.setuptools.dynamic]\ndependencies = {file = ["deps/run.in"]}\n'
    found = put(tree, {"pyproject.toml": text, "deps/run.in": "flask\n"})
    assert found.files["from-pyproject.toml.txt"] == b"-r deps/run.in\n"
    assert found.files["deps/run.in"] == b"flask\n"


def test_setup_cfg(tree: WorkspaceFiles):
    text = "[options]\ninstall_requires =\n  flask\n[options.extras_require]\ntests = pytest\n"
    found = put(tree, {"setup.cfg": text})
    assert found.files["from-setup.cfg.txt"] == b"flask\npytest\n"


def test_lock_files_come_first(tree: WorkspaceFiles):
    files = {"pyproject.toml": "[project]\n", "uv.lock": "", "requirements.txt": "flask\n"}
    found = put(tree, files)
    assert (found.manager, found.arguments) == ("uv", None)
    assert sorted(found.files) == ["pyproject.toml", "uv.lock"]


def test_the_pins_of_a_poetry_lock(tree: WorkspaceFiles):
    lock = (
        '[[package]]\nname = "flask"\nversion = "3.1"\n'
        '[[package]]\nname = "own"\nversion = "1"\n[package.source]\ntype = "git"\n'
    )
    found = put(tree, {"pyproject.toml": "[tool.poetry]\n", "poetry.lock": lock})
    assert found.files["poetry.txt"] == b"flask==3.1\n"
    assert found.arguments == ("--no-deps", "-r", "poetry.txt")


def test_a_poetry_lock_that_is_none(tree: WorkspaceFiles):
    found = put(tree, {"pyproject.toml": "", "poetry.lock": "<<<<<<< HEAD"})
    assert found.manager == ""
    assert "poetry.lock cannot be read" in found.problem


WINDOWS = 'sys_platform == "win32"'


@pytest.mark.parametrize(
    ("of_lock", "of_pytest", "of_click", "declared", "pinned"),
    [
        ("", f"markers = '{WINDOWS}'", "", "", f"x==1 ; ({WINDOWS})"),
        ("", f"markers = '{WINDOWS}'", "version = '*'", "", "x==1"),
        ("", f"markers = '{WINDOWS}'", "", "x = '*'", "x==1"),
        ("", "markers = 'extra == \"color\"'", "", "", "x==1"),
        (f"markers = '{WINDOWS}'", "version = '*'", "", "", f"x==1 ; {WINDOWS}"),
        (f"markers = {{main = '{WINDOWS}', dev = ''}}", "", "", "", "x==1"),
        ('markers = "a\\nb"', "version = '*'", "", "", "x==1"),
    ],
)
def test_a_package_that_poetry_wants_on_some_platforms_only(
    tree: WorkspaceFiles, of_lock: str, of_pytest: str, of_click: str, declared: str, pinned: str
):
    lock = f'[[package]]\nname = "x"\nversion = "1"\n{of_lock}\n'
    for name, said in (("pytest", of_pytest), ("click", of_click)):
        asks = f"[package.dependencies]\nX = {{{said}}}\n" if said else ""
        lock += f'[[package]]\nname = "{name}"\nversion = "2"\n{asks}'
    project = f"[tool.poetry.dependencies]\n{declared}\n"
    found = put(tree, {"pyproject.toml": project, "poetry.lock": lock})
    assert found.files["poetry.txt"].decode().splitlines()[0] == pinned


@pytest.mark.parametrize(
    "lock",
    [{}, {"yarn.lock": "__metadata:\n  version: 8\n"}, {"pnpm-lock.yaml": "lockfileVersion: 4\n"}],
)
def test_javascript_needs_a_lock_file_that_is_read_here(tree: WorkspaceFiles, lock: dict[str, str]):
    found = put(tree, {"package.json": "{}", **lock})
    assert not found.manager
    assert "lock file of npm, pnpm or Yarn 1" in found.problem


@pytest.mark.parametrize(
    ("package", "lock", "tool"),
    [
        ("{}", "lockfileVersion: '9.0'", "pnpm@10.34.9"),
        ("{}", "lockfileVersion: 5.4", "pnpm@7.33.7"),
        ('{"packageManager": "pnpm@9.1.0+sha512.ab"}', "lockfileVersion: '9.0'", "pnpm@9.1.0"),
        # anything but a version is not asked for
        ('{"packageManager": "pnpm@https://evil.example/x.tgz"}', "lockfileVersion: '6.0'", ""),
        ('{"packageManager": "pnpm@9.1.0; touch x"}', "lockfileVersion: '6.0'", ""),
        ('{"packageManager": "pnpm@9.1.0\\n--x"}', "lockfileVersion: '6.0'", ""),
        ('{"packageManager": "--yes"}', "lockfileVersion: '6.0'", ""),
        ("[1]", "lockfileVersion: '6.0'", ""),
    ],
)
def test_pnpm_is_the_one_that_the_project_uses(
    tree: WorkspaceFiles, package: str, lock: str, tool: str
):
    found = put(tree, {"package.json": package, "pnpm-lock.yaml": lock + "\n"})
    assert (found.manager, found.arguments) == ("pnpm", (tool or "pnpm@8.15.9",))
    assert put(tree, {"package-lock.json": "{}"}).manager == "npm"


@pytest.mark.parametrize(
    ("name", "text"),
    [("pyproject.toml", "not toml"), ("setup.cfg", "no section"), ("setup.py", "setup()")],
)
def test_what_cannot_be_read_is_said(tree: WorkspaceFiles, name: str, text: str):
    assert name in put(tree, {name: text}).problem


def test_the_lock_is_everything_that_decides(tree: WorkspaceFiles):
    first = put(tree, {"requirements.txt": "flask==1\n"}).lock
    assert put(tree, {"README.md": "x"}).lock == first
    assert put(tree, {"requirements.txt": "flask==2\n"}).lock != first


@pytest.mark.parametrize("name", ["tests/x.py", "conftest.py", "test_a.py", "pytest.ini"])
def test_signs_of_pytest(tree: WorkspaceFiles, name: str):
    assert not wants_pytest(tree)
    tree.write(name, b"")
    assert wants_pytest(tree)
