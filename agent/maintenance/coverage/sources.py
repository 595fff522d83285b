"""Which files and lines tests are wanted for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import cast

from agent.retrieval.kinds import Kind, kind_of
from agent.tamper.compare import is_test

#: A name that can stand in a list of patterns, and in a command that people read.
_PLAIN = re.compile(r"[\w./-]{1,200}")
_GENERATED = re.compile(
    r"@generated|code generated .{0,80}do not edit|auto-?generated|automatically generated", re.I
)
_HEAD = 1000  #: characters in which a file says that it was generated


def is_source(path: str) -> bool:
    return kind_of(path) is Kind.SOURCE and not is_test(path)


def is_measured(path: str) -> bool:
    """Can its lines be counted here?"""
    return path.endswith(".py") and _PLAIN.fullmatch(path) is not None and not path.startswith("-")


def is_generated(source: str) -> bool:
    return _GENERATED.search(source[:_HEAD]) is not None


def parsed(source: str) -> ast.Module | None:
    """None: this is no Python, or it is nested without end."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def statements(source: str) -> Mapping[int, int]:
    """Each line of a statement and the line that it begins in. Of a compound one its head only;
    docstrings are none. Empty: this is no Python that can be read."""
    tree = parsed(source)
    if tree is None:
        return {}
    first: dict[int, int] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Global() | ast.Nonlocal() | ast.Pass():
                continue
            case ast.stmt():
                inner = [each.lineno for block in blocks(node) for each in block]
                end = max(node.lineno, min(inner) - 1) if inner else node.end_lineno or node.lineno
                first |= dict.fromkeys(range(node.lineno, end + 1), node.lineno)
            case _:
                pass
    return first


def blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The lists of statements that a node holds itself."""
    for name in ("body", "orelse", "finalbody"):
        block: object = getattr(node, name, None)
        if isinstance(block, list):  # else the body of a `lambda`, or what an `if` is when false
            yield cast("list[ast.stmt]", block)
