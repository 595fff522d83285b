"""The red job's own commands, tried on the fix before it is pushed again."""

from __future__ import annotations

from agent.events import Committed, JobRehearsed, PipelineTriaged
from agent.journal import digest_of
from agent.pipeline import Blame, Triage
from agent.work import Work

#: What a shell answers where a tool is not there, or is none that can be run.
NO_TOOL = frozenset({126, 127})


def telling(tried: JobRehearsed) -> bool:
    """Does the model need to hear of it?"""
    return tried.exit_code != 0 and not tried.problem


async def rehearse(work: Work) -> list[JobRehearsed]:
    """Each job once a fix; what was tried before is not tried again, so that its result is told
    once and keeps nobody from pushing."""
    checkpoint, fixes = work.state.checkpoint, work.state.fixes
    if checkpoint is None or not fixes:
        return []
    wanted, done = _since_red(work)
    made: list[JobRehearsed] = []
    for each in wanted:
        if each.job.name in done or not each.script:
            continue
        result = await (await work.desk()).harness.rehearse(each.script, checkpoint.tree)
        output = result.output.encode("utf-8", "replace")
        problem = f"it was stopped ({result.stopped})" if result.stopped else ""
        if result.exit_code in NO_TOOL:
            problem = "a tool that it needs is not in the sandbox"
        fact = JobRehearsed(
            attempt=fixes[-1].attempt,
            job=each.job.name,
            tree=checkpoint.tree,
            exit_code=result.exit_code,
            seconds=round(result.seconds, 3),
            output=digest_of(output),
            problem=problem,
        )
        await work.journal.write(fact, bodies=[output])
        made.append(fact)
    return made


def _since_red(work: Work) -> tuple[list[Triage], set[str]]:
    """The jobs that the newest commit broke, and those that were tried since."""
    done: set[str] = set()
    for event in reversed(work.journal.events):
        match event.payload:
            case JobRehearsed(job=job):
                done.add(job)
            case PipelineTriaged(jobs=jobs):
                return [each for each in jobs if each.blame is Blame.OURS], done
            case Committed():
                break
            case _:
                pass
    return [], done
