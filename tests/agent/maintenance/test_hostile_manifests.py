"""Manifests and lock files as nobody would write them: said, and nothing is done with them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from engine_bench import git, make_repository

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.git_vault import GitVaults
from agent.dependencies import Installer
from agent.maintenance.dependencies import task
from agent.maintenance.dependencies.ecosystem import Audit, Outdated
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.dependencies.task import dependencies
from agent.maintenance.night import TaskReport, Update
from agent.maintenance.workshop import begin
from agent.package_sources import PackageSources
from agent.ports import Network, Origin
from agent.project import ProjectSettings
from agent.testing import FixedClock

PROJECT = '[project]\nname = "x"\nversion = "1"\ndependencies = ["click==8.0"]\n'
PACKAGE = '{"name": "x", "dependencies": {"ms": "2.0.0"}}'


class Nothing:
    async def last(self, project: str) -> None: ...
    async def keep(self, project: str, findings: object) -> None: ...


async def night(tmp_path: Path, folder: Path, files: Mapping[str, str]) -> TaskReport:
    repository = tmp_path / f"repository-{time.monotonic_ns()}"
    make_repository(repository, files)
    sandbox = BubblewrapSandbox(folder)
    installer = Installer(
        sandbox=sandbox, cache=folder / "cache", sources=PackageSources(), uv=None
    )
    there = await begin(
        ProjectSettings(path="x"),
        GitVaults(tmp_path / "vaults").of(str(repository)),
        Origin(url=str(repository)),
        sandbox=sandbox,
        installer=installer,
        clock=FixedClock(),
        findings=Nothing(),
    )
    report = await dependencies(there)
    assert git(repository, "branch", "--format=%(refname:short)") == "main"
    return report


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"requirements.txt": "a==1\n" + "# filling\n" * 5_000_000}, "larger than 16 MB"),
        ({"pyproject.toml": PROJECT, "uv.lock": ""}, ""),
        ({"pyproject.toml": PROJECT, "uv.lock": "package = 3\n"}, ""),
        ({"pyproject.toml": "project = 3\n", "uv.lock": "[[package]]\nsource = 1\n"}, ""),
        ({"pyproject.toml": PROJECT, "uv.lock": "[[pack"}, "uv.lock cannot be read"),
        ({"pyproject.toml": PROJECT, "poetry.lock": "package = {a = 1}\n"}, ""),
        ({"package.json": PACKAGE, "package-lock.json": ""}, "package-lock.json is no JSON"),
    ],
)
async def test_a_lock_file_that_is_none_is_said_and_nothing_is_kept(
    tmp_path: Path, sandbox_folder: Path, files: Mapping[str, str], words: str
) -> None:
    report = await night(tmp_path, sandbox_folder, files)
    assert report.groups == report.updates == ()
    said = " ".join((*report.problems, *report.not_checked))
    assert said
    assert words in said


UPDATE = Update(
    ecosystem="odd",
    package="a",
    current="1",
    target="2",
    level="major",
    direct=True,
    manifest="a.lock",
)


class Odd:
    """A package manager whose update does harm beside."""

    name = "odd"
    testable = True

    def __init__(self, harm: str) -> None:
        self.harm = harm

    def claims(self, paths: object) -> tuple[str, ...]:
        return ("a.lock",)

    async def outdated(self, shop: Shop) -> Outdated:
        return Outdated(updates=(UPDATE,))

    async def audit(self, shop: Shop) -> Audit:
        return Audit()

    async def apply(self, shop: Shop, updates: object) -> None:
        script = f"echo 2 >a.lock; {self.harm}"
        await shop.run(["bash", "-c", script], network=Network.NONE)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (":", ""),
        ("echo evil >main.py", "neither manifests nor lock files of its own (main.py)"),
        ("mkdir sub; echo x >sub/.gitlab-ci.yml", "(sub/.gitlab-ci.yml)"),
        (": >a.lock", "It emptied a.lock"),
        ("rm a.lock; ln -s /etc/passwd a.lock", "It emptied a.lock"),
        ("head -c 17000000 /dev/zero >a.lock", "a.lock would be larger than 16 MB"),
    ],
)
async def test_an_update_that_does_more_than_to_move_its_lock_is_left_out_and_named(
    tmp_path: Path,
    sandbox_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: str,
    words: str,
) -> None:
    monkeypatch.setattr(task, "ECOSYSTEMS", (Odd(harm),))
    report = await night(tmp_path, sandbox_folder, {"a.lock": "1\n", "main.py": "fine\n"})
    if not words:
        assert [group.files for group in report.groups] == [("a.lock",)]
        return
    [left] = report.left_out
    assert words in left.reason
    assert report.groups == report.updates == ()
