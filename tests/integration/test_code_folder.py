"""A folder is searched as if nothing else were there, however many better places are elsewhere."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from codetrees import BareRepository

from agent.adapters.database import Database
from agent.adapters.git_code import GitCode
from agent.retrieval.embed import Embedded
from agent.retrieval.indexer import bring_up
from agent.retrieval.lookup import defined
from agent.retrieval.search import Answer, Searcher
from agent.run import CommitSha

NOW = datetime(2026, 11, 1, tzinfo=UTC)
BETTER = 220  #: more than a search weighs here, and than are read of one symbol
RATE = b"def exchange_rate(currency):\n    # of the day\n    return RATES[currency]\n"
FILES = {
    "odd_%/money/rates.py": RATE,
    "odd_%/money2/rates.py": RATE,
    "oddXX/money/rates.py": RATE,
    **{
        f"a/m{n}.py": f"def exchange_rate(day):\n    'exchange rate day {n}'\n".encode()
        for n in range(BETTER)
    },
}


@pytest.fixture
async def searcher(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Searcher:
    monkeypatch.setattr("agent.retrieval.search.CANDIDATES", 50)
    repository = BareRepository(tmp_path / "code.git")
    commit = CommitSha(repository.commit(dict(FILES)))
    done = await bring_up(db.code, GitCode(repository.folder), "team/shop", commit)
    return Searcher(store=db.code, tree=done.tree, now=NOW)


def paths(answer: Answer) -> list[str]:
    return [found.hit.path for found in answer.places]


async def test_a_folders_places_are_found_whatever_is_elsewhere(searcher: Searcher):
    mine, query = "odd_%/money/rates.py", "exchange rate of the day"
    for folder in ("odd_%/money", mine):
        assert paths(await searcher.search(query, inside=folder)) == [mine]
        assert paths(await defined(searcher, ["exchange_rate"], folder)) == [mine]
    assert mine not in paths(await searcher.search(query))
    edits = {"odd_%/money/fees.py": RATE, "odd_%/money2/fees.py": RATE}
    edited = await searcher.over(edits, searcher._edited)
    found = paths(await edited.search(query, inside="odd_%/money"))
    assert sorted(found) == ["odd_%/money/fees.py", mine]
    assert paths(await defined(edited, ["exchange_rate"], "odd_%/money2")) == [
        "odd_%/money2/fees.py",
        "odd_%/money2/rates.py",
    ]
    for folder in ("money", "odd_%/mone", "odd__/money", "b", "\udce9", "a\0"):
        assert paths(await searcher.search(query, inside=folder)) == []
        assert paths(await defined(searcher, ["exchange_rate"], folder)) == []


async def test_the_nearest_of_a_folder_are_found_from_the_table_and_beside_memory(
    db: Database, searcher: Searcher
):
    tree, vectors = searcher.tree, db.vectors
    wanted = await vectors.wanting(tree, "m", 10_000)
    asked = np.array([1, 0, 0, 0], dtype=np.float32)
    made = np.ones((len(wanted), 4), dtype=np.float32)
    texts = await vectors.documents(tree, [each.chunk for each in wanted])
    made[[text.startswith("a/") for text in texts]] = asked  # all others are farther away
    embedded = Embedded(vectors=made, tokens=1, money=0.0)
    await vectors.keep("m", [each.content for each in wanted], embedded)
    await vectors.switch(tree.project, "m")
    assert (await vectors.standing(tree, "m")).embedded == len(FILES)

    async def near(inside: str) -> set[str]:
        found = await vectors.near(tree, "m", asked, {1: 1.0}, most=3, inside=inside)
        return {each.path.split("/m")[0] for each in found}

    for _ in range(2):
        assert await near("") == {"a"}
        assert await near("odd_%/money") == {"odd_%"}
        await asyncio.gather(*vectors._cache._reading.values())
    assert vectors._cache._kept
