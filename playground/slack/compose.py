"""What Slack makes of the text that a person types."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from playground.slack.world import World

Json = dict[str, Any]
_SPECIAL = re.compile(
    r"<(?P<token>[@#!][^<>]+)>"
    r"|<?(?P<url>https?://[^\s<>|]+[^\s<>|.,;:!?)'\"])>?"
    r"|(?<![\w.@])@(?P<person>[\w.-]*\w)"
    r"|(?<![\w#&])#(?P<channel>[a-z][\w-]*)"
)
_EVERYONE = ("here", "channel", "everyone")


def compose(world: World, typed: str) -> tuple[str, Json]:
    """The message's text, with mentions and links as Slack writes them, and its rich text."""
    parts = list(_parts(world, typed))
    elements = [element for _, element in parts]
    section = {"type": "rich_text_section", "elements": elements}
    block = {"type": "rich_text", "block_id": world.new_id("r"), "elements": [section]}
    return "".join(text for text, _ in parts), block


def _parts(world: World, typed: str) -> Iterator[tuple[str, Json]]:
    plain = 0
    for found in _SPECIAL.finditer(typed):
        part = _special(world, found)
        if part is None:
            continue
        if found.start() > plain:
            yield _plain(typed[plain : found.start()])
        yield part
        plain = found.end()
    if plain < len(typed):
        yield _plain(typed[plain:])


def _plain(text: str) -> tuple[str, Json]:
    return html.escape(text, quote=False), {"type": "text", "text": text}


def _special(world: World, found: re.Match[str]) -> tuple[str, Json] | None:
    if url := found["url"]:
        return f"<{html.escape(url, quote=False)}>", {"type": "link", "url": url}
    if name := found["person"]:
        return _person(world, name)
    if name := found["channel"]:
        ids = [each.id for each in world.channels.values() if each.name == name]
        element = {"type": "channel", "channel_id": ids[0]} if ids else {}
        return (f"<#{ids[0]}|{name}>", element) if ids else None
    token = found["token"]
    kind, name = token[0], token[1:].partition("|")[0]
    if kind == "@":
        return (f"<{token}>", {"type": "user", "user_id": name}) if name in world.users else None
    if kind == "#":
        known = name in world.channels
        return (f"<{token}>", {"type": "channel", "channel_id": name}) if known else None
    return (f"<{token}>", {"type": "broadcast", "range": name}) if name in _EVERYONE else None


def _person(world: World, name: str) -> tuple[str, Json] | None:
    if name in _EVERYONE:
        return f"<!{name}>", {"type": "broadcast", "range": name}
    for user in world.users.values():
        if user.name.lower() == name.lower():
            return f"<@{user.id}>", {"type": "user", "user_id": user.id}
    return None
