"""What GitLab's words for the pipelines of one commit come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent.pipeline import ABSENT_AFTER, Job, Judgement, Pipeline, Verdict
from agent.prompt import clean
from agent.run import CommitSha

WORDS = {
    "created": Verdict.RUNNING,
    "preparing": Verdict.RUNNING,
    "pending": Verdict.RUNNING,
    "running": Verdict.RUNNING,
    "scheduled": Verdict.RUNNING,
    "canceling": Verdict.RUNNING,
    "waiting_for_callback": Verdict.RUNNING,
    "waiting_for_resource": Verdict.BLOCKED,
    "blocked": Verdict.BLOCKED,
    "manual": Verdict.MANUAL,
    "success": Verdict.GREEN,
    "failed": Verdict.RED,
    "canceled": Verdict.CANCELED,
    "skipped": Verdict.SKIPPED,
}
#: Of several pipelines the first of these that one of them comes to counts for the commit.
GRAVITY = (
    Verdict.RUNNING,
    Verdict.RED,
    Verdict.CANCELED,
    Verdict.BLOCKED,
    Verdict.MANUAL,
    Verdict.SKIPPED,
    Verdict.GREEN,
)
NAMED = 3  #: jobs in a sentence
_SAID = {
    "created": "was created and has not begun",
    "preparing": "is being prepared",
    "pending": "waits for a runner",
    "scheduled": "waits for a delayed job",
    "canceling": "is being canceled",
    "waiting_for_callback": "waits for an answer of another system",
    "waiting_for_resource": "waits for a resource that another pipeline holds",
    "blocked": "waits for an approval at GitLab",
    "manual": "waits for somebody to start a job",
    "success": "passed",
    "failed": "failed",
    "canceled": "was canceled; nothing is known of what it had still to check",
    "skipped": "was skipped: nothing was checked",
}
_DONE = frozenset({"success", "skipped", "failed", "canceled", "manual"})


def judge(
    pipelines: Sequence[Pipeline], sha: CommitSha, waited_seconds: float
) -> tuple[Pipeline | None, Judgement]:
    """`pipelines` are newest first. Several of the commit (of its branch, of its merge request)
    must all pass; of each source and branch the newest counts: whoever pushes the commit to
    another branch too, where fewer checks run, does not make it pass. The pipeline given is the
    one that decides; where several are red it has the red jobs of all of them.
    """
    ours: dict[tuple[str, str], Pipeline] = {}
    for pipeline in pipelines:
        if pipeline.sha == sha:
            ours.setdefault((pipeline.source, pipeline.ref), pipeline)
    if not ours:
        return _none_of(pipelines, sha, waited_seconds)
    judged = [(pipeline, _judged(pipeline)) for pipeline in ours.values()]
    decides, judgement = min(judged, key=lambda each: GRAVITY.index(each[1].verdict))
    if judgement.verdict is not Verdict.RED:
        return decides, judgement
    red = [each for each in judged if each[1].verdict is Verdict.RED]
    return _together([each for each, _ in red]), Judgement(
        verdict=Verdict.RED, sentence=" ".join(each.sentence for _, each in red)
    )


def _together(red: Sequence[Pipeline]) -> Pipeline:
    first, *others = red
    jobs = [job for each in others for job in each.red]
    return replace(first, jobs=(*first.jobs, *jobs), beside=tuple(each.id for each in others))


def _none_of(
    others: Sequence[Pipeline], sha: CommitSha, waited: float
) -> tuple[Pipeline | None, Judgement]:
    if waited < ABSENT_AFTER:
        told = f"No pipeline of {sha[:8]} has appeared yet."
        return None, Judgement(verdict=Verdict.AWAITED, sentence=told)
    if others:
        other = others[0]
        told = (
            f"Pipeline #{other.id} ran for {other.sha[:8]}, such as a merged result, and not for "
            f"{sha[:8]}: it says nothing of the pushed commit itself."
        )
        return other, Judgement(verdict=Verdict.OTHER_COMMIT, sentence=told)
    told = f"No pipeline came for {sha[:8]} within {ABSENT_AFTER / 60:.0f} minutes."
    return None, Judgement(verdict=Verdict.ABSENT, sentence=told)


def _judged(pipeline: Pipeline) -> Judgement:
    name, word = f"Pipeline #{pipeline.id}", pipeline.status
    verdict = WORDS.get(word)
    if verdict is None:
        told = (
            f"{name} is `{clean(word)[:40]}`, which is not known here; it does not count as passed."
        )
        return Judgement(verdict=Verdict.BLOCKED, sentence=told)
    outside = [job for job in pipeline.jobs if job.external and not job.allow_failure]
    waited_for = [job for job in outside if job.status not in _DONE]
    if verdict is Verdict.GREEN and waited_for:
        told = f"{name} passed at GitLab and waits for {_names(waited_for)} of another system."
        return Judgement(verdict=Verdict.RUNNING, sentence=told)
    for status, end in (("failed", "failed"), ("canceled", "was canceled")):
        undone = [job for job in outside if job.status == status]
        if verdict is Verdict.GREEN and undone:
            told = f"{name} passed at GitLab, but {_names(undone)} of another system {end}."
            return Judgement(verdict=WORDS[status], sentence=told)
    return Judgement(verdict=verdict, sentence=f"{name} {_said(pipeline)}.")


def _said(pipeline: Pipeline) -> str:
    red, word = pipeline.red, pipeline.status
    match word:
        case "failed" if red:
            return f"failed in {_names(red)}"
        case "failed":
            return "failed, and no job of it says why: its configuration may be wrong"
        case "running":
            done = sum(job.status in _DONE for job in pipeline.jobs)
            far = f", {done} of {len(pipeline.jobs)} jobs are done" if pipeline.jobs else ""
            return f"is running{far}" + (f"; {_names(red)} failed" if red else "")
        case "manual":
            waiting = [j for j in pipeline.jobs if j.status == "manual" and not j.allow_failure]
            return f"waits for somebody to start {_names(waiting)}" if waiting else _SAID[word]
        case _:
            return _SAID[word]


def _names(jobs: Sequence[Job]) -> str:
    shown = ", ".join(f"`{clean(job.name)[:60]}`" for job in jobs[:NAMED])
    return shown + (f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else "")
