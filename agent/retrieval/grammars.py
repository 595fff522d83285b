"""Which grammar reads a file, and which of its nodes define something.

Grammars come as one wheel a language and are loaded at first use; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import cast

from tree_sitter import Language, Parser, Query, QueryError

_LANGUAGES = {
    "python": "py pyi",
    "javascript": "js jsx mjs cjs",
    "typescript": "ts mts cts",
    "tsx": "tsx",
    "go": "go",
    "java": "java",
    "kotlin": "kt kts",
    "ruby": "rb rake gemspec",
    "rust": "rs",
    "c": "c h",
    "cpp": "cc cpp cxx hh hpp hxx ipp",
    "csharp": "cs",
    "php": "php",
    "scala": "scala sc sbt",
    "bash": "sh bash",
}
_MODULES = {
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "php": ("tree_sitter_php", "language_php"),
}
_QUERIED = {"tsx": "typescript"}
_FOLDER = Path(__file__).parent / "queries"
_BY_SUFFIX: Mapping[str, str] = MappingProxyType(
    {suffix: name for name, suffixes in _LANGUAGES.items() for suffix in suffixes.split()}
)


@dataclass(frozen=True, kw_only=True)
class Grammar:
    language: Language
    definitions: Query

    def parser(self) -> Parser:
        """A new one: a parser may not be shared by threads."""
        return Parser(self.language)


class GrammarBroken(Exception):
    """The wheel is missing, or does not fit this version; files are read in windows of lines."""


def language_of(path: str) -> str | None:
    return _BY_SUFFIX.get(PurePosixPath(path).suffix[1:].lower())


def names() -> tuple[str, ...]:
    return tuple(_LANGUAGES)


@cache
def grammar(name: str) -> Grammar:
    """Raises `GrammarBroken`."""
    module, function = _MODULES.get(name, (f"tree_sitter_{name}", "language"))
    try:
        language = Language(cast("object", getattr(import_module(module), function)()))
        text = (_FOLDER / f"{_QUERIED.get(name, name)}.scm").read_text(encoding="utf-8")
        return Grammar(language=language, definitions=Query(language, text))
    except (ImportError, AttributeError, OSError, ValueError, TypeError, QueryError) as error:
        raise GrammarBroken(f"The grammar of {name} does not work here: {error}") from error
