"""An update that breaks the project's tests, for the agent: it is on the tree, the code is to be
repaired."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from agent.errors import ToolFailed, Unavailable
from agent.maintenance.dependencies import archives
from agent.maintenance.dependencies.archives import Package
from agent.maintenance.dependencies.changelog import LIMIT, between
from agent.maintenance.dependencies.shop import opened
from agent.maintenance.dependencies.source import archive
from agent.maintenance.dependencies.trial import Trials, Tried
from agent.maintenance.dependencies.uses import uses
from agent.maintenance.errands import MOST
from agent.maintenance.night import Errand, Update
from agent.prompt import clean, cut
from agent.run import ThreadMessage, TreeSha
from agent.testreport import TestReport

_LOOKED_AT = 2 * MOST  #: updates, for each of which a project may have to be installed and tested
_TESTS = 20
_MESSAGE = 600  #: characters of one failure
_FAILURES = 6_000  #: of all
_NODE = frozenset({"npm", "pnpm", "yarn"})

RULES = """\
Repair the project's own code, so that it works with the new version and does what it did. These \
are refused: changes of the manifests and lock files ({kept}), of configuration, of shell scripts \
and of what decides how tests run (conftest.py, too), new files that are called like the package \
or a module of Python's, tests that are weakened, skipped or removed, comments that tell a checker \
to look away. Do not go back to the old version, do not copy the package's code into the project, \
and do not replace what it offers by something that only pleases the tests. The project's tests \
have to pass. Nobody can be asked."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """`trials`: of the ecosystem that the update belongs to."""

    trials: Trials
    update: Update


async def repairs(broken: Sequence[Broken]) -> tuple[Errand, ...]:
    """Security first, then what the project itself asks for. None for what does not break the
    tests by itself, without the night's other updates: the next night tries it beside those."""
    found: list[Errand] = []
    order = sorted(
        broken,
        key=lambda b: (not b.update.advisories, not b.update.direct, b.update.package),
    )
    fit = [each for each in order if each.update.offer not in each.trials.night.given]
    for each in fit[:_LOOKED_AT]:
        try:
            tried = await each.trials.attempt([each.update])
        except Unavailable:
            break  # the night's time is over, or its registry away
        if tried.red and tried.tree is not None and tried.tests is not None:
            found.append(await _errand(each, tried, tried.tree, tried.tests))
        if len(found) == MOST:
            break
    return tuple(found)


async def _errand(broken: Broken, tried: Tried, tree: TreeSha, tests: TestReport) -> Errand:
    trials, update = broken.trials, broken.update
    name = f"{update.package} {update.target}"
    trials.night.tell(f"reading what changed in {name}")
    package, why = await _package(trials, update)
    said = await asyncio.to_thread(_changes, package, update)
    node = update.ecosystem in _NODE
    names = {update.package} if node else {update.package.replace("-", "_"), *package.modules}
    paths = await uses(trials.night, names, python=not node)
    keep = tuple(sorted({*trials.project.manifests, *tried.files}))
    return Errand(
        kind="repair",
        title=f"Update {update.package} to {update.target} and repair the code for it",
        text=_text(update, keep, paths, said, why),
        records=tuple(_records(tried, tests, trials.before, package, said)),
        about=(update.offer,),
        tree=tree,
        keep=keep,
        modules=tuple(sorted(names)),
    )


async def _package(trials: Trials, update: Update) -> tuple[Package, str]:
    """And why there is none, in a sentence."""
    try:
        async with opened(
            trials.project.manifests,
            sandbox=trials.night.sandbox,
            installer=trials.installer,
            project=trials.night.project.path,
        ) as shop:
            data = await archive(shop, update)
        return await asyncio.to_thread(archives.read, data), ""
    except (ToolFailed, Unavailable):
        return Package(), "The package's changelog could not be read."


def _changes(package: Package, update: Update) -> str:
    for log in package.logs:
        told = between(log, update.current, update.target, package=update.package)
        if told:
            return told
    return ""


def _text(update: Update, keep: Sequence[str], paths: Sequence[str], said: str, why: str) -> str:
    safety = " It does away with a known vulnerability." if update.advisories else ""
    places = "\n".join(f"- `{_one_line(path)}`" for path in paths)
    used = f"It is imported in:\n{places}" if paths else "No import of it was found in the code."
    none = why or "The package brings no changelog that names the versions between the two."
    changed = "what the package's changelog says between the two versions" if said else ""
    records = f"what fails{f', and {changed}' if changed else ''}"
    return "\n\n".join(
        (
            f"`{update.package}` is updated from {update.current} to {update.target} here, and with"
            f" that the project's tests fail, which passed before.{safety}",
            used,
            RULES.format(kept=", ".join(f"`{_one_line(path)}`" for path in keep[:8])),
            f"The record has {records}.{'' if said else f' {none}'}\n",
        )
    )


def _records(
    tried: Tried, tests: TestReport, before: TestReport | None, package: Package, said: str
) -> list[ThreadMessage]:
    new = tests.new_failures(before)
    lines = [f"{case.id}\n{cut(clean(case.message).strip(), _MESSAGE)}" for case in new[:_TESTS]]
    if len(new) > _TESTS:
        lines.append(f"{len(new) - _TESTS} more tests fail.")
    failures = cut("\n\n".join(lines) or tried.red, _FAILURES)
    found = [ThreadMessage(author="the tests", text=failures)]
    if said:
        found.append(ThreadMessage(author="the package's changelog", text=cut(said, LIMIT)))
    elif package.url:
        told = f"Its changelog is at {package.url}"
        found.append(ThreadMessage(author="the package", text=told))
    return found


def _one_line(text: str) -> str:
    return " ".join(clean(text).replace("`", "'").split())[:200]
