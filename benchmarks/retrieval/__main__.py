"""`python -m benchmarks.retrieval REPOSITORY …`: mines cases from its history and scores them."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agent.retrieval.kinds import Kind, kind_of
from benchmarks.retrieval.cost import Cost, cost, past
from benchmarks.retrieval.dense import Dense
from benchmarks.retrieval.kept import Kept
from benchmarks.retrieval.methods import METHODS
from benchmarks.retrieval.repository import Case, Repository, cases, plain
from benchmarks.retrieval.scene import Lasting, Place, Scene

RECALL = (1, 5, 10, 20)
COLUMNS = (*(f"R@{k}" for k in RECALL), "MRR", "c@20", "tests@20", "lines", "ms")
SOURCE = ("R@10 src", "MRR src")  #: of the places in source files alone
QUERIES = ("message", "without identifiers")

Means = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Of one repository; by query and method."""

    means: Mapping[tuple[str, str], Means]
    costs: Mapping[str, Cost]  #: by method
    lines: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=__doc__)
    parser.add_argument("repositories", nargs="+", type=Path)
    parser.add_argument("--cases", type=int, default=60, help="of each repository")
    parser.add_argument("--methods", default="", help="their names, with ; between")
    parser.add_argument(
        "--embedder", default="", help='address of an OpenAI-compatible endpoint, or "minilm"'
    )
    parser.add_argument("--embedding-model", default="default")
    parser.add_argument("--vectors", type=Path, help="file that keeps the vectors, of one model")
    parser.add_argument("--cache", type=Path, help="folder that keeps what was read of contents")
    parser.add_argument(
        "--no-costs", action="store_true", help="leave out the time, memory and size of indexes"
    )
    options = parser.parse_args()
    console = Console(width=190)
    names = options.methods.split(";") if options.methods else [*METHODS]
    methods = _there(names, bool(options.embedder), console)
    dense = (
        Dense(options.embedder, options.embedding_model, options.vectors)
        if options.embedder
        else None
    )
    every: list[Scored] = []
    for path in options.repositories:
        began = time.perf_counter()
        scored = score(
            path, options.cases, methods, dense, options.cache, costs=not options.no_costs
        )
        every.append(scored)
        took = f"{path.resolve()}: {scored.lines:,} lines, {time.perf_counter() - began:.0f} s"
        for which in QUERIES:
            console.print(_table(f"{took}; query: {which}", which, methods, [scored]))
        if dense is not None:
            dense.save()
    if dense is not None:
        dense.close()
    if len(every) > 1:
        lines = sum(each.lines for each in every)
        for which in QUERIES:
            title = f"Mean over {len(every)} repositories of {lines:,} lines; query: {which}"
            console.print(_table(title, which, methods, every))
    console.print(
        "core s, MB and size MB: to index one tree of each repository from its contents, the peak"
        " of memory beyond them, and what is kept beside the text; sums, of MB the largest."
    )


def _there(names: Sequence[str], embedder: bool, console: Console) -> list[str]:
    """Without those that cannot be run; says why."""
    found: list[str] = []
    said: dict[str, None] = {}
    for name in names:
        method = METHODS[name]
        if reason := method.missing():
            said[reason] = None
        elif embedder or not method.embedder:
            found.append(name)
    for reason in said:
        console.print(reason)
    if not embedder:
        console.print("Rows with an embedder are left out: --embedder minilm brings them.")
    return found


def _table(title: str, which: str, methods: Sequence[str], every: Sequence[Scored]) -> Table:
    table = Table(title=title, title_justify="left")
    columns = (*COLUMNS, *SOURCE)
    for name in ("", *columns, "core s", "MB", "size MB"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name in methods:
        means = [each.means[which, name] for each in every if (which, name) in each.means]
        row = [_mean([m[column] for m in means]) for column in columns]
        costs = [each.costs[name] for each in every if name in each.costs]
        if costs:
            row += [sum(c.seconds for c in costs), max(c.memory for c in costs)]
            row.append(sum(c.size for c in costs))
        table.add_row(name, *map(_number, [*row, nan, nan, nan][: len(columns) + 3]))
    return table


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not isnan(value)]
    return sum(known) / len(known) if known else nan


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:,.0f}" if value > 20 else f"{value:.3f}"


def score(
    path: Path,
    most: int,
    methods: Sequence[str],
    dense: Dense | None = None,
    cache: Path | None = None,
    *,
    costs: bool = True,
) -> Scored:
    repository = Repository(path)
    name = path.resolve().as_posix().strip("/").replace("/", "+")
    lasting = Lasting(repository, Kept(cache, name) if cache else None)
    log = repository.log()
    changes = past(log)
    scores: dict[tuple[str, str], list[Means]] = defaultdict(list)
    mined, lines = cases(log, most), 0
    for case in mined:
        scene = Scene(
            tree=repository.tree(case.commit.parent),
            past=changes[case.number + 1 :],
            now=case.commit.at,
            lasting=lasting,
        )
        lines = lines or sum(file.lines for file in scene.files)
        if dense is not None:
            scene.near = dense.over(scene.index)
        for method in methods:
            METHODS[method].find(scene, "warm up")  # the index is made, whoever asks first
            for which, query in zip(QUERIES, (case.query, plain(case.query)), strict=True):
                if query:
                    began = time.perf_counter()
                    places = METHODS[method].find(scene, query)
                    took = (time.perf_counter() - began) * 1000
                    scores[which, method].append(_judged(case, places) | {"ms": took})
    lasting.close()
    repository.close()
    told: dict[str, Cost] = {}
    if costs and mined:
        told = {
            each: cost(path, mined[0].commit.parent, each)
            for each in methods
            if not METHODS[each].embedder
        }
    means = {key: {c: _mean([s[c] for s in each]) for c in each[0]} for key, each in scores.items()}
    return Scored(means=means, costs=told, lines=lines)


def _judged(case: Case, places: Sequence[Place]) -> dict[str, float]:
    """Over files in the order of their first place; `c@20` over the first 20 places."""
    shown = {place.path for place in places[:20]}
    source = [place for place in places if kind_of(place.path) is Kind.SOURCE]
    whole = any(not place.start for place in places)
    recall, first = _found(case.gold, places)
    of_source, first_of_source = _found(case.gold, source)
    return recall | {
        "MRR": first,
        "c@20": len(set(case.gold) & shown) / len(case.gold),
        "tests@20": len(set(case.tests) & shown) / len(case.tests) if case.tests else nan,
        "lines": nan
        if whole or not places
        else float(sum(p.end - p.start + 1 for p in places[:20])),
        "R@10 src": of_source["R@10"],
        "MRR src": first_of_source,
    }


def _found(gold: Sequence[str], places: Sequence[Place]) -> tuple[dict[str, float], float]:
    ranked = list(dict.fromkeys(place.path for place in places))
    first = next((n for n, path in enumerate(ranked, 1) if path in gold), 0)
    told = {f"R@{k}": len(set(gold) & set(ranked[:k])) / len(gold) for k in RECALL}
    return told, 1 / first if first else 0.0


if __name__ == "__main__":
    main()
