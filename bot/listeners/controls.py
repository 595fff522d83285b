"""What people press: the card's menu, buttons, modals, the project picker, native Stop."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from agent.errors import Refused
from agent.run import RunId, Thread
from bot.inbox import deed_of
from bot.linking import Linking
from bot.listeners.desk import Place, where
from bot.listeners.mentions import PICK_SECONDS, Mentions
from bot.listeners.modals import open_modal
from bot.listeners.words import Words
from bot.people import People
from bot.records import Json
from bot.runs import Runs
from bot.slack import Slack
from bot.views import blocks as b
from bot.views import errors, link, talk
from bot.views import text as t

log = logging.getLogger("journeyman.listeners")


@dataclass(frozen=True, kw_only=True)
class Controls:
    slack: Slack
    people: People
    linking: Linking
    runs: Runs
    mentions: Mentions

    async def on_menu(self, body: Json) -> None:
        kind, _, subject = _action(body)["selected_option"]["value"].partition(":")
        if kind == "stop":
            run = _run(subject)
            await open_modal(
                self.slack,
                body,
                b.confirm_modal(
                    "stop_run",
                    _carried(body, run),
                    f"Stop run {run}?",
                    "Stop run",
                    "The running command is ended within a second. What has been done so far is "
                    "kept, and the run can be resumed.",
                ),
            )
        elif kind == "follow_up":
            await self._ask_text(body, subject, "Add instructions", "What should I know or do?")

    async def on_changes(self, body: Json) -> None:
        await self._ask_text(
            body, _action(body)["value"], "Request changes", "What should be different?"
        )

    async def on_hint(self, body: Json) -> None:
        await self._ask_text(
            body, _action(body)["value"], "Try again with a hint", "What did I miss?"
        )

    async def on_text_submitted(self, body: Json) -> None:
        text = body["view"]["state"]["values"]["text"]["text"]["value"] or ""
        person = await self.people.person(where(body).user)
        await self.runs.instruct(_submitted_run(body), text, person, message=deed_of(body))

    async def on_stop_submitted(self, body: Json) -> None:
        person = await self.people.person(where(body).user)
        await self.runs.stop(_submitted_run(body), person, how="menu", message=deed_of(body))

    async def on_stop(self, body: Json) -> None:
        person = await self.people.person(where(body).user)
        run, deed = _run(_action(body)["value"]), deed_of(body)
        await self.runs.stop(run, person, how="stop button", message=deed)

    async def on_native_stop(self, body: Json) -> None:
        place, pressed = where(body), str(body["event"]["event_ts"])
        thread = Thread(team=place.team, channel=place.channel, ts=place.thread_ts or "")
        await self.mentions.stop(thread, place.user, pressed, how="stop button")

    async def on_take_over(self, body: Json) -> None:
        person = await self.people.person(where(body).user)
        await self.runs.take_over(_run(_action(body)["value"]), person, message=deed_of(body))

    async def on_retry(self, body: Json) -> None:
        person = await self.people.person(where(body).user)
        await self.runs.retry(_run(_action(body)["value"]), person, message=deed_of(body))

    async def on_plan_approved(self, body: Json) -> None:
        person = await self.people.person(where(body).user)
        await self.runs.approve_plan(_run(_action(body)["value"]), person, message=deed_of(body))

    async def on_answer(self, body: Json) -> None:
        run, seq, index = (int(part) for part in _action(body)["value"].split(":"))
        person = await self.people.person(where(body).user)
        state = await self.runs.status(RunId(run))
        if state.question is None or state.question_seq != seq:
            raise Refused(errors.late_answer())
        choice = state.question.choices[index]
        await self.runs.answer(RunId(run), choice, person, message=deed_of(body), question=seq)

    async def on_hold_accepted(self, body: Json) -> None:
        """The service decides who may; the button only says which hold was seen."""
        run, seq = (int(part) for part in _action(body)["value"].split(":"))
        person = await self.people.person(where(body).user)
        await self.runs.lift(RunId(run), person, hold=seq, message=deed_of(body))

    async def on_feedback(self, body: Json) -> None:
        verdict, _, run = _action(body)["value"].partition(":")
        place = where(body)
        log.info("feedback", extra={"run": run, "verdict": verdict, "user": place.user})
        await self.slack.tell(
            place.channel, place.user, place.thread_ts, "Thank you, that is noted."
        )

    async def on_unlink(self, body: Json) -> None:
        """Only ever the own account: whoever presses it."""
        place = where(body)
        gone = await self.linking.unlink(place.user)
        await self.slack.tell(place.channel, place.user, place.thread_ts, link.unlinked(gone))

    async def on_pick(self, body: Json) -> None:
        """The request is read from the asker's own message again: the picker holds only its ts."""
        place, project = where(body), _action(body)["selected_option"]["value"]
        request = await self._picked(body, place)
        if project not in self.mentions.settings.allowed(place.channel):
            raise Refused(errors.not_allowed_here(project, ()))
        await self.mentions.start_picked(request, project)
        await self._show_choice(place, request, project)
        await self.mentions.undo(request, body)

    async def on_pick_cancelled(self, body: Json) -> None:
        place = where(body)
        request = await self._picked(body, place)
        await self.mentions.taking_back.picked(place.channel, place.user, request.ts)
        await self._refuse_begun(place, request)
        told = f"Cancelled by {t.user(place.user)}; nothing was started."
        await self.slack.edit(place.channel, place.ts, talk.picked(request.ts, told))
        await self._refuse_begun(place, request)  # it may have begun since
        await self.slack.unreact(place.channel, request.ts, "eyes")

    async def _refuse_begun(self, place: Place, request: Words) -> None:
        runs = await self.mentions.store.runs_of_thread(request.thread)
        for run in runs:
            if run.request.message == request.ts:
                await self._show_choice(place, request, run.request.project)
                raise Refused(errors.begun_already(run.id))

    async def _show_choice(self, place: Place, request: Words, project: str) -> None:
        told = f"{t.user(place.user)} chose {t.code(project)}."
        await self.slack.edit(place.channel, place.ts, talk.picked(request.ts, told))

    async def _picked(self, body: Json, place: Place) -> Words:
        asked = str(_action(body)["block_id"]).split(":")[1]
        thread = place.thread_ts or asked
        async for said in self.slack.thread(place.channel, thread):
            if said.ts == asked:
                if said.author != place.user:
                    raise Refused(errors.not_yours())
                if time.time() - float(asked) > PICK_SECONDS:
                    raise Refused(errors.expired())
                return Words(
                    team=place.team,
                    channel=place.channel,
                    user=said.author,
                    ts=asked,
                    text=said.text,
                    thread_ts=thread if thread != asked else None,
                    direct=place.channel.startswith("D"),
                )
        raise Refused(errors.gone())

    async def _ask_text(self, body: Json, subject: str, title: str, label: str) -> None:
        await open_modal(
            self.slack, body, b.input_modal("run_text", str(_run(subject)), title, "Send", label)
        )


def _action(body: Json) -> Json:
    return body["actions"][0]


def _carried(body: Json, run: RunId) -> str:
    """What a modal brings back: the run, and where to tell of a refusal."""
    place = where(body)
    return f"{run} {place.channel} {place.thread_ts}"


def _submitted_run(body: Json) -> RunId:
    return _run(body["view"]["private_metadata"].partition(" ")[0])


def _run(subject: str) -> RunId:
    number = subject.rpartition(":")[2]
    if not number.isdigit():
        raise Refused("That button belongs to no run, so nothing was done.")
    return RunId(int(number))
