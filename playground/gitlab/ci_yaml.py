"""The YAML of a configuration: includes merged, `extends` and `!reference` looked up."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import yaml

Json = dict[str, Any]
#: path -> text of another file of the same commit
ReadFile = Callable[[str], Awaitable[str | None]]


class ConfigError(Exception):
    """The text is what GitLab shows as the error of the YAML."""


class Reference(list[str]):
    """`!reference [job, key]`, looked up once everything is read."""


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_constructor(
    "!reference", lambda loader, node: Reference(loader.construct_sequence(node))
)


async def with_includes(text: str, read_file: ReadFile, depth: int) -> Json:
    try:
        raw = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as problem:
        raise ConfigError(f"Invalid configuration format: {problem}") from problem
    if not isinstance(raw, dict):
        raise ConfigError("Invalid configuration format")
    if depth > 20:
        raise ConfigError("Maximum of nested includes was exceeded")
    included: Json = {}
    entries = raw.pop("include", None) or []
    for entry in entries if isinstance(entries, list) else [entries]:
        path = entry if isinstance(entry, str) else entry.get("local")
        if not path or "://" in path:
            raise ConfigError(f"Included file `{entry}` is not supported: only `local` is")
        found = await read_file(path.lstrip("/"))
        if found is None:
            raise ConfigError(f"Local file `{path}` does not exist!")
        included = merge(included, await with_includes(found, read_file, depth + 1))
    return merge(included, raw)


async def merged_yaml(text: str, read_file: ReadFile) -> str:
    """As GitLab shows it: one file; what `default` says still stands apart."""
    raw = await with_includes(text, read_file, 0)
    jobs = {
        name: extended(raw, name, ()) if isinstance(body, dict) and "extends" in body else body
        for name, body in raw.items()
    }
    return yaml.safe_dump(dereference(jobs, raw, 0), sort_keys=False)


def merge(base: Json, over: Json) -> Json:
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        merged[key] = merge(before, value) if both else value
    return merged


def extended(raw: Json, name: str, seen: tuple[str, ...]) -> Json:
    if name in seen:
        raise ConfigError(f"{name}: circular dependency detected in `extends`")
    body = raw.get(name)
    if not isinstance(body, dict):
        raise ConfigError(f"{seen[-1] if seen else name}: unknown keys in `extends` ({name})")
    parents = body.get("extends") or []
    merged: Json = {}
    for parent in parents if isinstance(parents, list) else [parents]:
        merged = merge(merged, extended(raw, parent, (*seen, name)))
    return merge(merged, {k: v for k, v in body.items() if k != "extends"})


def dereference(value: Any, raw: Json, depth: int) -> Any:
    if depth > 12:
        raise ConfigError("!reference is nested too deeply")
    if isinstance(value, Reference):
        target: Any = raw
        for key in value:
            if not isinstance(target, dict) or key not in target:
                raise ConfigError(f"!reference {list(value)} could not be found")
            target = target[key]
        return dereference(target, raw, depth + 1)
    if isinstance(value, dict):
        return {key: dereference(item, raw, depth) for key, item in value.items()}
    if isinstance(value, list):
        found = [(dereference(item, raw, depth), isinstance(item, Reference)) for item in value]
        nested = [item if flat and isinstance(item, list) else [item] for item, flat in found]
        return list(itertools.chain(*nested))
    return value
