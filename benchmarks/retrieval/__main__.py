"""`python -m benchmarks.retrieval REPOSITORY …`: mines cases from its history and scores them."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agent.retrieval.history import Change, History
from agent.retrieval.memory import FileIndex, MemoryIndex, index_file
from agent.retrieval.tokens import Tokens
from benchmarks.retrieval.dense import Dense
from benchmarks.retrieval.methods import EMBEDDED, METHODS, Place, Scene
from benchmarks.retrieval.repository import Case, Commit, Repository, cases, plain

COLUMNS = ("R@1", "R@5", "R@10", "R@20", "MRR", "c@20", "tests@20", "lines")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval", description=__doc__)
    parser.add_argument("repositories", nargs="+", type=Path)
    parser.add_argument("--cases", type=int, default=60, help="of each repository")
    parser.add_argument("--methods", default="")
    parser.add_argument(
        "--embedder", default="", help='address of an OpenAI-compatible endpoint, or "minilm"'
    )
    parser.add_argument("--embedding-model", default="default")
    parser.add_argument("--vectors", type=Path, help="file that keeps the vectors, of one model")
    options = parser.parse_args()
    dense = (
        Dense(options.embedder, options.embedding_model, options.vectors)
        if options.embedder
        else None
    )
    methods = options.methods.split(",") if options.methods else [*METHODS]
    if dense is None:
        methods = [name for name in methods if name != EMBEDDED]
    sums: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    console = Console(width=140)
    for path in options.repositories:
        for key, means in score(Repository(path), options.cases, methods, dense).items():
            sums[key].append(means)
            console.print(path.parent.name, *key, {k: round(v, 3) for k, v in means.items()})
    if dense is not None:
        dense.close()
    for which in ("message", "without identifiers"):
        table = Table(title=f"Query: {which}; mean over {len(options.repositories)} repositories")
        for name in ("", *COLUMNS, "ms"):
            table.add_column(name, justify="right" if name else "left")
        for method in methods:
            means = sums[which, method]
            row = [sum(m[c] for m in means) / len(means) for c in (*COLUMNS, "ms")]
            table.add_row(method, *(f"{v:.0f}" if v > 5 else f"{v:.3f}" for v in row))
        console.print(table)


def score(
    repository: Repository, most: int, methods: Sequence[str], dense: Dense | None = None
) -> dict[tuple[str, str], dict[str, float]]:
    log = repository.log()
    tokens = Tokens()
    changes = [Change(id=c.sha, at=c.at, title=c.title, paths=c.paths) for c in log]
    known: dict[tuple[str, str], FileIndex | None] = {}
    scores: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for case in cases(log, most):
        scene = _scene(repository, case, log, changes, known, tokens)
        if dense is not None:
            scene = replace(scene, near=dense.over(scene.index))
        for which, query in (("message", case.query), ("without identifiers", plain(case.query))):
            if not query:
                continue
            for name in methods:
                began = time.perf_counter()
                places = METHODS[name](scene, query, case.commit.at)
                took = (time.perf_counter() - began) * 1000
                scores[which, name].append(_judged(case, places) | {"ms": took})
    repository.close()
    return {
        key: {c: sum(s[c] for s in each) / len(each) for c in each[0]}
        for key, each in scores.items()
    }


def _scene(
    repository: Repository,
    case: Case,
    log: Sequence[Commit],
    changes: Sequence[Change],
    known: dict[tuple[str, str], FileIndex | None],
    tokens: Tokens,
) -> Scene:
    tree = repository.tree(case.commit.parent)
    files: list[FileIndex] = []
    for path, blob in tree.items():
        if (path, blob) not in known:
            known[path, blob] = index_file(path, repository.blob(blob), tokens)
        if (found := known[path, blob]) is not None:
            files.append(found)
    texts: dict[str, str] = {}

    def text(path: str) -> str:
        if path not in texts:
            texts[path] = repository.blob(tree[path]).decode("utf-8", "replace").lower()
        return texts[path]

    return Scene(
        files=files,
        index=MemoryIndex(files),
        history=History(changes[case.number + 1 :], tokens),
        text=text,
    )


def _judged(case: Case, places: Sequence[Place]) -> dict[str, float]:
    """Over files in the order of their first place; `c@20` over the first 20 places."""
    ranked = list(dict.fromkeys(place.path for place in places))
    gold = set(case.gold)
    shown = {place.path for place in places[:20]}
    first = next((n for n, path in enumerate(ranked, 1) if path in gold), 0)
    told = {f"R@{k}": len(gold & set(ranked[:k])) / len(gold) for k in (1, 5, 10, 20)}
    return told | {
        "MRR": 1 / first if first else 0.0,
        "c@20": len(gold & shown) / len(gold),
        "tests@20": len(set(case.tests) & shown) / len(case.tests) if case.tests else 0.0,
        "lines": float(sum(place.end - place.start + 1 for place in places[:20])),
    }


if __name__ == "__main__":
    main()
