"""Compares a checkpoint with the base before it may leave: the same for every push."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from agent import tamper
from agent.canaries import CREDENTIAL
from agent.difference import read_patch
from agent.errors import GitFailed
from agent.events import Committed, EffectDone, EffectKind, HoldLifted
from agent.finish import last_finish
from agent.intents import Push
from agent.leaks import leaks
from agent.mergerequest import description, title
from agent.pipeline import Violation, Weakening
from agent.policy import breaches
from agent.run import CommitSha, TreeSha
from agent.serialize import commit_message
from agent.tamper.ci import ROOT, includes
from agent.tamper.reports import fewer
from agent.work import Work

LARGEST = 4 << 20  #: bytes of a file that is compared
AT_ONCE = 8  #: files that are read at the same time


@dataclass(frozen=True, kw_only=True)
class Judged:
    violations: tuple[Violation, ...] = ()
    credential: bool = False  #: nobody can accept that


async def judge(work: Work) -> Judged:
    """Of the newest checkpoint, and of the words that would go with it."""
    checkpoint = work.state.checkpoint
    if checkpoint is None:
        return Judged()
    patch = (await work.journal.body(checkpoint.patch)).decode("utf-8", "surrogateescape")
    diffs = await asyncio.to_thread(read_patch, patch)
    paths = await _tree(work, checkpoint.tree, patch)
    spoken = work.canaries.found_in(_words(work))
    if spoken or await leaks(work.canaries, work.vault, checkpoint.tree, diffs):
        return Judged(credential=True)
    before, after = await asyncio.gather(
        _texts(work, work.base, [d.old for d in diffs]),
        _texts(work, CommitSha(checkpoint.tree), [d.new for d in diffs]),
    )
    ci = await _included(work, checkpoint.tree, paths)
    weak = await asyncio.to_thread(tamper.weakenings, diffs, before.get, after.get, ci=ci)
    if not (work.state.heals or work.state.fixes):
        # what a test expects may be what was asked to change; it counts once something was red
        weak = tuple(each for each in weak if each.rule != Weakening.EXPECTATION_CHANGED)
    rules = breaches(work.project.policy, diffs, paths)
    return Judged(violations=(*weak, *fewer(work.state, weak), *rules))


async def unfit(work: Work) -> str:
    """Why the newest checkpoint may not be pushed, in sentences; empty when it may."""
    judged, checkpoint = await judge(work), work.state.checkpoint
    if judged.credential:
        return CREDENTIAL
    if not judged.violations or work.project.local:
        return ""
    if checkpoint is not None and lifted(work, checkpoint.tree):
        return ""
    rules = ", ".join(dict.fromkeys(each.rule for each in judged.violations))
    told = f"The change was not pushed, since a person has to accept it first ({rules})."
    if not work.state.request.thread.channel:
        return f"{told} It is kept in the run's record; nobody is asked for what a night did."
    return f"{told} It is kept in the run's record; a retry asks for that."


def lifted(work: Work, tree: TreeSha) -> bool:
    """A person accepted this very tree, and it has not been pushed since."""
    accepted = False
    pushes: dict[str, TreeSha] = {}
    for event in work.journal.events:
        match event.payload:
            case HoldLifted(tree=seen):
                accepted = seen == tree
            case Committed(commit=commit, tree=made):
                pushes[Push(commit=commit).key(work.state.run)] = made
            case EffectDone(effect=EffectKind.PUSH, key=key) if pushes.get(key) == tree:
                accepted = False
            case _:
                pass
    return accepted


async def _tree(work: Work, tree: TreeSha, patch: str) -> Sequence[str]:
    """Every path of it; made again where another host has taken the checkpoint."""
    try:
        return await work.vault.list(tree)
    except GitFailed:
        return await work.vault.list(await work.vault.restore(work.base, patch))


def _words(work: Work) -> tuple[str, ...]:
    """What would be said of the change, in git and in GitLab."""
    state = work.state
    said = last_finish(work.context.messages)
    summary = said.summary if said else ""
    message = commit_message(state.request, state.run, summary)
    asked = [each.given.text for each in state.followups]
    told = description(state, summary=summary)
    return (summary, message, state.request.text, *asked, title(state), told)


async def _texts(work: Work, treeish: CommitSha, names: Sequence[str | None]) -> dict[str, str]:
    slots = asyncio.Semaphore(AT_ONCE)
    texts: dict[str, str] = {}

    async def read(name: str) -> None:
        async with slots:
            data = await work.vault.read(treeish, name, limit=LARGEST)
        if data is not None:
            texts[name] = data.decode("utf-8", "replace")

    await asyncio.gather(*(read(name) for name in names if name and tamper.is_read(name)))
    return texts


async def _included(work: Work, tree: TreeSha, paths: Sequence[str]) -> tuple[str, ...]:
    """What the CI configuration takes in, before the change and after it."""
    found: list[str] = []
    for treeish, there in ((work.base, work.paths), (CommitSha(tree), paths)):
        if ROOT in there:
            data = await work.vault.read(treeish, ROOT, limit=LARGEST)
            found += includes((data or b"").decode("utf-8", "replace"))
    return tuple(dict.fromkeys(found))
