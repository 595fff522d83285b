"""`python -m benchmarks.mine REPO --out FILE`: tasks for `journeyman eval` from a history.

A commit becomes one when it changed source and tests, and the tests that it brought fail before its
change of the source and pass after it, in the sandbox.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.adapters.git_ground import GitGround
from agent.adapters.instance_file import as_record, read_instances
from agent.dependencies import Installer
from agent.errors import JourneymanError
from agent.evaluation.instance import Instance
from agent.evaluation.judging import run_named, statuses
from agent.ports import Sandbox
from agent.project import ProjectSettings
from agent.retrieval.kinds import Kind, kind_of
from agent.run import CommitSha, TreeSha
from agent.testreport import CaseStatus
from benchmarks.retrieval.repository import Commit, Repository
from bot.build import make_installer, make_sandbox
from bot.settings import load

PATHS = 12  #: that a commit may have changed; larger ones are seldom one task
WORDS = 5  #: that its message must have
SECONDS = 600.0  #: for its tests
_TRAILER = re.compile(r"^[A-Z][\w-]+-by: .*$", re.MULTILINE)
_NUMBER = re.compile(
    r"\(?(\b(close[sd]?|fix(e[sd])?|resolve[sd]?|refs?|see)\b:?)?[ \t]*[#!]\d+\b\)?|https?://\S+",
    re.IGNORECASE,
)
_KIND = re.compile(r"^(feat|fix|perf|refactor|chore|test)(\([^)]*\))?!?: *")
_DULL = re.compile(
    r"^(merge|revert|release|bump|version|update (dependenc|changelog))", re.IGNORECASE
)


class _Unfit(Exception):
    """Says why a commit is no task."""


@dataclass(frozen=True, kw_only=True)
class Mine:
    """`ground` holds the whole past of the repository."""

    repository: Repository
    ground: GitGround
    project: ProjectSettings
    sandbox: Sandbox
    installer: Installer

    async def task(self, commit: Commit) -> tuple[Instance, str]:
        """With the rest of the commit, which is the known answer."""
        problem = cleaned(self.repository.git("log", "-1", "--format=%B", commit.sha))
        if len(problem.split()) < WORDS or _DULL.match(problem):
            raise _Unfit("its message says too little")
        tests = [path for path in commit.paths if kind_of(path) is Kind.TEST]
        patch = self._difference(commit, tests)
        before = await self.ground.vault.restore(CommitSha(commit.parent), patch)
        after = TreeSha(commit.sha)
        green = await self._passing(after, tests, after)
        red = await self._passing(before, tests, after)
        fails = sorted(green - red)
        if not fails:
            raise _Unfit("no test of it fails before it and passes after it")
        instance = Instance(
            id=f"{self.repository.path.resolve().name}-{commit.sha[:12]}",
            repo=str(self.repository.path.resolve()),
            base=CommitSha(commit.parent),
            problem=problem,
            test_patch=patch,
            fail_to_pass=tuple(fails),
            pass_to_pass=tuple(sorted(green & red)),
            test_command=self.project.test_command,
        )
        return instance, self._difference(commit, [p for p in commit.paths if p not in tests])

    def _difference(self, commit: Commit, paths: Sequence[str]) -> str:
        form = ("--binary", "--full-index", "--no-renames", commit.parent, commit.sha, "--")
        return self.repository.git("diff", *form, *(f":(top,literal){path}" for path in paths))

    async def _passing(self, tree: TreeSha, tests: Sequence[str], after: TreeSha) -> frozenset[str]:
        tried = await run_named(
            tree,
            self.ground.vault,
            self.project,
            sandbox=self.sandbox,
            installer=self.installer,
            named=tests,
        )
        if tried is None:
            raise _Unfit("no way to run its tests is known")
        if tried.report.stopped:
            raise _Unfit(f"its tests were ended by the sandbox ({tried.report.stopped})")
        found = statuses(tried.report.cases)
        if tree == after and CaseStatus.PASSED not in found.values():
            first = next((case.message for case in tried.report.cases if case.message), "")
            why = tried.missing or first[-200:] or "it says nothing"
            raise _Unfit(f"none of its tests passes after it: {why}")
        return frozenset(id for id, status in found.items() if status is CaseStatus.PASSED)


def cleaned(message: str) -> str:
    """As somebody would ask for it: without trailers, numbers of issues, and addresses."""
    text = _NUMBER.sub("", _TRAILER.sub("", _KIND.sub("", message)))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    kept = (line if re.search(r"\w", line) else "" for line in lines)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()[:4_000]


def candidates(log: Sequence[Commit]) -> list[Commit]:
    def fit(commit: Commit) -> bool:
        kinds = {kind_of(path) for path in commit.paths}
        few = len(commit.paths) <= PATHS
        return bool(commit.parent) and few and {Kind.SOURCE, Kind.TEST} <= kinds

    return [commit for commit in log if fit(commit)]


async def mine(path: Path, out: Path, most: int, tries: int, command: str | None) -> int:
    settings = load()
    sandbox = make_sandbox(settings)
    known = {each.id for each in read_instances(out)[0]} if out.exists() else set[str]()
    repository = Repository(path)
    log = repository.log()
    made = 0
    try:
        with tempfile.TemporaryDirectory(prefix="mine-") as folder:
            ground = GitGround(Path(folder) / "repository.git")
            await ground.lay(path, CommitSha(repository.git("rev-parse", "HEAD").strip()))
            place = Mine(
                repository=repository,
                ground=ground,
                project=ProjectSettings(
                    path=str(path.resolve()), test_command=command, test_seconds=SECONDS, local=True
                ),
                sandbox=sandbox,
                installer=make_installer(settings, sandbox),
            )
            for commit in candidates(log)[:tries]:
                if made >= most:
                    break
                if any(id.endswith(commit.sha[:12]) for id in known):
                    continue
                try:
                    instance, answer = await place.task(commit)
                except (_Unfit, JourneymanError) as error:
                    _say(f"{commit.sha[:12]} {commit.title[:60]}: {error}")
                    continue
                with out.open("a") as file:
                    file.write(json.dumps(as_record(instance) | {"patch": answer}) + "\n")
                made += 1
                _say(f"{instance.id}: {len(instance.fail_to_pass)} tests to mend")
    finally:
        repository.close()
    return made


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mine", description=__doc__)
    parser.add_argument("repository", type=Path, help="a local git repository")
    parser.add_argument("--out", type=Path, required=True, help="what is there already is kept")
    parser.add_argument("--most", type=int, default=10, help="tasks that are added (10)")
    parser.add_argument("--tries", type=int, default=100, help="commits that are tried (100)")
    parser.add_argument("--test-command", help="how its tests are run")
    given = parser.parse_args()
    made = asyncio.run(
        mine(given.repository, given.out, given.most, given.tries, given.test_command)
    )
    print(f"{made} tasks were added to {given.out}.")


if __name__ == "__main__":
    main()
