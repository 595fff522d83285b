"""Whether an errand was done, by the word of the project's real linter."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from engine_bench import make_repository
from test_lint_night import Shelf

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.git_vault import GitVaults
from agent.adapters.night_file import NightFiles
from agent.errors import Unavailable
from agent.maintenance.acceptance import NightAcceptance
from agent.maintenance.night import Errand, Finding
from agent.package_sources import PackageSources
from agent.ports import Origin
from agent.project import Maintenance, ProjectSettings
from agent.testing import FixedClock
from agent.work import Case

RUFF = Path(sys.executable).parent / "ruff"
CALC = "def add(a, b):\n    x = 1\n    return a + b\n"
UNUSED = Finding(
    tool="ruff check",
    rule="F841",
    path="calc.py",
    line=2,
    message="Local variable `x` is assigned to but never used",
    fingerprint="of another night",
)
MENDING = Errand(kind="findings", title="Mend it", text="Mend it.", findings=(UNUSED,))


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
    told = await judged(tmp_path, sandbox_folder, {"calc.py": text})
    assert (refused in " ".join(told)) if refused else told == []


STYLE = "source tools/rules.sh\ngrep -Hn hack *.py | sed 's/$/ hacks/'\n"
USE = "from calc import add\n\nadd(1, 2)\n"
USES = {"use.py": USE, "conftest.py": USE}
TIDY = {"calc.py": "def add(a, b):\n    return a + b\n"}
RULES = {"tools/style.sh": STYLE, "tools/rules.sh": "", "tools/rules.py": "x = 1\n"}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("other.py", "only the files with the findings"),
        ("use.py", ""),
        ("use.sh", "only the files with the findings"),
        *[
            (path, "which packages are installed")
            for path in (
                *("requirements.txt", "api/requirements-dev.in", "constraints.txt", "uv.lock"),
                *("Pipfile", "package-lock.json", "yarn.lock", "go.sum", "Gemfile.lock"),
                *("requirements/base.txt", "Cargo.lock", ".cargo/config.toml"),
            )
        ],
        *[
            (path, "configures tools")
            for path in (
                *(".npmrc", ".yarnrc.yml", "uv.toml", "pip.conf", ".gitignore", ".ignore"),
                *(".editorconfig", ".gitattributes", "ruff.toml"),
            )
        ],
        ("conftest.py", "how the tests run"),
    ],
)
async def test_mending_goes_as_far_as_the_files_with_findings_and_those_that_load_them(
    tmp_path: Path, sandbox_folder: Path, path: str, why: str
):
    files = {"calc.py": CALC, path: USES.get(path, "# one\n")}
    made = {**TIDY, path: f"{files[path]}# two\n"}
    told = await judged(tmp_path, sandbox_folder, made, files=files)
    assert len(told) == (1 if why else 0), told
    assert why in " ".join(told)


@pytest.mark.parametrize("path", ["tools/style.sh", "tools/rules.sh"])
async def test_a_linter_is_not_mended_by_whom_it_judges(
    tmp_path: Path, sandbox_folder: Path, path: str
):
    files = {"calc.py": "x = 1  # hack\n", **RULES}
    finding = replace(UNUSED, tool="bash tools/style.sh", rule="", path=path)
    errand = replace(MENDING, findings=(finding,))
    lint, made = ("bash tools/style.sh",), {path: "exit 0\n"}
    told = await judged(tmp_path, sandbox_folder, made, files=files, errand=errand, lint=lint)
    assert told == [f"`{path}`: this file is part of what checks the project."]


REPAIR = Errand(
    kind="repair",
    title="Repair",
    text="Repair it.",
    keep=("requirements.txt",),
    modules=("gadget", "sprocket_api"),
)
KEPT = {"requirements.txt": "gadget==2\n" * 9, "integrations/gadget/old.py": "", "conftest.py": ""}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        *[
            (path, "how the tests run")
            for path in (
                *("conftest.py", "tests/conftest.py", "sitecustomize.py", "a/usercustomize.py"),
                *("jest.config.js", "vitest.setup.ts", "src/setupTests.js", "hook.pth"),
                *("__mocks__/gadget.js", "setup.py"),
            )
        ],
        *[
            (path, "configures tools")
            for path in ("pytest.ini", "tox.ini", "setup.cfg", "ruff.toml", ".mocharc.json")
        ],
        ("api/pyproject.toml", "configures tools"),
        ("check.sh", "configures tools"),
        ("runner/all.py", "part of what checks"),
        *[
            (path, "may not be called")
            for path in (
                *("gadget.py", "gadget/__init__.py", "src/gadget/core.py", "lib/Gadget.py"),
                *("tests/gadget.py", "sprocket_api.py", "gadget.pyi", "json.py", "src/pytest.py"),
            )
        ],
        ("integrations/gadget/new.py", ""),
        ("compat.py", ""),
    ],
)
async def test_a_repair_leaves_alone_what_decides_whether_tests_pass(
    tmp_path: Path, sandbox_folder: Path, path: str, why: str
):
    files = {"calc.py": CALC, **KEPT, "runner/all.py": "import calc\n"}
    made = {**TIDY, path: "x = 1\n"}
    told = await judged(tmp_path, sandbox_folder, made, files=files, errand=REPAIR)
    assert len(told) == (1 if why else 0), told
    assert why in " ".join(told)


async def test_a_kept_file_is_not_renamed_either(tmp_path: Path, sandbox_folder: Path):
    files = {"calc.py": CALC, **KEPT}
    made = {"requirements.txt": None, "notes.txt": KEPT["requirements.txt"]}
    told = await judged(tmp_path, sandbox_folder, made, files=files, errand=REPAIR)
    assert told == ["`requirements.txt` has to stay as it is."]


@pytest.mark.parametrize(
    ("tool", "program", "why"),
    [
        ("ruff check", Path("/bin/false"), r"`ruff check` was not checked: .* tries it again"),
        ("of yesterday", RUFF, "no longer has it"),
    ],
)
async def test_a_linter_that_is_away_is_no_fault_of_the_change(
    tmp_path: Path, sandbox_folder: Path, tool: str, program: Path, why: str
):
    errand = replace(MENDING, findings=(replace(UNUSED, tool=tool),))
    with pytest.raises(Unavailable, match=why):
        await judged(tmp_path, sandbox_folder, TIDY, errand=errand, program=program)


BROKEN = "if grep -q y calc.py; then exit 9; fi; grep -Hn 'x =' calc.py | sed 's/$/ bad/'"


async def test_a_linter_that_the_change_breaks_is(tmp_path: Path, sandbox_folder: Path):
    finding = replace(UNUSED, tool="bash lint.sh", rule="")
    errand = replace(MENDING, findings=(finding,))
    made, files = {"calc.py": "y = 1\n"}, {"calc.py": CALC, "lint.sh": BROKEN}
    lint = ("bash lint.sh",)
    told = await judged(tmp_path, sandbox_folder, made, files=files, errand=errand, lint=lint)
    assert len(told) == 1
    assert "exit code 9" in told[0]


async def judged(
    tmp_path: Path,
    sandbox_folder: Path,
    made: Mapping[str, str | None],
    *,
    files: Mapping[str, str] = MappingProxyType({"calc.py": CALC}),
    errand: Errand = MENDING,
    lint: tuple[str, ...] = (),
    program: Path = RUFF,
) -> Sequence[str]:
    """Files came to these texts; None: it is gone."""
    settings = "[tool.ruff.lint]\nselect = ['E', 'F']\n"
    make_repository(tmp_path / "origin", {"pyproject.toml": settings, **files})
    shelf = sandbox_folder / f"shelf-{tmp_path.name}"
    shelf.mkdir()
    shutil.copy(program, shelf / "ruff")
    sandbox, vaults = BubblewrapSandbox(sandbox_folder), GitVaults(tmp_path / "vaults")
    vault = vaults.of("team/calc")
    base, branch = await vault.fetch(Origin(url=str(tmp_path / "origin")), None)
    (tmp_path / "work").mkdir()
    await vault.checkout(base, tmp_path / "work")
    for path, text in made.items():
        file = tmp_path / "work" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True) if text is None else file.write_text(text)
    change = await vault.collect(tmp_path / "work", base)
    acceptance = NightAcceptance(
        sandbox=sandbox,
        installer=Shelf(sandbox=sandbox, cache=shelf, sources=PackageSources(), uv=None),
        vaults=vaults.of,
        clock=FixedClock(),
        findings=NightFiles(tmp_path / "kept"),
    )
    project = ProjectSettings(
        path="team/calc", test_command="python3 runner/all.py", maintenance=Maintenance(lint=lint)
    )
    case = Case(
        errand=errand,
        project=project,
        base=base,
        branch=branch,
        started="",
        made=change.patch,
    )
    return list(await acceptance(case))
