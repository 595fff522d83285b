"""Reads the work tree in the sandbox with `grep` and `find`, and says what was not read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.errors import ToolFailed
from agent.ports import Box, CommandLimits, CommandResult
from agent.prompt import clean

#: Folders that hold no code of the project's own.
LEFT_OUT = (
    ".git", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", "vendor", "target", "dist", "build", ".next", ".gradle",
)  # fmt: skip
LINE = 200  #: characters shown of a line
SECONDS = 30.0
_ERRORS = 4_096  #: bytes of the end of the output, where grep's errors stand
#: Names and ranked places are chosen from all there is; of lines the first are shown.
WIDE = CommandLimits(seconds=SECONDS, head=4 << 20, tail=_ERRORS)
PLAIN = CommandLimits(seconds=SECONDS, head=256 << 10, tail=_ERRORS)
UNREAD = 3  #: files that could not be read and are named
_MATCH = re.compile(r"(?P<path>\./.*?):(?P<line>\d+):(?P<text>.*)")
_UNREAD = re.compile(r"grep: (?P<path>\./.*): (?P<why>.+)")
_TOO_LONG = re.compile(r"exceeded|exhausted", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Match:
    path: str
    line: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Read:
    """`missing` are sentences on what was not read."""

    lines: Sequence[str]
    missing: tuple[str, ...] = ()

    def matches(self) -> Iterator[Match]:
        for line in self.lines:
            if found := _MATCH.match(line):
                path = plain(found["path"])
                yield Match(path=path, line=int(found["line"]), text=clean(found["text"]))


async def grep(box: Box, options: Sequence[str], where: str, limits: CommandLimits) -> Read:
    """`options` hold the expressions."""
    left_out = [f"--exclude-dir={name}" for name in _left_out(where)]
    argv = shlex.join(["grep", "-rnIH", *left_out, *options, "--", f"./{where}"])
    # by bytes where that does: else a file with one letter that is no UTF-8 passes for binary
    letters = "C" if all(option.isascii() for option in options) else "C.UTF-8"
    command = (  # the errors after the lines, never in the middle of one
        f'{{ said=$(LC_ALL={letters} {argv} 2>&1 >&3); code=$?; printf "%s\\n" "$said";'
        f" exit $code; }} 3>&1 | cut -c1-{LINE * 2}"
    )
    result = await _run(box, command, limits)
    lines = result.output.splitlines()
    said = [line for line in lines if line.startswith("grep: ")]
    if result.exit_code > 1 and not result.stopped:
        _refuse(lines, said, where)
    unread = [found for line in said if (found := _UNREAD.fullmatch(line))]
    return Read(lines=lines, missing=(*_missing(result, limits), *_unread(unread)))


async def paths(box: Box, where: str) -> Read:
    pruned = " -o ".join(f"-name {shlex.quote(name)}" for name in _left_out(where))
    command = f"find ./{shlex.quote(where)} \\( {pruned} \\) -prune -o -type f -print"
    result = await _run(box, command, WIDE)
    lines = [plain(line) for line in result.output.splitlines() if line.startswith("./")]
    return Read(lines=lines, missing=_missing(result, WIDE))


def plain(path: str) -> str:
    return path.removeprefix("././").removeprefix("./")


async def _run(box: Box, command: str, limits: CommandLimits) -> CommandResult:
    if "\0" in command:
        raise ToolFailed("`query` and `path` may not hold a zero byte.")
    return await box.exec(["bash", "-c", f"set -o pipefail; {command}"], limits=limits)


def _left_out(where: str) -> list[str]:
    """One that is asked for by name is looked into."""
    return [name for name in LEFT_OUT if name != where.rstrip("/.").rsplit("/", 1)[-1]]


def _refuse(lines: Sequence[str], said: Sequence[str], where: str) -> None:
    """A wrong expression or path ends the search; a file that cannot be read does not."""
    unread = [_UNREAD.fullmatch(line) for line in said]
    wrong = [line for line, found in zip(said, unread, strict=True) if not found]
    hits = any(line.startswith("./") for line in lines)
    gone = any(found and found["path"] == f"./{where}" for found in unread)
    if wrong or not said or (gone and not hits):
        told = (wrong or said or [line for line in lines if line] or ["the search failed"])[-1]
        raise ToolFailed(f"{clean(told)[:300]} (`query` is a regular expression.)")


def _missing(result: CommandResult, limits: CommandLimits) -> tuple[str, ...]:
    if result.stopped == "timeout":
        return (f"[stopped after {limits.seconds:.0f} s: not everything was read]",)
    if result.stopped:
        return (f"[stopped by the sandbox ({result.stopped}): not everything was read]",)
    if result.total_bytes > limits.head + limits.tail:
        return ("[there is more than could be read: name a folder in `path`]",)
    return ()


def _unread(unread: Sequence[re.Match[str]]) -> tuple[str, ...]:
    told = list[str]()
    for found in unread[:UNREAD]:
        path, why = clean(plain(found["path"])), clean(found["why"])
        if _TOO_LONG.search(why):
            why = (
                "a line takes this expression too long; what comes after the file was not read"
                " either. Write it without lookaround and back-references"
            )
        told.append(f"[not read: {path} ({why})]")
    if len(unread) > UNREAD:
        told.append(f"[not read: {len(unread) - UNREAD} more files]")
    return tuple(told)
