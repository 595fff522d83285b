"""Words that concern all runs of a project, or of every project: freeze, unfreeze, stop all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.errors import Refused
from agent.freeze import Freeze, OperatorDeed
from agent.run import Person, Thread
from bot import once
from bot.command import Command, Verb
from bot.people import People
from bot.runs import Operating
from bot.slack import Slack
from bot.views import freeze as view
from bot.views.words import Links

DEEDS: Mapping[Verb, OperatorDeed] = {
    Verb.FREEZE: "freeze",
    Verb.UNFREEZE: "unfreeze",
    Verb.STOP_ALL: "stop_all",
}


@dataclass(frozen=True, kw_only=True)
class Operators:
    slack: Slack
    people: People
    operating: Operating
    links: Links

    async def obey(
        self, thread: Thread, user: str, parsed: Command, scope: str, message: str
    ) -> None:
        """Everybody in the thread sees the answer, once for each `message` (its ts); a refusal is
        for the one who asked."""
        deed, reason = DEEDS[parsed.verb], parsed.text
        said = datetime.fromtimestamp(float(message), UTC)
        person = await self._person(deed, scope, user, reason)
        match deed:
            case "freeze":
                stands = await self.operating.freeze(scope, person, reason, said=said)
                answer = view.frozen(stands, person)
            case "unfreeze":
                ended = await self.operating.unfreeze(scope, person, reason, said=said)
                answer = view.thawed(ended, scope, person, await self.freezes(scope))
            case "stop_all":
                runs = await self.operating.stop_all(scope, person, message=message)
                answer = view.stopped(runs, scope, person, self.links)
        await once.answer(self.slack, thread, answer, f"operators:{message}")

    async def freezes(self, *scopes: str) -> Sequence[Freeze]:
        """What holds these projects, that of everything included."""
        return [each for each in await self.operating.freezes() if each.scope in ("", *scopes)]

    async def _person(self, deed: OperatorDeed, scope: str, user: str, reason: str) -> Person:
        try:
            return await self.people.person(user)
        except Refused as refusal:
            nobody = Person(id=user, name=user)
            await self.operating.refuse(deed, scope, nobody, str(refusal), reason)
            raise
