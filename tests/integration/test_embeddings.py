"""Vectors of code: made behind everything else, paid for once, and answered with when they are
complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from embedding_stand_in import EmbeddingStandIn, refusal

from agent.adapters.database import Database
from agent.adapters.openai_embeddings import OpenAIEmbeddings
from agent.adapters.postgres import Connection
from agent.errors import ModelRejected, ModelUnavailable
from agent.retrieval.backfill import Backfill
from agent.retrieval.memory import index_file
from agent.retrieval.search import Answer, Searcher
from agent.retrieval.store import IndexedTree, TreeFile
from agent.retrieval.tokens import Tokens
from agent.retrieval.vectors import Similarity, Wanted
from agent.run import CommitSha

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_commits = count(1)
FILES = {
    "shop/basket.py": b"def total(basket):\n    return sum(line.price for line in basket)\n",
    "shop/parcel.py": b"def weigh(parcel):\n    return parcel.grams / 1000\n",
    "shop/label.py": b"def printed(label):\n    return label.text.upper()\n",
    "shop/door.py": b"def opened(door):\n    return not door.locked\n",
    "shop/lamp.py": b"def lit(lamp):\n    return lamp.on\n",
    "tests/test_basket.py": b"def test_total():\n    assert total([]) == 0\n",
    "README.md": b"# Shop\n\nSells things.\n",
}


@pytest.fixture
async def endpoint() -> AsyncIterator[EmbeddingStandIn]:
    async with EmbeddingStandIn() as opened:
        yield opened


async def indexed(
    db: Database, files: Mapping[str, bytes] = FILES, project: str = "shop/api"
) -> IndexedTree:
    tokens = Tokens()
    made = [
        (TreeFile(path=path, blob=f"{hash(data):x}"), index_file(path, data, tokens))
        for path, data in files.items()
    ]
    await db.code.add(project, made)
    commit = CommitSha(f"{next(_commits):040x}")
    return await db.code.settle(project, commit, [file for file, _ in made])


def backfill(db: Database, embedder: OpenAIEmbeddings, *projects: str) -> Backfill:
    return Backfill(
        code=db.code,
        vectors=db.vectors,
        embedder=embedder,
        projects=projects or ("shop/api",),
        idle=0.05,
    )


async def ask(
    db: Database, embedder: OpenAIEmbeddings, tree: IndexedTree, query: str = "weigh the parcel"
) -> Answer:
    # standings are kept for some seconds, and the tests do not wait for that
    vectors = type(db.vectors)(db.dsn, db.code)
    similarity = Similarity(store=vectors, embedder=embedder)
    searcher = Searcher(store=db.code, tree=tree, now=NOW, similarity=similarity)
    return await searcher.search(query)


async def vectors(owner: Connection, model: str = "words") -> int:
    query = "SELECT count(*) FROM chunk_embeddings WHERE model = $1"
    return int(await owner.fetchval(query, model))


async def test_answers_are_lexical_until_the_source_is_embedded_and_say_so(
    db: Database, endpoint: EmbeddingStandIn
):
    tree = await indexed(db)
    async with endpoint.client() as embedder:
        before = await ask(db, embedder, tree)
        assert before.meaning == "lexical only"
        assert not any(place.hit.similar for place in before.places)
        assert endpoint.requests == []  # what nothing can be compared with is not embedded
        filled = await backfill(db, embedder).turn()
        after = await ask(db, embedder, tree)
    assert filled.vectors == len(FILES)
    assert filled.tokens > 0
    assert after.meaning == "embedded"
    assert after.places[0].hit.path == "shop/parcel.py"
    assert after.places[0].hit.similar == 1.0


async def test_a_place_without_a_word_of_the_query_is_found_by_its_meaning(
    db: Database, endpoint: EmbeddingStandIn
):
    tree = await indexed(db)
    async with endpoint.client() as embedder:
        await backfill(db, embedder).turn()
        endpoint.spoilt = [1.0] * endpoint.dimensions
        answer = await ask(db, embedder, tree, "gewicht")
    assert {place.hit.path for place in answer.places} == set(FILES)
    assert all(place.hit.words == 0 for place in answer.places)


async def test_the_source_comes_first_with_its_path_above_the_text(
    db: Database, endpoint: EmbeddingStandIn
):
    await indexed(db)
    async with endpoint.client(batch=5) as embedder:
        await backfill(db, embedder).turn()
    first = endpoint.requests[0]["input"]
    assert {text.split("\n")[0] for text in first} == {p for p in FILES if p.startswith("shop/")}
    basket = next(text for text in first if text.startswith("shop/basket.py"))
    assert basket.startswith("shop/basket.py\ntotal\n\ndef total(basket):")
    assert endpoint.headers[0]["Authorization"] == "Bearer key"


async def test_part_of_the_source_is_not_enough_and_the_share_is_told(
    db: Database, endpoint: EmbeddingStandIn
):
    tree = await indexed(db)
    async with endpoint.client(batch=2) as embedder:
        work = backfill(db, embedder)
        wanted = list(await db.vectors.wanting(tree, "words", 2))
        texts = await db.vectors.documents(tree, [each.chunk for each in wanted])
        made = await embedder.embed_documents(texts)
        await db.vectors.keep("words", [each.content for each in wanted], made)
        assert (await ask(db, embedder, tree)).meaning == "lexical only, 28 % embedded"
        await work.turn()
        assert (await ask(db, embedder, tree)).meaning == "embedded"
    assert set(endpoint.counts.values()) == {1}


async def test_a_project_that_breaks_keeps_no_other_from_being_embedded(
    db: Database, endpoint: EmbeddingStandIn, monkeypatch: pytest.MonkeyPatch
):
    broken = await indexed(db)
    tree = await indexed(db, {"a.py": b"def weigh(parcel):\n    return 1\n"}, "shop/fork")
    wanting, asked = db.vectors.wanting, list[str]()

    async def breaks(of: IndexedTree, model: str, most: int) -> Sequence[Wanted]:
        asked.append(of.project)
        if of.project == broken.project:
            raise KeyError("chunk")
        return await wanting(of, model, most)

    monkeypatch.setattr(db.vectors, "wanting", breaks)
    async with endpoint.client() as embedder:
        work = backfill(db, embedder, broken.project, tree.project)
        assert (await work.turn()).vectors == 1
        await work.turn()
        assert (await ask(db, embedder, tree)).meaning == "embedded"
    assert asked.count(broken.project) == 1


async def test_killed_in_the_middle_it_goes_on_and_pays_nothing_twice(
    db: Database, endpoint: EmbeddingStandIn, owner: Connection
):
    await indexed(db)
    async with endpoint.client(batch=2) as embedder:
        first = asyncio.create_task(backfill(db, embedder).serve())
        async with asyncio.timeout(60):
            while await vectors(owner) < 2:
                await endpoint.asked.wait()
                await asyncio.sleep(0)
        endpoint.gate = asyncio.Event()  # whatever is asked now is never answered
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        endpoint.gate.set()
        endpoint.gate = None
        there = await vectors(owner)
        paid = set(endpoint.counts)
        await backfill(db, embedder).turn()
    assert there >= 2
    assert await vectors(owner) == len(FILES)
    again = [key for key, times in endpoint.counts.items() if times > 1]
    assert len(again) <= 2, "at most the batch that was under way"
    assert len(paid) >= there


async def test_what_is_answered_when_it_is_stopped_is_still_kept(
    db: Database, endpoint: EmbeddingStandIn, owner: Connection
):
    await indexed(db)
    async with endpoint.client(batch=len(FILES)) as embedder:
        keep, kept = db.vectors.keep, asyncio.Event()

        class Slow(type(db.vectors)):
            async def keep(self, *arguments: object) -> None:  # type: ignore[override]
                kept.set()
                await asyncio.sleep(0.05)
                await keep(*arguments)  # type: ignore[arg-type]

        work = backfill(db, embedder)
        work.vectors = Slow(db.dsn, db.code)
        turn = asyncio.create_task(work.turn())
        await kept.wait()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
    assert await vectors(owner) == len(FILES)


async def test_of_two_workers_one_embeds(db: Database, endpoint: EmbeddingStandIn):
    await indexed(db)
    await indexed(db, FILES | {"own.py": b"def own():\n    pass\n"}, "shop/fork")
    projects = ("shop/api", "shop/fork")
    async with endpoint.client() as one, endpoint.client() as other:
        workers = [backfill(db, each, *projects) for each in (one, other)]
        filled = await asyncio.gather(*(each.turn() for each in workers))
    assert sorted(each.vectors for each in filled) == [0, len(FILES) + 1]
    assert set(endpoint.counts.values()) == {1}, "a fork shares what it has in common"


async def test_a_second_turn_and_an_unchanged_file_ask_for_nothing(
    db: Database, endpoint: EmbeddingStandIn
):
    await indexed(db)
    async with endpoint.client() as embedder:
        work = backfill(db, embedder)
        await work.turn()
        asked = len(endpoint.requests)
        assert (await work.turn()).vectors == 0
        assert len(endpoint.requests) == asked
        await indexed(db, FILES | {"shop/lamp.py": b"def lit(lamp):\n    return lamp.off\n"})
        assert (await work.turn()).vectors == 1


async def test_a_run_sees_its_own_edits_by_meaning_where_a_piece_is_unchanged(
    db: Database, endpoint: EmbeddingStandIn
):
    tree = await indexed(db)
    async with endpoint.client() as embedder:
        await backfill(db, embedder).turn()
        similarity = Similarity(store=db.vectors, embedder=embedder)
        edits = {"shop/parcel.py": FILES["shop/parcel.py"], "shop/lamp.py": b"parcel = 1\n"}
        searcher = Searcher(store=db.code, tree=tree, now=NOW, similarity=similarity, edits=edits)
        answer = await searcher.search("weigh the parcel")
    similar = {place.hit.path: place.hit.similar for place in answer.places}
    assert similar["shop/parcel.py"] == 1.0
    assert similar["shop/lamp.py"] == 0.0


async def test_a_guess_at_another_projects_file_is_not_told_to_be_right(
    db: Database, endpoint: EmbeddingStandIn
):
    secret = {"secret/parcel.py": b"def weigh(parcel):\n    return parcel.weight\n"}
    await indexed(db, FILES | secret, "shop/other")
    tree = await indexed(db)
    async with endpoint.client() as embedder:
        await backfill(db, embedder, "shop/api", "shop/other").turn()
        similarity = Similarity(store=db.vectors, embedder=embedder)
        searcher = Searcher(store=db.code, tree=tree, now=NOW, similarity=similarity, edits=secret)
        answer = await searcher.search("weigh the parcel")
    similar = {place.hit.path: place.hit.similar for place in answer.places}
    assert similar["shop/parcel.py"] == 1.0
    assert similar["secret/parcel.py"] == 0.0


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ([1.0] * 8, "8 dimensions where 32 were expected"),
        ([float("nan")] * 32, "NaN or infinity"),
        ([float("inf")] * 32, "NaN or infinity"),
        ([0.0] * 32, "without a direction"),
    ],
)
async def test_vectors_that_cannot_be_compared_are_refused_and_nothing_is_stored(
    db: Database,
    endpoint: EmbeddingStandIn,
    owner: Connection,
    spoilt: list[float],
    said: str,
):
    tree = await indexed(db)
    endpoint.spoilt = spoilt
    async with endpoint.client(declared=32) as embedder:
        with pytest.raises(ModelRejected, match=said):
            await backfill(db, embedder).turn()
        assert await vectors(owner, "words@32") == 0
        assert (await ask(db, embedder, tree)).meaning == "lexical only"


async def test_too_few_vectors_are_refused(
    db: Database, endpoint: EmbeddingStandIn, owner: Connection
):
    await indexed(db)
    endpoint.short = 1
    async with endpoint.client() as embedder:
        with pytest.raises(ModelRejected, match="answered 4 texts with 3 vectors"):
            await backfill(db, embedder).turn()
    assert await vectors(owner) == 0


async def test_one_text_that_the_endpoint_cannot_embed_does_not_hold_up_the_others(
    db: Database, endpoint: EmbeddingStandIn, owner: Connection
):
    tree = await indexed(db)
    endpoint.spoilt, endpoint.spoils = [float("nan")] * 32, "shop/door.py"
    async with endpoint.client() as embedder:
        await backfill(db, embedder).turn()
        endpoint.spoilt = None
        answer = await ask(db, embedder, tree)
    assert await vectors(owner) == len(FILES) - 1
    assert answer.meaning == "85 % embedded"


async def test_a_text_that_is_too_long_is_embedded_by_its_beginning(
    db: Database, endpoint: EmbeddingStandIn, owner: Connection
):
    long = "\n".join(f"    value_{n} = compute_{n}({n})" for n in range(40))
    await indexed(db, {"shop/long.py": f"def long():\n{long}\n".encode()})
    endpoint.longest = 600
    async with endpoint.client() as embedder:
        await backfill(db, embedder).turn()
    assert await vectors(owner) == 1
    assert all(len(text) <= 600 for _, text in endpoint.counts)


async def test_a_model_that_changed_its_dimensions_under_its_name_is_not_mixed(
    db: Database, endpoint: EmbeddingStandIn, owner: Connection
):
    tree = await indexed(db)
    async with endpoint.client() as embedder:
        await backfill(db, embedder).turn()
    endpoint.dimensions = 16
    await indexed(db, FILES | {"new.py": b"def new():\n    pass\n"})
    async with endpoint.client() as embedder:
        with pytest.raises(ModelRejected, match="gave 32 dimensions before and gives 16 now"):
            await backfill(db, embedder).turn()
        answer = await ask(db, embedder, tree)
    assert await vectors(owner) == len(FILES)
    assert answer.meaning.startswith("lexical only: The embeddings endpoint gave 16 dimensions")
    assert answer.places


async def test_an_endpoint_that_is_down_or_slow_costs_the_meaning_and_no_answer(
    db: Database, endpoint: EmbeddingStandIn
):
    tree = await indexed(db)
    async with endpoint.client(patience=0.2) as embedder:
        await backfill(db, embedder).turn()
        endpoint.gate = asyncio.Event()
        slow = await ask(db, embedder, tree)
        assert slow.meaning == (
            "lexical only: The embeddings endpoint did not answer within 0.2 s."
        )
        asked = len(endpoint.requests)
        assert (await ask(db, embedder, tree, "another query")).meaning == slow.meaning
        assert len(endpoint.requests) == asked, "it is left alone for a while"
        endpoint.gate.set()
        await endpoint.stop()
    async with endpoint.client() as embedder:
        down = await ask(db, embedder, tree)
        assert down.meaning == "lexical only: The embeddings endpoint cannot be reached."
        await indexed(db, {"new.py": b"def new():\n    pass\n"})
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            await backfill(db, embedder).turn()
    assert [p.hit.path for p in down.places] == [p.hit.path for p in slow.places]


async def test_the_time_that_the_endpoint_asks_for_is_waited(
    db: Database, endpoint: EmbeddingStandIn, owner: Connection
):
    await indexed(db)
    endpoint.refusals = [refusal(429, "Slow down.", Retry_After="7")]
    async with endpoint.client() as embedder:
        with pytest.raises(ModelUnavailable, match="asks for patience") as told:
            await backfill(db, embedder).turn()
        assert told.value.retry_after == 7
        assert "embeddings endpoint" in str(told.value)
        await backfill(db, embedder).turn()
    assert await vectors(owner) == len(FILES)


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "refused the key"), (404, "does not know 'words'"), (400, "refused the texts")],
)
async def test_an_endpoint_that_refuses_everything_is_told_and_not_asked_on_and_on(
    db: Database, endpoint: EmbeddingStandIn, status: int, said: str
):
    await indexed(db)
    endpoint.refusals = [refusal(status, "No.") for _ in range(50)]
    async with endpoint.client() as embedder:
        with pytest.raises(ModelRejected, match=said):
            await backfill(db, embedder).turn()
    assert len(endpoint.requests) <= 6


async def test_requests_keep_to_the_limit(endpoint: EmbeddingStandIn):
    async with endpoint.client(requests_per_minute=600) as embedder:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(4):
            await embedder.embed_documents(["text"])
        assert loop.time() - began >= 0.29
        await embedder.embed_query("text")


async def test_another_model_is_made_beside_the_old_one_and_answers_from_one_moment_on(
    db: Database, endpoint: EmbeddingStandIn, owner: Connection
):
    tree = await indexed(db)
    async with endpoint.client("old") as old, endpoint.client("new", batch=3) as new:
        await backfill(db, old).turn()
        assert await db.vectors.generation("shop/api") == "old"
        endpoint.spoilt, endpoint.spoils = [1.0], "README.md"
        with pytest.raises(ModelRejected):
            await backfill(db, new).turn()  # all but the last
        assert 0 < await vectors(owner, "new") < len(FILES)
        middle = await ask(db, new, tree)
        assert middle.meaning == "embedded"
        assert endpoint.requests[-1]["model"] == "old", "the query is compared with the old"
        endpoint.spoilt = None
        await backfill(db, new).turn()
        assert await db.vectors.generation("shop/api") == "new"
        after = await ask(db, new, tree)
        assert after.meaning == "embedded"
        assert endpoint.requests[-1]["model"] == "new"
        assert await vectors(owner, "old") == len(FILES)
        assert await db.vectors.forget("new", timedelta(0)) == len(FILES)
    assert await vectors(owner, "old") == 0
    assert await vectors(owner, "new") == len(FILES)


async def test_an_old_model_that_is_gone_leaves_lexical_answers(
    db: Database, endpoint: EmbeddingStandIn
):
    tree = await indexed(db)
    async with endpoint.client("old") as old, endpoint.client("new") as new:
        await backfill(db, old).turn()
        endpoint.models = {"new"}
        answer = await ask(db, new, tree)
    assert answer.meaning.startswith("lexical only: The embeddings endpoint does not know 'old'")
    assert answer.places


async def test_two_services_with_different_models_pay_once_each(
    db: Database, endpoint: EmbeddingStandIn, owner: Connection
):
    await indexed(db)
    async with endpoint.client("one") as one, endpoint.client("two") as two:
        for _ in range(3):
            await asyncio.gather(backfill(db, one).turn(), backfill(db, two).turn())
            await db.vectors.forget("one", timedelta(hours=3))
            await db.vectors.forget("two", timedelta(hours=3))
    assert set(endpoint.counts.values()) == {1}
    assert await vectors(owner, "one") == await vectors(owner, "two") == len(FILES)


async def test_vectors_go_with_the_last_text_that_has_them(
    db: Database, endpoint: EmbeddingStandIn, owner: Connection
):
    await indexed(db)
    await indexed(db, {"shop/lamp.py": FILES["shop/lamp.py"]}, "shop/fork")
    async with endpoint.client() as embedder:
        await backfill(db, embedder, "shop/api", "shop/fork").turn()
        await indexed(db, {"shop/door.py": FILES["shop/door.py"]})
        await db.code.forget("shop/api", keep=1)
        await db.vectors.forget("words", timedelta(0))
    assert await vectors(owner) == 2  # the fork's, which the other project cannot see, stays


async def test_the_service_may_not_see_or_make_another_projects_generation(
    db: Database, endpoint: EmbeddingStandIn
):
    tree = await indexed(db)
    async with endpoint.client() as embedder:
        await backfill(db, embedder).turn()
        assert await db.vectors.generation("shop/other") is None
        async with db.code.of_project("shop/other") as other:
            assert await other.fetch("SELECT * FROM code_generations") == []
        vector = await embedder.embed_query("weigh the parcel")
        elsewhere = replace(tree, project="shop/other")
        assert await db.vectors.near(elsewhere, "words", vector, {}, most=10) == []
        assert len(await db.vectors.near(tree, "words", vector, {}, most=10)) == len(FILES)


async def test_a_tree_that_is_asked_again_is_read_into_memory_and_says_the_same(
    db: Database, endpoint: EmbeddingStandIn
):
    tree = await indexed(db)
    async with endpoint.client() as embedder:
        await backfill(db, embedder).turn()
        vector = await embedder.embed_query("weigh the parcel")
        await db.vectors.standing(tree, "words")

        async def near(tree: IndexedTree, *without: str) -> list[tuple[str, float, float]]:
            found = await db.vectors.near(tree, "words", vector, {1: 1.0}, most=3, without=without)
            return [(each.path, round(each.cosine or 0, 3), each.bm25) for each in found]

        scanned, edited = await near(tree), await near(tree, "shop/parcel.py")
        while not db.vectors._cache._kept:
            await asyncio.gather(*db.vectors._cache._reading.values())
        assert (await near(tree), await near(tree, "shop/parcel.py")) == (scanned, edited)
        assert scanned[0][0] == "shop/parcel.py"
        assert "shop/parcel.py" not in [path for path, _, _ in edited]
        assert await near(replace(tree, project="shop/other")) == []


async def test_what_was_spent_is_counted(db: Database, endpoint: EmbeddingStandIn):
    await indexed(db)
    async with endpoint.client(price=20.0) as embedder:
        filled = await backfill(db, embedder).turn()
    spent = await db.vectors.spent("words")
    assert spent.vectors == filled.vectors == len(FILES)
    assert spent.tokens == filled.tokens > 0
    assert spent.money == pytest.approx(filled.tokens * 20 / 1_000_000)


async def test_a_query_is_embedded_once(db: Database, endpoint: EmbeddingStandIn):
    tree = await indexed(db)
    async with endpoint.client(query_prefix="query: ") as embedder:
        await backfill(db, embedder).turn()
        asked = len(endpoint.requests)
        await ask(db, embedder, tree)
        await ask(db, embedder, tree)
    assert [r["input"] for r in endpoint.requests[asked:]] == [["query: weigh the parcel"]]
