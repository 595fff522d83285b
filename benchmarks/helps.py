"""`python -m benchmarks.helps FILE …`: what the index of the code saves a run, on the same tasks.

FILE is what `python -m benchmarks.mine` writes. The model is a policy, not a mind: it opens files
in the order in which it is shown or finds them, one a step, and makes the known edit as soon as it
has seen the lines that the edit replaces. So the way to the code is measured, and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.console import Console
from rich.table import Table

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.database import Database, open_database
from agent.adapters.git_ground import GitGround
from agent.difference import read_patch
from agent.retrieval.kinds import Kind, kind_of
from agent.run import CommitSha
from benchmarks.policy import MODES, Policy, hunks
from benchmarks.scratch import scratch
from benchmarks.scripted import environment
from bot.build import make_model, make_sandbox
from bot.settings import load
from bot.trial import local_library, local_runs
from playground.model.server import ModelStandIn


@dataclass(frozen=True, kw_only=True)
class Task:
    name: str
    source: Path
    base: CommitSha
    problem: str
    answer: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Way:
    """To the first correct edit."""

    found: bool
    steps: int
    tokens: int  #: of all prompts on the way, as the model's provider counts them
    fresh: int  #: of the last prompt: what was read at all


def tasks(files: Sequence[Path], most: int) -> list[Task]:
    found: list[Task] = []
    for path in files:
        for line in path.read_text().splitlines():
            record = json.loads(line)
            touched = [each.new for each in read_patch(record["patch"]) if each.old]
            if any(kind_of(name or "") is Kind.SOURCE for name in touched):
                found.append(
                    Task(
                        name=record["instance_id"],
                        source=Path(record["repo"]),
                        base=CommitSha(record["base_commit"]),
                        problem=record["problem_statement"],
                        answer=record["patch"],
                    )
                )
    return found[:most]


async def ways(chosen: Sequence[Task]) -> dict[tuple[str, str], Way]:
    taken: dict[tuple[str, str], Way] = {}
    with scratch() as folder:
        home = folder / "home"
        sandbox = make_sandbox(load(environment(JOURNEYMAN_HOME=str(home))))
        async with open_database(home=home) as database:
            for task in chosen:
                for mode in MODES:
                    place = folder / f"{len(taken)}"
                    taken[task.name, mode] = await way(task, mode, place, database, sandbox)
                    print(f"{task.name} {mode}: {taken[task.name, mode]}", flush=True)
    return taken


async def way(
    task: Task, mode: str, folder: Path, database: Database, sandbox: BubblewrapSandbox
) -> Way:
    ground = GitGround(folder / "repository.git")
    await ground.lay(task.source, task.base)
    policy = Policy(mode=mode, request=task.problem, known=hunks(task.answer))
    async with ModelStandIn(answer=policy.answer) as endpoint:
        settings = load(
            environment(
                JOURNEYMAN_HOME=str(folder),
                JOURNEYMAN_MODEL="policy",
                OPENAI_BASE_URL=endpoint.url,
            )
        )
        async with make_model(settings) as model, local_library(settings, database) as library:
            index = None if mode == "grep" else library
            runs = local_runs(settings, database, model, sandbox, index)
            runs.installer = None  # no test is run: the edit is known to be right
            await runs.run(ground.path, task.problem, test_command="true")
        asked = endpoint.requests[: policy.steps]
    sizes = [_tokens(request) for request in asked]
    return Way(found=policy.made, steps=policy.steps, tokens=sum(sizes), fresh=sizes[-1])


def _tokens(request: dict[str, Any]) -> int:
    return len(json.dumps(request.get("tools", [])) + json.dumps(request["messages"])) // 4


def show(chosen: Sequence[Task], taken: dict[tuple[str, str], Way]) -> None:
    table = Table(title="To the first correct edit: steps / tokens of all prompts on the way")
    for name in ("", *MODES):
        table.add_column(name, justify="right" if name else "left")
    for task in chosen:
        cells = [taken[task.name, mode] for mode in MODES]
        table.add_row(
            task.name, *(f"{c.steps}{'' if c.found else ' —'} / {c.tokens:,}" for c in cells)
        )
    for what, one in (("mean", mean), ("median", median)):
        cells = [[taken[task.name, mode] for task in chosen] for mode in MODES]
        told = [f"{one(c.steps for c in e):.1f} / {one(c.tokens for c in e):,.0f}" for e in cells]
        table.add_row(what, *told)
    found = [sum(taken[task.name, mode].found for task in chosen) for mode in MODES]
    table.add_row("found", *(f"{count} of {len(chosen)}" for count in found))
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.helps", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--most", type=int, default=10, help="tasks (10)")
    given = parser.parse_args()
    chosen = tasks(given.files, given.most)
    show(chosen, asyncio.run(ways(chosen)))


if __name__ == "__main__":
    main()
