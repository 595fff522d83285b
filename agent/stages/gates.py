"""Opens a gate: everything that a yes to it will be bound to, and what people are shown."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from agent.approvers import approvers
from agent.delivery import Delivery
from agent.difference import FileDiff, read_patch
from agent.errors import ForgeRejected
from agent.events import GateClosed, GateOpened, Payload
from agent.gate import Action, Facts, Gate, GateId
from agent.journal import digest_of
from agent.passage import Ask, Bound
from agent.pipeline import Pipeline
from agent.ports import ForgeReader, MergeRequest
from agent.protected import protected
from agent.run import Digest, RunStatus
from agent.serialize import plain_title
from agent.state import RunState
from agent.work import Hold, Lookout

AUTHORS = 20  #: named on a card


@dataclass(frozen=True, kw_only=True)
class Change:
    """The difference of a merge request."""

    digest: Digest
    files: tuple[FileDiff, ...]


async def change_of(forge: ForgeReader, project: str, iid: int) -> Change:
    patch = await forge.difference(project, iid)
    files = read_patch(patch.decode("utf-8", "surrogateescape"))
    return Change(digest=digest_of(patch), files=files)


@dataclass(frozen=True, kw_only=True)
class Showing:
    """What one look has found out."""

    delivery: Delivery
    request: MergeRequest
    change: Change
    pipeline: Pipeline | None


async def open_gate(
    work: Hold, lookout: Lookout, ask: Ask, bound: Bound, showing: Showing, *news: Payload
) -> None:
    """Leaves the run waiting for people."""
    request, state = showing.request, work.state
    gate = Gate(
        id=GateId(secrets.token_hex(16)),
        action=Action.DEPLOY if bound.environment else Action.MERGE,
        delivery=showing.delivery.number,
        project=state.request.project,
        project_id=request.project_id or (await lookout.forge.project(state.request.project)).id,
        iid=request.iid,
        url=request.url,
        title=plain_title(request.title),
        commit=bound.commit,
        diff=bound.diff,
        source=bound.source,
        target=bound.target,
        environment=bound.environment,
        job=bound.job,
        rule=ask.rule,
        policy=bound.policy,
        expires_at=work.clock.now() + timedelta(seconds=ask.rule.expires),
        facts=await _facts(work, lookout, ask, bound, showing),
        asks=await approvers(work, lookout, ask.rule, showing.delivery.begun.by),
    )
    closed: tuple[Payload, ...] = ()
    if ask.instead is not None:
        told = "What it was opened for has changed since."
        closed = (GateClosed(gate=ask.instead, outcome="superseded", reason=told),)
    await work.journal.write(
        *news, *closed, GateOpened(gate=gate), status=RunStatus.WAITING_FOR_APPROVAL
    )


async def _facts(work: Hold, lookout: Lookout, ask: Ask, bound: Bound, showing: Showing) -> Facts:
    state, files, pipeline = work.state, showing.change.files, showing.pipeline
    rule = work.project.target(bound.target)
    kind = showing.delivery.begun.kind
    own = showing.request.sha == showing.delivery.commit  # somebody may have merged another head
    return Facts(
        files=len(files),
        added=sum(len(each.added) for each in files),
        removed=sum(len(each.removed) for each in files),
        tests=_tests(state) if kind == "change" and own else "",
        pipeline=pipeline.id if pipeline else 0,
        pipeline_url=pipeline.url if pipeline else "",
        outside=tuple(job.name for job in pipeline.jobs if job.external) if pipeline else (),
        protected=protected(files),
        weakened=tuple(v for each in state.lifted for v in each.violations),
        gitlab=await _gitlab(lookout.forge, state.request.project, bound, showing.request.iid),
        deploys=rule.deploys if rule and not bound.environment else (),
        authors=await _authors(lookout.forge, showing) if kind == "promotion" or not own else (),
        money=state.usage.money,
        why=ask.why,
    )


def _tests(state: RunState) -> str:
    report = state.tests_change
    if report is None or report.no_tests:
        return ""
    bad, base = report.failed + report.errors, state.tests_base
    told = f"{report.passed} passed, {bad} failed"
    if base and not base.no_tests:
        told += f"; {base.passed} passed before"
    return f"{told}, stopped: {report.stopped}" if report.stopped else told


async def _gitlab(forge: ForgeReader, project: str, bound: Bound, iid: int) -> tuple[str, ...]:
    try:
        if bound.environment:
            return (await forge.deploy_rules(project, bound.environment)).sentences
        return (await forge.merge_rules(project, iid, bound.target)).sentences
    except ForgeRejected as error:
        return (f"GitLab's own rules cannot be read: {error}",)


async def _authors(forge: ForgeReader, showing: Showing) -> tuple[str, ...]:
    commits = await forge.commits(showing.request.project, showing.request.iid)
    names = sorted({plain_title(name) for each in commits for name in each.names})
    return tuple(names[:AUTHORS])
