"""Reads instances in SWE-bench's own format: one JSON object a line."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from agent.errors import SettingsError
from agent.evaluation.instance import Instance

LONGEST = 32 << 20  #: characters of a line
_ID = 200  #: characters
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def read_instances(
    path: Path, test_command: str | None = None
) -> tuple[Sequence[Instance], Sequence[str]]:
    """What can be read, and a sentence for each line that cannot."""
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The instances cannot be read from {path}: {error}") from error
    found: dict[str, Instance] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            instance = _instance(line, test_command)
            if instance.id in found:
                raise _Wrong(f"{instance.id} stands further up, too")
            found[instance.id] = instance
        except _Wrong as wrong:
            problems.append(f"Line {number} of {path.name} is left out: {wrong}.")
    return tuple(found.values()), problems


def as_record(instance: Instance) -> dict[str, Any]:
    """The object that such a line holds."""
    record: dict[str, Any] = {
        "instance_id": instance.id,
        "repo": instance.repo,
        "base_commit": instance.base,
        "problem_statement": instance.problem,
        "test_patch": instance.test_patch,
        "FAIL_TO_PASS": list(instance.fail_to_pass),
        "PASS_TO_PASS": list(instance.pass_to_pass),
    }
    return record | ({"test_command": instance.test_command} if instance.test_command else {})


class _Wrong(Exception):
    """Says what a line lacks."""


def _instance(line: str, test_command: str | None) -> Instance:
    if len(line) > LONGEST:
        raise _Wrong(f"it is longer than {LONGEST >> 20} MB")
    try:
        record: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"it is no JSON ({error})") from error
    if not isinstance(record, dict):
        raise _Wrong("it is no JSON object; each line holds one")
    given = cast("dict[str, Any]", record)
    base = _text(given, "base_commit").strip().lower()
    if not _COMMIT.fullmatch(base):
        raise _Wrong("its base_commit is not the whole id of a commit")
    command = test_command or given.get("test_command")
    if command is not None and not isinstance(command, str):
        raise _Wrong("its test_command is not a text")
    fails = _list(given, "FAIL_TO_PASS")
    if not fails:
        raise _Wrong("its FAIL_TO_PASS names no test")
    instance = Instance(
        id=_name(given),
        repo=_text(given, "repo"),
        base=base,
        problem=_text(given, "problem_statement"),
        test_patch=_text(given, "test_patch"),
        fail_to_pass=fails,
        pass_to_pass=_list(given, "PASS_TO_PASS"),
        test_command=command,
    )
    text = json.dumps(as_record(instance), sort_keys=True)
    return replace(instance, digest=hashlib.sha256(text.encode()).hexdigest()[:16])


def _name(record: Mapping[str, Any]) -> str:
    name = _text(record, "instance_id")
    if len(name) > _ID or not name.isprintable():
        raise _Wrong(f"its instance_id is not a printable text of at most {_ID} characters")
    return name


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f"it has no {key}")
    return _sound(value, key)


def _sound(value: str, key: str) -> str:
    if re.search("[\0\ud800-\udfff]", value):
        raise _Wrong(f"its {key} holds what is no text")
    return value


def _list(record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Published data holds the list as a text of JSON."""
    value: Any = record.get(key, [])
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _Wrong(f"its {key} is a text that is no JSON") from error
    if not isinstance(value, list):
        raise _Wrong(f"its {key} is no list of texts")
    names = cast("list[Any]", value)
    if not all(isinstance(name, str) for name in names):
        raise _Wrong(f"its {key} is no list of texts")
    return tuple(dict.fromkeys(_sound(name, key) for name in cast("list[str]", names)))
