"""How an evaluation goes, on standard error, and its table in the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from agent.evaluation.instance import Outcome, Share

_WIDTH = 150  #: of a table that no terminal shows


def make_board(total: int) -> Board:
    return Bars(total) if sys.stderr.isatty() else Board(total)


class Board:
    """A line for each instance that is done."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def begin(self, *, done: int) -> None:
        self._count = done
        if done:
            self.say(f"{done} of {self._total} were judged before.")

    def working(self, instance: str, what: str) -> None: ...

    def left(self, instance: str) -> None: ...

    def done(self, outcome: Outcome) -> None:
        self._count += 1
        told = f"{outcome.instance}: {word(outcome)}"
        self.say(f"[{self._count}/{self._total}] {told}")
        if outcome.problem:
            self.say(f"  {outcome.problem}")

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class Bars(Board):
    """The same lines, above how many are done and what is at work."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self._console = Console(stderr=True, highlight=False)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._all = self._bar.add_task("Instances", total=total)
        self._working: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begin(self, *, done: int) -> None:
        super().begin(done=done)
        self._bar.update(self._all, completed=done)

    def working(self, instance: str, what: str) -> None:
        self._working[instance] = what
        self._tell()

    def left(self, instance: str) -> None:
        self._working.pop(instance, None)
        self._tell()

    def done(self, outcome: Outcome) -> None:
        super().done(outcome)
        self._bar.update(self._all, completed=self._count)

    def say(self, line: str) -> None:
        self._console.print(line, markup=False)

    def _tell(self) -> None:
        now = ", ".join(f"{name[:40]} ({what})" for name, what in self._working.items())
        self._bar.update(self._all, description=escape(now[:100]) or "Instances")


def word(outcome: Outcome) -> str:
    if outcome.problem:
        return "not judged"
    if outcome.solved:
        return "solved"
    return "false done" if outcome.false_done else "not solved"


def show_table(outcomes: Sequence[Outcome]) -> None:
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    table = Table()
    for name in ("instance", "result", "to mend", "to keep", "steps", "tokens", "$", "s"):
        right = name not in ("instance", "result")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    table.add_column("weakened tests")
    for each in outcomes:
        style = {"solved": "green", "false done": "red"}.get(word(each), "")
        table.add_row(
            escape(each.instance),
            f"[{style}]{word(each)}[/]" if style else word(each),
            *(_share(each.fail_to_pass), _share(each.pass_to_pass)),
            *(f"{each.steps}", f"{each.tokens:,}", f"{each.money:.2f}", f"{each.seconds:.0f}"),
            escape("; ".join(each.weakened[:3])),
        )
    console.print(table)
    sums = totals(outcomes)
    console.print(
        f"{sums['solved']} of {sums['judged']} solved, {sums['false_done']} false “done”,"
        f" {sums['weakened']} with weakened tests; {sums['steps']} steps,"
        f" {sums['tokens']:,} tokens, ${sums['money']:.2f}, {sums['seconds']:.0f} s of runs."
    )
    for each in outcomes:
        for told in filter(None, (each.problem, each.missing)):
            console.print(f"{each.instance}: {told}", markup=False)


def _share(share: Share | None) -> str:
    return f"{share.passed}/{share.of}" if share else ""


def totals(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    judged = [each for each in outcomes if not each.problem]
    return {
        "judged": len(judged),
        "not_judged": len(outcomes) - len(judged),
        "solved": sum(each.solved for each in judged),
        "false_done": sum(each.false_done for each in judged),
        "weakened": sum(bool(each.weakened) for each in judged),
        "steps": sum(each.steps for each in outcomes),
        "tokens": sum(each.tokens for each in outcomes),
        "money": round(sum(each.money for each in outcomes), 6),
        "seconds": round(sum(each.seconds for each in outcomes), 1),
    }


def as_record(
    outcomes: Sequence[Outcome], problems: Sequence[str], *, missing: int
) -> dict[str, Any]:
    """The object that `--json` prints."""
    return {
        "totals": totals(outcomes),
        "left": missing,
        "problems": list(problems),
        "instances": [_instance(each) for each in outcomes],
    }


def _instance(each: Outcome) -> dict[str, Any]:
    return {
        "instance_id": each.instance,
        "result": word(each),
        "problem": each.problem,
        "missing": each.missing,
        "run": each.run,
        "status": each.status,
        "reason": each.reason,
        "solved": each.solved,
        "false_done": each.false_done,
        "weakened": list(each.weakened),
        "FAIL_TO_PASS": _tests(each.fail_to_pass),
        "PASS_TO_PASS": _tests(each.pass_to_pass),
        "steps": each.steps,
        "tokens": {
            "prompt": each.prompt_tokens,
            "cached": each.cached_tokens,
            "completion": each.completion_tokens,
        },
        "cost": each.money,
        "seconds": each.seconds,
    }


def _tests(share: Share | None) -> dict[str, Any] | None:
    if share is None:
        return None
    return {"passed": share.passed, "of": share.of, "not_passed": list(share.others)}
