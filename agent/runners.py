"""Which command runs a project's tests, and how its results can be read."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, cast

REPORT = "/report"  #: inside the sandbox; a writable folder of its own, outside the tree

Read = Callable[[str], Awaitable[bytes | None]]


class Runner(StrEnum):
    """Whose report or output is read."""

    PYTEST = "pytest"
    UNITTEST = "unittest"
    JEST = "jest"
    VITEST = "vitest"
    MOCHA = "mocha"
    NODE = "node"
    GO = "go"
    CARGO = "cargo"
    MAVEN = "maven"
    OTHER = "other"  # whatever can be recognised in its output


#: Where the runner can be told by its environment to write a report, it is: that also reaches a
#: pytest behind `make test`.
ENVIRONMENT = {
    "PYTEST_ADDOPTS": (
        f"--junitxml={REPORT}/pytest.xml -o junit_family=xunit1 -o cache_dir=/tmp/pytest-cache "
        "-o faulthandler_timeout=300"
    ),
    "PYTHONDONTWRITEBYTECODE": "1",
    "CI": "1",
}
_JSON = {
    Runner.JEST: f"--json --outputFile={REPORT}/jest.json",
    Runner.VITEST: f"--reporter=default --reporter=json --outputFile.json={REPORT}/jest.json",
    Runner.MOCHA: f"--reporter=json --reporter-option=output={REPORT}/mocha.json",
}
_SUREFIRE = f"""
find . -path '*/target/surefire-reports/TEST-*.xml' -newer {REPORT}/began \
-exec cp --backup=numbered -t {REPORT} {{}} + 2>/dev/null"""


@dataclass(frozen=True, kw_only=True)
class TestCommand:
    """`text` is shown to people, `script` is what a shell gets."""

    __test__ = False  # not a test class of pytest's

    runner: Runner
    text: str
    script: str
    module: str = ""  #: of go.mod

    @property
    def selects(self) -> bool:
        """Can it be run for some tests only? Of several commands nobody knows which takes them."""
        return self.runner is not Runner.OTHER and not re.search(r"[|&;<>\n]", self.text)

    def selecting(self, selection: Sequence[str]) -> TestCommand:
        """The same for some tests only, where it can be: files or ids as reports name them."""
        if not selection or not self.selects:
            return self
        if self.runner is Runner.UNITTEST:
            text = _unittest_selection(self.text, selection)
        else:
            text = f"{self.text} {_selection(self.runner, self.text, selection)}".rstrip()
        return replace(_command(self.runner, text), module=self.module)


async def find_tests(
    files: Collection[str], read: Read, explicit: str | None = None
) -> TestCommand | None:
    """The command of the settings, else what the project looks like. None: it has no tests."""
    names = frozenset(files)
    if explicit:
        found = _command(await _runner_of(explicit, names, read), explicit)
    else:
        found = await _detect(names, read)
    if found and found.runner is Runner.GO:
        declared = re.search(r"^module\s+(\S+)", await _text(read, "go.mod"), re.MULTILINE)
        return replace(found, module=declared[1] if declared else "")
    return found


async def _detect(names: frozenset[str], read: Read) -> TestCommand | None:
    python = await _python(names, read)
    if python:
        return python
    if "go.mod" in names and any(name.endswith("_test.go") for name in names):
        return _command(Runner.GO, "go test ./...")
    if "Cargo.toml" in names:
        return _command(Runner.CARGO, "cargo test --no-fail-fast")
    if "pom.xml" in names:
        return _command(Runner.MAVEN, "./mvnw -B test" if "mvnw" in names else "mvn -B -o test")
    if "package.json" in names and (runner := await _npm(names, read)):
        return _command(runner, "npm test")
    for name in ("Makefile", "makefile", "GNUmakefile"):
        if name in names and re.search(r"^test:", await _text(read, name), re.MULTILINE):
            return _command(Runner.OTHER, "make test")
    return None


async def _python(names: frozenset[str], read: Read) -> TestCommand | None:
    tests = sorted(
        name
        for name in names
        if re.fullmatch(r"test_.*\.py|.*_test\.py|tests?\.py", posixpath.basename(name))
    )
    if not tests:
        return None
    pytest = _command(Runner.PYTEST, "python3 -m pytest -q")
    if "pytest.ini" in names or any(posixpath.basename(name) == "conftest.py" for name in names):
        return pytest
    declaring = ("pyproject.toml", "setup.cfg", "tox.ini", "setup.py", "Pipfile")
    for name in sorted(names):
        named = name in declaring or re.fullmatch(r"(requirements/)?[\w-]*\.(txt|in)", name)
        if named and "pytest" in await _text(read, name):
            return pytest
    texts = [await _text(read, name) for name in tests[:30]]
    if any(re.search(r"^\s*(import|from) pytest\b", text, re.MULTILINE) for text in texts):
        return pytest
    if any("unittest" in text or "TestCase" in text for text in texts):
        if "manage.py" in names:
            return _command(Runner.UNITTEST, "python3 manage.py test -v 2")
        return _command(Runner.UNITTEST, f"python3 -m unittest discover -v{_start(tests, names)}")
    return pytest


def _start(tests: Sequence[str], names: frozenset[str]) -> str:
    """The folder to begin in: without `__init__.py` in it, discovery does not enter it."""
    tops = {name.split("/")[0] for name in tests if "/" in name}
    top = tops.pop() if len(tops) == 1 else ""
    inside = all(name.startswith(f"{top}/") for name in tests)
    if not top or not inside or f"{top}/__init__.py" in names:
        return ""
    return f" -s {shlex.quote(top)}"


async def _npm(names: frozenset[str], read: Read) -> Runner | None:
    try:
        package: Any = json.loads(await _text(read, "package.json"))
    except ValueError:
        return None
    if not isinstance(package, dict):
        return None
    scripts: Any = cast("dict[str, Any]", package).get("scripts")
    script: Any = cast("dict[str, Any]", scripts).get("test") if isinstance(scripts, dict) else None
    if not isinstance(script, str) or "no test specified" in script:
        return None
    return _script_runner(script)


def _script_runner(script: str) -> Runner:
    """What the last command of a script is, to which `npm test -- …` hands its arguments."""
    last = re.split(r"&&|\|\||;", script)[-1]
    if re.search(r"\bnode\b.*--test\b", last):
        return Runner.NODE
    for runner in (Runner.VITEST, Runner.JEST, Runner.MOCHA):
        if re.search(rf"(^|[\s/]){runner}(\s|$|\.m?js)", last):
            return runner
    return Runner.OTHER


async def _runner_of(command: str, names: frozenset[str], read: Read) -> Runner:
    if re.match(r"\s*(\S+=\S+\s+)*(npm|yarn|pnpm)\s+(run\s+)?t(est)?\b", command):
        return await _npm(names, read) or Runner.OTHER
    patterns = (
        (Runner.PYTEST, r"\b(pytest|py\.test)\b"),
        (Runner.UNITTEST, r"-m\s+unittest\b|\bmanage\.py\s+test\b"),
        (Runner.GO, r"\bgo\s+test\b"),
        (Runner.CARGO, r"\bcargo\s+(test|t)\b"),
        (Runner.MAVEN, r"\b(mvn|mvnw)\b"),
        (Runner.NODE, r"\bnode\b.*\s--test\b"),
    )
    return next((runner for runner, found in patterns if re.search(found, command)), Runner.OTHER)


def _command(runner: Runner, text: str) -> TestCommand:
    script = text
    if runner in _JSON and re.match(r"npm (run )?test\b", text):
        script = f"{text}{'' if ' -- ' in text else ' --'} {_JSON[runner]}"
    elif runner is Runner.GO and "-json" not in text:
        script = re.sub(r"\bgo\s+test\b", "go test -json", text, count=1)
    elif runner is Runner.UNITTEST and not re.search(r"\s-(v|-verbose)\b", text):
        script = re.sub(r"(-m\s+unittest(\s+discover)?)\b", r"\1 -v", text, count=1)
    after = _SUREFIRE if runner in (Runner.MAVEN, Runner.OTHER) else ""
    whole = f"touch {REPORT}/began\n{script}\nstatus=$?{after}\nexit $status\n"
    return TestCommand(runner=runner, text=text, script=whole)


def _unittest_selection(text: str, selection: Sequence[str]) -> str:
    """Discovery takes folders; tests are named as modules, seen from where it begins."""
    start = re.search(r" -s (\S+)", text)
    folder = start[1] if start else ""
    names = [re.sub(r"\.py$", "", item.removeprefix(f"{folder}/")) for item in selection]
    quoted = shlex.join(name.replace("/", ".") for name in names)
    if " discover" not in text:
        return f"{text} {quoted}"
    return f"{f'PYTHONPATH={folder} ' if folder else ''}python3 -m unittest -v {quoted}"


def _selection(runner: Runner, text: str, selection: Sequence[str]) -> str:
    quoted = shlex.join(selection)
    match runner:
        case Runner.GO:
            named = "|".join(item.rsplit(".", 1)[-1].split("/")[0] for item in selection)
            return f"-run {shlex.quote(f'^({named})$')}"
        case Runner.MAVEN:
            classes = {re.sub(r"\.(\w+)$", r"#\1", item) for item in selection}
            return f"-Dtest={shlex.quote(','.join(sorted(classes)))}"
        case Runner.JEST | Runner.VITEST | Runner.MOCHA | Runner.NODE if text.startswith("npm"):
            return f"-- {quoted}"
        case Runner.CARGO:
            return f"-- {quoted}"
        case Runner.OTHER:
            return ""
        case _:
            return quoted


async def _text(read: Read, path: str) -> str:
    return (await read(path) or b"").decode("utf-8", "replace")
