"""Results of JavaScript's runners: TAP as printed, JSON as written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from agent.testoutput import ERROR, FAILED, MESSAGE, PASSED, SKIPPED, Parsed
from agent.testreport import CaseStatus, TestCase

_TAP = re.compile(r"^( *)(not )?ok \d+ - (.*?)(?: # (SKIP|TODO).*| # time=.*)?$", re.IGNORECASE)
_TAP_SUBTEST = re.compile(r"^( *)# Subtest: (.*)$")
_JS_PLACE = re.compile(r"(?:file://)?/workspace/((?!.*node_modules)[^\s:()'\"]+):(\d+)(?::\d+)?")


def tap(text: str) -> Parsed:
    """Node's own runner, and every other that speaks TAP."""
    lines = text.splitlines()
    if not any(line.startswith(("TAP version", "1..")) for line in lines):
        return Parsed()
    names: list[str] = []
    cases: list[TestCase] = []
    for number, line in enumerate(lines):
        if subtest := _TAP_SUBTEST.match(line):
            names[len(subtest[1]) // 4 :] = [subtest[2]]
        elif result := _TAP.match(line):
            depth = len(result[1]) // 4
            block = _yaml_block(lines, number + 1, result[1])
            if "type: 'suite'" in block and ("'subtestsFailed'" in block or not result[2]):
                continue  # its tests are told one by one
            status = FAILED if result[2] else PASSED
            if result[4]:
                status = SKIPPED
            name = " > ".join((*names[:depth], result[3]))
            _, stack, frames = block.partition("stack:")
            case = _js_case(name, status, block)
            if stack and (place := _JS_PLACE.search(frames)):
                case = replace(case, path=place[1], line=int(place[2]))
            cases.append(case)
    return Parsed(cases=cases, found=True)


def _yaml_block(lines: Sequence[str], start: int, indent: str) -> str:
    if start >= len(lines) or lines[start].strip() != "---":
        return ""
    block: list[str] = []
    for line in lines[start + 1 : start + 200]:
        if line.strip() == "..." and len(line) - len(line.lstrip()) <= len(indent) + 2:
            break
        block.append(line.removeprefix(indent + "  "))
    return "\n".join(block)


def _js_case(name: str, status: CaseStatus, said: str, file: str = "") -> TestCase:
    if status not in (FAILED, ERROR):
        return TestCase(id=name, status=status)
    said = re.sub(r"\x1b\[[0-9;]*m", "", said[:20_000])
    places = cast("list[tuple[str, str]]", _JS_PLACE.findall(said))
    in_test = re.search(rf"\b{re.escape(file)}:(\d+)", said) if file else None
    path, line = places[0] if places else (file, "0")
    if in_test:
        path, line = file, in_test[1]
    message = said.strip()[:MESSAGE]
    return TestCase(id=name, status=status, message=message, path=path, line=int(line))


_JEST_STATUS = {"passed": PASSED, "failed": FAILED}


def jest(data: bytes) -> Parsed:
    """Jest's `--json`, which vitest writes too."""
    cases: list[TestCase] = []
    for suite in _dicts(_json(data).get("testResults")):
        file = str(suite.get("name", "")).removeprefix("/workspace/")
        results = list(_dicts(suite.get("assertionResults")))
        for result in results:
            status = _JEST_STATUS.get(str(result.get("status")), SKIPPED)
            said = "\n".join(str(m) for m in cast("list[Any]", result.get("failureMessages") or []))
            name = " > ".join((file, str(result.get("fullName", "")).strip()))
            case = _js_case(name, status, said, file)
            place: Any = result.get("location")
            if case.path and not case.line and isinstance(place, dict):
                line: Any = cast("dict[str, Any]", place).get("line")
                case = replace(case, line=line if isinstance(line, int) else 0)
            cases.append(case)
        if not results and suite.get("status") == "failed":
            cases.append(_js_case(file, ERROR, str(suite.get("message", "")), file))
    return Parsed(cases=cases, found=True)


def mocha(data: bytes) -> Parsed:
    report = _json(data)
    pending = {str(test.get("fullTitle")) for test in _dicts(report.get("pending"))}
    cases: list[TestCase] = []
    for test in [*_dicts(report.get("tests")), *_dicts(report.get("failures"))]:
        file = str(test.get("file", "")).removeprefix("/workspace/")
        problem: Any = test.get("err") or {}
        said = str(problem.get("stack") or problem.get("message") or "")
        title = str(test.get("fullTitle"))
        status = SKIPPED if title in pending else FAILED if said else PASSED
        cases.append(_js_case(f"{file} > {title}", status, said, file))
    return Parsed(cases=cases, found=True)


def _json(data: bytes) -> dict[str, Any]:
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in cast("list[Any]", value):
            if isinstance(item, dict):
                yield cast("dict[str, Any]", item)
