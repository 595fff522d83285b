"""Which of a project's own files its linters are made of, or its tests are started by."""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from agent.maintenance.lint.detect import Command, Read
from agent.maintenance.lint.linters import LINTERS
from agent.tamper.config import is_config

CONFIGURATIONS = 60  #: that are read
SCRIPTS = 200  #: of linters, with what these load
_KNOWN = frozenset(linter.name for linter in LINTERS)
_STARTERS = frozenset({"make", "just", "task", "npm", "pnpm", "yarn"})
_RUN_BY = re.compile(r"makefile|justfile|taskfile\.ya?ml|package\.json", re.IGNORECASE)
_WORD = re.compile(r"[\w./@-]+")
_TEST = re.compile(r'"[\w:.-]{0,40}test[\w:.-]{0,40}"\s?:\s?"([^"\n]{1,2000})"')
#: Options whose next word is no file to look at.
_TAKES = re.compile(r"-[cfr]|--[\w-]*(?:config|plugin|require|format)[\w-]*")
_RULES = re.compile(r"--rulesdir[ =](\S+)")
#: What is run in a command: a script, or a module.
_SCRIPT = re.compile(
    r"(?:\b(?:bash|sh|exec|python[\d.]*|node|tsx|ts-node|ruby|perl)\s+"
    r"(?:-[XW]\s+\S+\s+|-[a-ln-z]\w*\s+)*(?:-m\s*)?|(?<!\S)-[mprc]\s*"
    r"|--(?:require|import|loader|config)[ =]|^[ \t]*|[;&|][ \t]*|\s(?=\.\.?/))['\"]?([\w./-]+)",
    re.MULTILINE,
)
#: Lines in which a program loads or starts another.
_BRINGS = re.compile(
    r"^\s*(?:import|from|export|source|\.)\s|\b(?:require|import)\s?\(|\bfrom\s?['\"]"
    r"|(?:^|[\s\"'@;&|])(?:(?:bash|sh|exec|python[\d.]*|node|tsx|ts-node|ruby|perl)\s|\./\S)"
)
_LINE = 2_000  #: characters of one that are read
_LOADS = re.compile(
    r"plugin|rulesdir|rule-?paths|\bentry\s*:|setup-?files|global-?setup|test-?environment|reporters",
    re.IGNORECASE,
)


async def judges(
    tools: Sequence[Command], test: str, paths: Collection[str], read: Read
) -> frozenset[str]:
    """`test`: the command of the tests; `read`: of the base. More files than these may be meant:
    who reads only text does not know better."""
    known = await asyncio.to_thread(_by_name, paths)
    if not test and "package.json" in paths:
        test = "\n".join(
            _TEST.findall((await read("package.json") or b"").decode(errors="replace"))
        )
    found = _named(_SCRIPT.findall(test), known)
    begun: set[str] = set()
    for tool in tools:
        begun |= _named(_words(tool), known)
        folders = tuple(f"{each.strip('./')}/" for each in _RULES.findall(" ".join(tool.check)))
        begun |= {path for path in paths if path.startswith(folders)}
    settings = [p for p in paths if is_config(p) and not p.endswith((".sh", ".py", ".xml"))]
    started = any(tool.check[0] in _STARTERS for tool in tools)
    for path in settings[:CONFIGURATIONS]:
        text = (await read(path) or b"").decode("utf-8", "replace")
        block = "\n".join(_loading(text))
        if path.endswith(("js", "ts")) or (started and _RUN_BY.fullmatch(posixpath.basename(path))):
            block += "\n" + _bringing(text)
        begun |= _named(_WORD.findall(block), known)
    return frozenset(found | await _with_loaded(begun, known, read))


def brings(text: str, paths: Collection[str]) -> bool:
    """Does a program with this text load one of these files, as far as its words tell?"""
    words = set(_stripped(_WORD.findall(_bringing(text))))
    return any(not words.isdisjoint(_names(path)) for path in paths)


async def _with_loaded(begun: set[str], known: Mapping[str, set[str]], read: Read) -> set[str]:
    found, todo = set(begun), sorted(begun)
    while todo and len(found) < SCRIPTS:
        text = (await read(todo.pop()) or b"").decode("utf-8", "replace")
        more = _named(_WORD.findall(_bringing(text)), known) - found
        found |= more
        todo += sorted(more)
    return found


def _words(tool: Command) -> list[str]:
    """Of a linter that is known only what stands in its options: the rest is what it looks at."""
    if tool.name not in _KNOWN:
        return [tool.check[0], *_started(" ".join(tool.check))]
    pairs = zip(("", *tool.check), tool.check, strict=False)
    options = [word for last, word in pairs if word.startswith("-") or _TAKES.fullmatch(last)]
    return _WORD.findall(" ".join(options).replace("=", " "))


def _started(command: str) -> list[str]:
    """Words that may name a script or a module that is run."""
    after = re.findall(r"(?<!\S)-[mp]\s*([\w.]+)", command)
    return [*after, *(word for word in _WORD.findall(command) if "." in word)]


def _loading(text: str) -> Iterator[str]:
    """Lines that name plugins, each with those that belong to it."""
    inside = ""  # what the line that it belongs to begins with
    for line in (each[:_LINE] for each in text.splitlines()):
        if inside and (line[:1] in "[" if inside == "[" else line[:1] not in " \t]}-"):
            inside = ""
        if _LOADS.search(line):
            inside = inside or ("[" if line.startswith("[") else "=")
        if inside:
            yield line


def _bringing(text: str) -> str:
    lines = (line[:_LINE] for line in text.splitlines())
    return "\n".join(line for line in lines if _BRINGS.search(line))


def _by_name(paths: Iterable[str]) -> Mapping[str, set[str]]:
    known: dict[str, set[str]] = {}
    for path in paths:
        for name in _names(path):
            known.setdefault(name, set()).add(path)
    return known


def _names(path: str) -> set[str]:
    """By which a program may be called: `a/b.py`, `b.py`, `a/b`, `b`, `a.b`."""
    stem, _ = posixpath.splitext(path)
    stems = [stem]
    if posixpath.basename(stem) in ("__init__", "__main__", "index"):
        stems.append(posixpath.dirname(stem))
    ends: set[str] = set()
    for whole in (path, *filter(None, stems)):
        parts = whole.split("/")
        for start in range(len(parts)):
            ends |= {"/".join(parts[start:]), ".".join(parts[start:])}
    return ends


def _named(words: Iterable[str], known: Mapping[str, set[str]]) -> set[str]:
    return {path for word in _stripped(words) for path in known.get(word, ())}


def _stripped(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        yield word.lstrip("./").rstrip("./")
