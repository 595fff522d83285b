"""What the harness itself has to say to the model: computed from the log, so that a worker that
takes the run over says the same."""

from __future__ import annotations

from agent.errors import ToolFailed
from agent.events import (
    HealStarted,
    ModelAsked,
    RunEnded,
)
from agent.files import WorkspaceFiles
from agent.prompt import clean, cut, fill
from agent.testreport import TestCase
from agent.tools.run import counts
from agent.verdict import regressions
from agent.work import Work

FAILURES = 8  #: told of one test run
MESSAGE = 1_200  #: characters of a failure
AROUND = 6  #: lines before and after a failing one
DIFF = 8_000


async def words_of_the_harness(work: Work) -> list[str]:
    """Said once: only for what happened after the newest prompt."""
    words: list[str] = []
    for event in reversed(work.journal.events):
        match event.payload:
            case ModelAsked():
                break
            case HealStarted() as heal:
                words.append(await heal_words(work, heal))
            case RunEnded() as end if not work.state.waiting_followups:
                words.append(
                    f"The run had ended: {end.reason or 'it was done'} People have set it going "
                    "again. Go on; what did not work before needs another way."
                )
            case _:
                pass
    return words[::-1]


async def heal_words(work: Work, heal: HealStarted) -> str:
    state = work.state
    report = state.tests_change
    assert report is not None  # a repair follows a test run
    failing = regressions(state.tests_base, report)
    before = sorted(state.tests_base.bad & report.bad) if state.tests_base else []
    known = f"These failed before too and do not count: {', '.join(before[:10])}\n"
    checkpoint = state.checkpoint
    patch = await work.journal.body(checkpoint.patch) if checkpoint else b""
    return fill(
        "heal.md",
        command=report.command,
        counts=counts(report),
        attempt=heal.attempt,
        attempts=heal.attempts,
        failures="\n".join(
            f"- {c.id}: {cut(clean(c.message), MESSAGE)}" for c in failing[:FAILURES]
        ),
        before=known if before else "",
        code="\n".join(around(work.files, failing[:FAILURES])) or "(no place is known)",
        diff=cut(clean(patch.decode("utf-8", "replace")), DIFF, "See it with `read`."),
    )


def around(files: WorkspaceFiles, failing: tuple[TestCase, ...]) -> list[str]:
    """The code around each failure's place, numbered."""
    shown: list[str] = []
    for path, line in dict.fromkeys((c.path, c.line) for c in failing if c.path and c.line):
        try:
            text = files.read(path, 1 << 20).decode("utf-8", "replace")
        except ToolFailed:
            continue
        lines = clean(text).splitlines()
        start, end = max(1, line - AROUND), min(len(lines), line + AROUND)
        shown.append(f"{path}:{start}-{end}")
        shown += [f"{n}\t{lines[n - 1][:300]}" for n in range(start, end + 1)]
    return shown
