"""The workspace as the page shows it to one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from playground.slack.records import Channel, Ephemeral, Message, Session, User, View
from playground.slack.world import World

Json = dict[str, Any]

#: What may be tried first, offered in a channel without messages, by the channel's name.
Suggestions = Mapping[str, Sequence[str]]


class Chat:
    """`titles` and `purposes` say what a person or a channel is there for."""

    def __init__(
        self,
        world: World,
        *,
        titles: Mapping[str, str] | None = None,
        purposes: Mapping[str, str] | None = None,
        suggestions: Suggestions | None = None,
    ) -> None:
        self.world = world
        self._titles = titles or {}
        self._purposes = purposes or {}
        self._suggestions = suggestions or {}

    def snapshot(self, me: str) -> Json:
        world = self.world
        channels = [self.channel(each) for each in world.channels.values() if self.sees(me, each)]
        return {
            "me": me,
            "team": {"id": world.team_id, "name": world.team_name},
            "bot": world.app.bot_user,
            "users": self.users(),
            "groups": [],
            "channels": channels,
            "messages": [
                each
                for channel in channels
                for each in map(self.message, world.messages_of(channel["id"]))
            ]
            + [self.ephemeral(each) for each in world.ephemerals.values() if each.user == me],
            "sessions": [self.session(each) for each in world.sessions.values()],
            "modals": self.modals(me),
            "home": self.home(me),
            "prompts": self.prompts(me),
        }

    def sees(self, me: str, channel: Channel) -> bool:
        if channel.kind == "im":
            return channel.user == me
        return me in channel.members and not channel.is_archived

    def people(self) -> list[User]:
        return [each for each in self.world.users.values() if not (each.is_bot or each.deleted)]

    def users(self) -> list[Json]:
        return [
            {
                "id": user.id,
                "name": user.name,
                "real_name": user.real_name,
                "is_bot": user.is_bot,
                "title": self._titles.get(user.name, ""),
            }
            for user in self.world.users.values()
        ]

    def channel(self, channel: Channel) -> Json:
        purpose = self._purposes.get(channel.name, "")
        direct = "Ask for a change, or what is going on. Only you and the agent read this."
        return {
            "id": channel.id,
            "name": channel.name,
            "kind": channel.kind,
            "members": list(channel.members),
            "topic": purpose,
            "purpose": purpose or (direct if channel.kind == "im" else ""),
            "suggestions": list(self._suggestions.get(channel.name, ())),
        }

    def message(self, message: Message) -> Json:
        files = [self.world.files[each] for each in message.files if each in self.world.files]
        return {
            "channel": message.channel,
            "ts": message.ts,
            "thread_ts": message.thread_ts,
            "user": message.user,
            "text": message.text,
            "blocks": list(message.blocks),
            "edited": message.edited_ts,
            "ephemeral": False,
            "reactions": [
                {"name": name, "users": list(users)} for name, users in message.reactions.items()
            ],
            "files": [
                {
                    "id": file.id,
                    "name": file.name,
                    "title": file.title,
                    "mimetype": file.mimetype,
                    "alt_text": file.alt_text,
                    "size": len(file.content),
                }
                for file in files
            ],
        }

    def ephemeral(self, message: Ephemeral) -> Json:
        return {
            "channel": message.channel,
            "ts": message.ts,
            "thread_ts": message.thread_ts,
            "user": self.world.app.bot_user,
            "text": message.text,
            "blocks": list(message.blocks),
            "edited": "",
            "ephemeral": True,
            "reactions": [],
            "files": [],
        }

    def session(self, session: Session) -> Json:
        return {
            "channel": session.channel,
            "thread_ts": session.thread_ts,
            "status": session.status,
            "title": session.title,
        }

    def view(self, view: View) -> Json:
        return {"id": view.id, "hash": view.hash, "body": view.body}

    def modals(self, me: str) -> list[Json]:
        ids = self.world.modals.get(me, ())
        return [self.view(self.world.views[each]) for each in ids if each in self.world.views]

    def home(self, me: str) -> Json | None:
        view = self.world.views.get(self.world.homes.get(me, ""))
        return self.view(view) if view else None

    def prompts(self, me: str) -> list[Json]:
        return [
            dict(prompt)
            for channel, prompts in self.world.prompts.items()
            if (known := self.world.channels.get(channel)) and known.user == me
            for prompt in prompts
        ]
