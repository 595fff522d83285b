"""What no linter mends by itself, for the agent: a few files at a time, the new findings first."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence

from agent.maintenance.lint.detect import Command
from agent.maintenance.night import Errand, Finding
from agent.maintenance.offlimits import reserved
from agent.prompt import clean
from agent.run import ThreadMessage

FILES = 3
FINDINGS = 20
MESSAGE = 300  #: characters of what a linter says of one finding
COMMAND = 400
_NAME = re.compile(r"[\w@/.:()\[\]-]{1,60}", re.ASCII)

RULES = """\
Mend each in the code itself, so that the program still does what it did. These are no fixes, and \
are refused: a change of any other file than these and those that import them, a comment that \
tells a checker to look away, a change of any tool's configuration or of conftest.py, files that \
are made, renamed or deleted, tests that are weakened. Nothing that the linters have not found \
before may come. The project's tests have to pass. Nobody can be asked."""


def errands(
    stand: Sequence[Finding],
    new: Collection[Finding],
    tools: Sequence[Command],
    *,
    touched: Collection[str],
    given: Collection[str],
    judges: Collection[str] = (),
) -> tuple[Errand, ...]:
    """`touched`: files that the night's own fixes change; `given`: fingerprints of what the agent
    has, or came to nothing with lately; `judges`: files that linters are made of."""
    names = {tool.name for tool in tools}
    fit = [
        each
        for each in stand
        if each.tool in names
        and each.path not in touched
        and each.fingerprint not in given
        and each.path not in judges
        and not reserved(each.path, scripts=False)
    ]
    fit.sort(key=lambda each: each not in new)
    files = tuple(dict.fromkeys(each.path for each in fit))[:FILES]
    chosen = [each for each in fit if each.path in files][:FINDINGS]
    if not chosen:
        return ()
    chosen.sort(key=lambda each: (each.path, each.line))
    return (_errand(chosen, [tool for tool in tools if tool.name in {f.tool for f in chosen}]),)


def _errand(chosen: Sequence[Finding], tools: Sequence[Command]) -> Errand:
    count, files = len(chosen), len({each.path for each in chosen})
    what = f"{count} lint finding{'s' if count > 1 else ''}"
    where = f"{files} file{'s' if files > 1 else ''}"
    places = "\n".join(f"- {place(each)}: {_one_line(_rule(each), 80)}" for each in chosen)
    checks = "\n".join(f"- `{_one_line(shlex.join(tool.check), COMMAND)}`" for tool in tools)
    said = "\n".join(f"{place(each)}: {_one_line(each.message, MESSAGE)}" for each in chosen)
    return Errand(
        kind="findings",
        title=f"Mend {what} in {where}",
        text=f"Mend {what}:\n{places}\n\n{RULES}\n\nIt is checked with:\n{checks}\n",
        records=(ThreadMessage(author="the linters", text=said),),
        about=tuple(each.fingerprint for each in chosen),
        findings=tuple(chosen),
    )


def place(finding: Finding) -> str:
    where = f":{finding.line}" if finding.line else ""
    return f"`{_one_line(finding.path, 200)}{where}`"


def _rule(finding: Finding) -> str:
    """A tool may call a rule anything; what is no name is left out."""
    known = _NAME.fullmatch(finding.rule)
    return f"{finding.rule} ({finding.tool})" if known else finding.tool


def _one_line(text: str, limit: int) -> str:
    return " ".join(clean(text).replace("`", "'").split())[:limit]
