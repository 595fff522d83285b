"""A run's log folded into what stands now.

`fold` is pure: the thread, the pages and a worker that takes a run over all start from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import assert_never

from agent import events as e
from agent.delivery import Delivery, GateState, delivered, opened
from agent.freeze import INTERRUPTED
from agent.maintenance.night import Errand
from agent.pipeline import WAITS_FOR_A_PERSON, Verdict
from agent.plan import Plan
from agent.run import ENDED, CommitSha, Limits, Request, RunId, RunStatus, Usage, branch_of
from agent.testreport import TestReport

_SHOWS = (e.EffectKind.OPEN_MERGE_REQUEST, e.EffectKind.UPDATE_MERGE_REQUEST)


@dataclass(frozen=True, kw_only=True)
class Followup:
    seq: int
    given: e.InstructionGiven
    at: datetime
    taken_at_step: int | None = None


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """The plan with which a run had ended, and what set it going."""

    plan: Plan
    given: e.InstructionGiven


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What became of one pipeline of the run's."""

    seen: e.PipelineSeen  #: the newest of it
    round: int = 1
    red: bool = False  #: it failed, at some time
    waited: bool = False  #: for a person, at some time
    triage: e.PipelineTriaged | None = None
    fix: e.FixStarted | None = None
    passed: CommitSha | None = None  #: the commit whose pipeline passed after it had failed


@dataclass(frozen=True, kw_only=True)
class RunState:
    """What a run has come to. `calls` counts the model's answers, which are the run's steps."""

    run: RunId
    request: Request
    limits: Limits
    status: RunStatus = RunStatus.QUEUED
    reason: str = ""
    accepted_at: datetime
    updated_at: datetime
    seq: int = 0
    epoch: int = 0
    resumed_at_step: int | None = None
    errand: Errand | None = None  #: of a night
    workspace: e.WorkspaceReady | None = None
    dependencies: e.DependenciesReady | None = None
    grounding: e.CodeRetrieved | None = None  #: what the plan rests on
    plan: Plan | None = None
    proposed: Proposed | None = None
    usage: Usage = field(default_factory=Usage)
    calls: int = 0
    model: str = ""
    trouble: e.ModelFailed | e.EffectFailed | None = None  #: what is being retried now
    last_tool: e.ToolReturned | None = None  #: but for changes of the plan, which is shown itself
    doing: e.ToolStarted | None = None  #: a call that takes a while
    finished: e.ToolReturned | None = None  #: the model's newest word that it is done
    checkpoint: e.CheckpointTaken | None = None
    tests_base: TestReport | None = None
    tests_change: TestReport | None = None  #: newest run by the harness on the change
    tests_during: TestReport | None = None  #: newest run on the change, whoever asked
    heals: tuple[e.HealStarted, ...] = ()  #: since the start, or since the newest fix began
    followups: tuple[Followup, ...] = ()
    question: e.QuestionAsked | None = None  #: unanswered
    question_seq: int = 0
    asked: e.QuestionAsked | None = None  #: the newest question, answered or not
    answered: e.QuestionAnswered | None = None
    commits: tuple[e.Committed, ...] = ()
    earlier_commits: int = 0  #: of them, made before people last set the run going
    done_effects: tuple[e.EffectDone, ...] = ()
    shown_seq: int = 0  #: when one of them last named the merge request
    open_effects: tuple[e.EffectIntended, ...] = ()
    pipeline: e.PipelineSeen | None = None  #: of the newest commit
    triage: e.PipelineTriaged | None = None
    watched: tuple[Watched, ...] = ()  #: by the first sight of each pipeline
    fixes: tuple[e.FixStarted, ...] = ()  #: since people last set the run going
    held: e.PushHeld | None = None  #: waits for a person
    held_seq: int = 0
    hold: e.PushHeld | None = None  #: the newest one, whatever came of it
    lifted: tuple[e.HoldLifted, ...] = ()
    reminded: int = 0  #: the `held_seq` of which people were told once more
    taken_over: e.TakenOver | None = None  #: since people last set the run going
    judged: e.ChangeJudged | None = None
    mismatches: tuple[e.MismatchFound, ...] = ()
    gates: tuple[GateState, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    frozen: e.RunFrozen | None = None  #: a freeze holds it
    interrupted: RunStatus | None = None  #: where a freeze or an outage found it at work
    stop: e.StopAsked | None = None
    end: e.RunEnded | None = None
    end_seq: int = 0
    ended_at: datetime | None = None
    rounds: int = 1  #: grows each time that an ended run is continued

    @property
    def branch(self) -> str:
        return branch_of(self.run, self.request)

    @property
    def merge_request(self) -> e.EffectDone | None:
        return next((d for d in reversed(self.done_effects) if d.effect in _SHOWS), None)

    @property
    def pushed(self) -> e.EffectDone | None:
        return next((d for d in reversed(self.done_effects) if d.effect is e.EffectKind.PUSH), None)

    @property
    def gate(self) -> GateState | None:
        """That waits to be decided."""
        newest = self.gates[-1] if self.gates else None
        return newest if newest and newest.closed is None else None

    @property
    def delivery(self) -> Delivery | None:
        """That is on its way."""
        newest = self.deliveries[-1] if self.deliveries else None
        return newest if newest and newest.ended is None else None

    @property
    def plan_stands(self) -> bool:
        """The run has ended with a plan, which somebody may set going."""
        ended = self.status is RunStatus.SUCCEEDED and self.rounds == 1
        return ended and self.request.plan_only and self.plan is not None

    @property
    def waiting_followups(self) -> tuple[Followup, ...]:
        return tuple(f for f in self.followups if f.taken_at_step is None)


def fold(events: Iterable[e.RunEvent]) -> RunState:
    """The state after the last event. The first event is `RunAccepted`."""
    log = iter(events)
    first = next(log)
    if not isinstance(first.payload, e.RunAccepted):
        raise ValueError(f"log of run {first.run} begins with {type(first.payload).__name__}")
    state = RunState(
        run=first.run,
        request=first.payload.request,
        limits=first.payload.limits,
        accepted_at=first.at,
        updated_at=first.at,
        seq=first.seq,
    )
    for event in log:
        state = step(state, event)
    return state


def step(state: RunState, event: e.RunEvent) -> RunState:
    """The state after one more event."""
    state = replace(
        state,
        seq=event.seq,
        updated_at=event.at,
        gates=opened(state.gates, event),
        deliveries=delivered(state.deliveries, event),
    )
    p = event.payload
    match p:
        case e.RunAccepted():
            return state
        case e.ErrandGiven():
            return replace(state, errand=p.errand)
        case e.RunClaimed():
            at = state.calls if p.resumed else None
            return replace(state, epoch=p.epoch, resumed_at_step=at, trouble=None, doing=None)
        case e.StatusChanged():
            if state.status in ENDED:
                plan, given = state.plan, state.followups[-1:]
                if state.plan_stands and plan and given:
                    state = replace(state, proposed=Proposed(plan=plan, given=given[0].given))
                state = replace(
                    state,
                    end=None,
                    ended_at=None,
                    stop=None,
                    interrupted=None,
                    taken_over=None,
                    heals=(),
                    fixes=(),
                    earlier_commits=len(state.commits),
                    rounds=state.rounds + 1,
                )
            held = state.held if p.status is RunStatus.WAITING_FOR_ANSWER else None
            at = p.put_off or state.interrupted if p.status is RunStatus.QUEUED else None
            return replace(state, status=p.status, reason=p.reason, held=held, interrupted=at)
        case e.WorkspaceReady():
            return replace(state, workspace=p)
        case e.DependenciesReady():
            return replace(state, dependencies=p)
        case e.CodeRetrieved():
            return replace(state, grounding=p) if p.purpose == "plan" else state
        case e.PlanMade():
            return replace(state, plan=p.plan)
        case e.ModelAsked():
            return state
        case e.ModelAnswered():
            return replace(
                state,
                usage=state.usage + p.usage,
                calls=state.calls + 1,
                model=p.model,
                trouble=None,
            )
        case e.ModelFailed():
            return replace(state, trouble=p)
        case e.ContextCompacted():
            return state
        case e.ToolStarted():
            return replace(state, doing=p)
        case e.ToolReturned():
            finished = p if p.tool == "finish" and p.ok else state.finished
            last = state.last_tool if p.tool == "update_plan" else p
            return replace(state, last_tool=last, finished=finished, doing=None)
        case e.CheckpointTaken():
            return replace(state, checkpoint=p)
        case e.TestsRan():
            if p.where == "base":
                return replace(state, tests_base=p.report)
            state = replace(state, tests_during=p.report)
            return replace(state, tests_change=p.report) if p.where == "change" else state
        case e.HealStarted():
            return replace(state, heals=(*state.heals, p))
        case e.InstructionGiven():
            followup = Followup(seq=event.seq, given=p, at=event.at)
            return replace(state, followups=(*state.followups, followup))
        case e.InstructionTaken():
            return replace(
                state,
                followups=tuple(
                    replace(f, taken_at_step=p.step) if f.seq == p.given else f
                    for f in state.followups
                ),
            )
        case e.QuestionAsked():
            return replace(state, question=p, asked=p, question_seq=event.seq, answered=None)
        case e.QuestionAnswered():
            return replace(state, question=None, answered=p)
        case e.Committed():
            return replace(state, commits=(*state.commits, p))
        case e.EffectIntended():
            others = tuple(x for x in state.open_effects if x.key != p.key)
            return replace(state, open_effects=(*others, p))
        case e.EffectDone():
            left = tuple(x for x in state.open_effects if x.key != p.key)
            return replace(
                state,
                open_effects=left,
                done_effects=(*state.done_effects, p),
                shown_seq=event.seq if p.effect in _SHOWS else state.shown_seq,
                trouble=None,
            )
        case e.EffectFailed():
            left = tuple(x for x in state.open_effects if x.key != p.key or p.retry_in is not None)
            return replace(state, open_effects=left, trouble=p)
        case e.PipelineSeen():
            return replace(state, pipeline=p, watched=_seen(state, p))
        case e.PipelineTriaged():
            watched = tuple(
                replace(w, triage=p) if _id(w) == p.pipeline else w for w in state.watched
            )
            return replace(state, triage=p, watched=watched)
        case e.FixStarted():
            watched = tuple(replace(w, fix=p) if _id(w) == p.pipeline else w for w in state.watched)
            return replace(state, fixes=(*state.fixes, p), watched=watched, heals=())
        case e.JobRehearsed():
            return state
        case e.MismatchFound():
            return replace(state, mismatches=(*state.mismatches, p))
        case e.ChangeJudged():
            return replace(state, judged=p)
        case e.PushHeld():
            return replace(state, held=p, hold=p, held_seq=event.seq)
        case e.HoldLifted():
            return replace(state, held=None, lifted=(*state.lifted, p))
        case e.HoldRefused():
            return state
        case e.HoldReminded():
            return replace(state, reminded=p.hold)
        case e.TakenOver():
            return replace(state, taken_over=p)
        case (
            e.DeliveryBegun()
            | e.GateOpened()
            | e.GateVoted()
            | e.GateRefused()
            | e.GateReminded()
            | e.GateClosed()
            | e.TargetSeen()
            | e.DeploymentSeen()
            | e.DeliveryEnded()
        ):
            return state
        case e.RunFrozen():
            at = p.status if p.status in INTERRUPTED else state.interrupted
            return replace(state, frozen=p, interrupted=at, doing=None, trouble=None)
        case e.RunThawed():
            queued = state.status is RunStatus.QUEUED
            return replace(state, frozen=None, reason="" if queued else state.reason)
        case e.StopAsked():
            return replace(state, stop=p)
        case e.RunEnded():
            return replace(
                state,
                end=p,
                end_seq=event.seq,
                status=p.status,
                reason=p.reason,
                ended_at=event.at,
                question=None,
                held=None,
            )
        case _:
            assert_never(p)


def _seen(state: RunState, p: e.PipelineSeen) -> tuple[Watched, ...]:
    watched = state.watched
    if p.pipeline is None:
        return watched
    known = next((w for w in watched if _id(w) == p.pipeline.id), None)
    now = known or Watched(seen=p, round=state.rounds)
    now = replace(
        now,
        seen=p,
        red=now.red or p.judgement.verdict is Verdict.RED,
        waited=now.waited or p.judgement.verdict in WAITS_FOR_A_PERSON,
    )
    watched = tuple(now if w is known else w for w in watched) if known else (*watched, now)
    if p.judgement.verdict is not Verdict.GREEN:
        return watched
    return tuple(replace(w, passed=p.commit) if w.red and w.passed is None else w for w in watched)


def _id(watched: Watched) -> int | None:
    return watched.seen.pipeline.id if watched.seen.pipeline else None
