"""`read`: a file with line numbers, or what a folder holds."""

from __future__ import annotations

from agent.errors import ToolFailed
from agent.outputs import MOUNT
from agent.ports import ToolSpec
from agent.prompt import clean
from agent.tools.base import Arguments, Tool, ToolContext, ToolOutcome, schema

LINES = 400  #: shown unless a range is named
LINE = 500  #: characters shown of a line
ENTRIES = 200
LARGEST = 16 << 20  #: bytes read of a file


async def read(context: ToolContext, arguments: Arguments) -> ToolOutcome:
    path = arguments.path()
    files, name = context.files, path
    if path.startswith(f"{MOUNT}/"):
        files, name = context.outputs.files, path.removeprefix(f"{MOUNT}/")
    try:
        data = files.read(name, LARGEST)
    except ToolFailed as error:
        return _folder(context, path, error)
    if b"\0" in data[:8192]:
        return ToolOutcome(
            output=f"{path} is a binary file of {len(data):,} bytes.",
            summary=f"{path}: binary",
        )
    lines = clean(data.decode("utf-8", "replace")).splitlines()
    total = len(lines)
    start = arguments.number("start", 1, low=1, high=max(total, 1))
    end = arguments.number("end", start + LINES - 1, low=start, high=max(total, start))
    rows, size = list[str](), 0
    for number, line in enumerate(lines[start - 1 : end], start):
        row = f"{number}\t{line if len(line) <= LINE else line[:LINE] + ' […]'}"
        size += len(row) + 1
        if size > context.project.output and rows:
            end = number - 1
            break
        rows.append(row)
    if end < total:
        rows.append(f"[… {total} lines in all; go on with start={end + 1}]")
    shown = f"{path}:{start}-{min(end, total)}" if total else f"{path}: empty"
    return ToolOutcome(output="\n".join(rows) or f"{path} is empty.", summary=shown)


def _folder(context: ToolContext, path: str, no_file: ToolFailed) -> ToolOutcome:
    try:
        names = [clean(name) for name in context.files.listing(path)]
    except ToolFailed:
        raise no_file from None
    rows = names[:ENTRIES]
    if len(names) > ENTRIES:
        rows.append(f"[… {len(names) - ENTRIES} more; use `search` with mode names]")
    return ToolOutcome(
        output="\n".join(rows) or "The folder is empty.", summary=f"{path}: {len(names)} entries"
    )


READ = Tool(
    spec=ToolSpec(
        name="read",
        description=f"A file with line numbers (at most {LINES} at once), or a folder's entries.",
        parameters=schema("path", path="string", start="integer", end="integer"),
    ),
    act=read,
    early=True,
)
