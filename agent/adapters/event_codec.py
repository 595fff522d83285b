"""The log's records as JSON and back, and the hash that chains them."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any, get_args

from pydantic import TypeAdapter

from agent.events import Payload, kind_of
from agent.intents import Intent
from agent.run import Limits, Person, Request, RunId


def to_json(record: Payload | Intent | Request | Limits | Person) -> str:
    """Canonical: sorted keys, no spaces, ASCII. The hash covers this very text, and it can carry
    what JSONB refuses: zero bytes and the halves of surrogate pairs in odd file names."""
    plain = _adapter(type(record)).dump_python(record, mode="json")
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def payload(kind: str, text: str) -> Payload | None:
    """None for a kind of a newer version; fields of a newer version are left out."""
    made = _payload_classes().get(kind)
    return _read(made, text) if made else None


def intent(kind: str, text: str) -> Intent | None:
    """None for a kind of a newer version."""
    made = _intent_classes().get(kind)
    return _read(made, text) if made else None


def request(text: str) -> Request:
    return _read(Request, text)


def person(text: str) -> Person:
    return _read(Person, text)


def limits(text: str) -> Limits:
    return _read(Limits, text)


def event_hash(previous: str, run: RunId, seq: int, kind: str, actor: str, data: str) -> str:
    parts = "\n".join((previous, str(run), str(seq), kind, actor, data))
    return hashlib.sha256(parts.encode()).hexdigest()


def _read(made: type, text: str) -> Any:
    return _adapter(made).validate_python(json.loads(text))


@cache
def _adapter(made: type) -> TypeAdapter[Any]:
    return TypeAdapter(made)


@cache
def _payload_classes() -> dict[str, type]:
    return {kind_of(made): made for made in get_args(Payload)}


@cache
def _intent_classes() -> dict[str, type]:
    return {kind_of(made): made for made in get_args(Intent)}
