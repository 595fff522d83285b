"""Results that are read from what a runner prints."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from agent.testreport import CaseStatus, TestCase

MESSAGE = 4_000

PASSED, FAILED, ERROR, SKIPPED = (
    CaseStatus.PASSED,
    CaseStatus.FAILED,
    CaseStatus.ERROR,
    CaseStatus.SKIPPED,
)


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """`counts` where the runner gives sums of its own; `found` means that it is its output."""

    cases: Sequence[TestCase] = ()
    counts: Counter[CaseStatus] = field(default_factory=Counter[CaseStatus])
    found: bool = False


# --- unittest ----------------------------------------------------------------------------

_UNIT_NAME = re.compile(r" *(\w+) \(([^)\s]+)\)( [(\[].*[)\]])?$")
_UNIT_END = re.compile(r"(ok|FAIL|ERROR|skipped .*|expected failure|unexpected success)$")
_UNIT_HEAD = re.compile(r"(FAIL|ERROR): (.*)")
_UNIT_SUM = re.compile(r"^Ran (\d+) tests? in .*\n\n(.*)$", re.MULTILINE)
_FRAME = re.compile(r'^ *File "(?:/workspace/)?([^"/][^"]*)", line (\d+)', re.MULTILINE)
_UNIT_STATUS = {
    "ok": PASSED,
    "FAIL": FAILED,
    "ERROR": ERROR,
    "skipped": SKIPPED,
    "expected failure": PASSED,
    "unexpected success": FAILED,
}


def unittest(text: str) -> Parsed:
    total = _UNIT_SUM.search(text)
    if total is None:
        return Parsed()
    cases = [*_unit_lines(text), *_unit_blocks(text)]
    sums = {name: int(count) for name, count in re.findall(r"([\w ]+)=(\d+)", total[2])}
    sums = {name.strip(): count for name, count in sums.items()}
    failed = sums.get("failures", 0) + sums.get("unexpected successes", 0)
    errors, skipped = sums.get("errors", 0), sums.get("skipped", 0)
    ok = sum(status is PASSED for status in {c.id: c.status for c in cases}.values())
    passed = max(ok, int(total[1]) - failed - errors - skipped)
    counts = Counter({PASSED: passed, FAILED: failed, ERROR: errors, SKIPPED: skipped})
    return Parsed(cases=cases, counts=counts, found=True)


def _unit_lines(text: str) -> Iterator[TestCase]:
    """What `-v` prints of each test: name, maybe its docstring on a line of its own, result."""
    name = ""
    for line in text.splitlines():
        head, dots, tail = line.partition(" ... ")
        found = _UNIT_NAME.match(head[:500])
        if found:
            name = _unit_id(found[1], found[2]) + (found[3] or "")
        ended = _UNIT_END.search(tail[-500:]) if dots else None
        if ended and name:
            yield TestCase(id=name, status=_UNIT_STATUS[ended[1].split(" '")[0]])
        if dots or not found:
            name = ""


def _unit_blocks(text: str) -> Iterator[TestCase]:
    for block in text.split("=" * 70 + "\n")[1:]:
        title, _, trace = block.partition("-" * 70 + "\n")
        trace = trace.partition("-" * 70 + "\nRan ")[0]
        head = _UNIT_HEAD.match(title.partition("\n")[0])
        found = _UNIT_NAME.match(head[2][:500]) if head else None
        if not head or not found:
            continue
        frames = [f for f in _FRAME.findall(trace[-20_000:]) if "site-packages" not in f[0]]
        path, line = frames[-1] if frames else ("", "0")
        yield TestCase(
            id=_unit_id(found[1], found[2]) + (found[3] or ""),
            status=_UNIT_STATUS[head[1]],
            message=trace.strip()[-MESSAGE:],
            path=path,
            line=int(line),
        )


def _unit_id(name: str, owner: str) -> str:
    """`a.B.test_c`, whether or not this Python repeats the name in the brackets."""
    owner = owner.removeprefix("unittest.loader._FailedTest.")
    return owner if owner == name or owner.endswith(f".{name}") else f"{owner}.{name}"


# --- go ----------------------------------------------------------------------------------

_GO_PLACE = re.compile(r"^ *(?:\./)?([\w./-]+\.go):(\d+)(?::\d+)?:? ", re.MULTILINE)
_GO_PLAIN = re.compile(r"^ *--- (PASS|FAIL|SKIP): (\S+) \(", re.MULTILINE)
_GO_BUILD = re.compile(r"^FAIL\t(\S+) \[(?:build|setup) failed\]", re.MULTILINE)
_GO_STATUS = {"pass": PASSED, "fail": FAILED, "skip": SKIPPED}


def go(text: str, module: str = "") -> Parsed:
    """`go test -json`, else its plain form."""
    events = [event for event in _json_lines(text) if "Action" in event]
    if not events:
        return _go_plain(text)
    output: dict[tuple[str, str], list[str]] = {}
    cases: list[TestCase] = []
    broken: set[str] = set()
    explained: set[str] = set()
    for event in events:
        package = str(event.get("Package") or event.get("ImportPath") or "").split(" ")[0]
        test, action = str(event.get("Test", "")), str(event["Action"])
        if action in ("output", "build-output"):
            output.setdefault((package, test), []).append(str(event.get("Output", "")))
        elif test and action in _GO_STATUS:
            said = "".join(output.get((package, test), ()))
            cases.append(_go_case(package, test, _GO_STATUS[action], said, module))
            if action == "fail":
                explained.add(package)
        elif action == "fail":
            broken.add(package)
    # Before Go 1.24, what does not compile is told outside of the JSON.
    loose = "\n".join(line for line in text.splitlines() if not line.startswith("{"))
    broken.update(_GO_BUILD.findall(loose))
    for package in sorted(broken - explained):
        said = "".join(output.get((package, ""), ())) + loose[-20_000:]
        cases.append(_go_case(package, "", ERROR, said, module))
    return Parsed(cases=cases, found=True)


def _go_case(package: str, test: str, status: CaseStatus, said: str, module: str) -> TestCase:
    name = f"{package}.{test}" if test else package
    if status not in (FAILED, ERROR):
        return TestCase(id=name, status=status)
    said = said[-20_000:]
    place = _GO_PLACE.search(said)
    path, line = (place[1], int(place[2])) if place else ("", 0)
    folder = package.removeprefix(module).strip("/") if module else ""
    if path and folder and "/" not in path:
        path = f"{folder}/{path}"
    noise = r"^(=== .*| *--- (FAIL|PASS|SKIP): .*)\n?"
    message = re.sub(noise, "", said, flags=re.MULTILINE).strip()
    return TestCase(id=name, status=status, message=message[-MESSAGE:], path=path, line=line)


def _go_plain(text: str) -> Parsed:
    if not re.search(r"^(ok|FAIL|---|\?) +\t?\S+", text, re.MULTILINE):
        return Parsed()
    matches = list(_GO_PLAIN.finditer(text))
    ends = [match.start() for match in matches[1:]] + [len(text)]
    cases: list[TestCase] = []
    for match, end in zip(matches, ends, strict=True):
        said = re.split(r"^(?:FAIL|ok)\b", text[match.end() : end], maxsplit=1, flags=re.MULTILINE)[
            0
        ]
        cases.append(_go_case("", match[2], _GO_STATUS[match[1].lower()], said, ""))
    cases = [replace(case, id=case.id.removeprefix(".")) for case in cases]
    for package in _GO_BUILD.findall(text):
        cases.append(_go_case(package, "", ERROR, text, ""))
    return Parsed(cases=cases, found=True)


# --- cargo -------------------------------------------------------------------------------

_CARGO_BINARY = re.compile(r"^\s+(?:Running (?:unittests )?(\S+) \(|Doc-tests (\S+))")
_CARGO_TEST = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)")
_CARGO_SAID = re.compile(
    r"^---- (.+?) stdout ----\n((?:.*\n)*?)(?=^---- |^failures:$)", re.MULTILINE
)
_CARGO_ERROR = re.compile(r"^error(?:\[\w+\])?: (.+)\n\s+--> ([^:\n]+):(\d+)", re.MULTILINE)
_CARGO_STATUS = {"ok": PASSED, "FAILED": FAILED, "ignored": SKIPPED}
_PANIC = re.compile(r"panicked at (?:'[^\n]*', )?([^:\n]+):(\d+)")


def cargo(text: str) -> Parsed:
    said = dict(_CARGO_SAID.findall(text))
    cases: list[TestCase] = []
    binary = ""
    for row in text.splitlines():
        if running := _CARGO_BINARY.match(row):
            binary = running[1] or f"{running[2]} (docs)"
        elif ran := _CARGO_TEST.match(row):
            status, message = _CARGO_STATUS[ran[2]], ""
            path, line = "", 0
            if status is FAILED:
                message = said.get(ran[1], "").strip()[:MESSAGE]
                if place := _PANIC.search(message):
                    path, line = place[1], int(place[2])
            name = f"{binary}::{ran[1]}" if binary else ran[1]
            cases.append(TestCase(id=name, status=status, message=message, path=path, line=line))
    if "error: could not compile" in text:
        first = _CARGO_ERROR.search(text)
        cases.append(
            TestCase(
                id="cargo build",
                status=ERROR,
                message=text[first.start() :][:MESSAGE] if first else text[-MESSAGE:],
                path=first[2] if first else "",
                line=int(first[3]) if first else 0,
            )
        )
    return Parsed(cases=cases, found=bool(cases) or "running 0 tests" in text)


# --- whatever it is ----------------------------------------------------------------------


def anything(text: str) -> Parsed:
    """The output of a command that says nothing of its runner."""
    found = [parsed for parsed in (unittest(text), cargo(text), go(text)) if parsed.found]
    return max(found, key=lambda parsed: len(parsed.cases), default=Parsed())


def _json_lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                value: Any = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield cast("dict[str, Any]", value)
