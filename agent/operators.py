"""What operators and maintainers can do to all runs at once: freeze, unfreeze, stop."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from agent.access import checked
from agent.changing import messages
from agent.errors import ForgeRejected, Refused, Unavailable
from agent.events import StopAsked
from agent.freeze import EVERYWHERE, Freeze, OperatorDeed, OperatorEvent
from agent.ports import ForgeReader, Store
from agent.project import Projects
from agent.run import CLOCKS, ENDED, MAINTAINER, Person, Run, RunStatus

OPEN = frozenset(RunStatus) - ENDED
_ALL = 100_000  # runs that one word may stop
_LATEST = 500  # of those that have ended, the ones that it may have stopped before
_WORDS: dict[OperatorDeed, str] = {
    "freeze": "freeze",
    "unfreeze": "unfreeze",
    "stop_all": "stop all runs of",
}


class OperatorService:
    """A project's maintainers, by GitLab's live word, may do it to their project; everywhere only
    `operators` may, who are listed by their GitLab ids. What was done is recorded, and so is what
    was refused. `scope`: path of a project, or `EVERYWHERE`."""

    def __init__(
        self, *, store: Store, forge: ForgeReader, projects: Projects, operators: Collection[int]
    ) -> None:
        self._store = store
        self._forge = forge
        self._projects = projects
        self._operators = frozenset(operators)

    async def freeze(
        self, scope: str, by: Person, reason: str = "", *, said: datetime | None = None
    ) -> Freeze:
        """Gives the freeze that stands then: of two of one scope the first one. As often as what
        was `said` comes, it is done once."""
        by = await self._allowed("freeze", scope, by, reason)
        return await self._store.freeze(scope, by, reason, said)

    async def unfreeze(
        self, scope: str, by: Person, reason: str = "", *, said: datetime | None = None
    ) -> Freeze | None:
        """None: the scope itself was not frozen. As often as what was `said` comes, it is done
        once."""
        by = await self._allowed("unfreeze", scope, by, reason)
        return await self._store.unfreeze(scope, by, reason, said)

    async def stop_all(self, scope: str, by: Person, *, message: str = "") -> Sequence[Run]:
        """Stops every run of the scope that has not ended, and gives them, newest first. `message`:
        ts of the one that said so; it stops nothing that was asked for since, however often it
        comes."""
        by = await self._allowed("stop_all", scope, by)
        await self._store.record(OperatorEvent(deed="stop_all", scope=scope, by=by))
        before = await self._stopped(scope, message) if message else []
        runs = await self._store.runs(statuses=OPEN, project=scope or None, limit=_ALL)
        asked = StopAsked(by=by, how="stop all", message=message)
        stopped = [
            await self._store.ask_stop(run.id, asked, actor=by.id)
            for run in runs
            if not message or run.asked_before(message)
        ]
        meant = [run for run in stopped if run.cancel]  # else it was set going again since
        return sorted((*before, *meant), key=lambda run: run.id, reverse=True)

    async def _stopped(self, scope: str, message: str) -> list[Run]:
        """What has ended by this very message before."""
        ended = await self._store.runs(statuses=ENDED, project=scope or None, limit=_LATEST)
        since = float(message) - CLOCKS
        return [
            run
            for run in ended
            if run.updated_at.timestamp() > since
            and message in messages(await self._store.events(run.id))
        ]

    async def refuse(
        self, deed: OperatorDeed, scope: str, by: Person, refusal: str, reason: str = ""
    ) -> None:
        """Records that somebody was not even somebody who might ask."""
        event = OperatorEvent(deed=deed, scope=scope, by=by, reason=reason, refused=refusal)
        await self._store.record(event)

    async def freezes(self) -> Sequence[Freeze]:
        return await self._store.freezes()

    async def _allowed(
        self, deed: OperatorDeed, scope: str, by: Person, reason: str = ""
    ) -> Person:
        try:
            return await self._checked(deed, scope, by)
        except Refused as refusal:
            await self.refuse(deed, scope, by, str(refusal), reason)
            raise

    async def _checked(self, deed: OperatorDeed, scope: str, by: Person) -> Person:
        if scope == EVERYWHERE:
            return self._operator(deed, by)
        if self._projects(scope) is None:
            raise Refused(
                f"`{scope}` is not among the projects that I may work on, so nothing was done. "
                "`settings` lists those of a channel."
            )
        try:
            return await checked(self._forge, scope, by, _WORDS[deed], MAINTAINER)
        except (Unavailable, ForgeRejected) as error:
            raise Refused(
                f"I can't check whether you may {_WORDS[deed]} `{scope}`: {error} Nothing was "
                "done. Try again in a moment; operators can do it everywhere without GitLab."
            ) from error

    def _operator(self, deed: OperatorDeed, by: Person) -> Person:
        if by.gitlab_id is not None and by.gitlab_id in self._operators:
            return replace(by, access=0)
        raise Refused(
            f"You can't {_WORDS[deed]} everything: only operators can, whose GitLab user ids are "
            "listed as `operators` in journeyman.toml. Nothing was done. A maintainer of a "
            "project can do it for that project: name it with `project=group/name`."
        )
