"""Whether an errand of the night was done: told by programs, never by the model's word."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from agent import tamper
from agent.dependencies import Installer
from agent.errors import Unavailable
from agent.maintenance.coverage.added import no_tests
from agent.maintenance.coverage.judge import worthless
from agent.maintenance.findings import FindingStore
from agent.maintenance.lint.change import Change, change_of, no_fixes, touched, weakened
from agent.maintenance.lint.check import Look, look
from agent.maintenance.lint.detect import Command, Read, commands
from agent.maintenance.lint.errand import place
from agent.maintenance.lint.identity import match
from agent.maintenance.lint.judges import brings, judges
from agent.maintenance.lint.task import CONFIGURATION, anchored
from agent.maintenance.night import Errand, Finding
from agent.maintenance.offlimits import reserved, shadows
from agent.maintenance.workshop import Night
from agent.ports import Clock, Sandbox, Vault
from agent.run import CommitSha, TreeSha
from agent.work import Case

LARGEST = 4 << 20  #: bytes of a file that is compared
NAMED = 10  #: findings that are told


@dataclass(frozen=True, kw_only=True)
class NightAcceptance:
    """An `agent.work.Acceptance`."""

    sandbox: Sandbox
    installer: Installer | None
    vaults: Callable[[str], Vault]
    clock: Clock
    findings: FindingStore

    async def __call__(self, case: Case) -> Sequence[str]:
        started = await asyncio.to_thread(change_of, case.started)
        made = await asyncio.to_thread(change_of, case.made)
        paths = touched(started, made)
        if not paths:
            return ("Nothing was changed.",)
        names = [name for path in paths for name in _names(made, path)]
        kept = [name for name in dict.fromkeys(names) if name in case.errand.keep]
        if kept:
            return tuple(f"`{path}` has to stay as it is." for path in kept)
        vault = self.vaults(case.project.path)
        tree = await vault.restore(case.base, case.made)
        night = await self._night(case, vault)
        before, after = await _texts(night, tree, paths)
        refused = await _refused(case.errand, night, made, paths, before, after)
        if refused:
            return tuple(f"`{path}`: {why}." for path, why in refused.items())
        if case.errand.kind == "tests":
            return await worthless(night, tree, case.errand.lines, before, after)
        if not case.errand.findings:
            return ()
        return await _found(night, tree, case.errand.findings)

    async def _night(self, case: Case, vault: Vault) -> Night:
        return Night(
            project=case.project,
            base=case.base,
            branch=case.branch,
            paths=await vault.list(case.base),
            tests=None,  # they have passed
            sandbox=self.sandbox,
            vault=vault,
            installer=self.installer,
            clock=self.clock,
            findings=self.findings,
        )


async def _texts(
    night: Night, tree: TreeSha, paths: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Of files that are compared: before, and after."""
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for path in (each for each in paths if tamper.is_read(each)):
        for treeish, texts in ((night.base, before), (CommitSha(tree), after)):
            data = await night.vault.read(treeish, path, limit=LARGEST)
            if data is not None:
                texts[path] = data.decode("utf-8", "replace")
    return before, after


async def _refused(
    errand: Errand,
    night: Night,
    made: Change,
    paths: Sequence[str],
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> dict[str, str]:
    """Of what was changed that which may not be: for findings, all but edits of code; for tests,
    all but more of them; for all, what decides how the change is judged."""
    policy, diffs = night.project.policy, [made[path].diff for path in paths if path in made]
    if errand.findings:
        why = await asyncio.to_thread(no_fixes, made, paths, before.get, after.get, policy)
        why = {**await _elsewhere(errand, night, paths), **why}
    else:
        why = await asyncio.to_thread(weakened, diffs, before.get, after.get, policy)
        if errand.kind == "tests":
            why |= no_tests(made, paths, before)
    tools = await _tools(night) if errand.findings else ()
    judging = await judges(tools, night.project.test_command or "", night.paths, _reader(night))
    for path in paths:
        for name in _names(made, path):
            if name in judging:
                why.setdefault(path, "this file is part of what checks the project")
            elif reason := reserved(name, scripts=not errand.findings):
                why.setdefault(path, reason)
    for diff in diffs:
        if diff.new and diff.old != diff.new:
            reason = await asyncio.to_thread(shadows, diff.new, errand.modules, night.paths)
            why |= {diff.path: reason} if reason and diff.path not in why else {}
    return why


async def _elsewhere(errand: Errand, night: Night, paths: Sequence[str]) -> dict[str, str]:
    """Paths that neither have the findings nor load a file that has."""
    asked = {each.path for each in errand.findings}
    why: dict[str, str] = {}
    for path in (each for each in paths if each not in asked):
        data = await night.vault.read(night.base, path, limit=LARGEST)
        text = (data or b"").decode("utf-8", "replace")
        if not await asyncio.to_thread(brings, text, asked):
            why[path] = "only the files with the findings may be changed, and those that load them"
    return why


def _names(made: Change, path: str) -> tuple[str, ...]:
    """Both of a file that was renamed."""
    return made[path].diff.paths if path in made else (path,)


def _reader(night: Night) -> Read:
    async def read(path: str) -> bytes | None:
        return await night.vault.read(night.base, path, limit=CONFIGURATION)

    return read


async def _tools(night: Night) -> Sequence[Command]:
    return await commands(night.project.maintenance.lint, night.paths, _reader(night))


async def _found(night: Night, tree: TreeSha, wanted: Collection[Finding]) -> tuple[str, ...]:
    """What the linters say of it, on the base and on the tree. Raises `Unavailable` when they
    cannot look, for which the change is not to blame."""
    tools = await _tools(night)
    first = await look(night, night.base, tools)
    checked = [tool for tool in tools if tool.name in first.checked]
    if missing := {each.tool for each in wanted} - set(first.checked):
        raise _blind(missing, first)
    again = await look(night, tree, checked)
    if blind := [tool for tool in checked if tool.name not in again.checked]:
        names = {tool.name for tool in blind}
        once_more = await look(night, night.base, blind)
        if away := names - set(once_more.checked):
            raise _blind(away, once_more)
        return tuple(_about(names, again))
    before = await anchored(night, night.base, first)
    after = await anchored(night, tree, again)
    matched = match(before, after, night.paths)
    asked = {_key(each) for each in wanted}
    prints = {s.finding.fingerprint for s in before.seen if _key(s.finding) in asked}
    now = [each.finding for each in matched.now]
    there = [each for each in now if each.fingerprint in prints or _key(each) in asked]
    told = [*_told("still stands", there), *_told("was not there before", matched.new)]
    return tuple(told)


def _blind(tools: Collection[str], seen: Look) -> Unavailable:
    named = " and ".join(f"`{tool[:200]}`" for tool in sorted(tools))
    why = " ".join(_about(tools, seen)) or "The project no longer has it."
    return Unavailable(
        f"What was changed could not be checked, since {named} cannot look at the base commit "
        f"either. {why} The next night tries it again."
    )


def _about(tools: Collection[str], seen: Look) -> list[str]:
    return [each for each in seen.not_checked if any(f"`{name}`" in each for name in tools)]


def _told(what: str, found: Sequence[Finding]) -> list[str]:
    lines = [f"{place(f)} {f.rule or f.tool} {what}: {f.message[:300]}" for f in found[:NAMED]]
    more = len(found) - NAMED
    return [*lines, *([f"{more} more of these."] if more > 0 else [])]


def _key(finding: Finding) -> Finding:
    return replace(finding, fingerprint="", fixable=False)
