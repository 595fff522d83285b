"""What the harness itself has to say to the model: computed from the log, so that a worker that
takes the run over says the same."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from agent.errors import ToolFailed
from agent.events import (
    FixStarted,
    HealStarted,
    JobRehearsed,
    ModelAsked,
    PushHeld,
    QuestionAnswered,
    RunEnded,
    ToolReturned,
)
from agent.files import WorkspaceFiles
from agent.fixing import fix_words, rehearsal_words
from agent.grounding import ground_repair
from agent.prompt import clean, cut, fill
from agent.rehearsal import telling
from agent.testreport import TestCase
from agent.tools.run import counts
from agent.verdict import regressions
from agent.verify import described
from agent.work import Work

FAILURES = 9_000  #: characters about failing tests
DIFF = 8_000
HELD = 30  #: facts about a change that was held
LARGEST = 1 << 20  #: bytes of a file whose lines are shown


async def words_of_the_harness(work: Work) -> list[str]:
    """Said once: only for what happened after the newest prompt."""
    words: list[str] = []
    asked = False
    for event in reversed(work.journal.events):
        match event.payload:
            case ModelAsked():
                break
            case HealStarted() as heal:
                words.append(await heal_words(work, heal))
            case FixStarted() as fix:
                words.append(await fix_words(work, fix))
            case JobRehearsed() as tried if telling(tried):
                words.append(await rehearsal_words(work, tried))
            case ToolReturned(tool="ask"):
                asked = True  # the answer is its result
            case QuestionAnswered() as answer if not asked:
                words.append(answer_words(work, answer))
            case PushHeld() as held:
                words.append(hold_words(held))
            case RunEnded() as end if not work.state.waiting_followups:
                words.append(
                    f"The run had ended: {end.reason or 'it was done'} People have set it going "
                    "again. Go on; what did not work before needs another way."
                )
            case _:
                pass
    return words[::-1]


def answer_words(work: Work, answer: QuestionAnswered) -> str:
    """To a question that the harness asked, about a pipeline."""
    asked = work.state.asked
    question = f"People were asked: {clean(asked.question)}\n" if asked else ""
    return f"{question}{clean(answer.by.name)} ({answer.by.id}) answers: {clean(answer.text)}"


def hold_words(held: PushHeld) -> str:
    """Facts only; what people want instead follows in their own words."""
    listed = "\n".join(
        f"- {clean(each.path)}:{each.line} {each.rule}: {clean(each.detail)}"
        for each in held.violations[:HELD]
    )
    return (
        f"The change was not pushed: a person had to accept this first.\n{listed}\n"
        "It was not accepted as it is. Do not work around these checks."
    )


async def heal_words(work: Work, heal: HealStarted) -> str:
    state = work.state
    if heal.refused:
        listed = "\n".join(f"- {clean(each)}" for each in heal.refused)
        return fill(
            "refused.md",
            refused=cut(listed, FAILURES),
            attempt=heal.attempt,
            attempts=heal.attempts,
        )
    report = state.tests_change
    assert report is not None  # a repair follows a test run
    files = (await work.desk()).files
    failing = regressions(state.tests_base, report)
    before = sorted(state.tests_base.bad & report.bad) if state.tests_base else []
    known = f"These failed before too and do not count: {', '.join(before[:10])}\n"
    checkpoint = state.checkpoint
    patch = await work.journal.body(checkpoint.patch) if checkpoint else b""
    failures = clean(described(report, failing, _lines(files, failing), limit=FAILURES))
    return fill(
        "heal.md",
        command=report.command,
        counts=counts(report),
        attempt=heal.attempt,
        attempts=heal.attempts,
        failures=failures,
        before=known if before else "",
        diff=cut(clean(patch.decode("utf-8", "replace")), DIFF, "See it with `read`."),
        code=await ground_repair(work, failures),
    )


def _lines(files: WorkspaceFiles, failing: Sequence[TestCase]) -> dict[str, Sequence[str]]:
    """Of the files in which tests failed, as they are now."""
    lines: dict[str, Sequence[str]] = {}
    for path in {case.path for case in failing if case.path}:
        with contextlib.suppress(ToolFailed):
            text = files.read(path, LARGEST).decode("utf-8", "replace")
            lines[path] = clean(text).splitlines()
    return lines
