"""What the pipeline says: on the card, in a message for each red one, and at the end."""

from __future__ import annotations

from collections.abc import Iterable

from agent.events import Escalation, PipelineSeen
from agent.pipeline import WAITS_FOR_A_PERSON, Blame, Job, Pipeline, Verdict
from agent.run import ENDED, RunStatus
from agent.state import RunState, Watched
from bot.views import blocks as b
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Block, Message

LOG = 2500  #: characters of a job's log in a message
ROWS = 6  #: attempts in a table
NAMED = 5  #: jobs that a line names
_RUNNING = frozenset({"running", "pending", "preparing", "waiting_for_resource"})
_SHORT = {
    Verdict.AWAITED: "not there yet",
    Verdict.RUNNING: "running",
    Verdict.GREEN: "passed",
    Verdict.RED: "failed",
    Verdict.ABSENT: "none came for this commit",
    Verdict.SKIPPED: "skipped",
    Verdict.CANCELED: "canceled",
    Verdict.MANUAL: "waits for a job to be started",
    Verdict.BLOCKED: "waits at GitLab",
    Verdict.OTHER_COMMIT: "ran for another commit",
}

_NONE = {Verdict.AWAITED: "no pipeline yet", Verdict.ABSENT: "no pipeline came"}


def messages(state: RunState, links: w.Links) -> dict[str, Message]:
    """By slot: one message a pipeline that failed, one a pipeline that waits for a person."""
    shown: dict[str, Message] = {}
    for watched in state.watched:
        pipeline = watched.seen.pipeline
        if pipeline is None:
            continue
        if watched.red and _judged(state, watched):
            shown[f"pipeline:{pipeline.id}"] = _red(state, watched, pipeline, links)
        if watched.waited:
            shown[f"waits:{pipeline.id}"] = _waits(state, watched, pipeline, links)
    if (state.status is RunStatus.SUCCEEDED or state.deliveries) and _passed_after_red(state):
        shown[f"passed:{state.rounds}"] = _passed(state, links)
    return shown


def now(state: RunState) -> str:
    """The card's line while the pipeline is watched."""
    seen = w.pipeline_seen(state)
    commit = f" of {t.code(state.commits[-1].commit[:8])}" if state.commits else ""
    if seen is None or seen.judgement.verdict is Verdict.AWAITED:
        return f"Waiting for the pipeline{commit}."
    if seen.pipeline is None:
        return _sentence(seen)
    if seen.judgement.verdict in (Verdict.RUNNING, Verdict.RED):
        return f"{link(seen.pipeline)}{commit}: {_jobs(seen.pipeline)}."
    return _sentence(seen)


def short(state: RunState) -> str:
    """The verdict in a few words, for plain text."""
    seen = w.pipeline_seen(state)
    return _SHORT[seen.judgement.verdict if seen else Verdict.AWAITED]


def field(state: RunState) -> str:
    """What the merge request's message says of the pipeline; empty when none is watched."""
    seen = w.pipeline_seen(state)
    if seen is None:
        watching = state.status is RunStatus.WATCHING or bool(state.watched)
        return _SHORT[Verdict.AWAITED] if watching else ""
    verdict = seen.judgement.verdict
    if seen.pipeline is None:
        return _SHORT[verdict]
    told = link(seen.pipeline, _SHORT[verdict])
    if verdict is Verdict.RED and seen.pipeline.red:
        told += f" in {names(seen.pipeline.red)}"
        if w.fixing(state):
            told += f"; fix attempt {state.fixes[-1].attempt} of {state.fixes[-1].attempts}"
    return told


def link(pipeline: Pipeline, label: str = "") -> str:
    label = label or f"Pipeline #{pipeline.id}"
    return t.link(pipeline.url, label) if pipeline.url else t.quoted(label)


def phrase(state: RunState) -> str:
    """The field's words within a line."""
    seen, told = w.pipeline_seen(state), field(state)
    none = _NONE.get(seen.judgement.verdict if seen else Verdict.AWAITED)
    return (none or f"pipeline {told}") if told else ""


def names(jobs: Iterable[Job]) -> str:
    """Jobs of GitLab in code type; those of other systems by their link."""
    listed = list(jobs)
    shown = [_name(job) for job in listed[:NAMED]]
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(shown) + more


def table(state: RunState, report: Escalation) -> Block | None:
    """The attempts to make the pipeline pass."""
    if not report.attempts:
        return None
    commits = {made.tree: made.commit[:8] for made in state.commits}
    rows = ["| Attempt | Commit | Failing job | Tried |", "|---|---|---|---|"]
    for attempt in report.attempts[-ROWS:]:
        commit = commits.get(attempt.tree, "–") if attempt.tree else "–"
        failing = ", ".join(t.cell(name, 60) for name in attempt.failing[:3]) or "–"
        rows.append(
            f"| {attempt.number} | {commit} | {failing} | {t.cell(attempt.tried, 240) or '–'} |"
        )
    return {"type": "markdown", "text": "\n".join(rows)}


def _sentence(seen: PipelineSeen) -> str:
    said = t.quoted(seen.judgement.sentence, 400)
    if seen.pipeline is None:
        return said
    name = f"Pipeline #{seen.pipeline.id}"
    return said.replace(name, link(seen.pipeline), 1)


def _jobs(pipeline: Pipeline) -> str:
    red = [job for job in pipeline.jobs if job.failed]
    running = [job for job in pipeline.jobs if job.status in _RUNNING]
    passed = sum(job.status == "success" for job in pipeline.jobs)
    parts = [f"{names(red)} failed"] if red else []
    if running:
        parts.append(f"{names(running)} running")
    if passed:
        parts.append(f"{passed} of {len(pipeline.jobs)} passed")
    return ", ".join(parts) or "created"


def _name(job: Job) -> str:
    return _linked(job) if job.external else t.code(job.name, 60)


def _linked(job: Job) -> str:
    safe = job.url.startswith(("https://", "http://"))  # an external one comes from anybody
    return t.link(job.url, job.name) if safe else t.code(job.name, 60)


# --- a pipeline that failed ---


def _red(state: RunState, watched: Watched, pipeline: Pipeline, links: w.Links) -> Message:
    jobs = tuple(each.job for each in watched.triage.jobs) if watched.triage else pipeline.red
    title = _title(watched, pipeline)
    at = f"{link(pipeline)} of {t.code(watched.seen.commit[:8])}"
    red = ", ".join(_linked(job) for job in jobs[:NAMED])
    blocks: dict[str, Block | None] = {
        "head": b.section(f"*{title}* — {at}\nRed: {red}" if red else f"*{title}* — {at}")
    }
    spoken = ", ".join(t.quoted(job.name, 60) for job in jobs[:NAMED])
    text = f"Run {state.run}: {_spoken(watched)} {spoken}.".replace(" .", ".")
    if watched.passed is None:
        told = _told(state, watched)
        blocks |= {
            "log": _log(watched),
            "why": b.section(told),
            "act": b.actions(_stop(state) if _fixing(state, watched) else None),
        }
        text = f"{text} {_bare(told)}"
    return b.message(
        f"pipeline:{state.run}.{pipeline.id}",
        state.seq,
        text,
        blocks,
        more=links.run(state.run),
    )


def _judged(state: RunState, watched: Watched) -> bool:
    """It is known what is done about it."""
    jobs = watched.triage.jobs if watched.triage else ()
    left = any(job.blame is not Blame.OURS for job in jobs)
    return left or watched.fix is not None or watched.passed is not None or state.status in ENDED


def _title(watched: Watched, pipeline: Pipeline) -> str:
    if watched.passed is None:
        return "Pipeline failed"
    if watched.passed == watched.seen.commit:
        return "Pipeline failed, passed when it ran again"
    return f"Pipeline failed, fixed in {t.code(watched.passed[:8])}"


def _spoken(watched: Watched) -> str:
    if watched.passed is None:
        return "the pipeline failed in"
    if watched.passed == watched.seen.commit:
        return "the pipeline failed, and passed when it ran again:"
    return f"the pipeline failed, fixed in {watched.passed[:8]}:"


def _told(state: RunState, watched: Watched) -> str:
    """What is done about it, and for each job that is left alone, why."""
    lines: list[str] = []
    for each in watched.triage.jobs if watched.triage else ():
        if each.blame is not Blame.OURS:
            lines.append(t.quoted(each.sentence, 400))
    fix, after = watched.fix, _after(state, watched)
    if fix is not None:
        attempt = f"Fix attempt {fix.attempt} of {fix.attempts}"
        if after is not None and after.red:
            lines.append(f"{attempt} did not make it pass.")
        elif _fixing(state, watched):
            lines.append(f"{attempt} has started.")
        elif after is not None:
            lines.append(f"{attempt} has been pushed; its pipeline is watched.")
        else:
            lines.append(f"{attempt} was ended before it was done.")
    elif state.status in ENDED and not lines:
        lines.append("It is not being fixed; what comes next is for a person to say.")
    return "\n".join(lines) or "Finding out why."


def _fixing(state: RunState, watched: Watched) -> bool:
    fix, ended = watched.fix, state.status in ENDED
    return (
        fix is not None and not ended and state.fixes[-1:] == (fix,) and not _after(state, watched)
    )


def _after(state: RunState, watched: Watched) -> Watched | None:
    """The pipeline that came next."""
    later = state.watched[state.watched.index(watched) + 1 :]
    return later[0] if later else None


def _log(watched: Watched) -> Block | None:
    excerpts = [each for each in (watched.triage.jobs if watched.triage else ()) if each.excerpt]
    if not excerpts:
        return None
    ours = [each for each in excerpts if each.blame is Blame.OURS]
    text = t.clean((ours or excerpts)[0].excerpt).strip("\n")
    kept = text if len(text) <= LOG else "…" + text[-(LOG - 1) :]
    return {"type": "rich_text", "elements": [t.preformatted(kept)]}


def _stop(state: RunState) -> b.Element:
    reads = f"Stop fixing: ends run {state.run}; its merge request is kept"
    return b.button("Stop fixing", "run_stop", str(state.run), style="danger", reads=reads)


def _bare(told: str) -> str:
    return " ".join(told.replace("`", "").split())


# --- one that waits for a person, and the end ---


def _waits(state: RunState, watched: Watched, pipeline: Pipeline, links: w.Links) -> Message:
    said = t.quoted(watched.seen.judgement.sentence, 400)
    asker = t.user(state.request.requester.id)
    if watched.seen.judgement.verdict in WAITS_FOR_A_PERSON:
        spoken = f"@{w.name(state)}, the pipeline of run {state.run} waits for a person: {said}"
        head = f"{asker} *The pipeline waits for a person.* {_sentence(watched.seen)}"
    else:
        spoken = f"The pipeline of run {state.run} no longer waits: {said}"
        head = f"*The pipeline no longer waits.* {_sentence(watched.seen)}"
    return b.message(
        f"waits:{state.run}.{pipeline.id}",
        state.seq,
        spoken,
        {"head": b.section(head)},
        more=links.run(state.run),
    )


def _passed_after_red(state: RunState) -> bool:
    seen = w.pipeline_seen(state)
    green = seen is not None and seen.judgement.verdict is Verdict.GREEN
    return green and any(each.red and each.round == state.rounds for each in state.watched)


def _passed(state: RunState, links: w.Links) -> Message:
    commit = t.code(state.commits[-1].commit[:8]) if state.commits else "its commit"
    request = state.merge_request
    where = f" for {t.link(request.url, f'!{request.iid}')}" if request else ""
    spoken = f" for !{request.iid}" if request else ""
    after = f", after {t.count(len(state.fixes), 'fix', 'fixes')}" if state.fixes else ""
    asker = t.user(state.request.requester.id)
    return b.message(
        f"passed:{state.run}.{state.rounds}",
        state.seq,
        f"@{w.name(state)}, pipeline passed{spoken}{after}.",
        {"head": b.section(f"{asker} *Pipeline passed*{where} at {commit}{after}.")},
        more=links.run(state.run),
    )
