"""`edit` and `write`: how files change."""

from __future__ import annotations

import difflib

from agent.errors import ToolFailed
from agent.ports import ToolSpec
from agent.tools.base import Arguments, Tool, ToolContext, ToolOutcome, schema

LARGEST = 4 << 20  #: bytes of a file that is edited


async def edit(context: ToolContext, arguments: Arguments) -> ToolOutcome:
    """Replaces exactly one place. Bytes that are not UTF-8 and line ends stay as they are."""
    path = arguments.path()
    old, new = arguments.text("old", empty=True), arguments.text("new", empty=True)
    if not old:
        raise ToolFailed("`old` is empty. Use `write` for a new file.")
    if old == new:
        raise ToolFailed("`old` and `new` are the same text.")
    data = context.files.read(path, LARGEST + 1)
    if len(data) > LARGEST:
        raise ToolFailed(f"{path} is larger than {LARGEST >> 20} MiB; change it with a command.")
    text = data.decode("utf-8", "surrogateescape")
    if "\r\n" in text and old not in text:
        old, new = (part.replace("\r\n", "\n").replace("\n", "\r\n") for part in (old, new))
    found = text.count(old)
    if found == 0:
        raise ToolFailed(f"`old` is not in {path}. {_nearest(text, old)}")
    if found > 1:
        lines = ", ".join(map(str, _places(text, old)[:8]))
        raise ToolFailed(
            f"`old` is in {path} {found} times (lines {lines}). Add lines around it to name one."
        )
    line = text[: text.index(old)].count("\n") + 1
    context.files.write(path, text.replace(old, new).encode("utf-8", "surrogateescape"))
    removed, added = _changed(old.splitlines(), new.splitlines())
    return ToolOutcome(
        output=f"Edited {path} at line {line}.", summary=f"{path}:{line} +{added} −{removed}"
    )


async def write(context: ToolContext, arguments: Arguments) -> ToolOutcome:
    path, content = arguments.path(), arguments.text("content", empty=True)
    context.files.write(path, content.encode("utf-8", "surrogateescape"))
    lines = len(content.splitlines())
    return ToolOutcome(output=f"Wrote {path}, {lines} lines.", summary=f"{path}, {lines} lines")


def _changed(old: list[str], new: list[str]) -> tuple[int, int]:
    """Lines that went and came; those that only show the place do not count."""
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    same = sum(block.size for block in blocks)
    return len(old) - same, len(new) - same


def _places(text: str, old: str) -> list[int]:
    places, position = list[int](), text.find(old)
    while position >= 0:
        places.append(text.count("\n", 0, position) + 1)
        position = text.find(old, position + len(old))
    return places


def _nearest(text: str, old: str) -> str:
    """Where the first line of `old` nearly stands."""
    wanted = next((line.strip() for line in old.splitlines() if line.strip()), "")
    stripped: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped.setdefault(line.strip(), number)
    if wanted in stripped:
        return (
            f"Its first line stands at line {stripped[wanted]}: "
            "compare indentation and the lines after it, and read the place again."
        )
    close = difflib.get_close_matches(wanted, list(stripped)[:5000], n=1, cutoff=0.6)
    if close:
        return f"Line {stripped[close[0]]} is nearest: {close[0][:160]}"
    return "Read the file again: nothing there looks like it."


EDIT = Tool(
    spec=ToolSpec(
        name="edit",
        description="Replace text that stands exactly once in a file. "
        "old: the exact text, without line numbers.",
        parameters=schema("path old new", path="string", old="string", new="string"),
    ),
    act=edit,
    changes=True,
)
WRITE = Tool(
    spec=ToolSpec(
        name="write",
        description="Create a file, or replace all of it.",
        parameters=schema("path content", path="string", content="string"),
    ),
    act=write,
    changes=True,
)
