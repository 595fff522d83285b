"""Finding, running and reading a project's tests."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from agent import junit, testoutput
from agent.jsresults import jest, mocha, tap
from agent.ports import CommandLimits, CommandResult, Mount, Network
from agent.runners import REPORT, Runner, TestCommand, find_tests
from agent.testreport import CaseStatus, TestCase, TestReport
from agent.verify import Tests, described, run_tests

PASSED, FAILED, ERROR, SKIPPED = (
    CaseStatus.PASSED,
    CaseStatus.FAILED,
    CaseStatus.ERROR,
    CaseStatus.SKIPPED,
)


class HereBox:
    """Runs commands in a folder of this machine; the report's mount is a path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        limits: CommandLimits | None = None,
        network: Network = Network.NONE,
        mounts: Sequence[Mount] = (),
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        def here(text: str) -> str:
            for mount in mounts:
                text = text.replace(mount.target, str(mount.source))
            return text

        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *map(here, argv),
            cwd=self.folder / cwd,
            env={"PATH": path, "HOME": "/nonexistent"}
            | {k: here(v) for k, v in (env or {}).items()},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        output = output.replace(str(self.folder).encode(), b"/workspace")
        if on_output:
            on_output(output)
        return CommandResult(
            exit_code=process.returncode or 0,
            output=output.decode(),
            total_bytes=len(output),
            seconds=time.monotonic() - began,
        )


async def found(contents: Mapping[str, str], explicit: str | None = None) -> TestCommand | None:
    async def read(path: str) -> bytes | None:
        return contents[path].encode() if path in contents else None

    return await find_tests(contents, read, explicit)


async def ran(
    folder: Path, contents: Mapping[str, str], selection: Sequence[str] = (), explicit: str = ""
) -> Tests:
    work, report = folder / "work", folder / "report"
    report.mkdir(parents=True)
    for name, text in contents.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    command = await found(contents, explicit)
    assert command is not None
    limits = CommandLimits(seconds=60)
    return await run_tests(HereBox(work), report, command.selecting(selection), limits=limits)


def statuses(report: TestReport) -> dict[str, CaseStatus]:
    return {case.id: case.status for case in report.cases}


# --- detection ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contents", "text", "runner"),
    [
        ({"test_a.py": "def test_x(): pass"}, "python3 -m pytest -q", Runner.PYTEST),
        ({"tests/test_a.py": "import pytest"}, "python3 -m pytest -q", Runner.PYTEST),
        (
            {"tests/test_a.py": "import unittest", "pyproject.toml": "[tool.pytest.ini_options]"},
            "python3 -m pytest -q",
            Runner.PYTEST,
        ),
        (
            {"tests/test_a.py": "import unittest"},
            "python3 -m unittest discover -v -s tests",
            Runner.UNITTEST,
        ),
        (
            {"tests/__init__.py": "", "tests/test_a.py": "from unittest import TestCase"},
            "python3 -m unittest discover -v",
            Runner.UNITTEST,
        ),
        (
            {"manage.py": "", "app/tests.py": "from django.test import TestCase"},
            "python3 manage.py test -v 2",
            Runner.UNITTEST,
        ),
        ({"go.mod": "module m", "a_test.go": ""}, "go test ./...", Runner.GO),
        ({"Cargo.toml": ""}, "cargo test --no-fail-fast", Runner.CARGO),
        ({"pom.xml": ""}, "mvn -B -o test", Runner.MAVEN),
        ({"pom.xml": "", "mvnw": ""}, "./mvnw -B test", Runner.MAVEN),
        ({"package.json": '{"scripts": {"test": "tsc && jest --ci"}}'}, "npm test", Runner.JEST),
        ({"package.json": '{"scripts": {"test": "vitest run"}}'}, "npm test", Runner.VITEST),
        ({"package.json": '{"scripts": {"test": "nyc mocha"}}'}, "npm test", Runner.MOCHA),
        ({"package.json": '{"scripts": {"test": "node --test"}}'}, "npm test", Runner.NODE),
        ({"package.json": '{"scripts": {"test": "jest && x"}}'}, "npm test", Runner.OTHER),
        ({"Makefile": "all:\n\ntest: all\n\t./run"}, "make test", Runner.OTHER),
    ],
)
async def test_the_command_is_found(contents: dict[str, str], text: str, runner: Runner) -> None:
    command = await found(contents)
    assert command
    assert (command.text, command.runner) == (text, runner)


@pytest.mark.parametrize(
    "contents",
    [
        {"README": ""},
        {"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'},
        {"package.json": "[broken"},
        {"package.json": "[]"},
        {"Makefile": "all:\n"},
        {"go.mod": "module m"},
    ],
)
async def test_a_project_without_tests_has_no_command(contents: dict[str, str]) -> None:
    assert await found(contents) is None


@pytest.mark.parametrize(
    ("explicit", "runner"),
    [
        ("pytest -x tests", Runner.PYTEST),
        ("uv run python -m pytest", Runner.PYTEST),
        ("python -m unittest", Runner.UNITTEST),
        ("cd backend && go test ./...", Runner.GO),
        ("./check.sh", Runner.OTHER),
    ],
)
async def test_the_settings_come_first(explicit: str, runner: Runner) -> None:
    command = await found({"test_a.py": "", "Cargo.toml": ""}, explicit)
    assert command
    assert (command.text, command.runner) == (explicit, runner)


# --- pytest and unittest, really run -----------------------------------------------------

PYTEST = {
    "calc.py": "def add(a, b):\n    return a - b\n",
    "tests/test_a.py": textwrap.dedent(
        """
        import pytest
        from calc import add

        def test_ok(): pass

        def test_add():
            assert add(1, 2) == 3

        @pytest.mark.parametrize("v", ["a b", "c/d"])
        def test_p(v):
            assert v != "c/d"

        class TestX:
            def test_in(self):
                raise ValueError("boom")

            @pytest.mark.skip(reason="later")
            def test_s(self): pass

        @pytest.fixture
        def broken():
            raise RuntimeError("setup")

        def test_fix(broken): pass
        """
    ),
    "tests/test_c.py": "import nope\n",
    "conftest.py": "",
}


async def test_pytest_is_run_and_read(tmp_path: Path) -> None:
    explicit = "python3 -m pytest -q --continue-on-collection-errors -p no:asyncio"
    tests = await ran(tmp_path, PYTEST, explicit=explicit)
    report = tests.report
    assert statuses(report) == {
        "tests/test_a.py::test_ok": PASSED,
        "tests/test_a.py::test_add": FAILED,
        "tests/test_a.py::test_p[a b]": PASSED,
        "tests/test_a.py::test_p[c/d]": FAILED,
        "tests/test_a.py::TestX::test_in": FAILED,
        "tests/test_a.py::TestX::test_s": SKIPPED,
        "tests/test_a.py::test_fix": ERROR,
        "tests/test_c.py": ERROR,
    }
    assert (report.passed, report.failed, report.errors, report.skipped) == (2, 3, 2, 1)
    case = next(case for case in report.cases if case.id.endswith("test_add"))
    assert (case.path, case.line) == ("tests/test_a.py", 8)
    assert "assert -1 == 3" in case.message
    missing = next(case for case in report.cases if case.id == "tests/test_c.py")
    assert "No module named 'nope'" in missing.message
    assert not report.green
    assert "test_add" in tests.output
    assert not (tmp_path / "work/.pytest_cache").exists()
    assert not list((tmp_path / "work").rglob("__pycache__"))


async def test_a_selection_of_pytest(tmp_path: Path) -> None:
    explicit = "python3 -m pytest -q -p no:asyncio"
    ids = ["tests/test_a.py::test_ok", "tests/test_a.py::test_p[a b]"]
    report = (await ran(tmp_path, PYTEST, ids, explicit)).report
    assert report.green
    assert set(statuses(report)) == set(ids)


async def test_a_pytest_that_finds_nothing_has_no_tests(tmp_path: Path) -> None:
    explicit = "python3 -m pytest -q -p no:asyncio"
    report = (await ran(tmp_path, {"a.py": ""}, explicit=explicit)).report
    assert report.no_tests
    assert report.exit_code == 5


async def test_a_pytest_behind_make_is_read_too(tmp_path: Path) -> None:
    contents = {"Makefile": "test:\n\tpython3 -m pytest -q -p no:asyncio\n", **PYTEST}
    contents.pop("tests/test_c.py")
    report = (await ran(tmp_path, contents, explicit="make test")).report
    assert (report.passed, report.failed, report.errors) == (2, 3, 1)
    assert report.exit_code != 0


UNITTEST = {
    "tests/test_u.py": textwrap.dedent(
        """
        import unittest

        class A(unittest.TestCase):
            def test_ok(self): print("noise", end=" ")
            def test_bad(self):
                "Says something."
                self.assertEqual(1, 2)
            def test_err(self):
                raise ValueError("x")
            @unittest.skip("later")
            def test_skip(self): pass
            def test_sub(self):
                for i in range(3):
                    with self.subTest(i=i):
                        self.assertNotEqual(i, 1)

        class B(unittest.TestCase):
            @classmethod
            def setUpClass(cls): raise OSError("no")
            def test_n(self): pass
        """
    ),
    "tests/test_v.py": "import unittest, nope\n",
}


async def test_unittest_is_run_and_read(tmp_path: Path) -> None:
    report = (await ran(tmp_path, UNITTEST)).report
    assert statuses(report) == {
        "test_u.A.test_ok": PASSED,
        "test_u.A.test_bad": FAILED,
        "test_u.A.test_err": ERROR,
        "test_u.A.test_skip": SKIPPED,
        "test_u.A.test_sub (i=1)": FAILED,
        "test_u.B.setUpClass": ERROR,
        "test_v": ERROR,
    }
    assert (report.failed, report.errors, report.skipped) == (2, 3, 1)
    bad = next(case for case in report.cases if case.id.endswith("test_bad"))
    assert (bad.path, bad.line) == ("tests/test_u.py", 8)
    assert bad.message.endswith("AssertionError: 1 != 2")


async def test_a_selection_of_unittest(tmp_path: Path) -> None:
    report = (await ran(tmp_path, UNITTEST, ["test_u.A.test_ok"])).report
    assert report.green
    assert report.passed == 1


async def test_a_unittest_that_finds_nothing_has_no_tests(tmp_path: Path) -> None:
    report = (await ran(tmp_path, {"a.py": ""}, explicit="python3 -m unittest")).report
    assert report.no_tests


async def test_an_unknown_command_counts_by_its_exit_code(tmp_path: Path) -> None:
    report = (await ran(tmp_path, {"a": ""}, explicit="echo fine")).report
    assert report.green
    assert not report.no_tests
    report = (await ran(tmp_path / "2", {"a": ""}, explicit="echo bad; exit 3")).report
    assert report.exit_code == 3
    assert not report.green


# --- a report is hostile -----------------------------------------------------------------


async def test_links_and_pipes_in_the_report_are_not_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_text('<testsuite><testcase name="stolen"/></testsuite>')
    explicit = f"ln -s {secret} {REPORT}/a.xml; mkfifo {REPORT}/b.xml; mkdir {REPORT}/c.xml"
    report = (await ran(tmp_path, {"a": ""}, explicit=explicit)).report
    assert report.cases == ()


BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>"""


@pytest.mark.parametrize(
    "data",
    [
        BOMB.encode(),
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>',
        b"<testsuite>",
        b"not xml",
        b"",
        b"<a>" * 1000,
        b"<t>" + b'<testcase name="x"/>' * (junit.CASES + 1) + b"</t>",
        b" " * (junit.SIZE + 1),
    ],
    ids=["bomb", "external", "open", "text", "empty", "deep", "many", "large"],
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(junit.BadReport):
        junit.parse(data)


# --- comparing and telling ---------------------------------------------------------------


def test_failures_of_the_base_are_not_new() -> None:
    def report(**cases: CaseStatus) -> TestReport:
        return TestReport(
            command="x",
            tree=None,
            cases=tuple(TestCase(id=name, status=status) for name, status in cases.items()),
        )

    base = report(a=FAILED, b=PASSED)
    change = report(a=FAILED, b=FAILED, c=ERROR)
    assert [case.id for case in change.new_failures(base)] == ["b", "c"]
    assert [case.id for case in change.new_failures(None)] == ["a", "b", "c"]


def test_failures_are_told_with_their_code() -> None:
    case = TestCase(id="t::a", status=FAILED, message="1 != 2", path="t.py", line=3)
    report = TestReport(command="x", tree=None, exit_code=1, cases=(case,))
    lines = {"t.py": ["one", "two", "three", "four"]}
    told = described(report, [case], lines, limit=1000)
    assert told.startswith("FAILED t::a (t.py:3)\n1 != 2\nt.py:\n")
    assert ">    3 three" in told
    many = described(report, [case] * 50, lines, limit=300)
    assert len(many) < 400
    assert many.endswith("more failing tests")
    assert "exit code 1" in described(report, [], {}, limit=100)


# --- other runners, as recorded ----------------------------------------------------------

RECORDED = Path(__file__).parent / "recorded"


def summed_up(cases: Sequence[TestCase]) -> list[tuple[str, CaseStatus, str, int]]:
    return [(c.id, c.status, c.path, c.line) for c in junit.merged(cases)]


def text_of(name: str) -> str:
    return (RECORDED / name).read_text()


def test_go_writes_json() -> None:
    parsed = testoutput.go(text_of("go.json"), "example.com/calc")
    assert summed_up(parsed.cases) == [
        ("example.com/calc.TestAdds", PASSED, "", 0),
        ("example.com/calc.TestTable/one", PASSED, "", 0),
        ("example.com/calc.TestTable/two_words", FAILED, "calc_test.go", 8),
        ("example.com/calc.TestTable", FAILED, "", 0),
        ("example.com/calc.TestLater", SKIPPED, "", 0),
        ("example.com/calc/sub", ERROR, "sub/sub_test.go", 3),
    ]
    assert parsed.cases[2].message == "calc_test.go:8: got 2"
    assert "undefined: undefined" in parsed.cases[-1].message


def test_go_prints_plain_text() -> None:
    cases = summed_up(testoutput.anything(text_of("go_plain.txt")).cases)
    assert [case[:2] for case in cases] == [
        ("TestTable", FAILED),
        ("TestTable/two_words", FAILED),
        ("example.com/calc/sub", ERROR),
    ]


def test_cargo_is_read() -> None:
    parsed = testoutput.cargo(text_of("cargo.txt"))
    assert sorted(summed_up(parsed.cases)) == [
        ("calc (docs)::src/lib.rs - add (line 1)", PASSED, "", 0),
        ("src/lib.rs::tests::fails", FAILED, "src/lib.rs", 13),
        ("src/lib.rs::tests::later", SKIPPED, "", 0),
        ("src/lib.rs::tests::panics", PASSED, "", 0),
        ("src/lib.rs::tests::works", PASSED, "", 0),
        ("tests/more.rs::outside", FAILED, "tests/more.rs", 2),
    ]


def test_a_cargo_that_does_not_compile_is_an_error() -> None:
    (case,) = testoutput.cargo(text_of("cargo_broken.txt")).cases
    assert (case.id, case.status, case.path, case.line) == ("cargo build", ERROR, "src/lib.rs", 4)
    assert "cannot find value `c`" in case.message


def test_node_speaks_tap() -> None:
    parsed = tap(text_of("node.txt"))
    assert summed_up(parsed.cases) == [
        ("adds", PASSED, "", 0),
        ("fails \\# hard", FAILED, "a.test.js", 3),
        ("later", SKIPPED, "", 0),
        ("suite > inner ok", PASSED, "", 0),
        ("suite > inner bad", FAILED, "a.test.js", 5),
    ]
    assert "boom" in parsed.cases[4].message


def test_jest_writes_json() -> None:
    cases = summed_up(jest((RECORDED / "jest.json").read_bytes()).cases)
    assert sorted(cases) == [
        ("j/a.test.js > adds", PASSED, "", 0),
        ("j/a.test.js > suite fails", FAILED, "j/a.test.js", 4),
        ("j/a.test.js > suite later", SKIPPED, "", 0),
        ("j/a.test.js > suite some day", SKIPPED, "", 0),
        ("j/broken.test.js", ERROR, "j/broken.test.js", 0),
    ]


def test_vitest_writes_the_same() -> None:
    cases = summed_up(jest((RECORDED / "vitest.json").read_bytes()).cases)
    assert sorted(cases) == [
        ("v/a.test.js > adds", PASSED, "", 0),
        ("v/a.test.js > suite fails", FAILED, "v/a.test.js", 5),
        ("v/a.test.js > suite later", SKIPPED, "", 0),
        ("v/broken.test.js", ERROR, "v/broken.test.js", 0),
    ]


def test_mocha_writes_json() -> None:
    cases = summed_up(mocha((RECORDED / "mocha.json").read_bytes()).cases)
    assert sorted(cases) == [
        ('m/a.js > hooked "before all" hook for "never"', FAILED, "m/a.js", 10),
        ("m/a.js > suite adds", PASSED, "", 0),
        ("m/a.js > suite fails", FAILED, "m/a.js", 5),
        ("m/a.js > suite later", SKIPPED, "", 0),
    ]


def test_surefire_writes_junit() -> None:
    sources = ["src/main/java/x/Calc.java", "src/test/java/x/CalcTest.java"]
    cases = junit.parse((RECORDED / "surefire.xml").read_bytes(), sources)
    assert sorted(summed_up(cases)) == [
        ("x.CalcTest.adds", PASSED, "", 0),
        ("x.CalcTest.breaks", ERROR, "src/test/java/x/CalcTest.java", 9),
        ("x.CalcTest.fails", FAILED, "src/test/java/x/CalcTest.java", 7),
        ("x.CalcTest.later", SKIPPED, "", 0),
    ]


@pytest.mark.parametrize(
    "text", ["", "hello\n", "ok\n", "{", '{"Action": 1}\n', "1..0\n", "test x"]
)
def test_any_output_is_survived(text: str) -> None:
    testoutput.anything(text)
    tap(text)
    jest(text.encode())
    mocha(text.encode())


HOSTILE = [
    "=" * 70 + "\nFAIL: test_a (b.C)\n" + "-" * 70 + "\n",
    "t (a) ( ... ... ",
    "t (a) (\n",
    "---- a stdout ----\n",
    "FAIL\tx [build failed]\n",
    "\n",
    " ",
    "not ok 1 - a # \n  ---\n",
    "error: a\n ",
    "test a ... FAILED\n",
    '{"Action":"fail","Test":"T","Package":"p"}\n',
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_output_is_read_in_reasonable_time(piece: str) -> None:
    text = "Ran 1 test in 1s\n\nOK\n1..1\n" + piece * (2**19 // len(piece))
    began = time.process_time()
    testoutput.anything(text)
    tap(text)
    assert time.process_time() - began < 10  # a pattern that backtracks would take hours


def test_a_hostile_report_is_read_in_reasonable_time() -> None:
    line = "at " + "a.b" * 100_000
    xml = f'<t><testcase name="x"><failure>{line}\n{" " * 100_000}at at</failure></testcase></t>'
    began = time.process_time()
    assert len(junit.parse(xml.encode())) == 1
    assert time.process_time() - began < 10


async def test_a_suite_that_hangs_still_tells_what_it_has_found(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "report").mkdir()
    (tmp_path / "work" / "test_hangs.py").write_text(
        "import time\n\ndef test_good():\n    pass\n\ndef test_bad():\n    assert 1 == 2\n\n"
        "def test_hangs():\n    time.sleep(60)\n"
    )
    command = await found({"pytest.ini": "[pytest]\n", "test_hangs.py": "import pytest\n"})
    assert command is not None
    limits = CommandLimits(seconds=3)
    tests = await run_tests(HereBox(tmp_path / "work"), tmp_path / "report", command, limits=limits)
    report = tests.report
    assert report.stopped == "timeout"
    assert not report.green
    assert (report.passed, report.failed, report.errors) == (1, 1, 1)
    assert statuses(report)["test_hangs.py::test_bad"] is CaseStatus.FAILED
    assert statuses(report)["test_hangs.py::(did not end)"] is CaseStatus.ERROR
