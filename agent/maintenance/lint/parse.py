"""What linters print, as findings.

All of it is untrusted: names and messages come from the repository. A path stays only when it is
below the workspace; who calls keeps those that the repository has.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

from agent.maintenance.night import Finding

MESSAGE = 300  #: characters
ROOT = "/workspace"

#: Reads what a linter printed, for the tool named. Raises `ValueError` for what cannot be read.
Parser = Callable[[str, str], list[Finding]]

_LINE = re.compile(
    r"^(?P<path>[^\s:][^:\n]*):(?P<line>\d+):(?:\d+:)?\s*(?P<message>\S.*)$", re.MULTILINE
)
_MYPY = re.compile(
    r"^(?P<path>[^:\n]+):(?P<line>\d+):(?:\d+:)? error: (?P<message>.+?)"
    r"(?:\s+\[(?P<rule>[\w-]+)\])?$",
    re.MULTILINE,
)
_CODED = re.compile(r"(?P<rule>[A-Z]+\d+)\s+(?P<rest>.+)")
#: The second form is that of newer versions of ruff.
_FORMAT = re.compile(
    r"^[Ww]ould reformat:? (?P<path>.+)$|^unformatted: .*\n\s*--> (?P<placed>.+):\d+:\d+$",
    re.MULTILINE,
)
_HOOK = re.compile(r"^(?P<name>\S.*?)\.{3,}.*?Failed$")
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069]+")


def finding(
    tool: str, path: str, message: str, *, rule: str = "", line: int = 0, fixable: bool = False
) -> Finding:
    return Finding(
        tool=tool,
        rule=plain(rule)[:80],
        path=inside(path),
        line=max(line, 0),
        message=plain(message)[:MESSAGE],
        fixable=fixable,
    )


def plain(text: str) -> str:
    """One line without characters that show nothing."""
    return " ".join(_HIDDEN.sub(" ", text).split())


def inside(path: str) -> str:
    """Relative to the workspace; empty for what is not below it."""
    full = posixpath.normpath(posixpath.join(ROOT, path))
    return full.removeprefix(f"{ROOT}/") if full.startswith(f"{ROOT}/") else ""


def ruff(text: str, tool: str) -> list[Finding]:
    found: list[Finding] = []
    for item in _objects(json.loads(text)):
        fix = _object(item.get("fix"))
        found.append(
            finding(
                tool,
                _text(item.get("filename")),
                _text(item.get("message")),
                rule=_text(item.get("code")) or "syntax",
                line=_number(_object(item.get("location")).get("row")),
                fixable=fix.get("applicability") == "safe",
            )
        )
    return found


def eslint(text: str, tool: str) -> list[Finding]:
    return [
        finding(
            tool,
            _text(file.get("filePath")),
            _text(said.get("message")),
            rule=_text(said.get("ruleId")) or "parsing",
            line=_number(said.get("line")),
            fixable="fix" in said,
        )
        for file in _objects(json.loads(text))
        for said in _objects(file.get("messages"))
    ]


def rubocop(text: str, tool: str) -> list[Finding]:
    return [
        finding(
            tool,
            _text(file.get("path")),
            _text(said.get("message")),
            rule=_text(said.get("cop_name")),
            line=_number(_object(said.get("location")).get("line")),
            # it does not tell the safe ones from the others before it mends them
            fixable=said.get("correctable") is True,
        )
        for file in _objects(_object(json.loads(text)).get("files"))
        for said in _objects(file.get("offenses"))
    ]


def golangci(text: str, tool: str) -> list[Finding]:
    first = text.lstrip().partition("\n")[0]  # a summary may follow the object
    return [
        finding(
            tool,
            _text(_object(said.get("Pos")).get("Filename")),
            _text(said.get("Text")),
            rule=_text(said.get("FromLinter")),
            line=_number(_object(said.get("Pos")).get("Line")),
        )
        for said in _objects(_object(json.loads(first)).get("Issues"))
    ]


def clippy(text: str, tool: str) -> list[Finding]:
    found: list[Finding] = []
    for line in text.splitlines():
        said = _object(json.loads(line)) if line.startswith("{") else {}
        message = _object(said.get("message"))
        code = _text(_object(message.get("code")).get("code"))
        spans = [s for s in _objects(message.get("spans")) if s.get("is_primary") is True]
        if said.get("reason") == "compiler-message" and spans:
            found.append(
                finding(
                    tool,
                    _text(spans[0].get("file_name")),
                    _text(message.get("message")),
                    rule=code or _text(message.get("level")),
                    line=_number(spans[0].get("line_start")),
                )
            )
    return list(dict.fromkeys(found))  # said once a target


def mypy(text: str, tool: str) -> list[Finding]:
    return [
        finding(tool, m["path"], m["message"], rule=m["rule"] or "error", line=int(m["line"]))
        for m in _MYPY.finditer(text)
    ]


def lines(text: str, tool: str) -> list[Finding]:
    """`path:line: message` and `path:line:column: message`, as most tools print it."""
    found: list[Finding] = []
    for m in _LINE.finditer(text):
        coded = _CODED.fullmatch(m["message"])
        rule, message = (coded["rule"], coded["rest"]) if coded else ("", m["message"])
        found.append(finding(tool, m["path"], message, rule=rule, line=int(m["line"])))
    return found


def names(text: str, tool: str) -> list[Finding]:
    """One file a line: those that a formatter would write anew."""
    return [_unformatted(tool, line) for line in text.splitlines() if line.strip()]


def reformat(text: str, tool: str) -> list[Finding]:
    """As black and `ruff format` name the same files."""
    return [_unformatted(tool, m["path"] or m["placed"]) for m in _FORMAT.finditer(text)]


def pre_commit(text: str, tool: str) -> list[Finding]:
    """Hooks that failed, with the places they name, if any."""
    found: list[Finding] = []
    for name, body in _hooks(text):
        id = re.search(r"^- hook id: (.+)$", body, re.MULTILINE)
        rule = id[1] if id else name
        said = [f for f in lines(body, tool) if f.path]
        found += [
            finding(tool, f.path, f"{f.rule} {f.message}", rule=rule, line=f.line) for f in said
        ]
        if not said:
            found.append(finding(tool, ".pre-commit-config.yaml", f"{name} failed", rule=rule))
    return found


def _hooks(text: str) -> Iterator[tuple[str, str]]:
    name, body = "", list[str]()
    for line in text.splitlines():
        hook = _HOOK.match(line)
        if hook or re.search(r"\.{3,}.*(Passed|Skipped)$", line):
            if name:
                yield name, "\n".join(body)
            name, body = (hook["name"] if hook else ""), []
        else:
            body.append(line)
    if name:
        yield name, "\n".join(body)


def _unformatted(tool: str, path: str) -> Finding:
    return finding(tool, path, "not formatted", rule="format", fixable=True)


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    if value is not None and not isinstance(value, list):
        raise ValueError("a list was expected")
    return [_object(item) for item in cast("list[Any]", value or [])]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
