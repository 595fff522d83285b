"""The records of a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ChannelKind = Literal["channel", "group", "im"]
TokenKind = Literal["bot", "user", "app"]
SessionStatus = Literal["active", "processing", "suspended", "closed"]
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class User:
    id: str
    name: str
    real_name: str
    email: str = ""
    is_bot: bool = False
    is_admin: bool = False
    deleted: bool = False
    is_restricted: bool = False  #: a guest
    is_stranger: bool = False  #: of another workspace, through a shared channel
    display_name: str = ""  #: chosen freely; empty: the name


@dataclass(frozen=True, kw_only=True)
class App:
    """The one app that is installed; `scopes`, `events` and `is_agent` come from its manifest."""

    id: str
    name: str
    bot_id: str
    bot_user: str
    scopes: frozenset[str]
    events: frozenset[str]
    is_agent: bool = True
    socket_mode: bool = True
    signing_secret: str = "playground-signing-secret"


@dataclass(frozen=True, kw_only=True)
class Token:
    value: str
    kind: TokenKind
    user: str  #: whom it acts as; empty for an app-level token
    scopes: frozenset[str]
    problem: str = ""  #: "token_revoked", "account_inactive": it is refused with this error


@dataclass(frozen=True, kw_only=True)
class Channel:
    id: str
    name: str
    kind: ChannelKind
    created: int
    creator: str = ""
    members: tuple[str, ...] = ()
    is_archived: bool = False
    user: str = ""  #: the person of a direct message


@dataclass(frozen=True, kw_only=True)
class Message:
    channel: str
    ts: str
    user: str
    text: str
    blocks: tuple[Json, ...] = ()
    attachments: tuple[Json, ...] = ()
    thread_ts: str = ""
    bot_id: str = ""
    app_id: str = ""
    client_msg_id: str = ""
    metadata: Json | None = None
    edited_ts: str = ""
    edited_by: str = ""
    files: tuple[str, ...] = ()
    reactions: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def is_reply(self) -> bool:
        return bool(self.thread_ts) and self.thread_ts != self.ts


@dataclass(frozen=True, kw_only=True)
class Ephemeral:
    """A message that one person sees and nobody can read back."""

    channel: str
    ts: str
    user: str
    text: str
    blocks: tuple[Json, ...] = ()
    thread_ts: str = ""


@dataclass(frozen=True, kw_only=True)
class File:
    id: str
    name: str
    title: str
    user: str
    created: int
    mimetype: str = "application/octet-stream"
    alt_text: str = ""
    content: bytes = b""
    uploaded: bool = False  #: its bytes have arrived
    shared: bool = False  #: the upload was completed


@dataclass(frozen=True, kw_only=True)
class Session:
    """An agent's session in a thread: the native working state with its Stop button."""

    channel: str
    thread_ts: str
    status: SessionStatus
    title: str = ""
    initiator: str = ""
    hint: str = ""  #: of assistant.threads.setStatus


@dataclass(frozen=True, kw_only=True)
class View:
    id: str
    user: str
    hash: str
    body: Json  #: as the app sent it, with block and action ids filled in
    root: str
    previous: str = ""
    state: Mapping[str, Json] = field(default_factory=dict[str, Json])

    @property
    def is_home(self) -> bool:
        return self.body.get("type") == "home"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a page has to draw again."""

    kind: Literal[
        "message", "message_deleted", "ephemeral", "session", "view", "file", "channel", "prompts"
    ]
    channel: str = ""
    ts: str = ""
    id: str = ""
    user: str = ""
