"""What people can do with runs. Each deed is idempotent by the message that asked for it."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace

from agent import failpoints
from agent.access import checked
from agent.changing import Change, changed, messages, set_going
from agent.decision import overtaken
from agent.errors import Conflict, ForgeRejected, ForgeUnavailable, Refused, StoreUnavailable
from agent.events import (
    HoldLifted,
    HoldRefused,
    InstructionGiven,
    Payload,
    QuestionAnswered,
    StatusChanged,
    StopAsked,
)
from agent.involved import involved
from agent.ports import ForgeReader, Store, Write
from agent.project import Projects, ProjectSettings
from agent.refusals import told_before
from agent.run import (
    ACTIVE,
    DEVELOPER,
    ENDED,
    MAINTAINER,
    PARKED,
    Linked,
    Person,
    Request,
    Run,
    RunId,
    RunStatus,
    ThreadMessage,
)
from agent.state import RunState, fold
from agent.takeover import taken_over

LINKS = 5  #: issues and merge requests that one request may bring along
_LINK = re.compile(r"/-/(?P<kind>issues|work_items|merge_requests)/(?P<iid>\d+)")


class RunService:
    """Checks each person's access to the project, live, and then changes the run."""

    def __init__(self, *, store: Store, forge: ForgeReader, projects: Projects) -> None:
        self._store = store
        self._forge = forge
        self._projects = projects

    async def start(
        self, request: Request, key: str = "", *, alone: bool = False, after: RunId | None = None
    ) -> Run:
        """Queues a run; the run that `key` (or the message) made before is given again. `alone`:
        where another one, begun after `after`, is under way in the thread, that one is given, and
        nothing begins."""
        project = self._projects(request.project)
        if project is None:
            raise Refused(
                f"`{request.project}` is not among the projects that I may work on. "
                "An operator can add it to journeyman.toml."
            )
        by = await self._checked(request.project, request.requester, "start runs on")
        linked = await self._linked(request)
        thread = request.thread
        key = key or f"{thread.team}:{thread.channel}:{request.message}"
        request = replace(request, requester=by, linked=linked)
        failpoints.reached("claim", "before_intent", StoreUnavailable)
        run, made = await self._store.create(key, request, project.limits, alone=alone, after=after)
        return await self._in_line(run, project) if made else run

    async def _in_line(self, run: Run, project: ProjectSettings) -> Run:
        """Says what the run waits for, when it has to."""
        working = ACTIVE - PARKED
        before = await self._store.runs(statuses=working, project=project.path)
        if len(before) >= project.max_runs:
            first = before[-1]
            reason = (
                f"Run {first.id} ({first.request.requester.name}) is working on `{project.path}`. "
                "This one begins when it is done."
            )
        elif (free := await self._store.free_places(besides=run.id)) is not None and free < 1:
            reason = (
                "As many runs are at work as may be at once, over all projects. This one begins "
                "when it is its turn."
            )
        else:
            return run
        told = StatusChanged(status=RunStatus.QUEUED, reason=reason)
        try:
            # once anything follows its acceptance, a worker may have claimed it
            write = Write(payloads=(told,))
            return await self._store.write(run.id, write, actor="service", expect_seq=1)
        except Conflict:
            return await self._store.run(run.id)  # it has begun meanwhile

    async def instruct(
        self, run: RunId, text: str, by: Person, *, message: str = "", answers: bool = True
    ) -> Run:
        """Adds to a run: between two steps while it works, else by queueing it again; once its
        merge request is merged or closed, as a run of its own. While its own requester is being
        asked something, it is the answer, unless it cannot be one: `answers`."""
        row = await self._store.run(run)
        if await self._has(run, message):
            return row
        by = await self._checked(row.request.project, by, "instruct runs on")
        own = answers and by.id == row.request.requester.id
        if own and (question := await self._question(row)):
            return await self.answer(run, text, by, message=message, question=question)
        delivers = row.status in (RunStatus.WAITING_FOR_APPROVAL, RunStatus.DELIVERING)
        if (row.status in ENDED or delivers) and not await self._continues(row):
            return await self._anew(row, text, by, message)
        given = InstructionGiven(text=text, by=by, message=message)

        def change(row: Run, state: RunState) -> tuple[Payload, ...]:
            gate = state.gate if row.status is RunStatus.WAITING_FOR_APPROVAL else None
            before = overtaken(gate, by) if gate else ()
            again = row.status in ENDED or state.held is not None or gate is not None
            return (*before, given, *((StatusChanged(status=RunStatus.QUEUED),) if again else ()))

        return await self._apply(run, by, message, change)

    async def approve_plan(self, run: RunId, by: Person, *, message: str = "") -> Run:
        row = await self._store.run(run)
        by = await self._checked(row.request.project, by, "approve plans on")
        text = "The plan is approved. Carry it out."
        given = InstructionGiven(text=text, by=by, message=message, approves=True)

        def change(row: Run, state: RunState) -> tuple[Payload, ...]:
            if not state.plan_stands:
                raise Refused("That plan is already being carried out, or was changed.")
            return (given, StatusChanged(status=RunStatus.QUEUED))

        return await self._apply(run, by, message, change)

    async def answer(
        self, run: RunId, text: str, by: Person, *, message: str = "", question: int = 0
    ) -> Run:
        """`question`: the `question_seq` that the person has seen."""
        row = await self._store.run(run)
        by = await self._checked(row.request.project, by, "answer questions about")
        answered = QuestionAnswered(text=text, by=by, message=message)

        def change(row: Run, state: RunState) -> tuple[Payload, ...]:
            waits = row.status is RunStatus.WAITING_FOR_ANSWER and state.question is not None
            if not waits or question not in (0, state.question_seq):
                told = "This question is no longer open; mention me to add something."
                raise Refused(told)
            return (answered, StatusChanged(status=RunStatus.QUEUED))

        return await self._apply(run, by, message, change)

    async def lift(self, run: RunId, by: Person, *, hold: int = 0, message: str = "") -> Run:
        """Accepts what holds the push. `hold`: the `held_seq` that the person has seen. Whatever
        else comes of the click is a refusal, and in the log."""
        row = await self._store.run(run)
        if told := told_before(await self._store.events(run), message):
            raise Refused(told)
        try:
            return await self._lift(row, by, hold, message)
        except (Refused, ForgeRejected, ForgeUnavailable) as error:
            told = str(error)
            if not isinstance(error, Refused):
                told = f"Your right to accept this could not be checked, so nothing was: {told}"
            refused = HoldRefused(by=by, reason=told, hold=hold, message=message)
            await self._store.write(run, Write(payloads=(refused,)), actor=by.id)
            raise Refused(told) from error

    async def _lift(self, row: Run, by: Person, hold: int, message: str) -> Run:
        project = row.request.project
        by = await self._checked(project, by, "accept changes of", MAINTAINER)
        settings = self._projects(project)
        reason = involved(await self._store.events(row.id)).includes(by)
        if reason and not (settings and settings.self_accept):
            raise Refused(
                f"You can't accept this. {reason} Another maintainer of `{project}` can, or "
                "`self_accept = true` in journeyman.toml lets you."
            )

        def change(row: Run, state: RunState) -> tuple[Payload, ...]:
            held = state.held
            if held is None or (hold and hold != state.held_seq):
                raise Refused("This is no longer held: the run has gone on, or has ended.")
            accepted = HoldLifted(tree=held.tree, by=by, violations=held.violations)
            why = f"Accepted by @{by.name}."
            on = StatusChanged(status=RunStatus.PUBLISHING, reason=why, message=message)
            return (accepted, on)

        return await self._apply(row.id, by, message, change)

    async def stop(self, run: RunId, by: Person, *, how: str, message: str = "") -> Run:
        """One that needs a person has ended: stopped, it does not hear comments any more."""
        row = await self._store.run(run)
        if row.status in ENDED - {RunStatus.ESCALATED}:
            return row
        if by.id != row.request.requester.id:
            by = await self._checked(row.request.project, by, "stop runs on")
        asked = StopAsked(by=by, how=how, message=message)
        if row.status is not RunStatus.ESCALATED:
            return await self._store.ask_stop(run, asked, actor=by.id)
        events = await self._store.events(run)
        state = fold(events)
        if state.stop is not None or message in messages(events):
            return row
        return await self._store.write(
            run, Write(payloads=(asked,)), actor=by.id, expect_seq=state.seq
        )

    async def take_over(self, run: RunId, by: Person, *, message: str = "") -> Run:
        """Gives branch and merge request to the person. The run ends there, and adds nothing
        more until somebody asks it to."""
        row = await self._store.run(run)
        if await self._has(run, message):
            return row
        by = await self._checked(row.request.project, by, "take over runs on")
        return await taken_over(self._store, self._forge, row, by, message)

    async def retry(self, run: RunId, by: Person, *, message: str = "") -> Run:
        """Sets a run that ended without success going again, from where it stood."""
        row = await self._store.run(run)
        if await self._has(run, message):
            return row
        by = await self._checked(row.request.project, by, "retry runs on")
        return await set_going(self._store, row, by, message=message)

    async def _has(self, run: RunId, message: str) -> bool:
        """Was it asked to do what this message says? It may have ended since then."""
        return message in messages(await self._store.events(run))

    async def status(self, run: RunId) -> RunState:
        return fold(await self._store.events(run))

    async def _question(self, run: Run) -> int:
        """The `question_seq` that it waits for an answer to; 0 too where a hold is to be lifted."""
        if run.status is not RunStatus.WAITING_FOR_ANSWER:
            return 0
        state = await self.status(run.id)
        return state.question_seq if state.question else 0

    async def _continues(self, run: Run) -> bool:
        """Is there still a branch to go on with, or nothing published yet?"""
        made = await self._forge.merge_requests(run.request.project, run.branch)
        return not made or made[0].state in ("opened", "locked")

    async def _anew(self, run: Run, text: str, by: Person, message: str) -> Run:
        old = run.request
        context = ThreadMessage(author=old.requester.name, text=old.text)
        request = Request(
            text=text,
            project=old.project,
            base_branch=old.base_branch,
            requester=by,
            thread=old.thread,
            message=message or f"{run.id}-{secrets.token_hex(4)}",
            context=(context,),
        )
        begun = await self.start(request, alone=True, after=run.id)
        if begun.request.message == request.message:
            return begun
        return await self.instruct(begun.id, text, by, message=message)  # somebody was faster

    async def _apply(
        self,
        run: RunId,
        by: Person,
        message: str,
        change: Change,
    ) -> Run:
        """Against the status that the run has at that very moment."""
        return await changed(self._store, run, by, change, message=message)

    async def _checked(
        self, project: str, by: Person, deed: str, needed: int = DEVELOPER
    ) -> Person:
        return await checked(self._forge, project, by, deed, needed)

    async def _linked(self, request: Request) -> tuple[Linked, ...]:
        """Issues and merge requests of this project that the request links to. Those of other
        projects are left alone: the person may not be allowed to read them."""
        if "/-/" not in request.text:
            return request.linked
        project = await self._forge.project(request.project)
        linked: list[Linked] = list(request.linked)
        for found in list(re.finditer(re.escape(project.web_url) + _LINK.pattern, request.text))[
            :LINKS
        ]:
            kind = "merge_request" if found["kind"] == "merge_requests" else "issue"
            iid = int(found["iid"])
            if any((item.kind, item.iid) == (kind, iid) for item in linked):
                continue
            try:
                linked.append(await self._forge.linked(request.project, kind, iid))
            except ForgeRejected:
                continue  # it is not there: the text of the link stays in the request
        return tuple(linked)
