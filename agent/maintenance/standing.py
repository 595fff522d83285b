"""What earlier nights have put before people, and what became of it: asked of GitLab itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from agent.errors import NotFound
from agent.events import EffectKind
from agent.intents import Push
from agent.journal import digest_of
from agent.maintenance.night import Task
from agent.ports import ForgeReader, MergeRequest, Origin, Store, Vault
from agent.run import (
    ACTIVE,
    ENDED,
    PARKED,
    CommitSha,
    Digest,
    Follows,
    Run,
    RunId,
    RunStatus,
    Thread,
)
from agent.state import RunState, fold

REMEMBERED = 50  #: runs of one kind
_AT_WORK = (ACTIVE - PARKED) | {RunStatus.QUEUED}


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Where it is looked up. `forge` None: there are no merge requests, only the log tells."""

    store: Store
    vault: Vault
    forge: ForgeReader | None
    origin: Callable[[str], Awaitable[Origin]]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A merge request of a kind, and the newest run that has brought it up to date."""

    run: Run
    request: MergeRequest


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Of one kind. `waits`: why nothing of it may be published now, a sentence; `run` is the one
    that is meant, or whose merge request may be taken over."""

    run: Run | None = None
    waits: str = ""
    follows: Follows | None = None  #: what a new run may take over
    shown: Digest | None = None  #: the difference that stands on its branch
    closed: tuple[Published, ...] = ()  #: by people, and not merged
    runs: tuple[Run, ...] = ()  #: of the nights before, newest first
    stand: tuple[Run, ...] = ()  #: of them the newest on each branch, but for what came to nothing

    @property
    def after(self) -> RunId:
        """The newest run: two nights that have seen the same one make the same next one."""
        return self.runs[0].id if self.runs else RunId(0)


def thread_of(project: str, task: Task, kind: str) -> Thread:
    """All runs of a kind belong together, as those of a conversation do."""
    name = digest_of(f"{project}\0{task}\0{kind}".encode("utf-8", "surrogateescape"))
    return Thread(team="", channel="", ts=f"night:{task}:{name[:40]}")


async def standing(
    registry: Registry, project: str, target: str, task: Task, kind: str
) -> Standing:
    """Raises `ForgeUnavailable`: nothing may be concluded then. `target`: the base branch."""
    thread = thread_of(project, task, kind)
    runs = await registry.store.runs_of_thread(thread, limit=REMEMBERED)
    states = [(run, fold(await registry.store.events(run.id))) for run in runs]
    found, closed = Standing(), list[Published]()
    for run, state, request in await _looked_up(registry, states):
        if request is None and run.status in _AT_WORK and found.run is None:
            told = f"Run {run.id}, of an earlier night, is still at work on this."
            found = Standing(run=run, waits=told)
        elif request is not None and request.state == "closed":
            closed.append(Published(run=run, request=request))
        elif request is not None and request.state != "merged" and found.run is None:
            found = await _open(registry, states, run, state, request, target)
    stand = {run.branch: run for run, state in reversed(states) if not _nothing(run, state)}
    return replace(
        found, closed=tuple(closed), runs=tuple(runs), stand=tuple(reversed(stand.values()))
    )


async def _looked_up(
    registry: Registry, states: Sequence[tuple[Run, RunState]]
) -> list[tuple[Run, RunState, MergeRequest | None]]:
    """Each merge request with the newest run that had it; None for a run that has none yet."""
    found: list[tuple[Run, RunState, MergeRequest | None]] = []
    known: set[int] = set()
    for run, state in states if registry.forge else ():
        iid = _iid(state)
        if iid is None:
            found.append((run, state, None))
        elif iid not in known:
            known.add(iid)
            assert registry.forge is not None
            with suppress(NotFound):
                request = await registry.forge.merge_request(run.request.project, iid)
                found.append((run, state, request))
    return found


def _iid(state: RunState) -> int | None:
    return state.merge_request.iid if state.merge_request else None


def _nothing(run: Run, state: RunState) -> bool:
    """It has ended without having put anything before people, and may be tried once more."""
    broke = run.status in (RunStatus.FAILED, RunStatus.CANCELLED)
    return _iid(state) is None and run.status in ENDED and (broke or bool(run.request.follows))


async def _open(
    registry: Registry,
    states: Sequence[tuple[Run, RunState]],
    run: Run,
    state: RunState,
    request: MergeRequest,
    target: str,
) -> Standing:
    assert registry.forge is not None
    name = f"!{request.iid}"
    if why := next(_reasons(run, state, request, target), ""):
        return Standing(run=run, waits=f"{name} {why}.")
    if approvers := await registry.forge.approvers(request.project, request.iid):
        who = " and ".join(f"@{each}" for each in approvers)
        told = f"{name} is approved by {who}, so it stays as it is until it is merged or closed."
        return Standing(run=run, waits=told)
    head = await registry.vault.remote_head(await registry.origin(request.project), run.branch)
    on_it = [(each, its) for each, its in states if each.branch == run.branch]
    for each, its in on_it:
        if head is not None and head in _from_newest_push(its):
            follows = Follows(
                runs=tuple(sorted(one.id for one, _ in on_it)),
                branch=run.branch,
                iid=request.iid,
                head=head,
            )
            upkeep = each.request.upkeep
            return Standing(run=run, follows=follows, shown=upkeep and upkeep.difference)
        if its.pushed is not None:
            break
    if head is None:
        return Standing(run=run, waits=f"The branch of {name} was deleted; close it, or merge it.")
    ours = {made.commit for _, its in on_it for made in its.commits}
    what = "was set back to an earlier commit" if head in ours else "has commits of a person"
    told = f"{name} {what}, so it is left to people until it is merged or closed."
    return Standing(run=run, waits=told)


def _from_newest_push(state: RunState) -> set[CommitSha]:
    """Where a branch may stand that nobody else has moved: at what was pushed last, or at what
    was made since, whose push nobody knows the end of."""
    found: set[CommitSha] = set()
    for made in reversed(state.commits):
        found.add(made.commit)
        if state.pushed and state.pushed.key == Push(commit=made.commit).key(state.run):
            break
    return found


def _reasons(run: Run, state: RunState, request: MergeRequest, target: str) -> Iterator[str]:
    """Why it is not taken over, though nobody else may have pushed to it."""
    if run.status in _AT_WORK:
        yield f"is still being worked on by run {run.id}"
    if state.taken_over is not None:
        yield f"was taken over by @{state.taken_over.by.name}"
    merging = any(effect.effect is EffectKind.MERGE for effect in state.open_effects)
    if request.state == "locked" or (merging and run.status not in ENDED):
        yield "is being merged"
    if request.merges_itself:
        yield "is set to be merged automatically, so it stays as it is until it is merged or closed"
    if request.target_branch != target:
        yield f"goes to `{request.target_branch}` by now, and not to `{target}`"
    if state.followups:
        yield "has changes that people asked for in its review"
