"""Small changes of a program, one at a time, that a test worth having notices."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from agent.maintenance.coverage.sources import blocks, parsed

SHOWN = 80  #: characters of a line that are told

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_TURNED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    path: str
    line: int
    before: str
    after: str
    source: str  #: the whole file

    def __str__(self) -> str:
        return f"`{self.path}:{self.line}`: `{self.before}` became `{self.after}`"


@dataclass(frozen=True)
class _Place:
    """A statement in the list that it stands in."""

    body: list[ast.stmt]
    index: int

    @property
    def statement(self) -> ast.stmt:
        return self.body[self.index]


#: Changes the tree, and gives back how to undo that.
_Change = Callable[[], Callable[[], None]]


def neutral(source: str) -> str | None:
    """The same program in the words of its mutants, and with statements that do nothing: who looks
    at its text or at its tree takes it for another. None: it cannot be read."""
    tree = parsed(source)
    try:
        if tree is None:
            return None
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                node.body.insert(1 if ast.get_docstring(node, clean=False) else 0, ast.Pass())
        tree.body.append(ast.Pass())  # at its end: what it begins with may have to stay there
        return f"{ast.unparse(tree)}\n"
    except RecursionError:
        return None


def mutants(path: str, source: str, lines: Collection[int]) -> Iterator[Mutant]:
    """Of the statements that begin in these lines: one of each, then a second of each."""
    tree = parsed(source)
    if tree is None:
        return
    found = [
        ((rank, place.statement.lineno), place, change)
        for place in _places(tree)
        if place.statement.lineno in lines
        for rank, change in enumerate(_changes(place))
    ]
    for (_, line), place, change in sorted(found, key=lambda each: each[0]):
        try:
            before, after, whole = _made(tree, place, change)
        except RecursionError:
            return
        yield Mutant(path=path, line=line, before=before, after=after, source=f"{whole}\n")


def _made(tree: ast.Module, place: _Place, change: _Change) -> tuple[str, str, str]:
    """The statement before and after, and the program then; the tree is as it was afterwards."""
    before = _words(place.statement)
    undo = change()
    try:
        return before, _words(place.statement), ast.unparse(ast.fix_missing_locations(tree))
    finally:
        undo()


def _places(tree: ast.Module) -> Iterator[_Place]:
    for node in ast.walk(tree):
        for body in blocks(node):
            yield from (_Place(body, index) for index in range(len(body)))


def _changes(place: _Place) -> Iterator[_Change]:
    """Of a compound statement only its head. Definitions and imports are left alone: without them
    no test runs at all."""
    statement = place.statement
    for node in _expressions(statement):
        match node:
            case ast.Compare(ops=[op, *rest]) if type(op) in _FLIPPED:
                yield _set(node, "ops", [_FLIPPED[type(op)](), *rest])
            case ast.BoolOp(op=op):
                yield _set(node, "op", ast.Or() if isinstance(op, ast.And) else ast.And())
            case ast.BinOp(op=op) if type(op) in _TURNED:
                yield _set(node, "op", _TURNED[type(op)]())
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield _set(node, "operand", _not(operand))
            case ast.IfExp(test=test):
                yield _set(node, "test", _not(test))
            case _:
                pass
    match statement:
        case ast.If(test=test) | ast.While(test=test):
            yield _set(statement, "test", _not(test))
        case ast.For():
            yield _set(statement, "iter", ast.Tuple(elts=[], ctx=ast.Load()))
        case ast.Return(value=ast.expr() as value) | ast.Assign(value=value):
            yield _set(statement, "value", _other(value))
        case ast.AnnAssign(value=ast.expr() as value):
            yield _set(statement, "value", _other(value))
        case ast.AugAssign(op=op) if type(op) in _TURNED:
            yield _set(statement, "op", _TURNED[type(op)]())
        case ast.Raise() | ast.Delete() | ast.AugAssign() | ast.Break() | ast.Continue():
            yield _without(place)
        case ast.Expr(value=value) if not isinstance(value, ast.Constant):
            yield _without(place)
        case _:
            pass


def _expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    waiting: list[ast.AST] = list(ast.iter_child_nodes(statement))
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.expr):
            yield node
        if isinstance(node, ast.expr | ast.withitem | ast.keyword | ast.comprehension):
            waiting += ast.iter_child_nodes(node)


def _not(value: ast.expr) -> ast.expr:
    return ast.UnaryOp(op=ast.Not(), operand=value)


def _other(value: ast.expr) -> ast.expr:
    match value:
        case ast.Constant(value=bool(known)):
            return ast.Constant(value=not known)
        case ast.Constant(value=None):
            return ast.Constant(value=1)
        case _:
            return ast.Constant(value=None)


def _set(node: ast.AST, name: str, value: object) -> _Change:
    def change() -> Callable[[], None]:
        before = getattr(node, name)
        setattr(node, name, value)
        return lambda: setattr(node, name, before)

    return change


def _without(place: _Place) -> _Change:
    def change() -> Callable[[], None]:
        before = place.statement
        place.body[place.index] = ast.copy_location(ast.Pass(), before)

        def undo() -> None:
            place.body[place.index] = before

        return undo

    return change


def _words(statement: ast.stmt) -> str:
    """Its first line."""
    return ast.unparse(ast.fix_missing_locations(statement)).partition("\n")[0][:SHOWN]
