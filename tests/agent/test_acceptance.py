"""Whether an errand was done, by the word of the project's real linter."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from engine_bench import make_repository
from test_lint_night import Shelf

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.git_vault import GitVaults
from agent.adapters.night_file import NightFiles
from agent.maintenance.acceptance import NightAcceptance
from agent.maintenance.night import Errand, Finding
from agent.package_sources import PackageSources
from agent.ports import Origin
from agent.project import ProjectSettings
from agent.testing import FixedClock
from agent.work import Case

CALC = "def add(a, b):\n    x = 1\n    return a + b\n"
UNUSED = Finding(
    tool="ruff check",
    rule="F841",
    path="calc.py",
    line=2,
    message="Local variable `x` is assigned to but never used",
    fingerprint="of another night",
)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("def add(a, b):\n    return a + b\n", ""),
        ("# The sum.\n\n\ndef add(a, b):\n    y = 1\n    return a + b\n", "`calc.py:5` F841"),
        ("def add(a, b):\n    x = 1  # noqa: F841\n    return a + b\n", "noqa"),
        ("import os\n\n\ndef add(a, b):\n    return a + b\n", "F401 was not there before"),
        ("def add(a, b):\n    return a +\n", "was not there before"),
        (CALC, "Nothing was changed."),
    ],
)
async def test_the_linter_has_the_last_word(
    tmp_path: Path, sandbox_folder: Path, text: str, refused: str
):
    told = await judged(tmp_path, sandbox_folder, text)
    assert (refused in " ".join(told)) if refused else told == []


async def judged(tmp_path: Path, sandbox_folder: Path, text: str) -> Sequence[str]:
    """`calc.py` came to this text."""
    make_repository(
        tmp_path / "origin",
        {"calc.py": CALC, "pyproject.toml": "[tool.ruff.lint]\nselect = ['E', 'F']\n"},
    )
    shelf = sandbox_folder / f"shelf-{tmp_path.name}"
    shelf.mkdir()
    shutil.copy(Path(sys.executable).parent / "ruff", shelf / "ruff")
    sandbox, vaults = BubblewrapSandbox(sandbox_folder), GitVaults(tmp_path / "vaults")
    vault = vaults.of("team/calc")
    base, branch = await vault.fetch(Origin(url=str(tmp_path / "origin")), None)
    (tmp_path / "work").mkdir()
    await vault.checkout(base, tmp_path / "work")
    (tmp_path / "work" / "calc.py").write_text(text)
    made = await vault.collect(tmp_path / "work", base)
    acceptance = NightAcceptance(
        sandbox=sandbox,
        installer=Shelf(sandbox=sandbox, cache=shelf, sources=PackageSources(), uv=None),
        vaults=vaults.of,
        clock=FixedClock(),
        findings=NightFiles(tmp_path / "kept"),
    )
    errand = Errand(kind="findings", title="Mend it", text="Mend it.", findings=(UNUSED,))
    case = Case(
        errand=errand,
        project=ProjectSettings(path="team/calc"),
        base=base,
        branch=branch,
        started="",
        made=made.patch,
    )
    return list(await acceptance(case))
