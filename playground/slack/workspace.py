"""What both the app and people do in the workspace: change it, and tell the app."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace

from playground.slack.delivery import Delivery
from playground.slack.events import changed_events, deleted_event, message_events, reaction_event
from playground.slack.records import Message
from playground.slack.world import World

TRIGGER_SECONDS = 3.0
RESPONSES, RESPONSE_SECONDS = 5, 30 * 60


@dataclass(kw_only=True)
class Trigger:
    """The leave to open a view, good once and for three seconds after a click."""

    user: str
    at: float
    view: str = ""  #: the modal in which the click was made
    used: bool = False


@dataclass(kw_only=True)
class ResponseHook:
    """Where a click may be answered for half an hour, five times."""

    user: str
    channel: str
    ts: str
    at: float
    thread_ts: str = ""
    ephemeral: bool = False
    uses: int = 0


@dataclass(kw_only=True)
class Workspace:
    world: World
    delivery: Delivery
    base_url: str = ""
    triggers: dict[str, Trigger] = field(default_factory=dict[str, Trigger])
    hooks: dict[str, ResponseHook] = field(default_factory=dict[str, ResponseHook])

    def post(self, message: Message) -> Message:
        self.world.put(message)
        self.delivery.events(message_events(self.world, message))
        return message

    def change(self, before: Message, after: Message) -> Message:
        self.world.put(after)
        self.delivery.events(changed_events(self.world, before, after))
        return after

    def delete(self, message: Message) -> None:
        event = deleted_event(self.world, message)
        self.world.delete(message)
        self.delivery.events([event])

    def react(self, message: Message, name: str, user: str) -> None:
        self.world.react(message, name, user)
        event = reaction_event(self.world, message, name, user, "reaction_added")
        self.delivery.events([event])

    def unreact(self, message: Message, name: str, user: str) -> None:
        self.world.unreact(message, name, user)
        event = reaction_event(self.world, message, name, user, "reaction_removed")
        self.delivery.events([event])

    def edited(self, message: Message, by: str) -> Message:
        """The message with the mark of an edit."""
        return replace(message, edited_ts=self.world.new_ts(), edited_by=by)

    def trigger(self, user: str, view: str = "") -> str:
        id = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        self.triggers[id] = Trigger(user=user, at=self.world.clock(), view=view)
        return id

    def hook(self, hook: ResponseHook) -> str:
        """The `response_url` of a click."""
        name = f"{self.world.team_id}/{secrets.token_hex(12)}"
        self.hooks[name] = hook
        return f"{self.base_url}/actions/{name}"
