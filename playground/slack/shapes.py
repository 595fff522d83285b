"""Small checks of JSON that combine to large ones and name what is wrong as Slack does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

#: takes a value and its JSON pointer, and adds a line for everything that is wrong with it
Check = Callable[[Any, str, list[str]], None]


def _wrong(problems: list[str], pointer: str, what: str) -> None:
    problems.append(f"[ERROR] {what} [json-pointer:{pointer}]")


def string(most: int = 0, *, least: int = 0) -> Check:
    def check(value: Any, pointer: str, problems: list[str]) -> None:
        if not isinstance(value, str):
            _wrong(problems, pointer, "must provide a string")
        elif most and len(value) > most:
            _wrong(problems, pointer, f"must be less than {most + 1} characters")
        elif len(value) < least:
            _wrong(problems, pointer, f"must be more than {least - 1} characters")

    return check


def boolean(value: Any, pointer: str, problems: list[str]) -> None:
    if not isinstance(value, bool):
        _wrong(problems, pointer, "must provide a boolean")


def number(value: Any, pointer: str, problems: list[str]) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        _wrong(problems, pointer, "must provide an integer")


def anything(value: Any, pointer: str, problems: list[str]) -> None:
    """What the stand-in does not look into."""


def among(*values: str) -> Check:
    def check(value: Any, pointer: str, problems: list[str]) -> None:
        if value not in values:
            _wrong(problems, pointer, f"must be one of: {', '.join(values)}")

    return check


def array(of: Check, most: int = 0, *, least: int = 1) -> Check:
    def check(value: Any, pointer: str, problems: list[str]) -> None:
        if not isinstance(value, list):
            return _wrong(problems, pointer, "must provide an array")
        if most and len(value) > most:
            _wrong(problems, pointer, f"no more than {most} items allowed")
        if len(value) < least:
            _wrong(problems, pointer, f"no less than {least} items required")
        for at, item in enumerate(value):
            of(item, f"{pointer}/{at}", problems)

    return check


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    known = {**required, **(optional or {})}

    def check(value: Any, pointer: str, problems: list[str]) -> None:
        if not isinstance(value, dict):
            return _wrong(problems, pointer, "must provide an object")
        for key in required:
            if key not in value:
                _wrong(problems, pointer, f"missing required field: {key}")
        for key, item in value.items():
            if key not in known:
                _wrong(problems, pointer, f"invalid additional property: {key}")
            else:
                known[key](item, f"{pointer}/{key}", problems)

    return check


def typed(shapes: Mapping[str, Check], what: str) -> Check:
    """An object whose `type` says which of the shapes it has."""

    def check(value: Any, pointer: str, problems: list[str]) -> None:
        shape = shapes.get(value.get("type", "")) if isinstance(value, dict) else None
        if shape is None:
            named = value.get("type") if isinstance(value, dict) else value
            return _wrong(problems, pointer, f"unsupported {what}: {named}")
        shape(value, pointer, problems)

    return check


def exactly_one(check_fields: Check, *names: str) -> Check:
    """The record, and exactly one of these fields in it."""

    def check(value: Any, pointer: str, problems: list[str]) -> None:
        check_fields(value, pointer, problems)
        if isinstance(value, dict) and sum(name in value for name in names) != 1:
            _wrong(problems, pointer, f"must provide exactly one of: {', '.join(names)}")

    return check


def at_least_one(check_fields: Check, *names: str) -> Check:
    def check(value: Any, pointer: str, problems: list[str]) -> None:
        check_fields(value, pointer, problems)
        if isinstance(value, dict) and not any(value.get(name) for name in names):
            _wrong(problems, pointer, f"must provide one of: {', '.join(names)}")

    return check
