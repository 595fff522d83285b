"""What people press at a gate and after a merge: approve, reject, promote, revert, ask again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.errors import JourneymanError, Refused, Unavailable, Unrecorded
from agent.gate import Click, Deed, GateId, Place
from agent.run import Person, RunId, Thread
from bot.inbox import deed_of
from bot.listeners.desk import where
from bot.listeners.modals import open_modal
from bot.people import People
from bot.records import Json, record
from bot.runs import Gates
from bot.slack import Slack
from bot.views import reject

UNSURE = (
    "I could not bring this to its end: {} As long as the request in the thread waits for you, "
    "nothing was decided: press it again later."
)


@dataclass(frozen=True, kw_only=True)
class GateControls:
    """The button says which gate; everything else is checked by the engine against the log."""

    slack: Slack
    people: People
    gates: Gates

    async def on_approve(self, body: Json) -> None:
        at = where(body)
        place = Place(team=at.team, channel=at.channel, message=at.ts)
        await self._decide(body, GateId(_value(body)), "approve", place)

    async def on_reject(self, body: Json) -> None:
        """Asks for the reason; the rejection itself is checked when that is sent."""
        at = where(body)
        view = reject.modal(GateId(_value(body)), at.channel, at.thread_ts or "", at.ts)
        await open_modal(self.slack, body, view)

    async def on_rejected(self, body: Json) -> None:
        view = record(body.get("view"))
        carried = reject.carried(view)
        at = where(body)
        place = Place(team=at.team, channel=at.channel, message=carried.message)
        reason, revise = reject.submitted(view)
        await self._decide(body, carried.gate, "reject", place, reason, revise)

    async def on_promote(self, body: Json) -> None:
        await self._begin(body, "promotion")

    async def on_revert(self, body: Json) -> None:
        await self._begin(body, "revert")

    async def on_again(self, body: Json) -> None:
        person = await self.people.person(where(body).user)
        run, deed = _run(_value(body)), deed_of(body)
        await self.gates.ask_again(run, person, thread=_thread(body), message=deed)

    async def _decide(
        self,
        body: Json,
        gate: GateId,
        deed: Deed,
        place: Place,
        reason: str = "",
        revise: bool = False,
    ) -> None:
        try:
            person = await self._person(body, gate, deed)
            click = Click(
                gate=gate,
                deed=deed,
                by=person,
                place=place,
                reason=reason,
                revise=revise,
                message=deed_of(body),
            )
            await self.gates.decide(click)
        except Unavailable as error:  # a click is never carried out later, unseen
            raise Unrecorded(UNSURE.format(error)) from error

    async def _person(self, body: Json, gate: GateId, deed: Deed) -> Person:
        """Whoever may not speak for themselves here at all is on record, too."""
        user = where(body).user
        try:
            return await self.people.person(user)
        except JourneymanError as refusal:
            name = str(record(body.get("user")).get("username", "")) or user
            stranger = Person(id=user, name=name)
            told = str(refusal)
            await self.gates.refused(gate, stranger, deed, "person", told, message=deed_of(body))
            raise

    async def _begin(self, body: Json, kind: Literal["promotion", "revert"]) -> None:
        person = await self.people.person(where(body).user)
        run, deed = _run(_value(body)), deed_of(body)
        await self.gates.begin(run, kind, person, thread=_thread(body), message=deed)


def _run(value: str) -> RunId:
    if not value.isdigit():
        raise Refused("That button belongs to no run, so nothing was done.")
    return RunId(int(value))


def _thread(body: Json) -> Thread:
    at = where(body)
    return Thread(team=at.team, channel=at.channel, ts=at.thread_ts or "")


def _value(body: Json) -> str:
    return str(body["actions"][0]["value"])
