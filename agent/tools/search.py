"""`search`: names, text, or the places that best match a few words; runs in the sandbox."""

from __future__ import annotations

import math
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from agent.errors import ToolFailed
from agent.ports import CommandLimits, ToolSpec
from agent.prompt import clean
from agent.tools.base import Arguments, Tool, ToolContext, ToolOutcome, schema
from agent.tools.indexed import from_index, symbols

#: Folders that hold no code of the project's own.
LEFT_OUT = (
    ".git", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", "vendor", "target", "dist", "build", ".next", ".gradle",
)  # fmt: skip
LINE = 200  #: characters shown of a line
ROWS = 60
OF_A_FILE = 40  #: matches shown of one file
MORE = "[… more in this file. Narrow the query.]"
SECONDS = 30.0
NEAR = 8  #: lines that count as one place
#: The ranked search reads all matches; what the model sees is a small part of them.
_WIDE = CommandLimits(seconds=SECONDS, head=4 << 20, tail=0)
_PLAIN = CommandLimits(seconds=SECONDS, head=256 << 10, tail=0)
_MATCH = re.compile(r"(?P<path>\./.*?):(?P<line>\d+):(?P<text>.*)")
_DEFINES = (
    r"\b(def|class|func|fn|function|type|struct|enum|interface|trait|module|const|let|var|object"
    r"|record|val|fun|macro_rules!)\s+(\([^)]*\)\s*)?"
)
#: Edges of a word, as grep writes them.
_EDGE = re.compile(r"(?<!\\)((?:\\\\)*)\\[<>]")
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


async def search(context: ToolContext, arguments: Arguments) -> ToolOutcome:
    query, why = arguments.text("query"), ""
    where = arguments.text("path", ".").strip().removeprefix("/workspace").lstrip("/") or "."
    mode = arguments.text("mode", "text")
    match mode:
        case "names":
            rows = await _names(context, query, where)
        case "text":
            rows = await _text(context, query, where)
        case "ranked" | "defined":
            indexed = await from_index(context, query, where, mode)
            if isinstance(indexed, ToolOutcome):
                return indexed
            why = f"{clean(indexed)[:300]} By exact words:" if indexed else ""
            by_words = _ranked if mode == "ranked" else _defined
            rows = await by_words(context, query, where)
        case _:
            raise ToolFailed("`mode` must be text, names, ranked or defined.")
    count = sum(not row.endswith(MORE) for row in rows)
    found = f"{count} found" if rows else "nothing found"
    if len(rows) > ROWS:
        rest = len(rows) - ROWS
        rows = [*rows[:ROWS], f"[… {rest} more. Narrow the query, or name a folder in `path`.]"]
    hint = (
        "Nothing found. Try fewer or other words, or mode ranked. Folders such as vendor and build "
        "are looked into only when `path` names one."
    )
    shown = " ".join(clean(query).split())[:60]
    output = "\n".join([why, *rows] if why and rows else rows) or hint
    return ToolOutcome(output=output, summary=f"{mode} {shown!r}: {found}")


async def _names(context: ToolContext, query: str, where: str) -> list[str]:
    """Every word of the query is part of the path; `*` and `?` match as in a shell."""
    pruned = " -o ".join(f"-name {shlex.quote(name)}" for name in _left_out(where))
    command = f"find ./{shlex.quote(where)} \\( {pruned} \\) -prune -o -type f -print"
    lines = await _lines(context, command, _WIDE)
    paths = [_plain(line) for line in lines if line.startswith("./")]
    wanted = [_glob(word) for word in query.split()]
    hits = [path for path in paths if all(pattern.search(path) for pattern in wanted)]
    return sorted(hits, key=lambda path: (path.count("/"), path))


async def _text(context: ToolContext, query: str, where: str) -> list[str]:
    query = _EDGE.sub(r"\1\\b", query)
    rows, seen = list[str](), Counter[str]()
    options = ["-P", "-m", str(OF_A_FILE + 1), "-e", query]
    try:
        lines = await _lines(context, _grep(options, where), _PLAIN)
    except ToolFailed as error:
        if "-P" not in str(error):  # a grep that was built without it
            raise
        lines = await _lines(context, _grep(["-E", *options[1:]], where), _PLAIN)
    for match in _matches(lines):
        seen[match.path] += 1
        cut = seen[match.path] > OF_A_FILE
        shown = f" {MORE}" if cut else f"{match.line}: {match.text[:LINE]}"
        rows.append(f"{match.path}:{shown}")
    return rows


async def _ranked(context: ToolContext, query: str, where: str) -> list[str]:
    """Places where rare words of the query stand close together come first."""
    words = sorted({word for word in tokens(query) if len(word) > 1})
    if not words:
        raise ToolFailed("`query` has no word to look for.")
    options = ["-i", "-m", "400", *(part for word in words for part in ("-e", word))]
    matches = list(_matches(await _lines(context, _grep(options, where), _WIDE)))
    return [
        f"{best.path}:{best.line}: {best.text.strip()[:LINE]}" for best in rank(matches, words)
    ][: ROWS // 2]


async def _defined(context: ToolContext, query: str, where: str) -> list[str]:
    """Without an index: lines that look like a definition."""
    names = "|".join(re.escape(name) for name in symbols(query))
    if not names:
        raise ToolFailed("`query` names no symbol.")
    return await _text(context, f"{_DEFINES}({names})\\b", where)


@dataclass(frozen=True, kw_only=True)
class Match:
    path: str
    line: int
    text: str


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


def _grep(options: list[str], where: str) -> str:
    left_out = [f"--exclude-dir={name}" for name in _left_out(where)]
    argv = ["grep", "-rnI", *left_out, *options, "--", f"./{where}"]
    # by bytes: else a file with one letter that is no UTF-8 would pass for binary
    return f"LC_ALL=C {shlex.join(argv)} | cut -c1-{LINE * 2}"


def _left_out(where: str) -> list[str]:
    """One that is asked for by name is looked into."""
    return [name for name in LEFT_OUT if name != where.rstrip("/.").rsplit("/", 1)[-1]]


async def _lines(context: ToolContext, command: str, limits: CommandLimits) -> list[str]:
    script = f"set -o pipefail; {command}"
    result = await context.box.exec(["bash", "-c", script], limits=limits)
    if result.exit_code > 1 and not result.stopped:
        said = result.output.strip().splitlines() or ["the search failed"]
        raise ToolFailed(f"{clean(said[-1])[:300]} (`query` is a regular expression.)")
    return result.output.splitlines()


def _matches(lines: list[str]) -> Iterator[Match]:
    for line in lines:
        if found := _MATCH.match(line):
            path = _plain(found["path"])
            yield Match(path=path, line=int(found["line"]), text=clean(found["text"]))


def _plain(path: str) -> str:
    return path.removeprefix("././").removeprefix("./")


def _glob(word: str) -> re.Pattern[str]:
    parts = (re.escape(part) for part in re.split(r"([*?])", word))
    pattern = "".join({r"\*": "[^/]*", r"\?": "[^/]"}.get(part, part) for part in parts)
    return re.compile(pattern + ("$" if re.search(r"[*?]", word) else ""), re.IGNORECASE)


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
