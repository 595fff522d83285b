"""`search`: names, text, or the places that best match a few words; runs in the sandbox."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from agent.errors import ToolFailed
from agent.ports import ToolSpec
from agent.prompt import clean
from agent.tools.base import Arguments, Tool, ToolContext, ToolOutcome, schema
from agent.tools.expression import edges, extended
from agent.tools.globs import globs
from agent.tools.grep import LINE, PLAIN, WIDE, Match, grep, paths
from agent.tools.indexed import from_index, symbols

ROWS = 60
OF_A_FILE = 40  #: matches shown of one file
MORE = "[… more in this file. Narrow the query.]"
LONGEST = 1_000  #: characters of an expression or of names
NEAR = 8  #: lines that count as one place
_DEFINES = (
    r"\b(def|class|func|fn|function|type|struct|enum|interface|trait|module|const|let|var|object"
    r"|record|val|fun|macro_rules!)\s+(\([^)]*\)\s*)?"
)
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What was found, and sentences on what was not read."""

    rows: Sequence[str]
    missing: tuple[str, ...] = ()


async def search(context: ToolContext, arguments: Arguments) -> ToolOutcome:
    query, why = arguments.text("query"), ""
    where = arguments.text("path", ".").strip().removeprefix("/workspace").lstrip("/") or "."
    mode = arguments.text("mode", "text")
    match mode:
        case "names":
            found = await _names(context, query, where)
        case "text":
            found = await _text(context, query, where)
        case "ranked" | "defined":
            indexed = await from_index(context, query, where, mode)
            if isinstance(indexed, ToolOutcome):
                return indexed
            why = f"{clean(indexed)[:300]} By exact words:" if indexed else ""
            by_words = _ranked if mode == "ranked" else _defined
            found = await by_words(context, query, where)
        case _:
            raise ToolFailed("`mode` must be text, names, ranked or defined.")
    count = sum(not row.endswith(MORE) for row in found.rows)
    told = f"{count} found" if found.rows else "nothing found"
    shown = " ".join(clean(query).split())[:60]
    partly = ", not everything was read" if found.missing else ""
    return ToolOutcome(output=_output(why, found), summary=f"{mode} {shown!r}: {told}{partly}")


def _output(why: str, found: Rows) -> str:
    rows, rest = [*found.rows[:ROWS], *found.missing], len(found.rows) - ROWS
    if rest > 0:
        more = f"[… {rest} more. Narrow the query, or name a folder in `path`.]"
        rows.insert(ROWS, more)
    if not rows:
        return (
            "Nothing found. Try fewer or other words, or mode ranked. Folders such as vendor and "
            "build are looked into only when `path` names one."
        )
    return "\n".join([why, *rows] if why else rows)


async def _names(context: ToolContext, query: str, where: str) -> Rows:
    """Every word of the query is part of the path; `*` and `?` match as in a shell."""
    _bounded(query)
    read = await paths(context.box, where)
    matches = globs(query)

    def hits() -> list[str]:
        found = [path for path in read.lines if matches(path)]
        return sorted(found, key=lambda path: (path.count("/"), path))

    return Rows(rows=await asyncio.to_thread(hits), missing=read.missing)


async def _text(context: ToolContext, query: str, where: str) -> Rows:
    _bounded(query)
    query = edges("|".join(line for line in query.splitlines() if line))
    case = ["-i"] if query.startswith("(?i)") else []
    plain = extended(query.removeprefix("(?i)"))
    if plain is None:  # the letters of other languages are words only when it is told so
        how = ["-P", "-e", query if query.isascii() else f"(*UCP){query}"]
    else:
        how = [*case, "-E", "-e", plain]
    read = await grep(context.box, ["-m", str(OF_A_FILE + 1), *how], where, PLAIN)
    rows, seen = list[str](), Counter[str]()
    for match in read.matches():
        seen[match.path] += 1
        cut = seen[match.path] > OF_A_FILE
        shown = f" {MORE}" if cut else f"{match.line}: {match.text[:LINE]}"
        rows.append(f"{match.path}:{shown}")
    return Rows(rows=rows, missing=read.missing)


def _bounded(query: str) -> None:
    if len(query) > LONGEST:
        raise ToolFailed(f"`query` is too long: give at most {LONGEST:,} characters.")


async def _ranked(context: ToolContext, query: str, where: str) -> Rows:
    """Places where rare words of the query stand close together come first."""
    words = sorted({word for word in tokens(query) if len(word) > 1})
    if not words:
        raise ToolFailed("`query` has no word to look for.")
    options = ["-i", "-m", "400", *(part for word in words for part in ("-e", word))]
    read = await grep(context.box, options, where, WIDE)
    best = rank(list(read.matches()), words)[: ROWS // 2]
    rows = [f"{each.path}:{each.line}: {each.text.strip()[:LINE]}" for each in best]
    return Rows(rows=rows, missing=read.missing)


async def _defined(context: ToolContext, query: str, where: str) -> Rows:
    """Without an index: lines that look like a definition."""
    names = "|".join(re.escape(name) for name in symbols(query))
    if not names:
        raise ToolFailed("`query` names no symbol.")
    return await _text(context, f"{_DEFINES}({names})\\b", where)


def rank(matches: list[Match], words: list[str]) -> list[Match]:
    """One line for each place, best first: the sum of the weights of the words near it."""
    present = {m: frozenset(w for w in words if w in m.text.lower()) for m in matches}
    files: defaultdict[str, set[str]] = defaultdict(set)
    for match, has in present.items():
        files[match.path] |= has
    weight = {
        word: math.log(1 + len(files) / (1 + sum(word in has for has in files.values())))
        for word in words
    }
    places: defaultdict[tuple[str, int], list[Match]] = defaultdict(list)
    for match in matches:
        places[match.path, match.line // NEAR].append(match)
    scored: list[tuple[float, Match]] = []
    for (path, _), members in places.items():
        near = frozenset[str]().union(*(present[m] for m in members))
        score = sum(weight[word] for word in near)
        score += sum(weight[word] for word in words if word in path.lower())
        best = max(members, key=lambda m: sum(weight[word] for word in present[m]))
        scored.append((score, best))
    scored.sort(key=lambda item: (-item[0], item[1].path, item[1].line))
    return [match for _, match in scored]


def tokens(text: str) -> list[str]:
    """Words of identifiers too: `exportCSV_file` gives export, csv, file."""
    return [part.lower() for part in _TOKEN.findall(text)]


SEARCH = Tool(
    spec=ToolSpec(
        name="search",
        description="Find code. text: regular expression (Perl's), by line. names: words or "
        "globs in file paths. ranked: the places that best match a few words or identifiers, with "
        "your changes. defined: where a symbol is defined.",
        parameters=schema(
            "query",
            query="string",
            mode={"enum": ["text", "names", "ranked", "defined"]},
            path={"type": "string", "description": "folder to stay in"},
        ),
    ),
    act=search,
    early=True,
)
