"""A checkpoint's patch, read back: which file became which, and what lines came and went."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

LINK, SUBMODULE = "120000", "160000"

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_SIZE = re.compile(r"^(?:literal|delta) (\d+)$")
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "v": "\v", "f": "\f"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    number: int
    text: str


@dataclass(kw_only=True)
class FileDiff:
    """`old` is None for a new file, `new` for a deleted one. Modes as git writes them."""

    old: str | None
    new: str | None
    old_mode: str = ""
    new_mode: str = ""
    binary: int = 0  #: bytes of binary content that the patch carries
    unseen: bool = False  #: binary content that the patch only names
    added: list[Line] = field(default_factory=list[Line])
    removed: list[Line] = field(default_factory=list[Line])

    @property
    def path(self) -> str:
        return self.new or self.old or ""

    @property
    def paths(self) -> tuple[str, ...]:
        """Both names of a renamed file."""
        return tuple(dict.fromkeys(name for name in (self.old, self.new) if name))


def read_patch(patch: str) -> tuple[FileDiff, ...]:
    """Of a patch as git makes it with `--binary --full-index`; each line ends in `\\n` only."""
    found: list[FileDiff] = []
    lines = iter(patch.split("\n"))
    for line in lines:
        if line.startswith("diff --git "):
            found.append(_begun(line))
        elif found:
            _take(found[-1], line, lines)
    return tuple(found)


def _begun(line: str) -> FileDiff:
    """For a file without hunks both names are the same; others are named again below."""
    names = line.removeprefix("diff --git ")
    if names.startswith('"'):
        half = names[: names.index('" "', 1) + 1] if '" "' in names else names
        name = _name(half)
    else:
        name = _name(names[: (len(names) - 1) // 2])
    return FileDiff(old=name, new=name)


def _take(file: FileDiff, line: str, lines: Iterator[str]) -> None:
    word, _, rest = line.partition(" ")
    if line.startswith("@@ "):
        _hunk(file, line, lines)
    elif line.startswith(("new file mode ", "deleted file mode ")):
        if word == "new":
            file.old, file.new_mode = None, rest.removeprefix("file mode ")
        else:
            file.new, file.old_mode = None, rest.removeprefix("file mode ")
    elif line.startswith("old mode "):
        file.old_mode = rest.removeprefix("mode ")
    elif line.startswith("new mode "):
        file.new_mode = rest.removeprefix("mode ")
    elif word == "index" and " " in rest:
        file.old_mode = file.new_mode = rest.rpartition(" ")[2]
    elif line.startswith(("rename from ", "copy from ")):
        file.old = _name(rest.removeprefix("from "), bare=True)
    elif line.startswith(("rename to ", "copy to ")):
        file.new = _name(rest.removeprefix("to "), bare=True)
    elif word == "---" and file.old is not None and rest != "/dev/null":
        file.old = _name(rest)
    elif word == "+++" and file.new is not None and rest != "/dev/null":
        file.new = _name(rest)
    elif line.startswith("Binary files ") and line.endswith(" differ"):
        file.unseen = True
    elif size := _SIZE.match(line):
        # the second one is the way back, to the old content
        file.binary = file.binary or int(size[1])


def _hunk(file: FileDiff, head: str, lines: Iterator[str]) -> None:
    """Counted, so that no line of content is taken for a line of the patch."""
    found = _HUNK.match(head)
    if found is None:
        return
    old, new = int(found[1]), int(found[3])
    old_left = int(found[2] or 1) if found[2] != "0" else 0
    new_left = int(found[4] or 1) if found[4] != "0" else 0
    while old_left or new_left:
        line = next(lines, None)
        if line is None:
            return
        sign, text = line[:1], line[1:]
        if sign == "+":
            file.added.append(Line(number=new, text=text))
        elif sign == "-":
            file.removed.append(Line(number=old, text=text))
        if sign in "+ ":
            new, new_left = new + 1, new_left - 1
        if sign in "- ":
            old, old_left = old + 1, old_left - 1


def _name(text: str, *, bare: bool = False) -> str:
    """A name as git quotes it; `bare`: without `a/` or `b/` before it."""
    text = text.removesuffix("\t")
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        text = _unquoted(text[1:-1])
    return text if bare else text[2:]


def _unquoted(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        code = found[1]
        return chr(int(code, 8)) if len(code) == 3 else _NAMED.get(code, code)

    plain = _ESCAPE.sub(one, text)
    try:
        return plain.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return plain
