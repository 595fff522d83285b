"""`run` and `run_tests`: the model tries what it made."""

from __future__ import annotations

from dataclasses import replace

from agent.errors import ToolFailed
from agent.events import TestsRan
from agent.harness import printed
from agent.outputs import HEAD, TAIL
from agent.ports import CommandLimits, CommandResult, ToolSpec
from agent.prompt import clean, cut
from agent.testreport import BAD, TestReport
from agent.tools.base import Arguments, Tool, ToolContext, ToolOutcome, schema

LONGEST = 600  #: seconds that the model may give a command
FAILURES = 10  #: shown of a test run


async def run(context: ToolContext, arguments: Arguments) -> ToolOutcome:
    command = arguments.text("command")
    if "\0" in command:
        raise ToolFailed("`command` must not hold a NUL character.")
    seconds = arguments.number("timeout", int(context.project.command_seconds), low=1, high=LONGEST)
    result = await context.harness.exec(
        ["bash", "-c", command], limits=CommandLimits(seconds=seconds, head=HEAD, tail=TAIL)
    )
    ended = how_it_ended(result)
    output, whole = shown_of(context, result.output, context.project.output)
    shown = " ".join(clean(command).split())
    return ToolOutcome(
        ok=result.exit_code == 0,
        output=f"{ended}\n{output}".strip(),
        summary=f"{shown[:80]}: {ended} in {result.seconds:.1f} s",
        whole=whole,
    )


def shown_of(context: ToolContext, printed: str, limit: int) -> tuple[str, bytes]:
    """What the model is shown, and all of it where that is more."""
    text = clean(printed).strip()
    if len(text) <= limit:
        return text, b""
    whole = text.encode("utf-8", "replace")
    place = context.outputs.keep(whole)
    return cut(text, limit, f"All of it: `read` {place}, or grep it with `run`."), whole


def how_it_ended(result: CommandResult) -> str:
    match result.stopped:
        case "":
            return f"exit {result.exit_code}"
        case "timeout":
            return f"stopped after {result.seconds:.0f} s: too slow or waiting for input"
        case reason:
            return f"stopped: {reason} limit of the sandbox reached"


async def run_tests(context: ToolContext, arguments: Arguments) -> ToolOutcome:
    longest = int(context.project.test_seconds)
    seconds = arguments.number("timeout", longest, low=1, high=longest)
    tests = await context.harness.test(arguments.texts("selection"), seconds=seconds)
    if tests is None:
        raise ToolFailed("No test command was found for this project. Use `run`.")
    report = tests.report
    output, whole = "", b""
    if not report.green:
        output, whole = shown_of(context, tests.output, context.project.output // 2)
    bad = tuple(case for case in report.cases if case.status in BAD)
    failures = "\n".join(
        f"{case.status.upper()} {case.id}: {clean(case.message)[:400]}" for case in bad[:FAILURES]
    )
    told = f"{report.command}\n{counts(report)}\n{failures}"
    report = replace(report, cases=bad)
    return ToolOutcome(
        ok=report.green,
        output=told.strip() if report.green else f"{told}\n\n{output}".strip(),
        summary=f"{counts(report)} in {report.seconds:.1f} s",
        payloads=(TestsRan(report=report, where="during"),),
        bodies=(printed(tests),),
        whole=whole,
    )


def counts(report: TestReport) -> str:
    """For example "3 passed, 1 failed"."""
    named = [
        (report.passed, "passed"),
        (report.failed, "failed"),
        (report.errors, "errors"),
        (report.skipped, "skipped"),
    ]
    told = ", ".join(f"{count} {name}" for count, name in named if count)
    if report.no_tests:
        return "no tests found"
    if report.stopped:
        seconds = f" after {report.seconds:.0f} s" if report.stopped == "timeout" else ""
        return f"{told}, stopped: {report.stopped}{seconds}".removeprefix(", ")
    return told or f"exit {report.exit_code}"


RUN = Tool(
    spec=ToolSpec(
        name="run",
        description="Run a shell command in the project's root, without network.",
        parameters=schema(
            "command",
            command="string",
            timeout={"type": "integer", "description": f"seconds, at most {LONGEST}"},
        ),
    ),
    act=run,
    changes=True,
)
RUN_TESTS = Tool(
    spec=ToolSpec(
        name="run_tests",
        description="Run the project's tests, all or a selection (files or test ids).",
        parameters=schema(
            "",
            selection={"type": "array", "items": {"type": "string"}},
            timeout={"type": "integer", "description": "seconds"},
        ),
    ),
    act=run_tests,
    changes=True,
)
