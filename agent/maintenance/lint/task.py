"""One night of linting: look, mend what the tools mend safely, test, look again."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

from agent.maintenance.findings import Findings
from agent.maintenance.lint.check import Look, look
from agent.maintenance.lint.detect import Command, commands
from agent.maintenance.lint.errand import errands
from agent.maintenance.lint.fix import Fixed, fix
from agent.maintenance.lint.identity import match, snapshot
from agent.maintenance.lint.judges import judges
from agent.maintenance.night import Finding, Group, Outcome, Task, TaskReport
from agent.maintenance.workshop import Night
from agent.run import CommitSha

LARGEST = 4 << 20  #: bytes of a file whose lines findings are anchored to
CONFIGURATION = 256 * 1024  #: bytes of a file in which a linter is looked for
AT_ONCE = 8  #: files that are read at the same time

NONE_KNOWN = (
    "Nothing was linted: the project configures no linter that is known here. Name its linters "
    "as `lint` in the project's maintenance settings."
)
NO_TESTS = "The fixes were not tested: no way to run the project's tests is known."
RED = "The project's tests fail without the fixes, too; only new failures were looked for."


async def lint(night: Night) -> TaskReport:
    began = night.clock.monotonic()

    async def read(path: str) -> bytes | None:
        return await night.vault.read(night.base, path, limit=CONFIGURATION)

    tools = await commands(night.project.maintenance.lint, night.paths, read)
    if not tools:
        return TaskReport(task=Task.LINT, status="nothing", not_checked=(NONE_KNOWN,))
    seen = await look(night, night.base, tools)
    checked = [tool for tool in tools if tool.name in seen.checked]
    before = await anchored(night, night.base, seen)
    last = await night.findings.last(night.project.path)
    gone: tuple[Finding, ...] = ()
    if last is not None:
        matched = match(_of(last, seen.checked), before, night.paths)
        before, gone = replace(before, seen=matched.now), matched.gone
    await night.findings.keep(night.project.path, _joined(before, last, seen.checked))

    fixed = await fix(night, checked)
    stand, mended, again = await _after(night, fixed, before, checked)
    new = _new(last, stand)
    report = _report(
        seen=seen,
        again=again,
        fixed=fixed,
        groups=_groups(night, fixed, night.clock.monotonic() - began),
        stand=stand,
        mended=mended,
        new=new,
        gone=gone,
        seconds=night.clock.monotonic() - began,
    )
    command = night.project.test_command or ""
    given = errands(
        stand,
        new,
        checked,
        touched=set(fixed.change),
        given=night.given,
        judges=await judges(tools, command, night.paths, read),
    )
    return replace(report, errands=given)


async def _after(
    night: Night, fixed: Fixed, before: Findings, checked: Sequence[Command]
) -> tuple[tuple[Finding, ...], tuple[Finding, ...], Look]:
    """What stands after the fixes, what these mended, and how the second look went."""
    if fixed.tree is None:
        return _findings(before), (), Look()
    again = await look(night, fixed.tree, checked)
    after = await anchored(night, fixed.tree, again)
    matched = match(_of(before, again.checked), after, night.paths)
    unseen = [s for s in before.seen if s.finding.tool not in again.checked]
    stand = _findings(Findings(seen=(*matched.now, *unseen)))
    return stand, matched.gone, again


def _report(
    *,
    seen: Look,
    again: Look,
    fixed: Fixed,
    groups: tuple[Group, ...],
    stand: tuple[Finding, ...],
    mended: tuple[Finding, ...],
    new: tuple[Finding, ...],
    gone: tuple[Finding, ...],
    seconds: float,
) -> TaskReport:
    not_checked = list(dict.fromkeys((*seen.not_checked, *again.not_checked)))
    if groups and (fixed.after is None or fixed.after.no_tests):
        not_checked.append(NO_TESTS)
    elif groups and fixed.before is not None and not fixed.before.green:
        not_checked.append(RED)
    problems = (*dict.fromkeys((*seen.problems, *fixed.problems, *again.problems)),)
    status: Outcome = "done"
    if not seen.checked:
        status = "failed"
    elif not_checked or problems:
        status = "partial"
    elif not (stand or mended or gone):
        status = "nothing"
    return TaskReport(
        task=Task.LINT,
        status=status,
        findings=stand,
        fixed=mended,
        new=new,
        gone=gone,
        not_checked=tuple(not_checked),
        problems=problems,
        groups=groups,
        seconds=seconds,
    )


def _groups(night: Night, fixed: Fixed, seconds: float) -> tuple[Group, ...]:
    if fixed.tree is None:
        return ()
    return (
        Group(
            title=f"Mend what {' and '.join(fixed.tools)} can mend safely",
            files=tuple(sorted(fixed.change)),
            base=night.base,
            tree=fixed.tree,
            kind="fixes",
            tests_before=fixed.before,
            tests_after=fixed.after,
            seconds=seconds,
        ),
    )


async def anchored(night: Night, treeish: str, seen: Look) -> Findings:
    texts: dict[str, list[str]] = {}
    slots = asyncio.Semaphore(AT_ONCE)

    async def read(path: str) -> None:
        async with slots:
            data = await night.vault.read(CommitSha(treeish), path, limit=LARGEST)
        texts[path] = (data or b"").decode("utf-8", "replace").split("\n")

    await asyncio.gather(*(read(path) for path in {each.path for each in seen.findings}))
    found = await asyncio.to_thread(snapshot, seen.findings, texts.__getitem__)
    return replace(found, tools=frozenset(seen.checked))


def _findings(found: Findings) -> tuple[Finding, ...]:
    all_ = (each.finding for each in found.seen)
    return tuple(sorted(all_, key=lambda f: (f.path, f.line, f.tool, f.rule)))


def _of(found: Findings, tools: Collection[str]) -> Findings:
    return replace(found, seen=tuple(s for s in found.seen if s.finding.tool in tools))


def _joined(now: Findings, last: Findings | None, checked: Collection[str]) -> Findings:
    """What the next night is compared with: of a tool that did not do its work today, what it
    said when it last did."""
    if last is None:
        return now
    kept = tuple(s for s in last.seen if s.finding.tool not in checked)
    files = {path: last.files[path] for s in kept if (path := s.finding.path) in last.files}
    return Findings(
        seen=(*now.seen, *kept), tools=now.tools | last.tools, files={**files, **now.files}
    )


def _new(last: Findings | None, stand: Sequence[Finding]) -> tuple[Finding, ...]:
    if last is None:
        return ()
    known = {each.finding.fingerprint for each in last.seen}
    return tuple(f for f in stand if f.tool in last.tools and f.fingerprint not in known)
