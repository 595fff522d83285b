"""What people write: to the bot, or as an answer to its question."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from agent.errors import Refused
from agent.freeze import EVERYWHERE
from agent.gatekeeper import Cards
from agent.ports import Store
from agent.run import ENDED, Request, Run, RunId, RunStatus, Thread, ThreadMessage
from bot import command, once
from bot.command import Command, Verb
from bot.linking import Linking
from bot.listeners.nights import NightControls
from bot.listeners.operators import DEEDS, Operators
from bot.listeners.taking_back import BEGINS, TakingBack
from bot.listeners.words import Words
from bot.people import People
from bot.records import Json
from bot.runs import Runs
from bot.settings import Settings
from bot.slack import Identity, Slack
from bot.views import errors, freeze, talk
from bot.views.thread import sign
from bot.views.words import Links

_EARLIER = 50  # messages of the thread that become the request's context
_OPEN = frozenset(RunStatus) - ENDED
PICK_SECONDS = 3600


@dataclass(frozen=True, kw_only=True)
class Mentions:
    settings: Settings
    identity: Identity
    slack: Slack
    people: People
    linking: Linking
    runs: Runs
    operators: Operators
    store: Store
    links: Links
    nights: NightControls
    cards: Cards
    taking_back: TakingBack

    async def on_message(self, body: Json) -> None:
        said = Words.of(body)
        if command.mentions(said.text, self.identity.user) or said.direct:
            if said.direct and not command.mentions(said.text, self.identity.user):
                run = await self._run_of(said)
                if run and await self._answered(run, said):
                    return
            parsed = command.parse(said.text, self.identity.user)
            await self._obey(said, parsed)
            if parsed.verb in BEGINS:
                await self.undo(said, body)
        elif said.thread_ts and (run := await self._run_of(said)):
            await self._answered(run, said)

    async def start_picked(self, said: Words, project: str) -> None:
        """The asker chose a project for a message that named none."""
        parsed = command.parse(said.text, self.identity.user)
        if parsed.verb in DEEDS:
            await self.operators.obey(said.thread, said.user, parsed, project, said.ts)
        else:
            await self._start(said, parsed, project)

    async def stop(self, thread: Thread, user: str, ts: str, *, how: str) -> None:
        """Of the thread's runs the newest, but for those asked for since `ts`: the word may come
        again, or late. What the same person asked for before, and waits, is taken back."""
        dropped = await self.taking_back.said(thread, user, ts)
        runs = await self.store.runs_of_thread(thread)
        run = next((each for each in runs if each.asked_before(ts)), None)
        if run is not None and run.status not in ENDED:
            by = await self.people.person(user)
            await self.runs.stop(run.id, by, how=how, message=ts)
        elif dropped:
            await self.slack.tell(thread.channel, user, thread.ts, errors.taken_back())
        else:
            raise Refused(_not_stopped(run, runs))

    async def undo(self, said: Words, body: Json) -> None:
        """Stops what has begun in the very moment in which it was taken back."""
        if await self.taking_back.done(body):
            run = await self._run_of(said)
            if run and run.status not in ENDED:
                await self.runs.stop(run.id, await self.people.person(said.user), how="mention")

    async def _obey(self, said: Words, parsed: Command) -> None:
        match parsed.verb:
            case Verb.ASIDE:
                return
            case Verb.HELP:
                await self._tell(said, talk.HELP)
            case Verb.SETTINGS:
                shown = self._settings_text(said.channel)
                await self.linking.tell_settings(said.user, said.channel, said.thread_ts, shown)
            case Verb.MAINTENANCE:
                told = await self.nights.standing(said.channel)
                await self._tell(said, told)
            case Verb.STATUS:
                await self._tell(said, await self._status(said))
            case Verb.STOP:
                await self.stop(said.thread, said.user, said.ts, how="mention")
            case Verb.RETRY:
                run = await self._run_here(said)
                by = await self.people.person(said.user)
                await self.runs.retry(run.id, by, message=said.ts)
            case Verb.FREEZE | Verb.UNFREEZE | Verb.STOP_ALL:
                await self._operate(said, parsed)
            case Verb.START | Verb.NEW:
                await self._ask_or_begin(said, parsed)
            case _:
                assert_never(parsed.verb)

    async def _operate(self, said: Words, parsed: Command) -> None:
        run = await self._run_of(said) if said.thread_ts else None
        scope = EVERYWHERE if parsed.everywhere else await self._project(said, parsed, run)
        if scope is not None:
            await self.operators.obey(said.thread, said.user, parsed, scope, said.ts)

    async def _ask_or_begin(self, said: Words, parsed: Command) -> None:
        seen = asyncio.create_task(self._seen(said))
        try:
            run = await self._run_of(said) if said.thread_ts else None
            if run and parsed.verb is Verb.START:
                await self._follow_up(run, said, parsed)
            elif project := await self._project(said, parsed, run):
                await self._start(said, parsed, project)
        except Refused:
            await seen
            await self.slack.unreact(said.channel, said.ts, "eyes")
            raise
        finally:
            await seen

    async def _seen(self, said: Words) -> None:
        """The first sign of life; none beside a later one, which a message that came again may
        have, and one whose first sign Slack took late."""
        runs = await self.store.runs_of_thread(said.thread)
        if all(run.request.message != said.ts for run in runs):
            await self.slack.react(said.channel, said.ts, "eyes")
        for run in await self.store.runs_of_thread(said.thread, limit=1):
            if sign(await self.runs.status(run.id), said.ts) != "eyes":
                await self.slack.unreact(said.channel, said.ts, "eyes")

    async def _follow_up(self, run: Run, said: Words, parsed: Command) -> None:
        if run.request.message == said.ts:
            return  # the run began with it: the delivery has come again
        if parsed.project and parsed.project != run.request.project:
            raise Refused(errors.other_project(run.request.project))
        if parsed.branch or parsed.model or parsed.plan_only:
            raise Refused(errors.bound())
        person = await self.people.person(said.user)
        if question := await self._question(run, said):
            await self.runs.answer(run.id, parsed.text, person, message=said.ts, question=question)
        else:
            await self.runs.instruct(run.id, parsed.text, person, message=said.ts, answers=False)

    async def _answered(self, run: Run, said: Words) -> bool:
        """A plain reply by the asker answers the question that stands."""
        aside = command.is_aside(said.text, self.identity.user)
        if aside or run.request.message == said.ts:
            return False
        question = await self._question(run, said)
        if not question:
            return False
        person, text = await self.people.person(said.user), command.plain(said.text)
        await self.runs.answer(run.id, text, person, message=said.ts, question=question)
        await self.slack.react(said.channel, said.ts, "white_check_mark")
        return True

    async def _question(self, run: Run, said: Words) -> int:
        """The `question_seq` that stands for this very person, 0: none. What was said before the
        question was seen is no answer to it, and what is held waits for a button."""
        waits = run.status is RunStatus.WAITING_FOR_ANSWER
        if not waits or said.user != run.request.requester.id:
            return 0
        state = await self.runs.status(run.id)
        if state.question is None:
            return 0
        shown = await self.cards(run.id, f"question:{state.question_seq}")
        asked = shown.message if shown else await self._written(run.id, state.question_seq)
        return state.question_seq if said.ts > asked else 0

    async def _written(self, run: RunId, seq: int) -> str:
        """By the clock of the database, as near to Slack's as the two are set."""
        (event, *_) = await self.store.events(run, after=seq - 1)
        return f"{event.at.timestamp():.6f}"

    async def _start(self, said: Words, parsed: Command, project: str) -> None:
        entry = self.settings.project(project)
        person, context = await asyncio.gather(self.people.person(said.user), self._context(said))
        run = await self.runs.start(
            Request(
                text=parsed.text,
                project=project,
                base_branch=parsed.branch or entry.default_branch,
                requester=person,
                thread=said.thread,
                message=said.ts,
                model=parsed.model,
                plan_only=parsed.plan_only or entry.plan_approval,
                context=context,
            ),
            alone=parsed.verb is not Verb.NEW,
        )
        await self._follow_up(run, said, parsed)  # where more was said before this could begin

    async def _project(self, said: Words, parsed: Command, run: Run | None) -> str | None:
        """Option, thread, channel default, the only one allowed; else asks. Never a guess."""
        allowed = self.settings.allowed(said.channel)
        if not allowed:
            raise Refused(errors.no_projects())
        if parsed.project:
            if parsed.project not in allowed:
                raise Refused(errors.not_allowed_here(parsed.project, allowed))
            return parsed.project
        if run and run.request.project in allowed:
            return run.request.project
        default = self.settings.default_project(said.channel)
        if default or len(allowed) == 1:
            return default or allowed[0]
        await self.people.person(said.user)  # whoever may not start anything is told so first
        picker = talk.picker(said.ts, said.user, allowed, parsed.text or parsed.verb)
        await once.answer(self.slack, said.thread, picker, f"pick:{said.ts}")
        return None

    async def _context(self, said: Words) -> tuple[ThreadMessage, ...]:
        """What was said in the thread before: record, never instruction."""
        if not said.thread_ts:
            return ()
        earlier = [
            ThreadMessage(author=message.author or "app", text=command.plain(message.text))
            async for message in self.slack.thread(said.channel, said.thread_ts)
            if message.ts < said.ts
            and message.mark is None
            and message.text
            and not command.is_aside(message.text, self.identity.user)
        ]
        return tuple(earlier[-_EARLIER:])

    async def _status(self, said: Words) -> str:
        run = await self._run_of(said) if said.thread_ts else None
        if run:
            told = talk.status(await self.runs.status(run.id), self.links)
            held = freeze.standing(await self.operators.freezes(run.request.project))
            return f"{told}\n{held}".strip()
        allowed = self.settings.allowed(said.channel)
        open_runs = [
            r for r in await self.store.runs(statuses=_OPEN) if r.request.project in allowed
        ]
        held = freeze.standing(await self.operators.freezes(*allowed))
        return f"{held}\n{talk.running(open_runs, self.links)}".strip()

    def _settings_text(self, channel: str) -> str:
        return talk.settings(
            self.settings.allowed(channel),
            self.settings.default_project(channel),
            self.settings.project(self.settings.default_project(channel) or "").limits,
        )

    async def _run_here(self, said: Words) -> Run:
        run = await self._run_of(said)
        if run is None:
            raise Refused(errors.no_run())
        return run

    async def _run_of(self, said: Words) -> Run | None:
        """The one that the message has begun already, else the newest of the thread."""
        runs = await self.store.runs_of_thread(said.thread)
        begun = (run for run in runs if run.request.message == said.ts)
        return next(begun, runs[0] if runs else None)

    async def _tell(self, said: Words, text: str) -> None:
        await self.slack.tell(said.channel, said.user, said.thread_ts, text)


def _not_stopped(run: Run | None, runs: Sequence[Run]) -> str:
    if runs and runs[0].status not in ENDED:
        return errors.begun_since(runs[0].id)
    return errors.ended(run.id) if run else errors.no_run()
