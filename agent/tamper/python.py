"""Tests of Python files, by their syntax."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from agent.tamper.assertions import of_assert, of_call, of_context, tail
from agent.tamper.units import NOTHING, Assertion, Skip, Suite, Unit

_SKIPS = re.compile(r"\b(skip\w*|xfail|expectedFailure|disabled?)\b", re.IGNORECASE)
_SKIP_CALLS = {"skip", "skipTest", "xfail", "importorskip", "SkipTest"}
_CATCHES = {"AssertionError", "Exception", "BaseException"}
_EXPECTED = re.compile(r"expect|want|golden", re.IGNORECASE)
_FILE = re.compile(r"test.*\.py|.*tests?\.py")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def suite(path: str, text: str) -> Suite:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Suite(path=path, units={}, readable=False)
    reader = _Reader(collects=bool(_FILE.fullmatch(posixpath.basename(path))))
    try:
        units = reader.units(tree)
    except RecursionError:
        return Suite(path=path, units={}, readable=False)
    return Suite(path=path, units={unit.name: unit for unit in units})


@dataclass(kw_only=True)
class _Reader:
    collects: bool

    def units(self, tree: ast.Module) -> Iterator[Unit]:
        skips = _block_skips(tree.body, "file")
        yield from self._members(tree.body, "", self.collects and not _opted_out(tree.body), skips)

    def _members(
        self, body: Sequence[ast.stmt], prefix: str, collects: bool, skips: tuple[Skip, ...]
    ) -> Iterator[Unit]:
        for node in _live(body):
            if isinstance(node, _Function):
                yield _unit(node, prefix, collects, skips)
            elif isinstance(node, ast.ClassDef):
                named = node.name.startswith("Test") or bool(node.bases)
                own = _decorator_skips(node, "class") + _block_skips(node.body, "class")
                yield from self._members(
                    node.body,
                    f"{prefix}{node.name}::",
                    collects and named and not _opted_out(node.body),
                    (*skips, *own),
                )


def _unit(node: _Function, prefix: str, collects: bool, skips: tuple[Skip, ...]) -> Unit:
    walk = _Walk()
    walk.visit(node.body)
    rows: list[str] = [*_parameters(node), *walk.rows]
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return Unit(
        name=prefix + node.name,
        line=node.lineno,
        collected=collects and node.name.startswith("test"),
        skips=(*skips, *_decorator_skips(node), *walk.skips),
        assertions=tuple(walk.assertions),
        rows=tuple(rows),
        body="\n".join(ast.dump(each) for each in body),
    )


class _Walk:
    """Through the statements of one function, leaving out what is never reached."""

    def __init__(self) -> None:
        self.assertions: list[Assertion] = []
        self.skips: list[Skip] = []
        self.rows: list[str] = []
        self._guarded = False
        self._swallowed = False

    def visit(self, body: Sequence[ast.stmt]) -> bool:
        """False when what follows is not reached."""
        guarded = self._guarded
        try:
            return all(self._statement(each) for each in body)
        finally:
            self._guarded = guarded

    def _statement(self, node: ast.stmt) -> bool:
        match node:
            case ast.Assert():
                self._take(of_assert(node))
            case ast.Expr(value=value):
                return self._expression(value)
            case ast.Assign() | ast.AnnAssign():
                self._assign(node)
            case ast.With() | ast.AsyncWith():
                return self._with(node)
            case ast.Try() | ast.TryStar():
                return self._try(node)
            case ast.If():
                return self._if(node)
            case ast.For() | ast.AsyncFor():
                if isinstance(node.iter, ast.List | ast.Tuple | ast.Set):
                    self.rows += [ast.unparse(each) for each in node.iter.elts]
                    if not node.iter.elts:
                        return True
                self.visit(node.body)
            case ast.While(test=ast.Constant(value=value)) if not value:
                pass
            case ast.While():
                self.visit(node.body)
            case ast.Match():
                for case in node.cases:
                    self._under_condition(case.body)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.visit(node.body)
            case ast.Raise(exc=exc) if exc is not None and "Skip" in ast.unparse(exc):
                self.skips.append(Skip(text=ast.unparse(node), line=node.lineno))
                return False
            case ast.Return() | ast.Raise() | ast.Continue() | ast.Break():
                return False
            case _:
                pass
        return True

    def _take(self, found: Sequence[Assertion]) -> None:
        for each in found:
            strength = NOTHING if self._swallowed else each.strength
            self.assertions.append(
                replace(each, strength=strength, guarded=each.guarded or self._guarded)
            )

    def _expression(self, node: ast.expr) -> bool:
        call = node.value if isinstance(node, ast.Await) else node
        if not isinstance(call, ast.Call):
            return True
        name = tail(call.func)
        if name in _SKIP_CALLS:
            self.skips.append(Skip(text=ast.unparse(call), line=call.lineno))
            return False
        self._take(of_call(call))
        return True

    def _assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        """What is expected often has a name of its own."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Name) and node.value and _EXPECTED.search(target.id):
                self._take(
                    [
                        Assertion(
                            subject=f"{target.id} =",
                            expected=ast.unparse(node.value),
                            text=ast.unparse(node),
                            line=node.lineno,
                        )
                    ]
                )

    def _with(self, node: ast.With | ast.AsyncWith) -> bool:
        swallowed = self._swallowed
        for item in node.items:
            self._take(of_context(item.context_expr))
            call = item.context_expr
            if isinstance(call, ast.Call) and tail(call.func) == "suppress":
                self._swallowed |= any(tail(each) in _CATCHES for each in call.args)
        reached = self.visit(node.body)
        self._swallowed = swallowed
        return reached

    def _try(self, node: ast.Try | ast.TryStar) -> bool:
        swallowed = self._swallowed
        self._swallowed |= any(_swallows(handler) for handler in node.handlers)
        reached = self.visit(node.body)
        self._swallowed = swallowed
        for handler in node.handlers:
            self._under_condition(handler.body)
        self.visit(node.orelse)
        self.visit(node.finalbody)
        return reached or bool(node.handlers)

    def _if(self, node: ast.If) -> bool:
        if isinstance(node.test, ast.Constant):
            return self.visit(node.body if node.test.value else node.orelse)
        goes_on = self._under_condition(node.body)
        self._under_condition(node.orelse)
        if not goes_on:
            self._guarded = True  # for the rest of the block
        return True

    def _under_condition(self, body: Sequence[ast.stmt]) -> bool:
        guarded, self._guarded = self._guarded, True
        reached = self.visit(body)
        self._guarded = guarded
        return reached


def _live(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Definitions, also those under conditions that can hold."""
    for node in body:
        if isinstance(node, ast.If):
            if not isinstance(node.test, ast.Constant):
                yield from _live([*node.body, *node.orelse])
            else:
                yield from _live(node.body if node.test.value else node.orelse)
        elif isinstance(node, ast.Try):
            yield from _live([*node.body, *(s for h in node.handlers for s in h.body)])
        else:
            yield node


def _swallows(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    named = caught.elts if isinstance(caught, ast.Tuple) else [caught] if caught else []
    if named and not any(tail(each) in _CATCHES for each in named):
        return False
    fails = (ast.Raise, ast.Assert)
    for node in ast.walk(handler):
        if isinstance(node, fails) or (isinstance(node, ast.Call) and tail(node.func) == "fail"):
            return False
    return True


def _decorator_skips(node: _Function | ast.ClassDef, whole: str = "") -> tuple[Skip, ...]:
    texts = [(ast.unparse(each), each.lineno) for each in node.decorator_list]
    return tuple(
        Skip(text=f"@{text}", line=line, whole=whole)
        for text, line in texts
        if _SKIPS.search(text) and "parametrize" not in text
    )


def _block_skips(body: Sequence[ast.stmt], whole: str) -> tuple[Skip, ...]:
    """Marks and calls that skip every test of a module or a class."""
    skips: list[Skip] = []
    for node in body:
        text = ast.unparse(node) if isinstance(node, ast.Assign | ast.Expr | ast.Raise) else ""
        if isinstance(node, ast.Assign):
            marks = any(tail(each) == "pytestmark" for each in node.targets)
            hit = marks and _SKIPS.search(text)
        elif isinstance(node, ast.Expr):
            hit = isinstance(node.value, ast.Call) and tail(node.value.func) in _SKIP_CALLS
        elif isinstance(node, ast.Raise):
            hit = "Skip" in text
        elif isinstance(node, ast.If):
            skips += _block_skips([*node.body, *node.orelse], whole)
            continue
        else:
            continue
        if hit:
            skips.append(Skip(text=text, line=node.lineno, whole=whole))
    return tuple(skips)


def _opted_out(body: Sequence[ast.stmt]) -> bool:
    return any(
        isinstance(node, ast.Assign)
        and any(tail(each) == "__test__" for each in node.targets)
        and isinstance(node.value, ast.Constant)
        and not node.value.value
        for node in body
    )


def _parameters(node: _Function) -> Iterator[str]:
    for each in node.decorator_list:
        if isinstance(each, ast.Call) and tail(each.func) == "parametrize" and len(each.args) > 1:
            values = each.args[1]
            if isinstance(values, ast.List | ast.Tuple | ast.Set):
                yield from (ast.unparse(row) for row in values.elts)
