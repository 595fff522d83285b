"""The index of code in PostgreSQL, brought to the commits of real repositories."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest
from codetrees import LINK, MODULE, BareRepository, Entry

from agent.adapters.database import Database, open_database
from agent.adapters.git_code import GitCode
from agent.adapters.postgres import Connection
from agent.adapters.postgres_code import PostgresCode
from agent.errors import GitFailed
from agent.retrieval import grammars, indexer
from agent.retrieval.grammars import grammar
from agent.retrieval.indexer import Blob, Indexed, bring_up
from agent.retrieval.memory import FileIndex, index_file
from agent.retrieval.search import Searcher
from agent.retrieval.store import IndexedTree, TreeFile
from agent.retrieval.tokens import DIMENSIONS
from agent.run import CommitSha

NOW = datetime(2026, 11, 1, tzinfo=UTC)
TABLES = ("code_blobs", "code_chunks", "code_trees", "code_members", "code_changes")
SEEN = ("code_chunks", "code_members")  #: views, of `code_blobs` and `code_trees`


def module(number: int, word: str = "price") -> bytes:
    lines = [f"def {word}_{number}(cents):\n    return cents * {number}\n\n" for _ in range(3)]
    return "".join(lines).encode()


@pytest.fixture
def repository(tmp_path: Path) -> BareRepository:
    return BareRepository(tmp_path / "code.git")


class Desk:
    """One project's index, and the repository that it is of."""

    def __init__(
        self, db: Database, repository: BareRepository, project: str = "team/shop"
    ) -> None:
        self.store, self.project = db.code, project
        self.source = GitCode(repository.folder)

    async def index(self, commit: str, **more: Any) -> Indexed:
        return await bring_up(self.store, self.source, self.project, CommitSha(commit), **more)

    async def paths(self, tree: IndexedTree, query: str, **more: Any) -> list[str]:
        answer = await Searcher(store=self.store, tree=tree, now=NOW, **more).search(query)
        return list(dict.fromkeys(found.hit.path for found in answer.places))

    async def known(self, tree: IndexedTree) -> tuple[object, ...]:
        frequencies = await self.store.frequencies(tree, range(DIMENSIONS))
        return tree.files, tree.lines, tree.chunks, dict(frequencies.having)


@pytest.fixture
def desk(db: Database, repository: BareRepository) -> Desk:
    return Desk(db, repository)


async def rows(owner: Connection, table: str) -> int:
    return int(await owner.fetchval(f"SELECT count(*) FROM {table}"))


async def test_an_unchanged_tree_is_not_read_again(desk: Desk, repository: BareRepository):
    commit = repository.commit({f"src/m{n}.py": module(n) for n in range(30)})
    first = await desk.index(commit)
    assert (first.read, first.tree.files, first.tree.lines) == (30, 30, 270)
    again = await desk.index(commit)
    assert (again.read, again.tree) == (0, first.tree)
    same = repository.commit({}, parent=commit)
    assert (await desk.index(same)).read == 0


async def test_a_push_of_twenty_files_reads_twenty(desk: Desk, repository: BareRepository):
    first = repository.commit({f"src/m{n}.py": module(n) for n in range(60)})
    await desk.index(first)
    pushed = repository.commit(
        {f"src/m{n}.py": module(n, "tariff") for n in range(20)}, parent=first
    )
    done = await desk.index(pushed)
    assert (done.read, done.tree.files) == (20, 60)
    assert len(await desk.paths(done.tree, "tariff")) >= 15
    [seven] = (await desk.paths(done.tree, "tariff_7"))[:1]
    assert seven == "src/m7.py"


async def test_branches_share_what_they_have_in_common(
    desk: Desk, repository: BareRepository, owner: Connection
):
    base = repository.commit({f"src/m{n}.py": module(n) for n in range(30)})
    main = await desk.index(base)
    side = repository.commit({"src/m0.py": module(0, "side")}, parent=base, branch="side")
    done = await desk.index(side)
    assert await rows(owner, "code_blobs") == 31
    assert await desk.paths(done.tree, "side_0") == ["src/m0.py"]
    assert await desk.paths(main.tree, "side_0") == []


async def test_renamed_and_deleted_files_are_found_where_they_are(
    desk: Desk, repository: BareRepository
):
    first = repository.commit({"old/price.py": module(1), "gone.py": module(2, "farewell")})
    await desk.index(first)
    second = repository.commit(
        {"old/price.py": None, "gone.py": None, "new/tariff.py": module(1)}, parent=first
    )
    done = await desk.index(second)
    assert (done.read, done.tree.files) == (1, 1)
    assert await desk.paths(done.tree, "price_1") == ["new/tariff.py"]
    assert await desk.paths(done.tree, "farewell_2") == []


@pytest.mark.parametrize("seed", range(4))
async def test_after_any_edits_the_index_is_as_if_made_anew(
    db: Database, repository: BareRepository, seed: int
):
    chance = random.Random(seed)
    kept, fresh = Desk(db, repository, "kept"), Desk(db, repository, "fresh")
    files: dict[str, bytes] = {}
    for step in range(6):
        for _ in range(chance.randint(1, 8)):
            path = f"src/m{chance.randint(0, 12)}.{chance.choice(['py', 'md', 'lua'])}"
            match chance.choice(["write", "write", "delete", "move", "empty"]):
                case "write":
                    files[path] = module(chance.randint(0, 5), chance.choice(["price", "tax"]))
                case "delete":
                    files.pop(path, None)
                case "move" if files:
                    files[path] = files.pop(chance.choice(sorted(files)))
                case _:
                    files[path] = b""
        base = f"branch{chance.randint(0, 1)}"
        commit = repository.commit(dict(files), branch=base, title=f"Step {step}")
        done = await kept.index(commit)
    anew = await fresh.index(commit)
    assert await kept.known(done.tree) == await fresh.known(anew.tree)


async def test_two_workers_at_one_commit_do_it_once(
    db: Database, database_url: str, repository: BareRepository, tmp_path: Path, owner: Connection
):
    commit = repository.commit({f"src/m{n}.py": module(n) for n in range(300)})
    async with open_database(home=tmp_path, url=database_url) as other:
        workers = [Desk(db, repository), Desk(other, repository), Desk(db, repository)]
        done = await asyncio.gather(*(worker.index(commit) for worker in workers))
    assert sorted(each.read for each in done) == [0, 0, 300]
    assert len({each.tree.id for each in done}) == 1
    assert await rows(owner, "code_blobs") == 300
    assert await rows(owner, "code_trees") == 1


async def test_many_projects_at_once_do_not_wait_for_each_other_forever(
    db: Database, repository: BareRepository
):
    commit = repository.commit({f"src/m{n}.py": module(n) for n in range(20)})
    desks = [Desk(db, repository, f"team/{n}") for n in range(12)]
    async with asyncio.timeout(60):
        done = await asyncio.gather(*(desk.index(commit) for desk in desks))
    assert [each.read for each in done] == [20] * 12


async def test_another_projects_rows_are_never_seen(
    db: Database, repository: BareRepository, owner: Connection
):
    commit = repository.commit({"src/price.py": module(1)}, title="Round the prices of it all")
    mine, other = Desk(db, repository, "mine"), Desk(db, repository, "other")
    theirs = (await other.index(commit)).tree
    disguised = replace(theirs, project="mine")
    store = db.code
    assert await store.tree("mine", CommitSha(commit)) is None
    assert await store.newest("mine") is None
    assert await mine.paths(disguised, "price_1 cents") == []
    assert not await store.defined(disguised, ["price_1"])
    assert not await store.symbols(disguised, ["src/price.py"])
    assert await store.changes("mine", 100) == []
    id = await owner.fetchval("SELECT id FROM code_chunks LIMIT 1")
    assert await store.texts(disguised, [id]) == {}
    assert await store.texts(theirs, [id]) != {}
    assert await store.forget("mine", keep=0) == 0
    assert [await rows(owner, table) for table in TABLES] == [1, 1, 1, 1, 1]


async def test_raw_sql_of_the_services_own_role_sees_what_it_names_and_nothing_else(
    db: Database, repository: BareRepository
):
    commit = repository.commit({"src/price.py": module(1)}, title="Round the prices of it all")
    await Desk(db, repository, "other").index(commit)
    pool = cast("Any", db.pool)
    for table in TABLES:
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0
        if table not in SEEN:
            assert await pool.execute(f"DELETE FROM {table}") == "DELETE 0"
        async with pool.acquire() as raw, raw.transaction():
            await raw.execute("SELECT set_config('journeyman.project', 'mine', true)")
            assert await raw.fetchval(f"SELECT count(*) FROM {table} WHERE true") == 0
    async with pool.acquire() as raw:
        await raw.execute("BEGIN; SELECT set_config('journeyman.project', 'other', true)")
        assert await raw.fetchval("SELECT count(*) FROM code_chunks") == 1
        await raw.execute("ROLLBACK")
        insert = "INSERT INTO code_changes VALUES ('mine', '1', now(), 'title', '{}')"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await raw.execute(insert)
        as_other = "SELECT set_config('journeyman.project', 'other', false)"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await raw.execute(f"{as_other}; {insert}")
        assert await raw.fetchval("SELECT count(*) FROM code_chunks") == 0


async def test_old_trees_and_what_only_they_held_are_forgotten(
    desk: Desk, repository: BareRepository, owner: Connection
):
    commit = ""
    trees: list[IndexedTree] = []
    for n in range(4):
        commit = repository.commit({"a.py": module(n), "b.py": module(99)}, parent=commit)
        trees.append((await desk.index(commit)).tree)
    assert await desk.store.forget(desk.project, keep=2) == 2
    assert await rows(owner, "code_trees") == 2
    assert await rows(owner, "code_blobs") == 3
    assert await desk.paths(trees[-1], "price_3") == ["a.py", "b.py"]
    assert await desk.paths(trees[0], "price_0") == []
    assert (await desk.index(trees[0].commit)).read == 1


class Moving(GitCode):
    """Something happens when the first content has been read."""

    def __init__(self, folder: Path, happens: Any) -> None:
        super().__init__(folder)
        self._happens = happens

    async def contents(self, blobs: Sequence[Blob]) -> AsyncGenerator[tuple[Blob, bytes]]:
        async for found in super().contents(blobs):
            yield found
            if self._happens is not None:
                happens, self._happens = self._happens, None
                await happens()


async def test_a_branch_that_moves_meanwhile_changes_nothing_of_the_commit(
    db: Database, repository: BareRepository
):
    commit = repository.commit({f"src/m{n}.py": module(n) for n in range(30)})

    async def move() -> None:
        repository.commit({f"src/m{n}.py": module(n, "moved") for n in range(30)}, parent=commit)

    desk = Desk(db, repository)
    desk.source = Moving(repository.folder, move)
    done = await desk.index(commit)
    assert done.tree.files == 30
    assert await desk.paths(done.tree, "moved_3") == []


async def test_contents_forgotten_meanwhile_are_read_by_the_next_try(
    db: Database, repository: BareRepository
):
    first = repository.commit({f"src/m{n}.py": module(n) for n in range(30)})
    second = repository.commit({"src/m0.py": module(0, "more")}, parent=first)
    desk = Desk(db, repository)
    await desk.index(first)

    async def forget() -> None:
        await db.code.forget(desk.project, keep=0)

    plain, desk.source = desk.source, Moving(repository.folder, forget)
    with pytest.raises(Exception, match="forgotten while it was indexed"):
        await desk.index(second)
    desk.source = plain
    done = await desk.index(second)
    assert (done.read, done.tree.files) == (29, 30)


async def test_odd_files_are_left_out_and_the_rest_is_found(
    desk: Desk, repository: BareRepository, tmp_path: Path
):
    secret = tmp_path / "secret.py"
    secret.write_bytes(module(13, "secret"))
    long = "/".join(["folder"] * 580) + "/" + "x" * 30 + ".py"
    commit = repository.commit(
        {
            "src/price.py": module(1),
            "src/link.py": Entry(data=str(secret).encode(), mode=LINK),
            "src/folder": Entry(data=b"/", mode=LINK),
            "libs/sub": Entry(data=b"1" * 40, mode=MODULE),
            "src/model.py": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "src/logo.py": b"\x89PNG\0\0" + module(2),
            "src/bundle.js": b"var price_1=1;" * 20_000,
            "src/line.py": b"x" * (1 << 20),
            "src/made.py": b"# @generated\n" + module(3),
            "src/latin.py": b"def caf\xe9():\n    return 'price_1'\n",
            b"src/caf\xe9.py": module(4),
            long: module(5),
            "src/nul.py": b"a = 1\n" * 2000 + b"\0price_1\n",
            "src/'; DROP TABLE code_blobs; --\n.py": module(6, "quoted"),
            "src/empty.py": b"",
        }
    )
    done = await desk.index(commit)
    assert len(long) > 4000
    assert done.problems == ()
    assert done.tree.files == 4
    found = await desk.paths(done.tree, "price_1")
    assert set(found[:3]) == {"src/price.py", "src/latin.py", "src/nul.py"}
    assert await desk.paths(done.tree, "quoted_6") == ["src/'; DROP TABLE code_blobs; --\n.py"]
    assert await desk.paths(done.tree, "secret_13") == []


async def test_files_whose_names_have_no_word_are_indexed_as_well(
    desk: Desk, repository: BareRepository
):
    names = ("...", "....", "\\", "src/...", "src/\\.\\", "a/./...")
    made = {name: module(n, "dotted") for n, name in enumerate(names) if "/./" not in name}
    commit = repository.commit({**made, "src/price.py": module(9)})
    done = await desk.index(commit)
    assert done.problems == ()
    assert await desk.paths(done.tree, "price_9") == ["src/price.py"]
    for query in ("...", "dotted_0", "src/... \\"):
        await desk.paths(done.tree, query)


async def test_a_file_that_nobody_can_read_costs_no_other_its_index(
    desk: Desk,
    repository: BareRepository,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    def broken(path: str, *more: Any) -> FileIndex | None:
        if "odd" in path:
            raise IndexError("nobody thought of it")
        return index_file(path, *more)

    monkeypatch.setattr(indexer, "index_file", broken)
    files: dict[str | bytes, Entry | bytes | None] = {f"m{n}.py": module(n) for n in range(3)}
    first = repository.commit({**files, "odd1.py": module(7), "odd2.py": module(8)})
    done = await desk.index(first)
    (told,) = done.problems
    assert told.startswith("2 files are not indexed")
    assert "odd1.py" in told
    assert caplog.text.count("file_not_indexed") == 2
    assert (done.read, done.tree.files) == (5, 3)
    assert await desk.paths(done.tree, "price_2") == ["m2.py", "m0.py", "m1.py"]
    again = await desk.index(repository.commit({"m0.py": module(4)}, parent=first))
    assert (again.read, again.problems) == (1, ())


class Stored(PostgresCode):
    """Knows how much it was given at once."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.parts: list[tuple[int, int]] = []

    async def add(self, project: str, files: Sequence[tuple[TreeFile, FileIndex | None]]) -> None:
        sizes = [sum(len(c.text) for c in index.chunks) for _, index in files if index]
        self.parts.append((len(files), sum(sizes)))
        await super().add(project, files)


async def test_large_files_are_stored_a_few_at_a_time_and_small_ones_many(
    desk: Desk, repository: BareRepository, database_url: str
):
    large = b"".join(b"# Price %d\n\nA cent of it\n" % n for n in range(10_000))
    made = {f"docs/d{n:02}.md": large for n in range(20)} | {
        f"src/m{n}.py": module(n) for n in range(250)
    }
    commit = repository.commit(made)
    store = desk.store = Stored(database_url)
    done = await desk.index(commit)
    await store.close()
    assert done.tree.files == 270
    assert max(size for _, size in store.parts) <= (2 << 20) + len(large)
    assert max(files for files, _ in store.parts) == 200
    assert len(store.parts) <= 6


async def test_contents_that_a_partial_clone_lacks_come_with_the_next_commit(
    desk: Desk, repository: BareRepository
):
    first = repository.commit({"a.py": module(1, "lost"), "b.py": module(2)})
    repository.lose(first, "a.py")
    done = await desk.index(first)
    assert (done.read, done.tree.files) == (1, 1)
    second = repository.commit({"a.py": module(1, "lost"), "b.py": module(2), "c.py": b"c = 1\n"})
    done = await desk.index(second)
    assert (done.read, done.tree.files) == (2, 3)


async def test_a_grammar_that_is_broken_is_told_and_the_files_are_found_all_the_same(
    desk: Desk, repository: BareRepository, monkeypatch: pytest.MonkeyPatch
):
    grammar.cache_clear()
    monkeypatch.setitem(grammars._MODULES, "python", ("tree_sitter_nowhere", "language"))
    commit = repository.commit({f"src/m{n}.py": module(n) for n in range(3)})
    done = await desk.index(commit)
    grammar.cache_clear()
    assert len(done.problems) == 1
    assert done.problems[0].startswith("The grammar of python does not work here")
    assert (await desk.paths(done.tree, "price_1"))[0] == "src/m1.py"


async def test_an_empty_repository_and_an_empty_tree(desk: Desk, repository: BareRepository):
    with pytest.raises(GitFailed, match="no commit HEAD"):
        await desk.source.commit("HEAD")
    commit = repository.commit({})
    done = await desk.index(commit)
    assert (done.read, done.tree.files, done.tree.lines, done.tree.chunks) == (0, 0, 0, 0)
    assert await desk.paths(done.tree, "price") == []
    after = await desk.index(repository.commit({"a.py": module(1)}, parent=commit))
    assert await desk.paths(after.tree, "price_1") == ["a.py"]
    emptied = await desk.index(repository.commit({"a.py": None}, parent=after.tree.commit))
    assert (emptied.tree.files, emptied.tree.chunks) == (0, 0)
    assert await desk.known(emptied.tree) == (0, 0, 0, {})


async def test_a_history_that_was_rewritten_is_read_as_it_is(
    desk: Desk, repository: BareRepository
):
    first = repository.commit({"a.py": module(1)}, title="First of all")
    await desk.index(first)
    rewritten = repository.commit({"a.py": module(2)}, title="Written again")
    await desk.index(rewritten)
    told = {change.title for change in await desk.store.changes(desk.project, 10)}
    assert told == {"First of all", "Written again"}


async def test_no_commit_can_spoil_or_forge_the_others_history(
    desk: Desk, repository: BareRepository
):
    first = repository.commit({"a.py": module(1)}, title="First of all")
    forged = f"Odd\x1e{'1' * 40}\x1f1700000000\x1fForged"
    second = repository.commit({"\x1eb.py": module(2)}, parent=first, title=forged)
    late = repository.commit({"c.py": module(3)}, parent=second, title="Late", at=1 << 40)
    last = repository.commit({"d.py": module(4)}, parent=late, title="")
    await desk.index(last)
    told = await desk.store.changes(desk.project, 10)
    assert {(each.id, each.title, each.paths) for each in told} == {
        (first, "First of all", ("a.py",)),
        (second, forged, ("\x1eb.py",)),
        (last, "", ("d.py",)),
    }


async def test_history_is_asked_again_where_the_end_came_before_it_was_kept(
    desk: Desk, repository: BareRepository, monkeypatch: pytest.MonkeyPatch
):
    first = repository.commit({"a.py": module(1)}, title="First of all")

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "remember", killed)
        with pytest.raises(asyncio.CancelledError):
            await desk.index(first)
    await desk.index(first)
    assert [each.title for each in await desk.store.changes(desk.project, 10)] == ["First of all"]


async def test_history_that_an_earlier_tree_lacks_comes_with_the_next(
    desk: Desk, repository: BareRepository, owner: Connection
):
    first = repository.commit({"a.py": module(1)}, title="First of all")
    await desk.index(first)
    await owner.execute("DELETE FROM code_changes")
    second = repository.commit({"b.py": module(2)}, parent=first, title="Second")
    await desk.index(second)
    told = {each.title for each in await desk.store.changes(desk.project, 10)}
    assert told == {"First of all", "Second"}


async def test_an_older_tree_is_not_offered_later_changes(
    desk: Desk, repository: BareRepository, owner: Connection
):
    first = repository.commit({"a.py": module(1), "b.py": module(2)}, title="First of all", at=100)
    wide = {f"wide/m{n}.py": module(n) for n in range(70)}  # too many files to be evidence
    older = repository.commit(wide, parent=first, title="Wide", at=200)
    later = repository.commit({"b.py": module(3)}, parent=older, title="Frobnicate", at=300)
    newer = (await desk.index(later)).tree
    old = (await desk.index(older)).tree
    past = {
        tree.commit: {
            each.title for each in await desk.store.changes(desk.project, 10, tree.commit)
        }
        for tree in (newer, old)
    }
    assert past == {later: {"First of all", "Wide", "Frobnicate"}, older: {"First of all", "Wide"}}

    async def pointed(tree: IndexedTree) -> set[str]:
        found = await Searcher(store=desk.store, tree=tree, now=NOW).search("frobnicate price")
        return {place.hit.path for place in found.places if place.hit.history}

    assert await pointed(newer) == {"b.py"}
    assert await pointed(old) == set()


async def test_what_is_forgotten_altogether_leaves_no_history(
    desk: Desk, repository: BareRepository, owner: Connection
):
    await desk.index(repository.commit({"a.py": module(1)}))
    await desk.store.forget(desk.project, keep=1)
    assert await rows(owner, "code_changes") == 1
    await desk.store.forget(desk.project, keep=0)
    assert [await rows(owner, table) for table in TABLES] == [0, 0, 0, 0, 0]


QUERIES = (
    "a",
    "the fix",
    "'; DROP TABLE code_chunks; --",
    "$(rm -rf /) `id` && \\ \x00 \ud800 % %s $1 {0}",
    "Wo wird die Lieferadresse gespeichert? 配送先の住所",
    "price_1 " * 12_500,
    "x" * 100_000,
)


async def test_any_query_is_answered(desk: Desk, repository: BareRepository, owner: Connection):
    commit = repository.commit({f"src/m{n}.py": module(n) for n in range(5)})
    tree = (await desk.index(commit)).tree
    for query in QUERIES:
        found = await desk.paths(tree, query)
        assert found[:1] == (["src/m1.py"] if "price_1" in query else [])
    assert await desk.store.defined(tree, ["\0", "\ud800", "'; --", "price_1"])
    odd = {"caf\udce9.py": module(7, "odd"), "src/m1.py": None, "a\0b.py": None}
    assert await desk.paths(tree, "odd_7", edits=odd) == ["caf\udce9.py"]
    assert "src/m1.py" not in await desk.paths(tree, "price_1 cents", edits=odd)
    assert await rows(owner, "code_blobs") == 5
