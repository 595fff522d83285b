"""Finds what matters in a job's log of any length, in one pass and little memory.

A log is read in blocks. Only of the newest command's output the beginning, the place where errors
begin, and the end are kept; whatever runs after the script leaves it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from agent.logtext import COLOUR, COMPLAINTS, REPORTS, STAMP, clean, is_complaint, is_report

_BLOCK = 512 * 1024
_HEAD = 32 * 1024
_ERRORS = 64 * 1024
_TAIL = 128 * 1024
_LONGEST = 64 * 1024  #: bytes of one line
_BEFORE = 2 * 1024  #: bytes that are kept before the first error
_TRIES = 50  #: places in a block that look like what is sought
_FALLBACK = 200  #: lines, where nothing looks like an error
_NOTES = 200  #: characters for saying what is left out
_CONTEXT = 3  #: lines shown before the first error

_COMMAND = re.compile(STAMP + COLOUR + rb"\$ ")
_SECTION = re.compile(rb"section_(start|end):\d+:([\w.-]+)")
_SCRIPTS = (b"step_script", b"build_script")
_BEGINS = {
    *(b"prepare_executor", b"prepare_script", b"get_sources", b"restore_cache"),
    *(b"download_artifacts", *_SCRIPTS),
}
_ENDS = {
    *(b"after_script", b"archive_cache", b"archive_cache_on_failure", b"cleanup_file_variables"),
    *(b"upload_artifacts_on_failure", b"upload_artifacts_on_success"),
}
_AFTER = re.compile(
    STAMP
    + COLOUR
    + rb"(?:Running after[_ ]script|Uploading artifacts(?: for |\.\.\.| as )"
    + rb"|Cleaning up (?:project directory|file based))"
)
_FAILED = b"ERROR: Job failed"


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    text: str  #: whole lines, each with its number in the log
    bare: str  #: the same without their numbers
    first: int  #: number of the first line of it
    command: str  #: the runner's command that it is the output of, if known
    failure: str  #: the runner's last word, such as “ERROR: Job failed: exit code 1”
    lines: int  #: of the whole log


@dataclass(kw_only=True)
class _Part:
    """Whole lines in a row."""

    first: int
    data: bytes = b""
    room: int = 0

    def take(self, block: bytes) -> None:
        if self.room > 0:
            piece = block if len(block) <= self.room else block[: _line_end(block, self.room)]
            self.room = self.room - len(piece) if len(piece) == len(block) else 0
            self.data += piece

    def lines(self) -> Iterator[tuple[int, str]]:
        for place, line in enumerate(self.data.split(b"\n")[:-1]):
            yield self.first + place, clean(line)


@dataclass(kw_only=True)
class _Section:
    """The output of one command, or of what runs before any."""

    head: _Part
    tail: _Part
    command: str = ""
    report: _Part | None = None
    complaint: _Part | None = None

    def add(self, block: bytes, first: int) -> None:
        self.head.take(block)
        for part in (self.report, self.complaint):
            if part is not None:
                part.take(block)
        if self.report is None:
            self.report = _found(block, first, REPORTS)
        if self.report is None and self.complaint is None:
            self.complaint = _found(block, first, COMPLAINTS)
        self._add_tail(block, first)

    def _add_tail(self, block: bytes, first: int) -> None:
        if not self.tail.data:
            self.tail.first = first
        data = self.tail.data + block if len(block) < _TAIL else block
        start = self.tail.first if len(block) < _TAIL else first
        if len(data) > 2 * _TAIL or len(block) >= _TAIL:
            cut = _line_end(data, len(data) - _TAIL)
            start += data.count(b"\n", 0, cut)
            data = data[cut:]
        self.tail.first, self.tail.data = start, data

    def lines(self) -> Sequence[tuple[int, str]]:
        known: dict[int, str] = {}
        for part in (self.head, self.complaint, self.report, self.tail):
            if part is not None:
                known.update(part.lines())
        return sorted(known.items())


def _section(first: int, command: str = "") -> _Section:
    return _Section(head=_Part(first=first, room=_HEAD), tail=_Part(first=first), command=command)


@dataclass(kw_only=True)
class JobLog:
    """`feed` takes the log in pieces of any size, `excerpt` is asked for once it is read."""

    _buffer: bytearray = field(default_factory=bytearray)
    _line: int = 1  #: number of the buffer's first line
    _section: _Section = field(default_factory=lambda: _section(1))
    _script_ended: bool = False
    _failure: str = ""

    def feed(self, data: bytes) -> None:
        for start in range(0, len(data), _BLOCK):
            self._buffer += data[start : start + _BLOCK]
            if len(self._buffer) >= _BLOCK:
                self._work(self._buffer.rfind(b"\n") + 1)
            if len(self._buffer) >= _BLOCK:  # a bar that is drawn over and over
                del self._buffer[:-_LONGEST]

    def excerpt(self, limit: int) -> Excerpt:
        """At most `limit` characters, from where errors begin to where they end."""
        if self._buffer:
            self._buffer += b"" if self._buffer.endswith(b"\n") else b"\n"
            self._work(len(self._buffer))
        lines = self._section.lines()
        chosen = _chosen(lines)
        fitted = _fitted(chosen, limit)
        return Excerpt(
            text="\n".join(f"{number}: {line}" if number else line for number, line in fitted),
            bare="\n".join(line for _, line in fitted),
            first=next((number for number, _ in fitted if number), 0),
            command=self._section.command,
            failure=self._failure,
            lines=self._line - 1,
        )

    def _work(self, end: int) -> None:
        block = bytes(self._buffer[:end])
        del self._buffer[:end]
        place = block.rfind(_FAILED)
        if place >= 0:
            self._failure = clean(block[_line_start(block, place) : _line_end(block, place)])
        if not self._script_ended:
            self._read(block)
        self._line += block.count(b"\n")

    def _read(self, block: bytes) -> None:
        begin, end = _borders(block)
        if begin is not None:
            self._section = _section(self._line + block.count(b"\n", 0, begin))
        begin = begin or 0
        self._add(block[begin:end], begin, block)
        self._script_ended = end < len(block)

    def _add(self, part: bytes, offset: int, block: bytes) -> None:
        """Only the last command of a part matters: those before it went well."""
        if not part:
            return
        first = self._line + block.count(b"\n", 0, offset)
        place = _last_command(part)
        if place is not None:
            first += part.count(b"\n", 0, place)
            part = part[place:]
            line = clean(part[: _line_end(part, 0)])
            self._section = _section(first, line.removeprefix("$ "))
        self._section.add(part, first)


def _borders(block: bytes) -> tuple[int | None, int]:
    """Where the newest of the runner's sections begins, and where the script is over."""
    begin, end = None, len(block)
    for word in (b"Running after", b"Uploading artifacts", b"Cleaning up "):
        for place in islice(_places(block, word), _TRIES):
            start = _line_start(block, place)
            if _AFTER.match(block, start):
                end = min(end, start)
                break
    if b"section_" in block:
        for marker in _SECTION.finditer(block, 0, end):
            if marker[1] == b"start" and marker[2] in _BEGINS:
                begin = _line_start(block, marker.start())
            elif marker[2] in (_SCRIPTS if marker[1] == b"end" else _ENDS):
                end = _line_start(block, marker.start())
                break
    return begin, end


def _places(block: bytes, word: bytes, end: int | None = None) -> Iterator[int]:
    place = block.find(word, 0, end)
    while place >= 0:
        yield place
        place = block.find(word, place + len(word), end)


def _last_command(part: bytes) -> int | None:
    end = len(part)
    for _ in range(10 * _TRIES):
        end = part.rfind(b"$ ", 0, end)
        if end < 0:
            return None
        start = _line_start(part, end)
        if (found := _COMMAND.match(part, start)) and found.end() == end + 2:
            return start
    return None


def _found(
    block: bytes, first: int, shapes: Sequence[tuple[bytes, re.Pattern[str]]]
) -> _Part | None:
    """The lines from the first place on that has one of the shapes, and a few before it."""
    best = len(block)
    for word, shape in shapes:
        for place in islice(_places(block, word, best), _TRIES):
            start = _line_start(block, place)
            if shape.match(clean(block[start : _line_end(block, place)])):
                best = start
                break
    if best == len(block):
        return None
    begin = _line_start(block, max(0, best - _BEFORE))
    part = _Part(first=first + block.count(b"\n", 0, begin), room=_ERRORS)
    part.take(block[begin:])
    return part


def _line_start(block: bytes, place: int) -> int:
    return block.rfind(b"\n", 0, place) + 1


def _line_end(block: bytes, place: int) -> int:
    return block.find(b"\n", max(0, place)) + 1 or len(block)


def _chosen(lines: Sequence[tuple[int, str]]) -> tuple[Sequence[tuple[int, str]], int]:
    """Lines from the first error on, the last of all where there is none; and how many of them
    stand before the error."""
    for shape in (is_report, is_complaint):
        for place, (_, text) in enumerate(lines):
            if place and shape(text):
                start = max(0, place - _CONTEXT)
                return lines[start:], place - start
    return lines[-_FALLBACK:], -1


def _fitted(chosen: tuple[Sequence[tuple[int, str]], int], limit: int) -> Sequence[tuple[int, str]]:
    """Three fifths from the beginning, the rest from the end; all of it where it fits. Without
    an error to begin with, the end. What is said of a gap has the number 0."""
    lines, error = chosen
    sizes = [len(f"{number}: {text}\n") for number, text in lines]
    room = limit - _NOTES
    head = len(sizes)
    if sum(sizes) > room:
        head = _count(sizes, room * 3 // 5) if error >= 0 else 0
        room -= sum(sizes[:head])
    tail = _count(sizes[: head - 1 if head else None : -1], room)
    kept = [*range(head), *range(len(sizes) - tail, len(sizes))]
    fitted: list[tuple[int, str]] = []
    for before, place in zip([*kept[:1], *kept], kept, strict=False):
        missing = lines[place][0] - lines[before][0] - 1
        if missing > 0:
            fitted.append((0, f"… {missing} lines are left out …"))
        fitted.append(lines[place])
    return fitted


def _count(sizes: Sequence[int], room: int) -> int:
    """How many of the first lines have room."""
    for count, size in enumerate(sizes):
        room -= size
        if room < 0:
            return count
    return len(sizes)
