"""A job's log as text for people, and the shapes that errors have in it."""

from __future__ import annotations

import re

_LONGEST = 500  #: characters of one line

#: What runners put before each line: time, stream, and whether the line goes on.
STAMP = rb"(?:\d{4}-\d\d-\d\dT[\d:.]{8,20}Z \d\d[OE][ +])?"
COLOUR = rb"(?:\x1b\[[0-9;]*[mK])*"
_NOISE = re.compile(
    rb"section_(?:start|end):\d+:[\w.-]+(?:\[[^\]\r\n]*\])?\r?"  # GitLab's folds
    rb"|\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    rb"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # titles, links
    rb"|\x1b[@-Z\\-_]"
)
_STAMP = re.compile(STAMP)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")

#: A report of failures begins here, whoever made it. Each pair: what to look for in the bytes,
#: and how the line that holds it must look.
REPORTS = (
    (b"= FAILURES =", re.compile(r"=+ FAILURES =+")),
    (b"= ERRORS =", re.compile(r"=+ ERRORS =+")),
    (b"Traceback (most", re.compile(r"\s*(\| )*Traceback \(most recent call last\)")),
    (b"--- FAIL", re.compile(r"\s*--- FAIL: ")),
    (b"panic: ", re.compile(r"panic: ")),
    (b" error: ", re.compile(r"\S+:\d+(:\d+)?: (fatal )?error: ")),
    (b"error[", re.compile(r"error\[E\d+\]: ")),
    (b"error TS", re.compile(r".*\berror TS\d+: ")),
    (b"\xe2\x97\x8f ", re.compile(r"\s*● \S")),
    (b"FAIL ", re.compile(r"FAIL +\S+")),
    (b"FAIL\t", re.compile(r"FAIL\t\S+")),
    (b"[ERROR] ", re.compile(r"\[ERROR\] ")),
    (b"FAILURE: ", re.compile(r"FAILURE: ")),
    (b"Failures:", re.compile(r"Failures:$")),
    (b"There w", re.compile(r"There (was|were) \d+ (failure|error)")),
)
#: Something is wrong here, or only said to be.
COMPLAINTS = (
    (b"rror", re.compile(r"(npm |yarn )?(ERR!|[Ee]rror|ERROR|\w+Error)\b[:! ]")),
    (b"ERR", re.compile(r"(npm ERR!|ERROR\b)")),
    (b"atal", re.compile(r"[Ff]atal( error)?: ")),
    (b"xception", re.compile(r"(Exception in|Unhandled exception|Caused by:|\S+Exception:)")),
    (b"FAILED", re.compile(r"FAILED\b")),
    (b"not found", re.compile(r".*: (command )?not found$")),
    (b"No such file", re.compile(r".*: No such file or directory")),
    (b"enied", re.compile(r".*: Permission denied")),
    (b"*** [", re.compile(r"make(\[\d+\])?: \*\*\* \[")),
    (b"Killed", re.compile(r"(.*: )?Killed\b")),
)
#: Only looked for among lines that are kept: nothing in their bytes would find them.
_FINDING = re.compile(
    r"\S+\.\w+:\d+:\d+:? [A-Z]+\d+\b|\s+\d+:\d+\s+error\s|E   \s*\S|not ok \d+|would reformat "
)


def clean(line: bytes) -> str:
    """As it stood on the screen in the end: without colours, folds and what was written over."""
    line = _NOISE.sub(b"", line[_STAMP.match(line).end() :]) if line else line  # type: ignore[union-attr]
    if b"\r" in line:
        line = next((part for part in reversed(line.split(b"\r")) if part.strip()), b"")
    text = _CONTROL.sub("", line.decode("utf-8", "replace")).rstrip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def is_report(text: str) -> bool:
    return any(shape.match(text) for _, shape in REPORTS)


def is_complaint(text: str) -> bool:
    return bool(_FINDING.match(text)) or any(shape.match(text) for _, shape in COMPLAINTS)
