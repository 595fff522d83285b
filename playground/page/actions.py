"""What a person does on the page, carried out in the stand-ins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from playground.gitlab.forge import Forge
from playground.gitlab.jobs import unplayable
from playground.gitlab.records import DEVELOPER
from playground.slack.interactions import PersonCannot
from playground.slack.people import People
from playground.slack.records import Ephemeral, Message, View
from playground.slack.socket_mode import NotAcknowledged

Json = dict[str, Any]
Place = Message | Ephemeral | View


#: why GitLab does not let a job be run
_PLAY = {
    400: "This job cannot be run now: it ran already, or waits for approvals.",
    403: "GitLab does not let you run this job: its branch or environment is protected.",
}


class Refused(Exception):
    """A sentence for the person on the page."""


class Actions:
    """Each method takes the request's body; `user` in it is whom the visitor acts as."""

    def __init__(self, people: People, forge: Forge) -> None:
        self._people = people
        self._forge = forge
        self._known: dict[str, Callable[[Json], Awaitable[Json]]] = {
            "post": self._post,
            "react": self._react,
            "unreact": self._unreact,
            "stop": self._stop,
            "block_action": self._block_action,
            "suggest": self._suggest,
            "submit_view": self._submit_view,
            "close_view": self._close_view,
            "open_home": self._open_home,
            "play_job": self._play_job,
        }

    async def do(self, body: Json) -> Json:
        """Raises Refused, KeyError for what is missing, LookupError for what is gone."""
        if body["user"] not in self._people.world.users:
            raise LookupError("There is no such person in the workspace.")
        try:
            return await self._known[body["do"]](body)
        except PersonCannot as cannot:
            raise Refused(str(cannot)) from cannot
        except NotAcknowledged as silent:
            raise Refused(
                "The agent did not answer in time. Nothing is lost: try again in a moment."
            ) from silent

    async def _post(self, body: Json) -> Json:
        text = str(body["text"]).strip()
        if not text:
            raise Refused("There is nothing to send.")
        message = self._people.post(
            body["user"], body["channel"], text, thread_ts=body.get("thread_ts") or ""
        )
        return {"ts": message.ts}

    async def _react(self, body: Json) -> Json:
        message = self._message(body)
        if body["user"] not in message.reactions.get(body["name"], ()):
            self._people.react(body["user"], message, body["name"])
        return {}

    async def _unreact(self, body: Json) -> Json:
        self._people.unreact(body["user"], self._message(body), body["name"])
        return {}

    async def _stop(self, body: Json) -> Json:
        self._people.stop(body["user"], body["channel"], body["thread_ts"])
        return {}

    async def _block_action(self, body: Json) -> Json:
        await self._people.click(
            body["user"],
            self._place(body),
            body["action_id"],
            body.get("choice"),
            block_id=body.get("block_id") or "",
        )
        return {}

    async def _suggest(self, body: Json) -> Json:
        options = await self._people.options(
            body["user"], self._place(body), body["action_id"], str(body.get("value", ""))
        )
        return {"options": options}

    async def _submit_view(self, body: Json) -> Json:
        user = body["user"]
        view = self._people.modal(user)
        if view is None or view.id != body["view"]:
            raise Refused("This dialog is closed already.")
        for block_id, fields in body["values"].items():
            for action_id, choice in fields.items():
                self._people.fill(user, view, action_id, choice, block_id=block_id)
        submitted = await self._people.submit(user)
        return {"errors": submitted.errors}

    async def _close_view(self, body: Json) -> Json:
        view = self._people.modal(body["user"])
        if view is not None and view.id == body["view"]:
            await self._people.close(body["user"])
        return {}

    async def _open_home(self, body: Json) -> Json:
        self._people.open_home(body["user"], body.get("tab", "home"))
        return {}

    async def _play_job(self, body: Json) -> Json:
        project = self._forge.state.project_by(body["project"])
        user = self._forge.state.user_by_name(self._people.world.users[body["user"]].name)
        if project is None or user is None:
            raise Refused("GitLab does not know this project or this person.")
        if self._forge.state.access(project, user) < DEVELOPER:
            raise Refused("Only Developers of the project may run its jobs.")
        for pipeline in project.pipelines.values():
            for job in pipeline.jobs:
                if job.id == int(body["job"]):
                    refusal = unplayable(self._forge, project, pipeline, job, user)
                    if refusal is not None:
                        raise Refused(_PLAY[refusal.status])
                    self._forge.pipelines.play(project, pipeline, job, user)
        return {}

    def _message(self, body: Json) -> Message:
        message = self._people.world.messages.get((body["channel"], body["ts"]))
        if message is None:
            raise Refused("The message is gone.")
        return message

    def _place(self, body: Json) -> Place:
        world = self._people.world
        if "view" in body:
            place: Place | None = world.views.get(body["view"])
        else:
            key = (body["channel"], body["ts"])
            place = world.messages.get(key)
            if place is None and (seen := world.ephemerals.get(key)) is not None:
                place = seen if seen.user == body["user"] else None
        if place is None:
            raise Refused("This is not there any more.")
        return place
