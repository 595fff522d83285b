"""Tests of other languages, by the look of their lines."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent.tamper.units import EXACT, NOTHING, PARTIAL, TRUTH, WIDE, Assertion, Skip, Suite, Unit

LONGEST = 2_000  #: characters of a line that are looked at


@dataclass(frozen=True, kw_only=True)
class Language:
    """`test` names a test by its group `name`; a `mark` before a function makes it one."""

    test: re.Pattern[str]
    skip: re.Pattern[str]
    assertion: re.Pattern[str]
    comment: str = "//"
    mark: re.Pattern[str] | None = None
    function: re.Pattern[str] | None = None
    whole: re.Pattern[str] | None = None  #: skips a file, or all but itself


_NEVER = re.compile(r"(?!)")
_STRING = r"(?P<quote>['\"`])(?P<name>(?:\\.|(?!(?P=quote)).)*)(?P=quote)"
_JS = Language(
    test=re.compile(
        r"^\s*(?:await\s+)?(?P<word>[xf]?(?:it|test|specify|describe|context|suite))"
        rf"(?P<how>(?:\.\w+)*)(?:\(.*?\)|`.*?`)?\s*\(\s*{_STRING}"
    ),
    skip=re.compile(
        r"^\s*(?:x(?:it|test|specify|describe)\b|(?:it|test|specify|describe|context|suite)"
        r"(?:\.\w+)*\.(?:skip|todo|skipIf|runIf|fails|failing|fixme)\b)|\bthis\.skip\(\)"
    ),
    whole=re.compile(
        r"^\s*(?:f(?:it|test|describe)\b\s*\(|(?:it|test|describe)(?:\.\w+)*\.only\b)"
    ),
    assertion=re.compile(
        r"\bexpect\w*\s*[(.]|\bassert\w*\s*[(.]|\.should\b|\bt\.(?:is|deepEqual)\("
    ),
)
_JVM = Language(
    test=re.compile(r"^\s*(?:public\s+)?function\s+(?P<name>test\w*)\s*\("),
    mark=re.compile(
        r"@(?:Test|ParameterizedTest|RepeatedTest|TestFactory|Property)\b"
        r"|\[(?:Fact|Theory|Test|TestCase|TestMethod|DataTestMethod)\b|#\[Test\]|@test\b"
    ),
    function=re.compile(r"(?:fun\s+)?(?P<name>`[^`]+`|\w+)\s*\("),
    skip=re.compile(
        r"@(?:Disabled\w*|Ignore|Enabled\w+)\b|\[(?:Ignore|Explicit)\b|\bSkip\s*=|assume\w+\("
        r"|markTest(?:Skipped|Incomplete)|Assert\.(?:Ignore|Inconclusive)"
    ),
    assertion=re.compile(
        r"\b(?:assert|expect|verify|fail|should)\w*\s*[(<{]|\bAssert\w*\.\w+|\.Should\(\)"
        r"|\.should\w*\("
    ),
)
_GO = Language(
    test=re.compile(
        r"^func\s+(?:\([^)]*\)\s*)?(?P<name>(?:Test|Fuzz|Benchmark|Example)\w*)\s*\("
        r"|^\s*\w+\.Run\(\s*\"(?P<sub>[^\"]*)\""
    ),
    skip=re.compile(r"\b\w+\.Skip(?:f|Now)?\("),
    whole=re.compile(r"^//\s*(?:go:build|\+build)\b"),
    assertion=re.compile(
        r"\b[tb]\.(?:Error|Fatal)f?\(|\b[tb]\.Fail(?:Now)?\(|\b(?:assert|require|is)\.\w+\("
        r"|\bExpect\("
    ),
    comment="//",
)
_RUST = Language(
    test=_NEVER,
    mark=re.compile(r"#\[(?:\w+::)*(?:test|rstest|test_case|quickcheck|proptest)\b"),
    function=re.compile(r"\bfn\s+(?P<name>\w+)"),
    skip=re.compile(r"#\[(?:ignore\b|cfg_attr\(.*ignore)"),
    assertion=re.compile(r"\b(?:debug_)?assert\w*!|\bpanic!|#\[should_panic"),
)
_RUBY = Language(
    test=re.compile(
        rf"^\s*(?P<word>[xf]?(?:it|specify|scenario|test|describe|context))\s*\(?\s*{_STRING}"
        r"|^\s*def\s+(?P<plain>test_\w+)"
    ),
    skip=re.compile(r"^\s*x(?:it|specify|scenario|describe|context)\b|^\s*(?:skip|pending)\b"),
    whole=re.compile(r"^\s*f(?:it|describe|context)\b|,\s*:?focus\b"),
    assertion=re.compile(r"\bexpect\b|\b(?:assert|refute)\w*\b|\.must_|\.should\b"),
    comment="#",
)
_BY_END = {
    **dict.fromkeys(("js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts", "vue", "svelte"), _JS),
    **dict.fromkeys(("java", "kt", "kts", "scala", "groovy", "cs", "php", "swift", "dart"), _JVM),
    "go": _GO,
    "rs": _RUST,
    "rb": _RUBY,
}
_SUITES = re.compile(r"[xf]?(?:describe|context|suite)")


def language(path: str) -> Language | None:
    return _BY_END.get(posixpath.splitext(path)[1][1:].lower())


def suite(path: str, text: str) -> Suite:
    spoken = language(path)
    if spoken is None:
        return Suite(path=path, units={})
    units: dict[str, Unit] = {}
    for unit in _Reader(language=spoken).units(text):
        name, number = unit.name, 1
        while name in units:
            number += 1
            name = f"{unit.name} ({number})"
        units[name] = unit
    return Suite(path=path, units=units)


@dataclass(kw_only=True)
class _Open:
    name: str
    line: int
    collected: bool = False
    skips: list[Skip] = field(default_factory=list[Skip])
    assertions: list[Assertion] = field(default_factory=list[Assertion])
    body: list[str] = field(default_factory=list[str])

    def close(self) -> Unit:
        return Unit(
            name=self.name,
            line=self.line,
            collected=self.collected,
            skips=tuple(self.skips),
            assertions=tuple(self.assertions),
            body="\n".join(self.body),
        )


@dataclass(kw_only=True)
class _Reader:
    """Each line belongs to the test that began last."""

    language: Language
    _marked: bool = False
    _waiting: list[Skip] = field(default_factory=list[Skip])  #: before the test they are of
    _before: str = ""

    def units(self, text: str) -> Iterator[Unit]:
        whole = _Open(name="", line=1)
        here = whole
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw[:LONGEST].rstrip()
            if not line.strip():
                continue
            told = line.strip()
            if self.language.whole and self.language.whole.search(line):
                whole.skips.append(Skip(text=told, line=number, whole="file"))
            if told.startswith((self.language.comment, "*", "/*")):
                continue
            begun = self._begun(line, number)
            if begun is not None:
                if here is not whole:
                    yield here.close()
                here = begun
            elif skipped := self.language.skip.search(line):
                skip = Skip(text=told, line=number)
                ahead = skipped.group().startswith(("@", "[", "#["))
                (self._waiting if ahead else here.skips).append(skip)
            here.body.append(told if begun is None else "")
            if self.language.assertion.search(line):
                here.assertions.append(_assertion(told, number, self._before))
            self._before = told
        if here is not whole:
            yield here.close()
        if self.language is _RUST:
            whole.assertions.clear()  # there tests live among the code
        yield whole.close()

    def _begun(self, line: str, number: int) -> _Open | None:
        spoken = self.language
        if spoken.mark and spoken.mark.search(line):
            self._marked = True
        found = spoken.test.search(line)
        name = _named(found) if found else ""
        if not found and self._marked and spoken.function:
            rest = spoken.mark.sub("", line) if spoken.mark else line
            if rest.strip().startswith(("@", "[", "#[", "//")):
                return None
            function = spoken.function.search(rest)
            name = function["name"] if function else ""
        if not name:
            return None
        self._marked = False
        waiting, self._waiting = self._waiting, []
        word = found.groupdict().get("word") or "" if found else ""
        begun = _Open(
            name=name,
            line=number,
            collected=not _SUITES.fullmatch(word),
            skips=waiting,
        )
        if spoken.skip.search(line):
            begun.skips.append(Skip(text=_plain(line), line=number))
        return begun


def _named(found: re.Match[str]) -> str:
    groups = found.groupdict()
    if sub := groups.get("sub"):
        return f"run::{sub}"
    return groups.get("name") or groups.get("plain") or ""


def _plain(line: str) -> str:
    return line.strip().removesuffix("{").strip()


_STRICT = re.compile(r"equal|eq\b|_eq|same|strict|deep|identical|\bis\b|exact|ToBe\b|toBe\b")
_LOOSE = re.compile(
    r"truthy|falsy|defined|true\b|false\b|ok\b|not_?null|not_?nil|no_?error|\bnot\b|not_?equal"
    r"|assert!|_ne\b|NotEqual|notEqual"
)
_ALWAYS = re.compile(
    r"(?:assert(?:True|\.True|\.ok|!)?|expect|require\.True)\s*\(\s*(?:t,\s*)?(?:true|1)\s*\)"
    r"(?!\.not)(?!\s*\.to\w*\(\s*false)",
)
_LITERAL = re.compile(r"""^(?:-?[\d._]+\w*|(['"`]).*\1|true|false|null|nil|None|undefined)$""")


def _assertion(line: str, number: int, before: str) -> Assertion:
    if expected := re.match(r".*?\bexpect\((.*)\)((?:\.\w+)*)\.(\w+)\((.*)\);?$", line):
        subject, chain, matcher, value = expected.groups()
        name = f"{chain}.{matcher}"
        strength = _strength(name)
        if _LITERAL.match(subject) and (not value or _LITERAL.match(value)):
            strength = NOTHING
        wanted = f"{name}({value})"
        return Assertion(
            subject=subject, expected=wanted, strength=strength, text=line, line=number
        )
    if _ALWAYS.search(line):
        return Assertion(subject=line, strength=NOTHING, text=line, line=number)
    called = re.search(r"\b([\w.]*(?:assert|require|expect|verify)[\w.!]*)\s*\((.*)\)", line, re.I)
    if not called:
        condition = before if before.startswith("if") else line
        return Assertion(subject=condition, strength=PARTIAL, text=line, line=number)
    name, arguments = called[1], _split(called[2])
    if arguments[:1] in (["t"], ["b"]):
        arguments = arguments[1:]
    strength = _strength(name)
    if len(arguments) < 2 or strength < PARTIAL:
        subject = arguments[0] if arguments else line
        return Assertion(subject=subject, expected=name, strength=strength, text=line, line=number)
    first, second = arguments[:2]
    if _LITERAL.match(first):
        first, second = second, first
    if first == second or (_LITERAL.match(first) and _LITERAL.match(second)):
        strength = NOTHING
    return Assertion(subject=first, expected=second, strength=strength, text=line, line=number)


def _strength(name: str) -> int:
    if _LOOSE.search(name) or re.search(r"NotEq|NotNull|NotNil|NoError|True|False", name):
        return TRUTH
    if re.search("strict", name, re.IGNORECASE):
        return EXACT + 1
    if _STRICT.search(name) or re.search(r"Equal|Same|Eq\b", name):
        return EXACT
    return WIDE if re.search(r"OrEqual|Throws?\b|toThrow$", name) else PARTIAL


def _split(arguments: str) -> list[str]:
    """At commas that are in no bracket or string."""
    parts: list[str] = []
    depth, quote, begun = 0, "", 0
    for at, char in enumerate(arguments):
        if quote:
            if char == quote and arguments[at - 1 : at] != "\\":
                quote = ""
        elif char in "'\"`":
            quote = char
        elif char in "([{<":
            depth += char != "<"
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(arguments[begun:at].strip())
            begun = at + 1
    parts.append(arguments[begun:].strip())
    return parts
