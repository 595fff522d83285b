"""A local run as it goes: with rich on a terminal, in plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from agent import events as e
from agent.local import LocalResult
from agent.pipeline import Violation
from agent.plan import StepStatus
from agent.run import RunId, RunStatus
from agent.state import RunState, fold, step
from bot.views import text as t
from bot.views import words as w

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_MARKS = {
    StepStatus.PENDING: "·",
    StepStatus.IN_PROGRESS: "→",
    StepStatus.COMPLETE: "✓",
    StepStatus.ERROR: "✗",
}


FACTS = 15  #: about a change, that are told in the end


def make_progress(*, quiet: bool) -> Progress:
    """`quiet`: standard output belongs to the result; lines go to standard error."""
    if not quiet and sys.stdout.isatty():
        return Terminal()
    return Progress(to_stderr=quiet)


class Progress:
    """A line for each thing that happened."""

    def __init__(self, *, to_stderr: bool = False) -> None:
        self.run: RunId | None = None
        self._state: RunState | None = None
        self._out = sys.stderr if to_stderr else sys.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, event: e.RunEvent) -> None:
        self.run = event.run
        before = self._state
        self._state = step(before, event) if before else fold([event])
        for line in lines(before, self._state, event):
            self._print(line)

    def say(self, line: str) -> None:
        self._print(line)

    def end(self, result: LocalResult) -> None:
        for line in closing(result):
            self._print(line)

    def _print(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class Terminal(Progress):
    """Lines that stay, above a plan that is ticked off."""

    def __init__(self) -> None:
        super().__init__()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(highlight=False), refresh_per_second=8, transient=True)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def show(self, event: e.RunEvent) -> None:
        super().show(event)
        if self._live and self._state:
            self._live.update(_standing(self._state))

    def _print(self, line: str) -> None:
        if self._live is None:
            super()._print(line)
            return
        from rich.text import Text

        style = {"✓": "green", "✗": "red", "!": "yellow"}.get(line.strip()[:1], "")
        self._live.console.print(Text(line, style=style))


def lines(before: RunState | None, state: RunState, event: e.RunEvent) -> list[str]:
    """What is worth a line in one event."""
    match event.payload:
        case e.RunAccepted():
            return [f"Run {event.run} on {state.request.project}"]
        case e.StatusChanged() if before and before.status is not state.status:
            reason = f": {state.reason}" if state.reason else ""
            return [f"— {w.headline(state)}{reason}"]
        case e.PlanMade(plan=plan) if before is None or before.plan is None:
            grounds = w.grounded(state, t.line)
            steps = [f"  {_MARKS[s.status]} {s.title}" for s in plan.steps]
            return [*steps, f"  {grounds}"] if grounds else steps
        case e.PlanMade(plan=plan):
            known = {s.title: s.status for s in before.plan.steps} if before and before.plan else {}
            return [
                f"  {_MARKS[s.status]} {s.title}"
                for s in plan.steps
                if known.get(s.title) is not s.status and s.status is not StepStatus.PENDING
            ]
        case e.ToolReturned() as tool:
            return [f"    {tool.summary}" if tool.ok else f"  ✗ {tool.summary}"]
        case e.TestsRan(where="base", report=report):
            return [f"  Tests before the change: {w.results(report)}"]
        case e.TestsRan(where="change", report=report):
            mark = "✓" if report.green else "✗"
            return [f"  {mark} Tests: {w.results(report, state.tests_base)}"]
        case e.HealStarted() as heal:
            return [f"  ! Repairing, attempt {heal.attempt} of {heal.attempts}"]
        case e.DependenciesReady(problem=problem) if problem:
            return [f"  ! {problem}"]
        case e.ModelFailed() as failed:
            again = f" Trying again in {failed.retry_in:.0f} s." if failed.retry_in else ""
            return [f"  ! {failed.problem}{again}"]
        case e.EffectFailed() as failed:
            return [f"  ✗ {failed.problem}"]
        case e.QuestionAsked() as asked:
            return [f"  ? {asked.question}", *(f"    - {choice}" for choice in asked.choices)]
        case _:
            return []


def closing(result: LocalResult) -> list[str]:
    """The end of a run, for people."""
    told: list[str] = [""]
    if result.answer:
        told += [result.answer, ""]
    elif result.summary:
        told += [result.summary, ""]
    if result.status is RunStatus.SUCCEEDED:
        told.append("✓ Done.")
    elif result.question:
        told.append("? The run waits for an answer; start it again on a terminal to give one.")
    else:
        told.append(f"✗ {result.status.replace('_', ' ').capitalize()}. {result.reason}".rstrip())
    if result.branch:
        told.append(f"  Branch  {result.branch} at {(result.commit or '')[:12]}")
        told.append(f"  Diff    {w.diff(result.files)}")
    told += [f"  ! {_place(each)}{each.detail}" for each in result.violations[:FACTS]]
    if len(result.violations) > FACTS:
        told.append(f"  ! and {len(result.violations) - FACTS} more changes of what checks it")
    if result.tests_after or result.tests_before:
        told.append(f"  Tests   {w.results(result.tests_after, result.tests_before)}")
        told.append(f"  Before  {w.results(result.tests_before)}")
    used = result.usage
    cost = f", ${used.money:.2f}" if used.money else ""
    spent = sum(result.seconds.values())
    told.append(f"  Used    {used.steps} steps, {used.tokens:,} tokens{cost}, {spent:.0f} s")
    return told


def _place(found: Violation) -> str:
    line = f":{found.line}" if found.line else ""
    return f"{found.path}{line} — " if found.path else ""


def _standing(state: RunState) -> RenderableType:
    from rich.console import Group
    from rich.spinner import Spinner
    from rich.text import Text

    parts: list[RenderableType] = []
    if state.plan and state.plan.steps:
        parts.append(Text(f"Plan — {state.plan.done} of {len(state.plan.steps)} done", "bold"))
        for planned in state.plan.steps:
            style = {"complete": "green", "error": "red", "in_progress": "bold"}
            parts.append(
                Text(
                    f"  {_MARKS[planned.status]} {planned.title}",
                    style.get(planned.status.value, "dim"),
                )
            )
    parts.append(Spinner("dots", Text(f"{w.headline(state)} · {w.usage_line(state)}", "dim")))
    return Group(*parts)
