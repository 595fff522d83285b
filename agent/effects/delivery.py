"""Opens the merge request of a promotion or of a revert, once; each step is read back."""

from __future__ import annotations

from collections.abc import Sequence

from agent.delivery import Delivery
from agent.effects.context import Effect, EffectContext, Handler, NotYet, found
from agent.effects.passing import on_its_way, settled
from agent.effects.unseen import opened_unseen
from agent.errors import Conflict, ForgeRejected, Refused
from agent.events import EffectDone, EffectKind
from agent.intents import OpenDelivery
from agent.mergerequest import marker
from agent.ports import ForgeCommit, MergeRequest
from agent.run import CommitSha, RunId
from agent.serialize import gitlab_line, who
from agent.state import RunState

COMMITS = 40  #: named in a description
OURS = "<!-- journeyman-delivery:"


def _stands(state: RunState, intent: OpenDelivery) -> Delivery:
    delivery = on_its_way(state, intent.delivery)
    if delivery.begun.kind == "change":
        raise Refused("A change has a merge request of its own already.")
    return delivery


async def _open(context: EffectContext, effect: Effect[OpenDelivery]) -> EffectDone:
    delivery = _stands(effect.state, effect.intent)
    begun = delivery.begun
    if settled(context, effect.state).target(begun.target) is None:
        raise Refused(f"There is no rule for `{begun.target}`; merging there is left to people.")
    made: CommitSha | None = None
    mark = _mark(effect.state.run, delivery)
    request = await opened_unseen(context, effect, branch=begun.source, mark=mark)
    before = request is not None
    if request is None:
        if begun.kind == "revert":
            made = await _revert(context, effect, delivery)
        else:
            await _something_to_bring(context, effect.state, delivery)
        request, before = await _opened(context, effect.state, delivery)
    project = effect.state.request.project
    commits = await context.reader.commits(project, request.iid)
    if not commits and request.sha is None:
        raise NotYet(f"GitLab does not know the commits of !{request.iid} yet.")
    if not commits and begun.kind == "revert":
        raise Refused(_conflict(delivery))
    if not commits:
        raise Refused(_nothing(delivery))
    text = _description(effect.state, delivery, commits)
    context.silent(text)
    if request.state == "opened" and request.description.strip() != text.strip():
        await context.heed(effect.state.run)
        await context.writer.update_merge_request(project, request.iid, description=text)
    done = EffectDone(
        key=effect.key,
        effect=EffectKind.OPEN_DELIVERY,
        result=f"!{request.iid}",
        url=request.url,
        iid=request.iid,
        commit=_own_head(made, commits) if begun.kind == "revert" else request.sha,
    )
    return found(done) if before else done


async def _opened(
    context: EffectContext, state: RunState, delivery: Delivery
) -> tuple[MergeRequest, bool]:
    standing = await _own(context, state, delivery)
    if standing is not None:
        return standing, True
    begun = delivery.begun
    await context.heed(state.run)
    try:
        made = await context.writer.open_merge_request(
            state.request.project,
            source=begun.source,
            target=begun.target,
            title=_title(state, delivery),
            description=_description(state, delivery, ()),
        )
    except Conflict as conflict:
        standing = await _own(context, state, delivery)
        if standing is None:
            raise NotYet(str(conflict)) from conflict
        return standing, True
    except ForgeRejected as refusal:
        if begun.kind == "revert" and refusal.status in (400, 404, 422):
            raise NotYet(str(refusal)) from refusal  # the branch is not seen everywhere yet
        raise
    return made, False


async def _own(context: EffectContext, state: RunState, delivery: Delivery) -> MergeRequest | None:
    """Opened by us for the same way before: by this run, or by another one."""
    begun = delivery.begun
    listed = await context.reader.merge_requests(state.request.project, begun.source)
    opened = [r for r in listed if r.state == "opened" and r.target_branch == begun.target]
    if not opened:
        return None
    me = await context.writer.me()
    for request in opened:
        if request.author_id == me and OURS in request.description:
            return request
    raise Refused(
        f"A merge request that is not mine, !{opened[0].iid}, stands for {begun.source} → "
        f"{begun.target} already. Merge or close it, then ask again."
    )


async def _something_to_bring(context: EffectContext, state: RunState, delivery: Delivery) -> None:
    begun, path = delivery.begun, state.request.project
    origin = context.writer.origin(await context.reader.project(path))
    vault = context.vaults(path)
    source = await vault.remote_head(origin, begun.source)
    if source is None:
        raise Refused(f"There is no branch {begun.source}.")
    if source == await vault.remote_head(origin, begun.target):
        raise Refused(_nothing(delivery))


def _own_head(made: CommitSha | None, commits: Sequence[ForgeCommit]) -> CommitSha | None:
    """Of a revert that brings what GitLab made for us just now, and nothing of anybody else's."""
    return made if [each.sha for each in commits] == [made] else None


async def _revert(
    context: EffectContext, effect: Effect[OpenDelivery], delivery: Delivery
) -> CommitSha | None:
    """What GitLab made; None where that was before, and its answer is not known any more."""
    begun, project = delivery.begun, effect.state.request.project
    own = f"{effect.state.branch}-revert-{begun.number}"
    if begun.reverts is None or begun.source != own:
        raise Refused("It is not known what is to be reverted, so nothing was.")
    await context.heed(effect.state.run)
    try:
        await context.writer.create_branch(project, begun.source, begun.target)
    except Conflict as conflict:
        if not effect.before:
            raise Refused(
                f"The branch {begun.source} exists already, and is not mine. Delete it, then "
                "ask again."
            ) from conflict
    await context.heed(effect.state.run)
    try:
        return await context.writer.revert(project, begun.reverts, begun.source)
    except ForgeRejected as refusal:
        # one that stands on the branch already leaves nothing to take back: its commits tell
        if not effect.before or refusal.status != 400:
            raise Refused(f"{_conflict(delivery)} {refusal}") from refusal
    return None


def _conflict(delivery: Delivery) -> str:
    commit = (delivery.begun.reverts or "")[:8]
    return (
        f"{commit} cannot be taken back from {delivery.begun.target} without a conflict, so "
        "nothing was. Ask for it in your own words, or revert it by hand."
    )


def _nothing(delivery: Delivery) -> str:
    begun = delivery.begun
    return f"There is nothing to bring: {begun.target} has all of {begun.source} already."


def _title(state: RunState, delivery: Delivery) -> str:
    begun = delivery.begun
    if begun.kind == "promotion":
        return f"Promote {begun.source} to {begun.target}"
    reverted = next((d for d in state.deliveries if d.merged == begun.reverts), None)
    what = f"!{reverted.iid}" if reverted else (begun.reverts or "")[:8]
    return f"Revert {what} on {begun.target}"


def _description(state: RunState, delivery: Delivery, commits: Sequence[ForgeCommit]) -> str:
    begun = delivery.begun
    asker = gitlab_line(who(begun.by or state.request.requester))
    lines = [f"- {gitlab_line(each.title)} ({each.sha[:8]})" for each in commits[:COMMITS]]
    if len(commits) > COMMITS:
        lines.append(f"- and {len(commits) - COMMITS} more")
    parts = [
        f"{_title(state, delivery)}, asked for by {asker}.",
        "\n".join(lines),
        "**By an agent: approve before merging.** Titles were written by people or a language "
        "model.",
        f"{marker(state.run)}\n{_mark(state.run, delivery)}",
    ]
    return "\n\n".join(part for part in parts if part)


def _mark(run: RunId, delivery: Delivery) -> str:
    return f"{OURS} {run}.{delivery.number} -->"


def _subject(state: RunState, intent: OpenDelivery) -> str:
    begun = on_its_way(state, intent.delivery).begun
    return f"merge request for the {begun.kind} {begun.source} → {begun.target}"


OPEN_DELIVERY = Handler(subject=_subject, act=_open, stands=_stands)
