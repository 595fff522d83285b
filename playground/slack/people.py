"""What people do in the workspace, as their Slack window would let them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from playground.slack.answers import message_json, view_json
from playground.slack.blocks import view_problems
from playground.slack.compose import compose
from playground.slack.events import home_event, stopped_event
from playground.slack.interactions import (
    Choice,
    PersonCannot,
    action_of,
    entry_of,
    find,
    missing,
    state_of,
)
from playground.slack.methods.views import open_view, replace_view
from playground.slack.records import Ephemeral, Message, User, View
from playground.slack.workspace import ResponseHook, Workspace
from playground.slack.world import World

Json = dict[str, Any]
Place = Message | Ephemeral | View


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What came of a submitted modal: errors below its blocks, or the view that is open now."""

    errors: dict[str, str] = field(default_factory=dict[str, str])
    view: View | None = None


@dataclass(kw_only=True)
class People:
    """Persons are named as in `world.user_named`, channels as in `world.channel_named`, or by
    their ids. A click whose delivery the app does not acknowledge raises NotAcknowledged."""

    workspace: Workspace

    @property
    def world(self) -> World:
        return self.workspace.world

    # Messages

    def post(self, user: str, channel: str, text: str, *, thread_ts: str = "") -> Message:
        """Type a message; `@agent` in it becomes a mention. The channel of a direct message to
        the app is the app's own name with an `@`."""
        person = self._user(user)
        text, rich = compose(self.world, text)
        message = Message(
            channel=self._channel(channel, person),
            ts=self.world.new_ts(),
            user=person.id,
            text=text,
            blocks=(rich,),
            thread_ts=thread_ts,
            client_msg_id=str(uuid.uuid4()),
        )
        return self.workspace.post(message)

    def edit(self, message: Message, text: str) -> Message:
        before = self._now(message)
        text, rich = compose(self.world, text)
        after = self.workspace.edited(replace(before, text=text, blocks=(rich,)), before.user)
        return self.workspace.change(before, after)

    def delete(self, message: Message) -> None:
        self.workspace.delete(self._now(message))

    def react(self, user: str, message: Message, name: str) -> None:
        self.workspace.react(self._now(message), name, self._user(user).id)

    def unreact(self, user: str, message: Message, name: str) -> None:
        self.workspace.unreact(self._now(message), name, self._user(user).id)

    # The agent's own surfaces

    def stop(self, user: str, channel: str, thread_ts: str) -> None:
        """Press the native Stop, which a thread has while its session is processing."""
        person = self._user(user)
        id = self._channel(channel, person)
        session = self.world.sessions.get((id, thread_ts))
        if session is None or session.status != "processing":
            raise PersonCannot("The thread has no Stop: its session is not processing.")
        event = stopped_event(self.world, id, thread_ts, person.id)
        self.workspace.delivery.events([event])

    def open_home(self, user: str, tab: str = "home") -> None:
        event = home_event(self.world, self._user(user).id, tab)
        self.workspace.delivery.events([event])

    def home(self, user: str) -> View | None:
        id = self.world.homes.get(self._user(user).id)
        return self.world.views[id] if id else None

    # Blocks

    async def click(
        self,
        user: str,
        place: Place,
        action_id: str,
        choice: Choice = None,
        *,
        block_id: str = "",
    ) -> None:
        """Press a button, or choose in a menu, by the value of the option or of the feedback."""
        person = self._user(user)
        place = self._newest(place)
        blocks = _blocks(place)
        block, element = find(blocks, action_id, block_id)
        action = action_of(block, element, choice, self.world.new_ts())
        if element["type"] not in ("button", "overflow", "feedback_buttons"):
            self.fill(user, place, action_id, choice, block_id=block["block_id"])
            if block["type"] == "input" and not block.get("dispatch_action"):
                return
        payload = self._payload("block_actions", person, self._newest(place))
        payload["actions"] = [action]
        view = place.id if isinstance(place, View) and not place.is_home else ""
        payload["trigger_id"] = self.workspace.trigger(person.id, view)
        await self.workspace.delivery.interaction(payload)

    def fill(
        self, user: str, place: Place, action_id: str, choice: Choice, *, block_id: str = ""
    ) -> None:
        """Fill in a field without sending anything."""
        place = self._newest(place)
        block, element = find(_blocks(place), action_id, block_id)
        entry = entry_of(element, choice)
        if isinstance(place, View):
            fields = {**place.state.get(block["block_id"], {}), action_id: entry}
            self.world.put_view(replace(place, state={**place.state, block["block_id"]: fields}))
            return
        key = (place.channel, place.ts, self._user(user).id)
        chosen = self.world.choices.setdefault(key, {})
        chosen[block["block_id"]] = {**chosen.get(block["block_id"], {}), action_id: entry}

    async def options(self, user: str, place: Place, action_id: str, typed: str) -> list[Json]:
        """What the app suggests in an external select for these letters."""
        person = self._user(user)
        place = self._newest(place)
        block, element = find(_blocks(place), action_id)
        if len(typed) < element.get("min_query_length", 3):
            return []
        payload = self._payload("block_suggestion", person, place)
        for key in ("response_url", "state"):
            payload.pop(key, None)
        payload |= {"action_id": action_id, "block_id": block["block_id"], "value": typed}
        answer = await self.workspace.delivery.interaction(payload)
        groups = [each for group in answer.get("option_groups", ()) for each in group["options"]]
        return list(answer.get("options", ())) + groups

    # Modals

    def modal(self, user: str) -> View | None:
        """The modal that the person sees."""
        stack = self.world.modals.get(self._user(user).id, [])
        return self.world.views[stack[-1]] if stack else None

    async def submit(self, user: str, values: dict[str, Choice] | None = None) -> Submitted:
        """Fill in fields of the open modal by their action ids and submit it."""
        person = self._user(user)
        for action_id, choice in (values or {}).items():
            self.fill(user, self._open_modal(user), action_id, choice)
        view = self._open_modal(user)
        blocks = view.body["blocks"]
        state = state_of(blocks, view.state)
        if errors := missing(blocks, state):
            return Submitted(errors=errors, view=view)
        payload = self._payload("view_submission", person, view)
        payload["trigger_id"] = self.workspace.trigger(person.id, view.id)
        for key in ("container", "state"):
            del payload[key]
        answer = await self.workspace.delivery.interaction(payload)
        return self._follow(view, answer)

    def _follow(self, view: View, answer: Json) -> Submitted:
        match answer.get("response_action"):
            case "errors":
                return Submitted(errors=answer["errors"], view=view)
            case "update" | "push" as how:
                if problems := view_problems(answer["view"]):
                    raise PersonCannot(f"Slack shows a warning: {problems}")
                if how == "push":
                    return Submitted(view=open_view(self.workspace, view.user, answer["view"]))
                return Submitted(view=replace_view(self.workspace, view, answer["view"]))
            case "clear":
                for id in tuple(self.world.modals.get(view.user, ())):
                    self.world.close_view(self.world.views[id])
            case _:
                self.world.close_view(view)
        return Submitted(view=self.modal(view.user))

    async def close(self, user: str) -> None:
        """Close the open modal; the app hears of it when it asked to."""
        view = self._open_modal(user)
        self.world.close_view(view)
        if view.body.get("notify_on_close"):
            payload = self._payload("view_closed", self._user(user), view)
            for key in ("container", "state"):
                del payload[key]
            await self.workspace.delivery.interaction(payload | {"is_cleared": False})

    def _open_modal(self, user: str) -> View:
        if view := self.modal(user):
            return view
        raise PersonCannot("No modal is open.")

    # Payloads

    def _payload(self, kind: str, person: User, place: Place) -> Json:
        world = self.world
        payload: Json = {
            "type": kind,
            "user": {
                "id": person.id,
                "username": person.name,
                "name": person.name,
                "team_id": world.team_id,
            },
            "api_app_id": world.app.id,
            "token": "playground-verification-token",
            "team": {"id": world.team_id, "domain": world.team_domain},
            "enterprise": None,
            "is_enterprise_install": False,
        }
        if isinstance(place, View):
            state = state_of(place.body["blocks"], place.state)
            view = view_json(world, replace(place, state=state))
            container = {"type": "view", "view_id": place.id}
            return payload | {"container": container, "view": view, "state": view["state"]}
        channel = world.channels[place.channel]
        container = {
            "type": "message",
            "message_ts": place.ts,
            "channel_id": place.channel,
            "is_ephemeral": isinstance(place, Ephemeral),
        }
        if place.thread_ts:
            container["thread_ts"] = place.thread_ts
        payload["container"] = container
        name = channel.name if channel.kind == "channel" else "directmessage"
        payload["channel"] = {"id": channel.id, "name": name}
        if isinstance(place, Message):
            payload["message"] = message_json(world, place)
        filled = world.choices.get((place.channel, place.ts, person.id), {})
        payload["state"] = {"values": state_of(place.blocks, filled)}
        hook = ResponseHook(
            user=person.id,
            channel=place.channel,
            ts=place.ts,
            at=world.clock(),
            thread_ts=place.thread_ts,
            ephemeral=isinstance(place, Ephemeral),
        )
        payload["response_url"] = self.workspace.hook(hook)
        return payload

    # Names

    def _user(self, name: str) -> User:
        return self.world.users.get(name) or self.world.user_named(name)

    def _channel(self, name: str, person: User) -> str:
        if name == f"@{self.world.app.name}":
            return self.world.direct_message(person.id).id
        known = name in self.world.channels
        return name if known else self.world.channel_named(name).id

    def _now(self, message: Message) -> Message:
        found = self.world.messages.get((message.channel, message.ts))
        if found is None:
            raise PersonCannot("The message is gone.")
        return found

    def _newest(self, place: Place) -> Place:
        """What stands at the place now, which may have been edited since it was seen."""
        if isinstance(place, Message):
            return self._now(place)
        if isinstance(place, View):
            found: Place | None = self.world.views.get(place.id)
        else:
            found = self.world.ephemerals.get((place.channel, place.ts))
        if found is None:
            raise PersonCannot("It is closed.")
        return found


def _blocks(place: Place) -> list[Json]:
    return place.body["blocks"] if isinstance(place, View) else list(place.blocks)
