"""Logs as GitLab's runners and the tools of several languages write them."""

from __future__ import annotations

import re
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.joblog import Excerpt, JobLog
from agent.logtext import clean

END = "section_end:1790000009:{}\r\x1b[0K"
BEGIN = "section_start:1790000001:{}\r\x1b[0K\x1b[0K\x1b[36;1m{}\x1b[0;m\n"
SCRIPT = BEGIN.format("step_script", 'Executing "step_script" stage of the job script')
RUNNER = (
    "\x1b[0KRunning with gitlab-runner 18.1.0 (0731d300)\x1b[0;m\n"
    + BEGIN.format("prepare_executor", 'Preparing the "docker" executor')
    + "Using Docker executor with image python:3.12 ...\n"
    + END.format("prepare_executor")
    + BEGIN.format("get_sources", "Getting source from Git repository")
    + "error: could not lock config file (ignored)\n"
    + END.format("get_sources")
    + SCRIPT
    + "\x1b[32;1m$ pip install -r requirements.txt\x1b[0;m\n"
    "ERROR: pip's dependency resolver does not currently take into account all the packages\n"
    "Successfully installed pytest-8.3.2\n"
    "\x1b[32;1m$ make test\x1b[0;m\n"
    "{output}\n"
    + END.format("step_script")
    + BEGIN.format("after_script", "Running after_script")
    + "\x1b[32;1m$ ./tidy-up.sh\x1b[0;m\n"
    "Error: nothing to tidy\n"
    + END.format("after_script")
    + BEGIN.format("cleanup_file_variables", "Cleaning up project directory")
    + END.format("cleanup_file_variables")
    + "\x1b[31;1mERROR: Job failed: exit code 1\x1b[0;m\n"
)

CHATTER = "\n".join(f"collecting step {n}" for n in range(300))


def read(log: str | bytes, limit: int = 3000, piece: int = 1 << 16) -> Excerpt:
    data = log.encode() if isinstance(log, str) else log
    triage = JobLog()
    for start in range(0, len(data), piece):
        triage.feed(data[start : start + piece])
    return triage.excerpt(limit)


def texts(found: Excerpt) -> list[str]:
    return [re.sub(r"^\d+: ", "", line) for line in found.text.splitlines()]


REPORTS = {
    "pytest": ("=================== FAILURES ===================", "E   assert 1 == 2"),
    "jest": ("  ● adds › two numbers", "    Expected: 3"),
    "go": ("--- FAIL: TestSum (0.00s)", "    sum_test.go:9: got 3"),
    "rust": ("error[E0308]: mismatched types", " --> src/main.rs:4:5"),
    "typescript": ("src/app.ts(3,7): error TS2322: Type 'string' is not", "Found 1 error."),
    "gcc": ("src/main.c:12:5: error: expected ';'", "make: *** [Makefile:3: all] Error 1"),
    "mypy": ('app.py:3: error: Incompatible return value type (got "int")', "Found 1 error"),
    "ruff": ("app.py:1:8: F401 [*] `os` imported but unused", "Found 1 error."),
    "eslint": ("  3:5  error  'x' is never used  no-unused-vars", "✖ 1 problem"),
    "npm": ("npm ERR! code ELIFECYCLE", "npm ERR! errno 1"),
    "maven": ("[ERROR] Failures: ", "[ERROR]   SumTest.adds:9 expected: <2> but was: <3>"),
    "python": ("Traceback (most recent call last):", "ValueError: bad"),
    "shell": ("bash: line 140: pyest: command not found", "exit status 127"),
}


@pytest.mark.parametrize("tool", REPORTS)
def test_an_excerpt_begins_a_little_before_the_errors(tool: str) -> None:
    first, second = REPORTS[tool]
    log = RUNNER.format(output=f"{CHATTER}\n{first}\n{second}\nlast words")
    found = read(log, limit=600)
    shown = texts(found)
    assert shown[:3] == ["collecting step 297", "collecting step 298", "collecting step 299"]
    assert shown[3:] == [first.rstrip(), second, "last words"]
    assert found.command == "make test"
    assert found.failure == "ERROR: Job failed: exit code 1"
    lines = log.replace("\r", "").splitlines()
    assert lines[found.first - 1] == "collecting step 297"
    assert found.lines == len(lines)


def test_a_report_counts_for_more_than_an_earlier_complaint() -> None:
    output = f"ERROR: connection lost, trying again\n{CHATTER}\n--- FAIL: TestX\n    x_test.go:1: y"
    shown = texts(read(RUNNER.format(output=output)))
    assert "--- FAIL: TestX" in shown
    assert "ERROR: connection lost, trying again" not in shown


def test_without_any_error_the_last_lines_are_shown() -> None:
    found = read(RUNNER.format(output=CHATTER), limit=100_000)
    shown = texts(found)
    assert (len(shown), shown[-1]) == (200, "collecting step 299")
    assert len(texts(read(RUNNER.format(output=CHATTER), limit=500))) < 30


def test_a_job_that_never_came_to_its_script() -> None:
    log = (
        "section_start:1:prepare_executor\r\x1b[0KPreparing the executor\n"
        "Pulling docker image registry.example/none ...\n"
        "WARNING: Failed to pull image with policy always: manifest unknown (manager.go:254:0s)\n"
        "section_end:2:prepare_executor\r\x1b[0K"
        "ERROR: Job failed: failed to pull image registry.example/none\n"
    )
    found = read(log)
    assert found.command == ""
    assert found.failure == "ERROR: Job failed: failed to pull image registry.example/none"
    assert "manifest unknown" in found.text


def test_a_log_without_sections_and_one_with_times() -> None:
    plain = (
        "\x1b[32;1m$ true\x1b[0;m\n\x1b[32;1m$ make\x1b[0;m\nfine\nmake: *** [all] Error 2\n"
        "Running after_script\n\x1b[32;1m$ echo bye\x1b[0;m\nbye\n"
        "Uploading artifacts as junit: report.xml\nERROR: Job failed: exit code 2\n"
    )
    found = read(plain)
    assert (found.command, found.first) == ("make", 2)
    assert texts(found)[-1] == "make: *** [all] Error 2"
    stamped = "".join(
        f"2026-11-20T12:43:4{n}.962646Z 00O {line}\n" for n, line in enumerate(plain.splitlines())
    )
    assert texts(read(stamped)) == texts(found)
    assert read(stamped).failure == "ERROR: Job failed: exit code 2"


def test_what_was_written_over_and_what_would_colour_is_gone() -> None:
    assert clean(b" 10%\r 55%\r\x1b[2K100% done\r") == "100% done"
    assert clean(b"\x1b[31mred\x1b[0m \x1b]8;;https://x\x07link\x1b]8;;\x07") == "red link"
    assert clean(b"section_start:1790000001:build[collapsed=true]\r\x1b[0KBuilding") == "Building"
    assert clean("a\u202eb\x00c\xff".encode()) == "abcÿ"
    assert clean(b"\xff\xfe") == "\ufffd\ufffd"
    assert len(clean(b"x" * 10_000)) == 500


def test_the_middle_of_a_long_failure_is_left_out() -> None:
    failures = "\n".join(f"E   assert {n} == {n + 1}" for n in range(5000))
    log = RUNNER.format(output=f"= FAILURES =\n{failures}\nFAILED tests/test_a.py::test_b")
    found = read(log, limit=1500)
    assert len(found.text) <= 1500
    shown = texts(found)
    assert shown[-1] == "FAILED tests/test_a.py::test_b"
    assert "= FAILURES =" in shown
    gaps = [line for line in shown if line.startswith("… ")]
    assert len(gaps) == 1
    left_out = int(gaps[0].split()[1])
    assert left_out + len(shown) - 1 == 5000 + 3  # the command, and what stands around


@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.sampled_from(
                [b"\n", b"\n$ x\n", b"Error: y\n", b"section_end:1:step_script\r", b"\r"]
            ),
        ),
        max_size=60,
    ),
    limit=st.integers(0, 800),
    piece=st.integers(1, 50),
)
def test_any_bytes_give_whole_numbered_lines(pieces: list[bytes], limit: int, piece: int) -> None:
    log = b"".join(pieces)
    found = read(log, limit, piece)
    assert found == read(log, limit)
    assert len(found.text) <= limit
    for line in found.text.splitlines():
        assert re.match(r"\d+: |… \d+ lines are left out …", line)


def test_a_log_of_any_length_takes_little_time_and_memory() -> None:
    """Ten megabytes here; the benchmarks read a hundred."""
    line = b"2026-11-20T12:43:46.962646Z 00O ok %d tests/test_module.py::test_case\n"
    block = b"".join(line % n for n in range(1000))
    triage = JobLog()
    triage.feed(b"$ make test\n")
    began = time.process_time()
    tracemalloc.start()
    for n in range(10_000_000 // len(block)):
        if n == 70:
            triage.feed(b"= FAILURES =\nE   deep inside\n")
        triage.feed(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    found = triage.excerpt(2000)
    assert time.process_time() - began < 2
    assert peak < 10_000_000
    assert "E   deep inside" in found.text
    assert found.command == "make test"


@pytest.mark.parametrize(
    "unit",
    [b"$ a\n", b"x$ y error: z rror FAILED no\n", b"\r 10% ", b"section_start:1:get_sources\r\n"],
    ids=["commands", "near misses", "a bar", "sections"],
)
def test_hostile_logs_are_no_slower(unit: bytes) -> None:
    triage = JobLog()
    block = unit * (1_000_000 // len(unit))
    began = time.process_time()
    for _ in range(5):
        triage.feed(block)
    triage.excerpt(2000)
    assert time.process_time() - began < 1
