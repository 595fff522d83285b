"""What one Python expression asserts, and how strictly."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from agent.tamper.units import EXACT, NOTHING, PARTIAL, RAISES, TRUTH, WIDE, Assertion

_HELPER = re.compile(r"_?(assert|check|verify|expect|ensure)(_|[A-Z]|$)")
_RAISES = {"raises", "assertRaises", "assertRaisesRegex", "warns", "assertWarns", "deprecated_call"}
_EVERYTHING = {"Exception", "BaseException"}
_METHODS = {
    "assertTrue": TRUTH,
    "assertFalse": TRUTH,
    "assertIsNotNone": TRUTH,
    "assertNotEqual": TRUTH,
    "assertIsNot": TRUTH,
    "assertAlmostEqual": RAISES,
    "assertIn": PARTIAL,
    "assertNotIn": PARTIAL,
    "assertIsInstance": PARTIAL,
    "assertGreater": PARTIAL,
    "assertGreaterEqual": WIDE,
    "assertLess": PARTIAL,
    "assertLessEqual": WIDE,
    "assertRegex": PARTIAL,
    "assertIsNone": EXACT,
    "assert_called": WIDE,
    "assert_called_once": PARTIAL,
    "assert_any_call": PARTIAL,
    "assert_has_calls": PARTIAL,
}
_ONE = {"assertTrue", "assertFalse", "assertIsNone", "assertIsNotNone"}
_OPERATORS: dict[type[ast.cmpop], int] = {
    ast.Eq: EXACT,
    ast.Is: EXACT,
    ast.In: PARTIAL,
    ast.NotIn: PARTIAL,
    ast.Lt: PARTIAL,
    ast.Gt: PARTIAL,
    ast.LtE: WIDE,
    ast.GtE: WIDE,
    ast.NotEq: TRUTH,
    ast.IsNot: TRUTH,
}


def tail(node: ast.expr | None) -> str:
    """The last name: `skip` of `pytest.mark.skip(…)`."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=func):
            return tail(func)
        case _:
            return ""


def of_assert(node: ast.Assert) -> list[Assertion]:
    return _truth(node.test, f"assert {ast.unparse(node.test)}", node.lineno)


def _truth(test: ast.expr, text: str, line: int) -> list[Assertion]:
    match test:
        case ast.BoolOp(op=ast.And(), values=values):
            return [a for each in values for a in _truth(each, f"assert {ast.unparse(each)}", line)]
        case ast.BoolOp(values=values):
            always = any(_never_fails(each) for each in values)
            first = _truth(values[0], text, line)[0]
            strength = NOTHING if always else min(TRUTH, first.strength)
            return [_made(first.subject, ast.unparse(test), strength, text, line)]
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return [_comparison(left, op, right, text, line)]
        case ast.Call(func=ast.Name(id="isinstance"), args=[subject, kind]):
            return [_made(_dump(subject), _dump(kind), PARTIAL, text, line)]
        case ast.Call(func=ast.Attribute(value=subject, attr="startswith" | "endswith")):
            return [_made(_dump(subject), text, PARTIAL, text, line)]
        case _:
            strength = NOTHING if _never_fails(test) else TRUTH
            subject = test.operand if isinstance(test, ast.UnaryOp) else test
            expected = "falsy" if isinstance(test, ast.UnaryOp) else "truthy"
            return [_made(_dump(subject), expected, strength, text, line)]


def _comparison(left: ast.expr, op: ast.cmpop, right: ast.expr, text: str, line: int) -> Assertion:
    strength = _OPERATORS.get(type(op), TRUTH)
    if _constant(left) and _constant(right):
        return _made(_dump(left), _dump(right), NOTHING, text, line)
    symmetric = isinstance(op, ast.Eq | ast.NotEq | ast.Is | ast.IsNot)
    if (_constant(left) and symmetric) or isinstance(op, ast.In | ast.NotIn):
        left, right = right, left
    if _dump(left) == _dump(right):
        strength = NOTHING
    elif isinstance(op, ast.In) and isinstance(left, ast.List | ast.Tuple | ast.Set):
        left, right = right, left  # one of several known values
    if tail(right) == "approx" or tail(left) == "approx":
        strength = min(strength, RAISES)
    if isinstance(op, ast.LtE | ast.GtE) and _constant(right) and _dump(right) in ("0", "-1"):
        strength = TRUTH  # such as `len(x) >= 0`
    return _made(_dump(left), f"{type(op).__name__} {_dump(right)}", strength, text, line)


def of_call(call: ast.Call) -> list[Assertion]:
    """A statement that only calls: unittest, mocks, and helpers that say that they check."""
    name, text, line = tail(call.func), ast.unparse(call), call.lineno
    if name in _RAISES:
        return of_context(call)
    if not (name.startswith("assert") or _HELPER.match(name)):
        return []
    args = call.args
    if name in _ONE or (name.startswith("assert") and len(args) == 1 and name in _METHODS):
        if not args:
            return []
        if name == "assertTrue":
            return _truth(args[0], text, line)
        strength = NOTHING if _constant(args[0]) else _METHODS[name]
        return [_made(_dump(args[0]), _ONE_EXPECTED.get(name, name), strength, text, line)]
    owner = _dump(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if name.startswith("assert_") and name.endswith(("called", "call", "calls", "with", "once")):
        strength = _METHODS.get(name, EXACT)
        return [_made(f"{owner} is called", _rest(args, call.keywords), strength, text, line)]
    if len(args) >= 2 and name.startswith("assert"):
        left, right = args[0], args[1]
        if _constant(left) or name in ("assertIn", "assertNotIn"):
            left, right = right, left
        strength = _METHODS.get(name, EXACT)
        if _dump(left) == _dump(right) or (_constant(left) and _constant(right)):
            strength = NOTHING
        extra = _rest([], [k for k in call.keywords if k.arg != "msg"])
        return [_made(_dump(left), f"Eq {_dump(right)}{extra}", strength, text, line)]
    return [_made(f"{name}({', '.join(map(_dump, args[:1]))})", text, PARTIAL, text, line)]


_ONE_EXPECTED = {"assertIsNone": "Is None", "assertFalse": "falsy", "assertIsNotNone": "IsNot None"}


def of_context(call: ast.expr) -> list[Assertion]:
    """`with pytest.raises(…)` and its like."""
    if not isinstance(call, ast.Call) or tail(call.func) not in _RAISES:
        return []
    name, text, line = tail(call.func), ast.unparse(call), call.lineno
    kind = call.args[0] if call.args else None
    wide = tail(kind) in _EVERYTHING
    matched = name == "assertRaisesRegex" or any(k.arg == "match" for k in call.keywords)
    strength = WIDE if wide else EXACT if matched else RAISES
    expected = _rest(call.args[:1], call.keywords)
    return [_made(f"{name} raises", expected, strength, text, line)]


def _never_fails(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=value):
            return bool(value)
        case ast.Tuple(elts=elts) | ast.List(elts=elts):
            return bool(elts)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Constant(value=value)):
            return not value
        case ast.Compare(left=left, comparators=[right]):
            return _constant(left) and _constant(right)
        case _:
            return False


def _constant(node: ast.expr) -> bool:
    match node:
        case ast.Constant():
            return True
        case ast.UnaryOp(operand=operand):
            return _constant(operand)
        case ast.Tuple(elts=elts) | ast.List(elts=elts) | ast.Set(elts=elts):
            return all(_constant(each) for each in elts)
        case ast.Dict(keys=keys, values=values):
            return all(k is not None and _constant(k) for k in keys) and all(map(_constant, values))
        case _:
            return False


def _dump(node: ast.expr) -> str:
    return ast.unparse(node)


def _rest(args: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> str:
    return ", ".join([*map(_dump, args), *(ast.unparse(k) for k in keywords)])


def _made(subject: str, expected: str, strength: int, text: str, line: int) -> Assertion:
    return Assertion(subject=subject, expected=expected, strength=strength, text=text, line=line)
