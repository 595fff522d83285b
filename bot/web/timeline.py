"""A run's log as rows for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from agent import events as e
from agent.pipeline import Verdict, Violation
from agent.testreport import TestReport
from bot.web import retrieved
from bot.web import timeline_delivery as delivery
from bot.web.rows import Folded


@dataclass(frozen=True, kw_only=True)
class Row:
    seq: int
    at: datetime
    who: str
    title: str
    text: str = ""
    tone: str = ""  #: "", "good", "bad", "quiet"
    folded: tuple[Folded, ...] = ()
    name: str = ""  #: what a message in the thread links to

    @property
    def anchor(self) -> str:
        return self.name or f"event-{self.seq}"


def rows(events: Iterable[e.RunEvent]) -> Iterator[Row]:
    seen: list[e.CodeRetrieved] = []
    for event in events:
        title, text, tone, folded = _told(event.payload)
        match event.payload:
            case e.CodeRetrieved() as found:
                seen.append(found)
            case e.Committed(files=files):
                text = f"{text}\n{retrieved.touched(seen, files)}".strip()
            case _:
                pass
        yield Row(
            seq=event.seq,
            at=event.at,
            who=event.actor,
            title=title,
            text=text,
            tone=tone,
            folded=folded,
            name=delivery.name(event.payload),
        )


_Told = tuple[str, str, str, tuple[Folded, ...]]


def _told(p: e.Payload) -> _Told:
    match p:
        case e.RunAccepted():
            return f"Asked by {p.request.requester.name}", p.request.text, "", ()
        case e.ErrandGiven():
            return "Errand of the night", p.errand.title, "", ()
        case e.RunClaimed():
            what = "Taken over after a restart" if p.resumed else "Taken by a worker"
            return what, p.worker, "quiet", ()
        case e.StatusChanged():
            return p.status.replace("_", " ").capitalize(), p.reason, "quiet", ()
        case e.WorkspaceReady():
            notes = "\n".join(p.notes)
            text = f"{p.files} files of {p.branch} at {p.base[:8]} in {p.seconds:.1f} s"
            return "Workspace ready", f"{text}\n{notes}".strip(), "", ()
        case e.DependenciesReady():
            return _dependencies(p)
        case e.CodeRetrieved():
            return retrieved.told(p)
        case e.PlanMade():
            marks = {"complete": "✓", "in_progress": "▸", "error": "✗"}
            lines = [f"{marks.get(step.status, '·')} {step.title}" for step in p.plan.steps]
            return f"Plan: {p.plan.done} of {len(p.plan.steps)} done", "\n".join(lines), "", ()
        case e.ModelAsked():
            folded = Folded(label="What was added to the prompt", digest=p.appended)
            return f"Model asked, call {p.call}", f"{p.messages} messages", "quiet", (folded,)
        case e.ModelAnswered():
            return _answered(p)
        case e.ModelFailed():
            again = "" if p.retry_in is None else f" Trying again in {p.retry_in:.0f} s."
            return (
                f"Model failed, attempt {p.attempt} of {p.attempts}",
                p.problem + again,
                "bad",
                (),
            )
        case e.ContextCompacted():
            text = f"{p.before_tokens:,} → {p.after_tokens:,} tokens; nothing is lost from this log"
            folded = Folded(label="The prompt from here on", digest=p.messages)
            return "Prompt compacted", text, "", (folded,)
        case e.ToolStarted():
            return f"{p.tool} is running", p.summary, "quiet", ()
        case e.ToolReturned():
            tone = "" if p.ok else "bad"
            text = f"{p.summary}\n{p.arguments}"
            folded = (Folded(label="Result", digest=p.output),)
            if p.whole:
                folded += (Folded(label="All that was printed", digest=p.whole),)
            return p.tool, text, tone, folded
        case e.CheckpointTaken():
            files = "\n".join(_file(file) for file in p.files)
            folded = Folded(label="Difference to the base", digest=p.patch, diff=True)
            return f"Checkpoint {p.tree[:8]}", files, "quiet", (folded,) if p.files else ()
        case e.TestsRan():
            where = {"base": "Tests before", "change": "Tests after", "during": "Tests"}[p.where]
            return where, *_tests(p.report)
        case e.HealStarted():
            failing = "\n".join((*p.failing, *p.refused))
            return f"Repair attempt {p.attempt} of {p.attempts}", failing, "", ()
        case e.InstructionGiven():
            if p.approves:
                return f"Plan approved by {p.by.name}", "", "good", ()
            what = "Review" if p.notes else "Follow-up"
            return f"{what} from {p.by.name}", p.text, "", ()
        case e.InstructionTaken():
            return "Follow-up picked up", f"at step {p.step}", "quiet", ()
        case e.QuestionAsked():
            return "Question", "\n".join((p.question, *(f"- {c}" for c in p.choices))), "", ()
        case e.QuestionAnswered():
            return f"Answer from {p.by.name}", p.text, "", ()
        case e.Committed():
            files = "\n".join(_file(file) for file in p.files)
            return f"Commit {p.commit[:8]}", f"{p.title}\n{files}", "", ()
        case e.EffectIntended():
            return f"About to {p.effect.replace('_', ' ')}", p.subject, "quiet", ()
        case e.EffectDone():
            found = " (it stood there already)" if p.found else ""
            return (
                p.effect.replace("_", " ").capitalize(),
                f"{p.result}{found}\n{p.url}",
                "good",
                (),
            )
        case e.EffectFailed():
            again = "" if p.retry_in is None else f" Trying again in {p.retry_in:.0f} s."
            return f"Could not {p.effect.replace('_', ' ')}", p.problem + again, "bad", ()
        case e.PipelineSeen():
            return _pipeline(p)
        case e.PipelineTriaged():
            text = "\n\n".join(
                f"{t.job.name} ({t.blame}): {t.sentence}\n{t.excerpt}".strip() for t in p.jobs
            )
            return f"Red jobs of pipeline #{p.pipeline} judged", text, "", ()
        case e.FixStarted():
            title = f"Fixing the pipeline, attempt {p.attempt} of {p.attempts}"
            return title, f"pipeline #{p.pipeline}: {', '.join(p.jobs)}", "", ()
        case e.JobRehearsed():
            return _rehearsed(p)
        case e.MismatchFound():
            return "GitLab shows something else", p.reason, "bad", ()
        case e.ChangeJudged():
            return "Change compared with the base", _violations(p.violations), "bad", ()
        case e.PushHeld():
            return "Push held for a person", _violations(p.violations), "bad", ()
        case e.HoldLifted():
            told = f"tree {p.tree[:8]}\n{_violations(p.violations)}".strip()
            return f"Accepted by {p.by.name}", told, "", ()
        case e.HoldRefused():
            return f"Not accepted: {p.by.name} may not", p.reason, "bad", ()
        case e.HoldReminded():
            return "People were reminded of the hold", "", "quiet", ()
        case e.TakenOver():
            return f"Taken over by {p.by.name}", "", "", ()
        case e.RunFrozen(freeze=freeze):
            return f"Frozen by {freeze.by.name}", freeze.reason, "bad", ()
        case e.RunThawed():
            return "Freeze ended", "", "quiet", ()
        case e.StopAsked():
            return f"Stop asked by {p.by.name}", p.how, "", ()
        case e.RunEnded():
            tone = "good" if p.status == "succeeded" else "bad"
            text = "\n".join(filter(None, (p.reason, p.summary, p.answer)))
            return p.status.capitalize(), text, tone, ()
        case _:
            return *delivery.told(p), ()


def _pipeline(p: e.PipelineSeen) -> _Told:
    tone = {Verdict.GREEN: "good", Verdict.RED: "bad"}.get(p.judgement.verdict, "quiet")
    verdict = p.judgement.verdict.replace("_", " ")
    if p.pipeline is None:
        return f"Pipeline {verdict}", p.judgement.sentence, tone, ()
    jobs = [
        f"{job.status} {job.name}"
        + (" (may fail)" if job.allow_failure else "")
        + (f" (of another system, {job.url})" if job.external else "")
        for job in p.pipeline.jobs
    ]
    text = "\n".join(filter(None, (p.judgement.sentence, *jobs, p.pipeline.url)))
    return f"Pipeline #{p.pipeline.id} of {p.commit[:8]}: {verdict}", text, tone, ()


def _rehearsed(p: e.JobRehearsed) -> _Told:
    told = p.problem or f"exit {p.exit_code} in {p.seconds:.1f} s"
    tone = "quiet" if p.problem else "bad" if p.exit_code else "good"
    title = f"Job {p.job} tried in the sandbox, fix attempt {p.attempt}"
    return title, told, tone, (Folded(label="Output", digest=p.output),)


def _violations(violations: Iterable[Violation]) -> str:
    return "\n".join(
        f"{v.path}{f':{v.line}' if v.line else ''} {v.rule}: {v.detail}" for v in violations
    )


def _dependencies(p: e.DependenciesReady) -> _Told:
    if p.problem:
        return "Dependencies not installed", p.problem, "bad", ()
    if not p.manager:
        return "No dependencies declared", "", "quiet", ()
    how = "from the cache" if p.cached else f"in {p.seconds:.1f} s"
    return "Dependencies ready", f"{p.manager}, {how}", "", ()


def _answered(p: e.ModelAnswered) -> _Told:
    u = p.usage
    money = f", ${u.money:.4f}" if u.money else ""
    text = (
        f"{p.model}: {u.prompt_tokens:,} tokens in ({u.cached_tokens:,} cached), "
        f"{u.completion_tokens:,} out{money}, {u.seconds:.1f} s"
    )
    return (
        f"Model answered, call {p.call}",
        text,
        "quiet",
        (Folded(label="Answer", digest=p.message),),
    )


def _tests(report: TestReport) -> tuple[str, str, tuple[Folded, ...]]:
    counts = f"{report.passed} passed, {report.failed + report.errors} failed"
    skipped = f", {report.skipped} skipped" if report.skipped else ""
    stopped = f" — stopped: {report.stopped}" if report.stopped else ""
    failing = "\n".join(sorted(report.bad)[:20])
    text = (
        f"{report.command}\n{counts}{skipped} in {report.seconds:.1f} s{stopped}\n{failing}".strip()
    )
    folded = (Folded(label="Output", digest=report.output),) if report.output else ()
    return text, "good" if report.green else "bad", folded


def _file(file: e.FileChange) -> str:
    return f"{file.status[0].upper()} {file.path} +{file.added} −{file.removed}"
