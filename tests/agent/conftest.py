from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_bench import Bench, make_repository

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.database import Database
from agent.adapters.git_vault import GitVaults
from agent.project import ProjectSettings


@pytest.fixture(scope="session")
def sandbox_folder() -> Iterator[Path]:
    """Outside pytest's private folders: the sandbox's users have to be able to enter it."""
    folder = Path(tempfile.mkdtemp(prefix="journeyman-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bench(db: Database, tmp_path: Path, sandbox_folder: Path) -> Bench:
    make_repository(tmp_path / "origin")
    return Bench(
        db=db,
        folder=tmp_path,
        sandbox=BubblewrapSandbox(sandbox_folder),
        vaults=GitVaults(tmp_path / "vaults"),
        project=ProjectSettings(path="team/calc", test_command="bash check.sh"),
    )
