"""The modes of `search` that ask the project's index, with the run's own changes on top."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from agent.codeview import CodeView, Opened
from agent.prompt import clean, one_line
from agent.retrieval.library import Shelf
from agent.retrieval.lookup import defined
from agent.retrieval.search import Answer, Found, Searcher
from agent.retrieval.vectors import LEXICAL
from agent.tools.base import ToolContext, ToolOutcome

LINES = 3  #: of a place
LINE = 160  #: characters of them
SYMBOLS = 8  #: that are looked up at once
PATIENCE = 1.0  #: seconds; the model has exact search

_SYMBOL = re.compile(r"[^\W\d][\w$]*")


async def from_index(context: ToolContext, query: str, where: str, mode: str) -> ToolOutcome | str:
    """A text says why it is left to exact search; empty where there never is an index."""
    if context.code is None:
        return ""
    opened = await context.code.opened(PATIENCE)
    if opened.searcher is None:
        return opened.shelf.problem
    answer = await context.code.answered(_asked(opened.searcher, query, where, mode))
    if isinstance(answer, Shelf):
        return answer.problem
    if not answer.places:
        return f"The index of {context.code.commit[:12]} has nothing."
    names = symbols(query) if mode == "defined" else ()
    rows = [_row(found, names) for found in answer.places]
    shown = " ".join(clean(query).split())[:60]
    return ToolOutcome(
        output="\n".join([_head(context.code, opened, answer), *rows]),
        summary=f"{mode} {shown!r}: {len(rows)} found by the index",
    )


def symbols(query: str) -> tuple[str, ...]:
    """The last part of each name: `Store.issued` is defined as `issued`."""
    last = (_SYMBOL.findall(word)[-1:] for word in query.split())
    return tuple(dict.fromkeys(name for names in last for name in names))[:SYMBOLS]


async def _asked(searcher: Searcher, query: str, where: str, mode: str) -> Answer:
    inside = "" if (folder := posixpath.normpath(where)) == "." else folder
    if mode == "defined":
        return await defined(searcher, symbols(query), inside)
    return await searcher.search(query, inside=inside)


def _head(code: CodeView, opened: Opened, answer: Answer) -> str:
    edited = f" with {answer.edited} changed files" if answer.edited else ""
    rests = "" if answer.meaning == LEXICAL else f"; {one_line(answer.meaning)[:200]}"
    head = f"Index of {code.commit[:12]}{edited}{opened.told}{rests}"
    return f"{head}; best first, each with its first lines:"


def _row(found: Found, names: Sequence[str]) -> str:
    hit = found.hit
    lines = clean(found.text).splitlines()
    first = _line_of(lines, names)
    symbol = f"  {', '.join(hit.symbols[:5])}" if hit.symbols and not names else ""
    said = [line for line in lines[first:] if line.strip()][:LINES]
    at = f"{hit.start + first}" if names else f"{hit.start}-{hit.end}"
    head = f"{one_line(hit.path)}:{at}{one_line(symbol)[:120]}"
    return "\n".join([head, *(f"    {line[:LINE]}" for line in said)])


def _line_of(lines: Sequence[str], names: Sequence[str]) -> int:
    if names:
        named = re.compile(rf"\b({'|'.join(re.escape(name) for name in names)})\b")
        for number, line in enumerate(lines):
            if named.search(line):
                return number
    return 0
