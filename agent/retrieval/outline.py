"""A map of a repository in few words: folders, main files, and what they define."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from agent.prompt import one_line
from agent.retrieval.kinds import Kind, kind_of
from agent.retrieval.search import Searcher

FOLDERS = 30
FILES = 60
NAMES = 8  #: of a file
_LONG = 100  #: characters of names of a file


async def outline(searcher: Searcher, paths: Sequence[str], room: int) -> str:
    """At most `room` bytes; empty where there are no files. Files that change often come first.
    Raises `StoreUnavailable`."""
    often = await searcher.often()
    sources = [path for path in paths if kind_of(path) is Kind.SOURCE]
    main = sorted(sources, key=lambda path: (-often.get(path, 0.0), path.count("/"), path))[:FILES]
    symbols = await searcher.store.symbols(searcher.tree, main)
    counts = Counter(_folder(path) for path in paths)
    by_folder: defaultdict[str, list[str]] = defaultdict(list)
    for path in main:
        if names := ", ".join(symbols.get(path, ())[:NAMES])[:_LONG]:
            by_folder[_folder(path)].append(f"  {path.rpartition('/')[2]}: {names}")
    order = [
        *by_folder,
        *(name for name, _ in counts.most_common(FOLDERS) if name not in by_folder),
    ]
    blocks = [(f"{name or '.'}/ ({counts[name]})", *by_folder[name]) for name in order[:FOLDERS]]
    return fitting([one_line(line) for block in blocks for line in block], room)


def _folder(path: str) -> str:
    """Two levels say what lies where; deeper ones would fill the map."""
    parts = path.split("/")[:-1]
    return "/".join(parts[:3])


def fitting(lines: Sequence[str], room: int) -> str:
    """The first of them that are together no more than `room` bytes."""
    fit: list[str] = []
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            break
        fit.append(f"{line}\n")
    return "".join(fit)
