"""Carries out what runs want done to GitLab: intent, act, outcome; and once only.

A worker proposes. Here, where the write credential is, everything is derived again from the
run's own log: project, branch, base branch, commit, text. Before anything is done, the log says
so; where it said so already, what stands there is read back instead of doing it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from agent.canaries import CREDENTIAL, Canaries
from agent.difference import read_patch
from agent.errors import (
    Conflict,
    ForgeRejected,
    ForgeUnavailable,
    GitFailed,
    Refused,
    Unavailable,
)
from agent.events import (
    CheckpointTaken,
    EffectDone,
    EffectFailed,
    EffectIntended,
    EffectKind,
    RunEnded,
    RunEvent,
    ToolReturned,
)
from agent.finish import finish_of
from agent.intents import KIND, Intent, LinkBack, PublishMergeRequest, Push, RetryJob
from agent.leaks import leaks
from agent.mergerequest import description, marker, note, title
from agent.ports import ForgeReader, ForgeWriter, MergeRequest, Store, Vault, Write
from agent.run import CommitSha, RunId
from agent.state import RunState, fold

#: GitLab shows a pushed branch to its merge requests up to 40 s later; in all 121 s.
BRANCH_LAG = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0)
#: For a GitLab that is down; in all about an hour.
OUTAGE = (*BRANCH_LAG, *(120.0,) * 30)


class _NotYet(Exception):
    """What was just made is not seen everywhere yet."""


class EffectExecutor:
    """`run_pending` is called when a run has intents, and again after each `Unavailable`."""

    def __init__(
        self,
        *,
        store: Store,
        vaults: Callable[[str], Vault],
        reader: ForgeReader,
        writer: ForgeWriter,
        public_url: str = "",
        canaries: Canaries | None = None,
    ) -> None:
        self._store = store
        self._vaults = vaults
        self._reader = reader
        self._writer = writer
        self._public_url = public_url
        self._canaries = canaries or Canaries()

    async def run_pending(self, run: RunId) -> None:
        """Raises `Unavailable` with `retry_after` when what is left has to wait."""
        pending = await self._store.pending_intents(run)
        for number, (key, intent) in enumerate(pending, 1):
            events = await self._store.events(run)
            outcome = await self._outcome(run, key, intent, events)
            wake = number == len(pending) or isinstance(outcome, EffectFailed)
            await self._store.settle(run, key, outcome, wake=wake)

    async def _outcome(
        self, run: RunId, key: str, intent: Intent, events: Sequence[RunEvent]
    ) -> EffectDone | EffectFailed:
        state = fold(events)
        kind = KIND[type(intent)]
        before = any(isinstance(e.payload, EffectIntended) and e.payload.key == key for e in events)
        if not before:
            subject = _subject(state, intent)
            await self._log(run, EffectIntended(key=key, effect=kind, subject=subject))
        try:
            match intent:
                case Push():
                    return await self._push(state, key, intent, before)
                case PublishMergeRequest():
                    return await self._publish(state, key, intent, events)
                case LinkBack():
                    return await self._link(state, key, intent, before)
                case RetryJob():
                    return await self._retry(state, key, intent)
                case _:
                    assert_never(intent)
        except _NotYet as lag:
            return await self._later(run, key, kind, events, str(lag), BRANCH_LAG)
        except (ForgeUnavailable, Unavailable) as outage:
            return await self._later(
                run, key, kind, events, str(outage), OUTAGE, at_least=outage.retry_after or 0
            )
        except (ForgeRejected, Refused, GitFailed) as refusal:
            return EffectFailed(key=key, effect=kind, problem=str(refusal))

    async def _later(
        self,
        run: RunId,
        key: str,
        kind: EffectKind,
        events: Sequence[RunEvent],
        problem: str,
        delays: Sequence[float],
        *,
        at_least: float = 0,
    ) -> EffectFailed:
        """The attempts are counted in the log, so that they survive a restart."""
        failed = sum(isinstance(e.payload, EffectFailed) and e.payload.key == key for e in events)
        if failed >= len(delays):
            return EffectFailed(key=key, effect=kind, problem=problem)
        delay = max(delays[failed], at_least)
        await self._log(run, EffectFailed(key=key, effect=kind, problem=problem, retry_in=delay))
        raise ForgeUnavailable(problem, retry_after=delay)

    async def _log(self, run: RunId, payload: EffectIntended | EffectFailed) -> None:
        await self._store.write(run, Write(payloads=(payload,)), actor="effects")

    # --- push ---

    async def _push(self, state: RunState, key: str, intent: Push, before: bool) -> EffectDone:
        commit, branch = intent.commit, _branch(state)
        _known(state, commit)
        await self._clean(state, commit)
        project = await self._reader.project(state.request.project)
        origin = self._writer.origin(project)
        vault = self._vaults(state.request.project)
        done = EffectDone(
            key=key,
            effect=EffectKind.PUSH,
            result=f"pushed {commit[:8]} to {branch}",
            url=f"{project.web_url}/-/tree/{branch}" if project.web_url else "",
        )
        if before and await vault.remote_head(origin, branch) == commit:
            return _found(done)
        if not await vault.has(commit):
            raise Refused(
                f"The commit {commit[:8]} is not on this machine. "
                "Its checkpoint is kept; `retry` makes it anew."
            )
        try:
            await vault.push(origin, commit, branch, expected=intent.expected)
        except ForgeRejected as refusal:
            # a push whose answer was lost on the way is repeated by git itself, and refused then
            head = await vault.remote_head(origin, branch)
            if head == commit:
                return _found(done)
            if not isinstance(refusal, Conflict):
                raise
            where = f"stands at {head[:8]}" if head else "is gone"
            raise Conflict(
                f"Somebody else changed the branch {branch} since the run last saw it (it {where} "
                "now). Nothing was overwritten, and the run's own work is kept. Take the commits "
                "from there, or delete the branch and say `retry`.",
                status=refusal.status,
            ) from refusal
        return done

    def _silent(self, *texts: str | bytes) -> None:
        if self._canaries.found_in(texts):
            raise Refused(CREDENTIAL)

    async def _clean(self, state: RunState, commit: CommitSha) -> None:
        """Here are other credentials than the worker's, so the change is searched once more."""
        if not self._canaries.secrets:
            return
        made = next(each for each in state.commits if each.commit == commit)
        events = await self._store.events(state.run)
        self._silent(made.title)
        for event in events:
            taken = event.payload
            if isinstance(taken, CheckpointTaken) and taken.tree == made.tree:
                patch = await self._store.body(state.run, taken.patch)
                diffs = read_patch(patch.decode("utf-8", "surrogateescape"))
                vault = self._vaults(state.request.project)
                if await leaks(self._canaries, vault, made.tree, diffs):
                    raise Refused(CREDENTIAL)
                return

    # --- merge request ---

    async def _publish(
        self,
        state: RunState,
        key: str,
        intent: PublishMergeRequest,
        events: Sequence[RunEvent],
    ) -> EffectDone:
        _known(state, intent.commit)
        pushed = Push(commit=intent.commit).key(state.run)
        if pushed not in {effect.key for effect in state.done_effects}:
            raise Refused("The branch could not be pushed, so there is no merge request for it.")
        if state.workspace is None:
            raise Refused("The run has no base branch, so there is nothing to merge into.")
        text = description(state, summary=_summary(events), public_url=self._public_url)
        self._silent(text, title(state))
        found = await self._standing(state)
        if found is not None:
            if found.description.strip() != text.strip():
                await self._writer.update_merge_request(found.project, found.iid, description=text)
            return _merge_request_done(key, found, found_before=True)
        try:
            made = await self._writer.open_merge_request(
                state.request.project,
                source=_branch(state),
                target=state.workspace.branch,
                title=title(state),
                description=text,
            )
        except Conflict as conflict:
            # One stands for the branch: our own, not seen a moment ago, or somebody else's.
            found = await self._standing(state)
            if found is None:
                raise _NotYet(str(conflict)) from conflict
            return _merge_request_done(key, found, found_before=True)
        except ForgeRejected as refusal:
            if refusal.status in (400, 404, 422):
                raise _NotYet(str(refusal)) from refusal
            raise
        return _merge_request_done(key, made, found_before=False)

    async def _standing(self, state: RunState) -> MergeRequest | None:
        """The run's own open merge request."""
        branch = _branch(state)
        listed = await self._reader.merge_requests(state.request.project, branch)
        opened = [request for request in listed if request.state == "opened"]
        if not opened:
            return None
        me = await self._writer.me()
        for request in opened:
            if request.author_id == me and marker(state.run) in request.description:
                return request
        raise Refused(
            f"A merge request that is not the run's own, !{opened[0].iid}, stands for the branch "
            f"{branch} already. Close it, then say `retry`."
        )

    # --- note ---

    async def _link(self, state: RunState, key: str, intent: LinkBack, before: bool) -> EffectDone:
        project = state.request.project
        where = "#" if intent.target == "issue" else "!"
        result = f"left a note on {where}{intent.iid}"
        done = EffectDone(key=key, effect=EffectKind.NOTE, result=result)
        if not any(
            (item.kind, item.iid) == (intent.target, intent.iid) for item in state.request.linked
        ):
            raise Refused(
                f"The request does not name {where}{intent.iid}, so no note is left there."
            )
        if before and await self._reader.has_note(
            project, intent.target, intent.iid, marker(state.run)
        ):
            return _found(done)
        text = note(state, public_url=self._public_url)
        self._silent(text)
        await self._writer.note(project, intent.target, intent.iid, text)
        return done

    # --- job ---

    async def _retry(self, state: RunState, key: str, intent: RetryJob) -> EffectDone:
        """One retry a job: a job of the run's own pipeline that is still red."""
        seen = state.pipeline
        if seen is None or seen.pipeline is None or seen.commit != intent.commit:
            raise Refused(f"Job {intent.job} is not of the run's newest pipeline.")
        if intent.job not in {job.id for job in seen.pipeline.jobs}:
            raise Refused(f"Job {intent.job} is not of the run's newest pipeline.")
        project = state.request.project
        again = await self._writer.retry_job(project, intent.job)
        return EffectDone(
            key=key,
            effect=EffectKind.RETRY_JOB,
            result=f"job {again.name} runs once more",
            url=again.url,
        )


def _branch(state: RunState) -> str:
    return f"agent/{state.run}"


def _known(state: RunState, commit: CommitSha) -> None:
    if commit not in {made.commit for made in state.commits}:
        raise Refused(f"The commit {commit[:8]} is not one of the run's own.")


def _subject(state: RunState, intent: Intent) -> str:
    match intent:
        case Push():
            return f"push {intent.commit[:8]} to {_branch(state)}"
        case PublishMergeRequest():
            return f"merge request for {_branch(state)}"
        case LinkBack():
            return f"note on {intent.target.replace('_', ' ')} {intent.iid}"
        case RetryJob():
            return f"run job {intent.job} once more"
        case _:
            assert_never(intent)


def _summary(events: Sequence[RunEvent]) -> str:
    """What the model said it did, round by round, untrusted. Answers to questions are left out."""
    told: list[str] = []
    newest = ""
    for event in events:
        match event.payload:
            case ToolReturned(tool="finish", ok=True, arguments=arguments):
                said = finish_of(arguments)
                newest = "" if said.answer else said.summary
            case RunEnded():
                told.append(newest)
                newest = ""
            case _:
                pass
    return "\n\n".join(dict.fromkeys(part for part in (*told, newest) if part))


def _found(done: EffectDone) -> EffectDone:
    return EffectDone(
        key=done.key, effect=done.effect, result=done.result, url=done.url, found=True
    )


def _merge_request_done(key: str, request: MergeRequest, *, found_before: bool) -> EffectDone:
    return EffectDone(
        key=key,
        effect=EffectKind.UPDATE_MERGE_REQUEST if found_before else EffectKind.OPEN_MERGE_REQUEST,
        result=f"!{request.iid}",
        url=request.url,
        iid=request.iid,
        found=found_before,
    )
