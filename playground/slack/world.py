"""What the workspace holds: people, channels, messages, files, sessions, views.

Plain state and a feed of its changes. It knows no protocol: the Web API, the deliveries and the
page read it and write it through the same few methods.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from playground.slack.records import (
    App,
    Change,
    Channel,
    ChannelKind,
    Ephemeral,
    File,
    Json,
    Message,
    Session,
    Token,
    User,
    View,
)


@dataclass(kw_only=True)
class World:
    app: App
    team_id: str = "T0PLAYGROUND"
    team_name: str = "Playground"
    team_domain: str = "playground"
    clock: Callable[[], float] = time.time
    users: dict[str, User] = field(default_factory=dict[str, User])
    tokens: dict[str, Token] = field(default_factory=dict[str, Token])
    channels: dict[str, Channel] = field(default_factory=dict[str, Channel])
    messages: dict[tuple[str, str], Message] = field(default_factory=dict[tuple[str, str], Message])
    #: every state that a message had, None once it is deleted, with the time from which it held
    versions: dict[tuple[str, str], list[tuple[float, Message | None]]] = field(
        default_factory=dict[tuple[str, str], list[tuple[float, Message | None]]]
    )
    ephemerals: dict[tuple[str, str], Ephemeral] = field(
        default_factory=dict[tuple[str, str], Ephemeral]
    )
    files: dict[str, File] = field(default_factory=dict[str, File])
    sessions: dict[tuple[str, str], Session] = field(default_factory=dict[tuple[str, str], Session])
    views: dict[str, View] = field(default_factory=dict[str, View])
    #: the modals that a person has open, the top one last
    modals: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    homes: dict[str, str] = field(default_factory=dict[str, str])
    prompts: dict[str, tuple[Json, ...]] = field(default_factory=dict[str, tuple[Json, ...]])
    #: what a person has chosen in a message and not sent by a click
    choices: dict[tuple[str, str, str], dict[str, Json]] = field(
        default_factory=dict[tuple[str, str, str], dict[str, Json]]
    )
    #: the messages of each thread, and of each channel under the empty name
    _order: dict[tuple[str, str], list[str]] = field(
        default_factory=dict[tuple[str, str], list[str]]
    )
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _last_ts: int = 0
    _subscribers: list[Callable[[Change], None]] = field(
        default_factory=list[Callable[[Change], None]]
    )

    # The feed

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call back on every change; the answer ends it."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    async def changes(self) -> AsyncIterator[Change]:
        """Every change from now on."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        end = self.subscribe(queue.put_nowait)
        try:
            while True:
                yield await queue.get()
        finally:
            end()

    def tell(self, change: Change) -> None:
        for callback in tuple(self._subscribers):
            callback(change)

    # Names and times

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{next(self._ids):09d}"

    def new_ts(self) -> str:
        """A message's time, which is its name as well: it only goes up."""
        self._last_ts = max(self._last_ts + 1, int(self.clock() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    # People and channels

    def add_user(self, user: User) -> User:
        self.users[user.id] = user
        return user

    def add_channel(
        self, name: str, *members: str, kind: ChannelKind = "channel", user: str = ""
    ) -> Channel:
        channel = Channel(
            id=self.new_id("D" if kind == "im" else "C"),
            name=name,
            kind=kind,
            created=int(self.clock()),
            creator=members[0] if members else "",
            members=members,
            user=user,
        )
        return self.set_channel(channel)

    def set_channel(self, channel: Channel) -> Channel:
        self.channels[channel.id] = channel
        self.tell(Change(kind="channel", channel=channel.id))
        return channel

    def direct_message(self, user: str) -> Channel:
        """The app's direct messages with this person."""
        for channel in self.channels.values():
            if channel.kind == "im" and channel.user == user:
                return channel
        return self.add_channel("", self.app.bot_user, user, kind="im", user=user)

    def channel_named(self, name: str) -> Channel:
        return next(each for each in self.channels.values() if each.name == name.lstrip("#"))

    def user_named(self, name: str) -> User:
        return next(each for each in self.users.values() if each.name == name.lstrip("@"))

    # Messages

    def put(self, message: Message) -> Message:
        key = (message.channel, message.ts)
        self.messages[key] = message
        if key not in self.versions:
            self.versions[key] = []
            for name in {"", message.ts, message.thread_ts}:
                self._order.setdefault((message.channel, name), []).append(message.ts)
        self.versions[key].append((self.clock(), message))
        self.tell(Change(kind="message", channel=message.channel, ts=message.ts))
        return message

    def delete(self, message: Message) -> None:
        key = (message.channel, message.ts)
        del self.messages[key]
        self.versions[key].append((self.clock(), None))
        self.tell(Change(kind="message_deleted", channel=message.channel, ts=message.ts))

    def messages_of(self, channel: str, *, stale_seconds: float = 0) -> list[Message]:
        """The channel's messages with their replies, oldest first, as they were then."""
        return self._in_order(channel, "", stale_seconds)

    def thread(self, channel: str, ts: str, *, stale_seconds: float = 0) -> list[Message]:
        """The root and its replies."""
        return self._in_order(channel, ts, stale_seconds)

    def _in_order(self, channel: str, thread: str, stale_seconds: float) -> list[Message]:
        cutoff = self.clock() - stale_seconds
        found: list[Message] = []
        for ts in self._order.get((channel, thread), ()):
            versions = self.versions[channel, ts]
            known = [each for since, each in versions if stale_seconds == 0 or since <= cutoff]
            if known and known[-1] is not None:
                found.append(known[-1])
        return found

    def react(self, message: Message, name: str, user: str) -> Message:
        users = (*message.reactions.get(name, ()), user)
        return self.put(replace(message, reactions={**message.reactions, name: users}))

    def unreact(self, message: Message, name: str, user: str) -> Message:
        left = tuple(each for each in message.reactions.get(name, ()) if each != user)
        reactions = {key: users for key, users in message.reactions.items() if key != name}
        if left:
            reactions[name] = left
        return self.put(replace(message, reactions=reactions))

    def put_ephemeral(self, ephemeral: Ephemeral) -> None:
        self.ephemerals[ephemeral.channel, ephemeral.ts] = ephemeral
        self._tell_of(ephemeral)

    def dismiss(self, ephemeral: Ephemeral) -> None:
        self.ephemerals.pop((ephemeral.channel, ephemeral.ts), None)
        self._tell_of(ephemeral)

    def _tell_of(self, seen: Ephemeral) -> None:
        self.tell(Change(kind="ephemeral", channel=seen.channel, ts=seen.ts, user=seen.user))

    # Everything else

    def put_file(self, file: File) -> File:
        self.files[file.id] = file
        self.tell(Change(kind="file", id=file.id))
        return file

    def put_session(self, session: Session) -> Session:
        self.sessions[session.channel, session.thread_ts] = session
        self.tell(Change(kind="session", channel=session.channel, ts=session.thread_ts))
        return session

    def put_prompts(self, channel: str, prompts: tuple[Json, ...]) -> None:
        self.prompts[channel] = prompts
        self.tell(Change(kind="prompts", channel=channel))

    def put_view(self, view: View) -> View:
        self.views[view.id] = view
        self.tell(Change(kind="view", id=view.id, user=view.user))
        return view

    def close_view(self, view: View) -> None:
        self.modals[view.user] = [id for id in self.modals.get(view.user, ()) if id != view.id]
        self.views.pop(view.id, None)
        self.tell(Change(kind="view", id=view.id, user=view.user))


def new_world(manifest: Mapping[str, Any], *, clock: Callable[[], float] = time.time) -> World:
    """A workspace with the manifest's app installed, three people and two channels with it in
    both, and a bot token and an app-level token for it."""
    features, settings = manifest["features"], manifest["settings"]
    app = App(
        id="A0JOURNEYMAN",
        name=features["bot_user"]["display_name"],
        bot_id="B0JOURNEYMAN",
        bot_user="U0JOURNEYMAN",
        scopes=frozenset(manifest["oauth_config"]["scopes"]["bot"]),
        events=frozenset(settings["event_subscriptions"]["bot_events"]),
        is_agent="agent_view" in features,
        socket_mode=settings.get("socket_mode_enabled", False),
    )
    world = World(app=app, clock=clock)
    world.add_user(User(id=app.bot_user, name=app.name, real_name=app.name, is_bot=True))
    for name, real_name in (("mia", "Mia Berg"), ("sam", "Sam Keller"), ("lee", "Lee Osei")):
        email = f"{name}@playground.example"
        world.add_user(User(id=f"U0{name.upper()}", name=name, real_name=real_name, email=email))
    everyone = tuple(world.users)
    world.add_channel("platform", *everyone)
    world.add_channel("general", *everyone)
    for token in (
        Token(value="xoxb-playground", kind="bot", user=app.bot_user, scopes=app.scopes),
        Token(
            value="xapp-playground",
            kind="app",
            user="",
            scopes=frozenset({"connections:write"}),
        ),
    ):
        world.tokens[token.value] = token
    return world
