"""One call of a Web API method: its arguments, its token and how it is refused."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from playground.slack.records import Channel, Message, Token, TokenKind
from playground.slack.workspace import Workspace
from playground.slack.world import World

Json = dict[str, Any]
T = TypeVar("T")
_AREA = {"channel": "channels", "group": "groups", "im": "im"}


class ApiError(Exception):
    """The method is refused; `error` is Slack's code, `more` goes into the answer beside it."""

    def __init__(self, error: str, *messages: str, **more: Any) -> None:
        super().__init__(error)
        self.error = error
        self.answer: Json = {"ok": False, "error": error, **more}
        if messages:
            self.answer["response_metadata"] = {"messages": list(messages)}


@dataclass(kw_only=True)
class Call:
    workspace: Workspace
    token: Token
    args: Json
    stale_seconds: float = 0

    @property
    def world(self) -> World:
        return self.workspace.world

    def text(self, name: str, default: str = "") -> str:
        value = self.args.get(name)
        return default if value is None else str(value)

    def needed(self, name: str) -> str:
        if not (value := self.text(name)):
            raise ApiError("invalid_arguments", f"[ERROR] missing required field: {name}")
        return value

    def flag(self, name: str) -> bool:
        return self.text(name).lower() in ("true", "1")

    def number(self, name: str, default: int) -> int:
        value = self.text(name)
        if not value:
            return default
        if not value.isdecimal():
            raise ApiError("invalid_arguments", f"[ERROR] must be an integer: {name}")
        return int(value)

    def json(self, name: str, *, wrong: str = "invalid_arguments") -> Any:
        """The argument, which a form carries as JSON text; `wrong` when it is not JSON."""
        value = self.args.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value else None
        except ValueError:
            raise ApiError(wrong, f"[ERROR] {name} is not JSON") from None

    def array(self, name: str, of: type[T], *, wrong: str = "invalid_arguments") -> list[T]:
        """The JSON list of such items, empty when the argument is not given."""
        items = self.json(name, wrong=wrong)
        if items is None:
            return []
        if not isinstance(items, list) or not all(isinstance(each, of) for each in items):
            raise ApiError(wrong, f"[ERROR] {name} is not a list of what it should be")
        return items

    def require(self, *scopes: str) -> None:
        """Refuse a token that has none of these scopes."""
        if scopes and not self.token.scopes.intersection(scopes):
            raise ApiError(
                "missing_scope",
                needed=",".join(scopes),
                provided=",".join(sorted(self.token.scopes)),
            )

    def require_for(self, channel: Channel, right: str) -> None:
        """`channels:history`, `groups:history` or `im:history`, as the channel's kind needs."""
        self.require(f"{_AREA[channel.kind]}:{right}")

    def channel(self, name: str = "channel") -> Channel:
        """A channel by id or name; private ones exist for their members only."""
        given = self.needed(name)
        world = self.world
        if given in world.users:
            if world.users[given].is_bot or world.users[given].deleted:
                raise ApiError("channel_not_found")
            return world.direct_message(given)
        found = world.channels.get(given) or next(
            (each for each in world.channels.values() if each.name == given.lstrip("#") != ""), None
        )
        if found is None or (found.kind != "channel" and self.token.user not in found.members):
            raise ApiError("channel_not_found")
        return found

    def message(self, channel: Channel, name: str) -> Message:
        found = self.world.messages.get((channel.id, self.needed(name)))
        if found is None:
            raise ApiError("message_not_found")
        return found

    def page(self, items: Sequence[T], *, default: int, most: int) -> tuple[list[T], Json]:
        """The page that the call asks for, and the cursor of the next one."""
        cursor = self.text("cursor") or "page:0"
        start = cursor.removeprefix("page:")
        if not cursor.startswith("page:") or not start.isdecimal():
            raise ApiError("invalid_cursor")
        first = int(start)
        end = first + min(self.number("limit", default) or default, most)
        following = f"page:{end}" if end < len(items) else ""
        return list(items[first:end]), {"next_cursor": following}


@dataclass(frozen=True, kw_only=True)
class Method:
    name: str
    answer: Callable[[Call], Awaitable[Json]]
    scopes: tuple[str, ...] = ()  #: one of them is needed
    tokens: tuple[TokenKind, ...] = ("bot", "user")
    per_minute: int = 100
