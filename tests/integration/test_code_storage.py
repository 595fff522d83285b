"""How the index of code lies in PostgreSQL, and in the memory of a worker that asks it again."""

from __future__ import annotations

import logging
import random
import tracemalloc
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from codetrees import BareRepository
from sqlalchemy import Connection as Raw
from sqlalchemy.ext.asyncio import create_async_engine

from agent.adapters import postgres_code, postgres_trees
from agent.adapters.database import Database
from agent.adapters.embedded_postgres import APP
from agent.adapters.git_code import GitCode
from agent.adapters.migration import config
from agent.adapters.postgres import SCHEMA, Connection
from agent.adapters.postgres_code import PostgresCode
from agent.adapters.tree_cache import FROM, LARGEST, Room, TreeCache
from agent.errors import StoreUnavailable
from agent.retrieval import lookup
from agent.retrieval.indexer import bring_up
from agent.retrieval.kinds import Kind
from agent.retrieval.lexical import asked
from agent.retrieval.postings import BYTES, Gathered, Posted, Postings
from agent.retrieval.search import Searcher
from agent.retrieval.store import IndexedTree
from agent.retrieval.tokens import query_weights
from agent.run import CommitSha
from alembic import command

NOW = datetime(2026, 11, 1, tzinfo=UTC)
WORDS = ["price", "tariff", "order", "invoice", "customer", "parcel", "voucher", "ledger"]


@pytest.fixture
def repository(tmp_path: Path) -> BareRepository:
    return BareRepository(tmp_path / "code.git")


async def index(db: Database, repository: BareRepository, commit: str, project: str = "shop"):
    return await bring_up(db.code, GitCode(repository.folder), project, CommitSha(commit))


def files(seed: int) -> dict[str, bytes]:
    chance = random.Random(seed)
    made: dict[str, bytes] = {"odd/blank.py": b"1\n", "odd/empty.md": b""}
    for number in range(40):
        functions = [
            f"def {chance.choice(WORDS)}_{n}({chance.choice(WORDS)}):\n"
            + "".join(f"    {chance.choice(WORDS)} = {chance.choice(WORDS)}\n" for _ in range(40))
            for n in range(chance.randint(1, 6))
        ]
        made[f"{chance.choice(['src', 'tests'])}/m{number}.py"] = "\n".join(functions).encode()
    return made


async def to(admin_url: str, revision: str) -> None:
    engine = create_async_engine(admin_url.replace("postgresql://", "postgresql+asyncpg://"))

    def move(raw: Raw) -> None:
        attributes = config(connection=raw, app_role=APP)
        (command.downgrade if revision < SCHEMA else command.upgrade)(attributes, revision)

    async with engine.begin() as connection:
        await connection.run_sync(move)
    await engine.dispose()


CHUNKS = """
SELECT blob_id, project, start_line, end_line, symbols, context, content, lex::text, content_sha
FROM code_chunks ORDER BY id"""
MEMBERS = "SELECT tree_id, blob_id, project FROM code_members ORDER BY 1, 2"


async def test_the_layout_of_chunks_goes_there_and_back_and_loses_nothing(
    db: Database, repository: BareRepository, owner: Connection, admin_url: str
):
    commit = repository.commit(files(1))
    done = await index(db, repository, commit)
    before = [tuple(row.values()) for row in await owner.fetch(CHUNKS)]
    members = [tuple(row.values()) for row in await owner.fetch(MEMBERS)]
    assert len(before) == done.tree.chunks > 40
    assert len(members) == 41
    await db.code.close()
    await to(admin_url, "0010")
    assert [tuple(row.values()) for row in await owner.fetch(CHUNKS)] == before
    assert [tuple(row.values()) for row in await owner.fetch(MEMBERS)] == members
    kinds = """SELECT string_agg(relkind::text, '') FROM pg_class
        WHERE relname IN ('code_chunks', 'code_members')"""
    assert await owner.fetchval(kinds) == "rr"
    await to(admin_url, SCHEMA)
    assert await owner.fetchval(kinds) == "vv"
    assert [tuple(row.values()) for row in await owner.fetch(MEMBERS)] == members
    assert [tuple(row.values()) for row in await owner.fetch(CHUNKS)] == before


@pytest.fixture
async def stores(
    db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[tuple[PostgresCode, PostgresCode]]:
    """One that asks PostgreSQL, and one that has read the tree."""
    asking = PostgresCode(database_url)
    monkeypatch.setattr(asking.kept, "get", lambda key, size: None)
    yield asking, db.code
    await asking.close()


async def remembered(store: PostgresCode, tree: IndexedTree) -> None:
    for _ in range(FROM):
        await store.best(tree, {1: 1.0}, most=1)
    await store.kept.idle()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"inside": "src"},
        {"without": ("src/m3.py", "src/m4.py", "tests/m3.py", "tests/m4.py", "none.py")},
        {"also": ("odd/blank.py", "src/m1.py", "tests/m1.py", "none.py")},
        {"inside": "src", "also": ("tests/m1.py",), "without": ("tests/m1.py",)},
        {"inside": "nowhere"},
    ],
)
async def test_a_tree_in_memory_answers_as_postgresql_does(
    db: Database,
    repository: BareRepository,
    stores: tuple[PostgresCode, PostgresCode],
    how: dict[str, Any],
):
    tree = (await index(db, repository, repository.commit(files(2)))).tree
    asking, memory = stores
    await remembered(memory, tree)
    for query in ("tariff of a parcel", "voucher_2 ledger ledger", "nothing of it"):
        words = query_weights(query).keys()
        known = await memory.frequencies(tree, words)
        weights = asked(query, known.chunks, known.having)
        for most in (7, 400):
            theirs = await asking.best(tree, weights, most=most, **how)
            ours = await memory.best(tree, weights, most=most, **how)
            scores = [each.bm25 for each in theirs]
            assert [each.bm25 for each in ours] == pytest.approx(scores, rel=1e-5)
            if most == 400:  # of equal ones, any may be left out
                assert {e.id: replace(e, bm25=0) for e in ours} == {
                    e.id: replace(e, bm25=0) for e in theirs
                }


async def test_a_tree_in_memory_is_its_projects_alone(db: Database, repository: BareRepository):
    tree = (await index(db, repository, repository.commit(files(3)), "theirs")).tree
    await remembered(db.code, tree)
    disguised = replace(tree, project="mine")
    await remembered(db.code, disguised)
    weights = dict.fromkeys(query_weights("tariff"), 1.0)
    assert len(await db.code.best(tree, weights, most=5)) == 5
    assert await db.code.best(disguised, weights, most=5) == []


async def test_a_tree_too_large_for_memory_is_asked_in_postgresql(
    db: Database, repository: BareRepository
):
    tree = (await index(db, repository, repository.commit(files(3)))).tree
    large = replace(tree, chunks=LARGEST // BYTES + 1)
    await remembered(db.code, large)
    assert await db.code.best(large, dict.fromkeys(query_weights("tariff"), 1.0), most=5)
    assert db.code.kept.get(("shop", tree.id), 1) is None


async def test_what_was_forgotten_is_not_shown_from_memory(
    db: Database, repository: BareRepository
):
    tree = (await index(db, repository, repository.commit(files(4)))).tree
    await remembered(db.code, tree)
    searcher = Searcher(store=db.code, tree=tree, now=NOW)
    assert (await searcher.search("tariff of a parcel")).places
    await db.code.forget("shop", keep=0)
    assert (await searcher.search("tariff of a parcel")).places == ()


async def test_what_another_version_stored_is_made_anew(
    db: Database, repository: BareRepository, owner: Connection, monkeypatch: pytest.MonkeyPatch
):
    commit = repository.commit(files(5))
    with monkeypatch.context() as patch:
        for module in (postgres_code, postgres_trees):
            patch.setattr(module, "VERSION", module.VERSION - 1)
        old = await index(db, repository, commit)
    assert old.read == 42 - 1
    assert await db.code.tree("shop", CommitSha(commit)) is None
    assert await db.code.newest("shop") is None
    new = await index(db, repository, commit)
    assert (new.read, new.tree.chunks) == (old.read, old.tree.chunks)
    assert new.tree.id != old.tree.id
    assert await owner.fetchval("SELECT count(*) FROM code_trees") == 1
    assert await owner.fetchval("SELECT count(*) FROM code_blobs") == old.read
    found = await Searcher(store=db.code, tree=new.tree, now=NOW).search("tariff of a parcel")
    ids = [place.hit.id for place in found.places]
    versions = "SELECT DISTINCT version FROM code_blobs WHERE id = ANY ($1)"
    told = await owner.fetch(versions, [id >> 20 for id in ids])
    assert [row["version"] for row in told] == [postgres_code.VERSION]


async def test_what_a_name_means_is_looked_for_in_source_first(
    db: Database, repository: BareRepository
):
    run = b"def run():\n    return 1\n"
    made = {f"examples/e{n}.py": run for n in range(210)} | {"src/engine.py": run}
    tree = (await index(db, repository, repository.commit(made))).tree
    answer = await lookup.defined(Searcher(store=db.code, tree=tree, now=NOW), ["run"])
    assert len(answer.places) == lookup.DEFINED
    assert [place.hit.path for place in answer.places][:2] == ["src/engine.py", "examples/e0.py"]


async def test_what_a_newer_version_stored_is_left_to_it(
    db: Database, repository: BareRepository, owner: Connection, monkeypatch: pytest.MonkeyPatch
):
    commit = repository.commit(files(5))
    with monkeypatch.context() as patch:
        for module in (postgres_code, postgres_trees):
            patch.setattr(module, "VERSION", module.VERSION + 1)
        await index(db, repository, commit)
    await index(db, repository, commit)
    assert await owner.fetchval("SELECT count(*) FROM code_trees") == 2
    assert await db.code.forget("shop", keep=0) == 2
    assert await owner.fetchval("SELECT count(*) FROM code_blobs") == 0


async def test_what_an_older_version_stored_is_not_brought_to_the_layout_of_now(
    db: Database, repository: BareRepository, owner: Connection, admin_url: str
):
    await index(db, repository, repository.commit(files(6)), "old")
    done = await index(db, repository, repository.commit(files(7)), "new")
    await db.code.close()
    await to(admin_url, "0010")
    for table in ("code_trees", "code_blobs"):
        await owner.execute(f"UPDATE {table} SET version = 2 WHERE project = 'old'")
    await to(admin_url, SCHEMA)
    for table in ("code_trees", "code_blobs", "code_chunks", "code_members"):
        left = await owner.fetch(f"SELECT DISTINCT project FROM {table}")
        assert [row["project"] for row in left] == ["new"], table
    assert await owner.fetchval("SELECT count(*) FROM code_chunks") == done.tree.chunks


def test_a_tree_takes_little_more_memory_while_it_is_read():
    chance = np.random.default_rng(1)
    tracemalloc.start()
    try:
        gathered = Gathered()
        for number in range(1500):
            tokens = chance.integers(0, 50_000, (10, 75), dtype=np.int32)
            posted = Posted(
                path=f"src/package{number % 50}/file{number}.py",
                kind=Kind.SOURCE,
                first=number << 20,
                spans=list(range(1000, 1020)),
                symbols=[f"price_{number}_{n}" for n in range(10)],
                tokens=np.sort(tokens).ravel(),
                weights=np.full(750, 0.5, dtype=np.float32),
                sizes=[75] * 10,
            )
            gathered.add(posted)
        made = Postings(gathered)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.nbytes == pytest.approx(held, rel=0.25)
    assert peak < 2.5 * made.nbytes


class Trees:
    """Reads what its keys name: bytes, or what comes in the way."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.problem: Exception | None = None

    async def read(self, key: int) -> np.ndarray:
        self.asked.append(key)
        if self.problem is not None:
            raise self.problem
        return np.zeros(key, dtype=np.uint8)


async def remembering(cache: TreeCache[int, Any], key: int, size: int = 1) -> bool:
    for _ in range(FROM):
        cache.get(key, size)
    await cache.idle()
    return cache.get(key, size) is not None


@pytest.mark.parametrize("problem", [ValueError("a defect"), StoreUnavailable("away")])
async def test_a_tree_that_cannot_be_read_is_left_alone_and_told_once(
    problem: Exception, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    trees = Trees()
    cache = TreeCache[int, Any](read=trees.read)
    trees.problem = problem
    for _ in range(5):
        assert not await remembering(cache, 7)
    assert trees.asked == [7]
    told = "tree_broke" if isinstance(problem, ValueError) else "tree_not_kept"
    assert caplog.text.count(told) == 1
    trees.problem = None
    assert await remembering(cache, 8)


async def test_a_tree_that_is_larger_than_was_thought_is_not_kept():
    trees = Trees()
    cache = TreeCache[int, Any](read=trees.read)
    for _ in range(3):
        assert not await remembering(cache, LARGEST + 1)
    assert trees.asked == [LARGEST + 1]


async def test_caches_in_one_room_keep_no_more_than_it_holds():
    trees, room = Trees(), Room(1000)
    one, two = (TreeCache[int, Any](read=trees.read, room=room) for _ in range(2))
    assert await remembering(one, 400)
    assert await remembering(two, 401)
    assert one.get(400, 1) is not None  # asked for later than the other
    assert await remembering(two, 402)
    assert (one.get(400, 1) is None, two.get(401, 1) is None) == (False, True)


async def test_words_that_say_little_are_found_in_names_and_paths_alone(
    db: Database, repository: BareRepository
):
    commit = repository.commit(
        {
            "src/body.py": b"def price(order):\n    # what was wrong: fix the update\n",
            "src/names.py": b"def update(order):\n    pass\n",
            "src/fix.py": b"price = 1\n",
        }
    )
    tree = (await index(db, repository, commit)).tree
    searcher = Searcher(store=db.code, tree=tree, now=NOW)
    for query, paths in (
        ("the update", ["src/names.py"]),
        ("fix", ["src/fix.py"]),
        ("what was wrong", []),
    ):
        answer = await searcher.search(query)
        assert [place.hit.path for place in answer.places if place.hit.words] == paths, query
