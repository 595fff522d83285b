"""JUnit XML, as pytest, surefire and others write it. The file comes out of a sandbox: hostile."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from xml.parsers import expat

from agent.testreport import CaseStatus, TestCase

SIZE = 32 * 2**20
CASES = 50_000
TEXT = 4_000  #: characters kept of one failure

_STATUS = {
    "failure": CaseStatus.FAILED,
    "error": CaseStatus.ERROR,
    "rerunFailure": CaseStatus.PASSED,
    "skipped": CaseStatus.SKIPPED,
}
_PYTHON_FRAME = re.compile(r"^(?:/workspace/)?([^\s:/][^\s:]*\.py):(\d+): ", re.MULTILINE)
_JAVA_FRAME = re.compile(
    r"^[ \t]*at (\S{1,400})\((\w{1,200}\.(?:java|kt|scala|groovy)):(\d{1,9})\)", re.MULTILINE
)


class BadReport(ValueError):
    """Not a report of tests, or one that is not to be read."""


@dataclass(kw_only=True)
class _Case:
    attributes: dict[str, str]
    status: CaseStatus = CaseStatus.PASSED
    message: str = ""
    text: list[str] = field(default_factory=list[str])


def parse(data: bytes, files: Collection[str] = ()) -> list[TestCase]:
    """Raises `BadReport`. `files` are the project's, to find a Java file by its name."""
    if len(data) > SIZE:
        raise BadReport(f"the report is larger than {SIZE // 2**20} MB")
    cases: list[_Case] = []
    inside: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        inside.append(name)
        if len(inside) > 50:
            raise BadReport("the report is nested too deeply")
        if name == "testcase":
            if len(cases) >= CASES:
                raise BadReport(f"the report has more than {CASES} tests")
            cases.append(_Case(attributes=attributes))
        elif cases and "testcase" in inside and name in _STATUS:
            case = cases[-1]
            if case.status is not CaseStatus.ERROR:
                case.status = _STATUS[name]
            case.message = case.message or attributes.get("message", "")

    def text(data: str) -> None:
        if cases and inside[-1] in ("failure", "error") and len(cases[-1].text) < 500:
            cases[-1].text.append(data)

    def doctype(*_: object) -> None:
        raise BadReport("the report declares a document type")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: inside.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise BadReport(f"the report is not XML: {error}") from error
    return [_test_case(case, files) for case in cases]


def _test_case(case: _Case, files: Collection[str]) -> TestCase:
    attributes = case.attributes
    file = attributes.get("file", "").removeprefix("/workspace/")
    bad = case.status in (CaseStatus.FAILED, CaseStatus.ERROR)
    text = "".join(case.text)[-50_000:]
    path, line = _place(text, attributes.get("classname", ""), files) if bad else ("", 0)
    return TestCase(
        id=case_id(attributes.get("classname", ""), attributes.get("name", ""), file),
        status=case.status,
        message=_message(case.message, text) if bad else case.message[:200],
        path=path or (file if bad else ""),
        line=line,
    )


def case_id(classname: str, name: str, file: str) -> str:
    """A pytest node id where the report has what is needed, else class and name."""
    if file.endswith(".py"):
        module = file.removesuffix(".py").replace("/", ".")
        if not classname and name == module:
            return file  # could not be collected
        classes = classname.removeprefix(module).strip(".") if classname != module else ""
        return "::".join(part for part in (file, *classes.split("."), name) if part)
    return f"{classname}.{name}" if classname else name


def _message(message: str, text: str) -> str:
    """The short form, then the end of the long one, where the failure stands."""
    text = text.strip()
    if message.strip() in text:
        message = ""
    if len(text) > TEXT:
        text = f"…{text[-TEXT:]}"
    return f"{message[:1000].strip()}\n{text}".strip()


def _place(text: str, classname: str, files: Collection[str]) -> tuple[str, int]:
    frames = [
        (path, int(line))
        for path, line in _PYTHON_FRAME.findall(text)
        if "site-packages" not in path and not path.startswith("../")
    ]
    if frames:
        return frames[-1]
    return _java_place(_JAVA_FRAME.findall(text), classname, files)


def _java_place(
    frames: Sequence[tuple[str, str, str]], classname: str, files: Collection[str]
) -> tuple[str, int]:
    owned = [(method.rpartition(".")[0], name, line) for method, name, line in frames]
    own = [frame for frame in owned if frame[0].partition("$")[0] == classname] or owned
    for owner, name, line in own[:50]:
        package = posixpath.dirname(owner.partition("$")[0].replace(".", "/"))
        wanted = posixpath.join(package, name)
        for file in files:
            if file == wanted or file.endswith("/" + wanted):
                return file, int(line)
    return "", 0


def merged(cases: Iterable[TestCase]) -> tuple[TestCase, ...]:
    """One entry an id, the worst one: a test may be reported once a phase."""
    order = (CaseStatus.SKIPPED, CaseStatus.PASSED, CaseStatus.FAILED, CaseStatus.ERROR)
    by_id: dict[str, TestCase] = {}
    for case in cases:
        by_id[case.id] = max(
            by_id.get(case.id, case), case, key=lambda c: (order.index(c.status), bool(c.message))
        )
    return tuple(by_id.values())
