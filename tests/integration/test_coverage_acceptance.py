"""Which new tests are accepted, with the real pytest and coverage.py from the package index that
this machine is configured for."""

from __future__ import annotations

import ast
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from nightly import Bench, NoFindings

from agent.adapters.system_clock import SystemClock
from agent.errors import JourneymanError, Unavailable
from agent.maintenance.acceptance import NightAcceptance
from agent.maintenance.coverage import judge
from agent.maintenance.coverage.task import WHOLE_ONLY, cover
from agent.maintenance.night import Errand, Uncovered
from agent.maintenance.workshop import Night, begin
from agent.ports import Origin
from agent.project import ProjectSettings
from agent.work import Case

pytestmark = pytest.mark.usefixtures("registries")

CLIP = """def clip(value, most):
    # no more
    if value > most:
        return most
    return value


def twice(value):
    return value * 2
"""
OLD = "from shop.clip import twice\n\n\ndef test_twice():\n    assert twice(2) == 4\n"
RED = OLD.replace("test_twice", "test_red").replace("== 4", "== 5")
HEAD = "import pytest\n\nfrom shop.clip import clip, twice\n\n\n"
GOOD = (
    f"{HEAD}@pytest.mark.parametrize(('value', 'clipped'), [(1, 1), (2, 2), (5, 3)])\n"
    "def test_clip(value, clipped):\n    assert clip(value, 3) == clipped\n"
)
IDLE = "\n\ndef test_idle():\n    clip(5, 3)\n"
READS = (
    "from pathlib import Path\n\nfrom shop.clip import clip\n\nTEXT = Path('shop/clip.py')\n\n\n"
    "def test_text():\n    clip(5, 3)\n    assert '# no more' in TEXT.read_text()\n"
)
TREE = (
    "import ast\nfrom pathlib import Path\n\nfrom shop.clip import clip\n\n"
    "TREE = ast.parse(Path('shop/clip.py').read_text())\n\n\ndef test_tree():\n    clip(5, 3)\n"
    f"    assert ast.dump(TREE.body[0]) == {ast.dump(ast.parse(CLIP).body[0])!r}\n"
)
FILES = {
    "shop/__init__.py": "",
    "shop/clip.py": CLIP,
    "shop/never.py": "def never():\n    return 1\n",
    "tests/test_twice.py": OLD,
    "tests/test_red.py": RED,
    "requirements-dev.txt": "pytest\n",
}


@pytest.fixture(scope="module")
def origin(bench: Bench) -> Path:
    folder = bench.folder / "shop"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    author = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-qb", "main"], ["add", "-A"], [*author, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


async def judged(
    bench: Bench,
    origin: Path,
    path: str,
    text: str,
    *,
    installing: bool = True,
    test_command: str | None = None,
) -> str:
    """Why a file with this text is refused; empty when it is not."""
    vault = bench.vaults.of("shop")
    base, branch = await vault.fetch(Origin(url=str(origin)), None)
    work = bench.sandbox.new_folder("work")
    await vault.checkout(base, work)
    (work / path).write_text(text)
    made = await vault.collect(work, base)
    vault.forget(work)
    shutil.rmtree(work)
    acceptance = NightAcceptance(
        sandbox=bench.sandbox,
        installer=bench.installer if installing else None,
        vaults=bench.vaults.of,
        clock=SystemClock(),
        findings=NoFindings(),
    )
    lines = (Uncovered(path="shop/clip.py", lines=(3, 4, 5)),)
    case = Case(
        errand=Errand(kind="tests", title="Test it", text="Test it.", lines=lines),
        project=ProjectSettings(path="shop", local=True, test_command=test_command),
        base=base,
        branch=branch,
        started="",
        made=made.patch,
    )
    return " ".join(await acceptance(case))


async def night_of(bench: Bench, origin: Path) -> Night:
    return await begin(
        ProjectSettings(path="shop", local=True),
        bench.vaults.of("shop"),
        Origin(url=str(origin)),
        sandbox=bench.sandbox,
        installer=bench.installer,
        clock=SystemClock(),
        findings=NoFindings(),
    )


async def test_lines_of_what_is_imported_and_of_what_is_not(bench: Bench, origin: Path):
    report = await cover(await night_of(bench, origin))
    assert (report.status, report.not_checked) == ("done", ())
    found = [(each.path, each.line) for each in report.findings]
    clip = [("shop/clip.py", line) for line in (3, 4, 5)]
    assert found == [*clip, ("shop/never.py", 1), ("shop/never.py", 2)]


@pytest.mark.parametrize("gone", [None, Origin(url="/nonexistent")])
async def test_without_a_history_nothing_is_checked(
    bench: Bench, origin: Path, gone: Origin | None
):
    night = replace(await night_of(bench, origin), origin=gone)
    report = await cover(night)
    assert (report.status, report.findings, report.errands) == ("failed", (), ())
    assert len(report.not_checked) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("tests/test_clip.py", GOOD),
        ("tests/test_twice.py", f"{OLD}\n\ndef test_clip():\n    from shop.clip import clip\n\n"
         "    assert clip(5, 3) == 3\n"),
        ("tests/test_red.py", f"{RED}\n\ndef test_clip():\n    from shop.clip import clip\n\n"
         "    assert clip(5, 3) == 3\n"),
    ],
)  # fmt: skip
async def test_a_test_that_notices_is_accepted(bench: Bench, origin: Path, path: str, text: str):
    assert await judged(bench, origin, path, text) == ""


@pytest.mark.parametrize(
    ("path", "text", "why"),
    [
        ("tests/test_clip.py", HEAD + IDLE, "`return most` became `return None`"),
        ("tests/test_clip.py", GOOD + IDLE, "`tests/test_clip.py::test_idle`: a new test has to"),
        ("tests/test_clip.py", READS, "may not look at its text"),
        ("tests/test_clip.py", TREE, "may not look at its text"),
        ("tests/test_clip.py", GOOD.replace("clip(value, 3)", "twice(0)"), "fail"),
        (
            "tests/test_red.py",
            f"{RED}\n\ndef test_more():\n    assert twice(1) == 3\n",
            "fail: `tests/test_red.py::test_more`.",
        ),
        ("tests/test_clip.py", f"{HEAD}def test_more():\n    assert twice(3) == 6\n", "run none"),
        ("tests/test_clip.py", f"{HEAD}def helper():\n    return clip(5, 3)\n", "No test was"),
        ("tests/test_clip.py", "def test_clip(:\n", "No test was added"),
        ("tests/test_clip.py", GOOD.replace("@pytest", "@pytest.mark.skip\n@pytest"), "did not"),
        ("tests/test_twice.py", OLD.replace("== 4", "== 4 * 1"), "line 5"),
        ("tests/test_twice.py", GOOD, "lines that are there have to stay"),
        ("tests/test_twice.py", f"{OLD}\n\npytestmark = pytest.mark.skip\n", "skip"),
        ("tests/conftest.py", "collect_ignore = []\n", "only tests may be added"),
        ("shop/clip.py", CLIP.replace("value * 2", "2 * value"), "only tests may be added"),
    ],
)
async def test_what_is_no_test_worth_having_is_refused(
    bench: Bench, origin: Path, path: str, text: str, why: str
):
    assert why in await judged(bench, origin, path, text)


async def test_without_coverage_the_tests_are_not_to_blame(bench: Bench, origin: Path):
    with pytest.raises(Unavailable, match=r"could not be judged: coverage\.py is not among"):
        await judged(bench, origin, "tests/test_clip.py", GOOD, installing=False)


SEVERAL = "cd . && python3 -m pytest -q"


async def test_of_a_command_that_runs_only_everything_no_tests_are_asked_for(
    bench: Bench, origin: Path
):
    night = await night_of(bench, origin)
    assert night.tests is not None
    several = replace(night.tests, text=SEVERAL, script=SEVERAL)
    report = await cover(replace(night, tests=several))
    assert (report.status, report.not_checked, report.errands) == ("partial", (WHOLE_ONLY,), ())
    assert len(report.findings) == 5
    with pytest.raises(JourneymanError, match="cannot be run for single files"):
        await judged(bench, origin, "tests/test_clip.py", GOOD, test_command=SEVERAL)


async def test_tests_that_take_too_long_are_told_so(
    bench: Bench, origin: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(judge, "SECONDS", 1.0)
    slow = GOOD.replace("    assert", "    __import__('time').sleep(30)\n    assert", 1)
    quick_once = slow.replace(
        "sleep(30)", "sleep(0 if 'coverage' in __import__('sys').modules else 30)"
    )
    told = await judged(bench, origin, "tests/test_clip.py", quick_once)
    assert "have to be done within 1 seconds" in told
    assert "text" not in told


async def test_what_is_not_found_out_in_time_is_told_as_that(
    bench: Bench, origin: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(judge, "WHOLE", 0.01)
    told = await judged(bench, origin, "tests/test_clip.py", GOOD)
    assert told.startswith("What the new tests notice was not found out within")
