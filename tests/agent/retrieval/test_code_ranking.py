"""What is asked, how it is weighed, and which places are shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.retrieval.history import FILES, Change, History
from agent.retrieval.kinds import Kind
from agent.retrieval.lexical import asked, idf, weigh
from agent.retrieval.memory import MemoryIndex, index_file
from agent.retrieval.ranking import PLACES, Candidate, Evidence, rank
from agent.retrieval.tokens import STOP_WORDS, Tokens, query_weights, tokens_of

NOW = datetime(2026, 11, 1, tzinfo=UTC)
NOTHING = Evidence()


def found(number: int, kind: Kind = Kind.SOURCE, bm25: float = 1.0, path: str = "") -> Candidate:
    return Candidate(
        id=number, path=path or f"{kind}/{number}", kind=kind, start=1, end=9, bm25=bm25
    )


@pytest.mark.parametrize(
    ("word", "tokens"),
    [
        ("exportCSV_file", ["export", "csv", "file", "exportcsv_file"]),
        ("HTTPServer", ["http", "server", "httpserver"]),
        ("parsing", ["pars"]),
        ("x", []),
        ("größe", ["gr", "öß", "größe"]),
        ("価格", ["価格"]),
        ("a" * 65, []),
        ("v2", ["v2"]),
    ],
)
def test_a_word_counts_in_its_parts_and_as_a_whole(word: str, tokens: list[str]):
    assert tokens_of(word) == tokens


@pytest.mark.parametrize(
    "query",
    [
        "a",
        "",
        "   ",
        "?" * 100,
        "fix the bug",
        "Wo wird die Lieferadresse gespeichert?",
        "配送先の住所はどこに保存されますか",
        "'; SELECT * FROM code_chunks; --",
        "$(rm -rf /) `id` | cat > /etc/passwd && \\ \x00 \ud800",
        "%s %d {0} {query!r} \\1 (?P<x>",
        "price " * 20_000,
        "x" * 100_000,
    ],
)
def test_any_query_has_an_answer(query: str):
    texts = {"a.py": b"def price(): SELECT = address\n", "b.py": b"def other(): pass\n"}
    made = [index_file(path, data, Tokens()) for path, data in texts.items()]
    index = MemoryIndex([each for each in made if each is not None])
    assert all(weight >= 1 for weight in query_weights(query).values())
    hits = rank(query, index.best(query, 400), NOTHING)
    expected = ["a.py"] if "price" in query or "SELECT" in query else []
    assert [hit.path for hit in hits] == expected


def test_stop_words_count_only_where_there_is_nothing_else():
    assert query_weights("fix the price").keys() == query_weights("price").keys()
    assert (
        query_weights("the fix").keys() == query_weights("the").keys() | query_weights("fix").keys()
    )
    assert "price" not in STOP_WORDS


def test_a_rare_word_weighs_more_and_none_weighs_less_than_nothing():
    assert idf(100, 1) > idf(100, 50) > idf(100, 100) > 0
    assert asked("price", 10, {}) == {}


def test_a_word_said_again_in_a_long_text_weighs_ever_less():
    short, long = weigh({1: 1}, 10)[1], weigh({1: 1}, 1000)[1]
    assert short > long
    assert weigh({1: 2}, 10)[1] < 2 * short


def test_places_are_kept_for_tests_and_documents():
    many = [found(n, bm25=10 - n / 10) for n in range(60)]
    many += [found(100 + n, Kind.TEST, 0.5) for n in range(9)]
    many += [found(200 + n, Kind.DOC, 0.4) for n in range(9)]
    kinds = [hit.kind for hit in rank("price", many, NOTHING)]
    assert len(kinds) == PLACES
    assert (kinds.count(Kind.SOURCE), kinds.count(Kind.TEST), kinds.count(Kind.DOC)) == (15, 3, 2)


def test_kept_places_that_nothing_deserves_go_to_the_rest():
    many = [found(n, bm25=10 - n / 10) for n in range(60)] + [found(100, Kind.TEST, 0.0)]
    hits = rank("price", many, NOTHING)
    assert [hit.kind for hit in hits] == [Kind.SOURCE] * PLACES
    assert len({hit.id for hit in hits}) == PLACES


def test_fewer_places_than_usual_are_given_to_the_best():
    many = [found(n, bm25=10 - n) for n in range(5)] + [found(100, Kind.TEST, 0.5)]
    assert [hit.id for hit in rank("price", many, NOTHING, places=3)] == [0, 1, 2]


def test_a_test_comes_first_when_tests_are_asked_for():
    pair = [found(1, Kind.SOURCE, 1.0), found(2, Kind.TEST, 2.2)]
    assert rank("price", pair, NOTHING)[0].kind is Kind.SOURCE
    assert rank("flaky test of price", pair, NOTHING)[0].kind is Kind.TEST


def test_one_file_does_not_take_all_places():
    many = [found(n, bm25=1.0, path="src/big") for n in range(40)]
    many += [found(100 + n, bm25=0.8) for n in range(10)]
    assert len({hit.path for hit in rank("price", many, NOTHING)}) > 5


def test_no_score_at_all_is_no_division_by_nothing():
    hits = rank("price", [found(1, bm25=0.0), found(2, bm25=0.0)], NOTHING)
    assert {hit.score for hit in hits} == {0.0}
    assert rank("price", [], NOTHING) == []


def change(number: int, title: str, *paths: str, days: int = 1) -> Change:
    return Change(id=str(number), at=NOW - timedelta(days=days), title=title, paths=paths)


def test_changes_with_such_words_point_to_their_files():
    history = History(
        [
            change(1, "Round prices to cents", "src/price.py"),
            change(2, "Rounding prices everywhere", *(f"src/{n}.py" for n in range(50))),
            change(3, "Rounded prices of the world", *(f"w/{n}.py" for n in range(FILES + 1))),
            change(4, "Nothing", "src/none.py"),
        ],
        Tokens(),
    )
    seen = history.evidence("price rounding", NOW)
    assert max(seen.history, key=lambda path: seen.history[path]) == "src/price.py"
    assert seen.history["src/price.py"] == 1
    assert 0 < seen.history["src/1.py"] < 0.5
    assert "src/none.py" not in seen.history
    assert "w/1.py" not in seen.history


def test_files_changed_lately_count_more_and_the_future_does_no_harm():
    history = History(
        [change(1, "a", "new.py", days=-9), change(2, "b", "old.py", days=4000)], Tokens()
    )
    lately = history.recency(NOW)
    assert lately["new.py"] == 1 > lately["old.py"] > 0
    later = history.recency(NOW + timedelta(days=9000))
    assert 0 < later["old.py"] < lately["old.py"]
    assert History([], Tokens()).evidence("price", NOW) == Evidence()


@pytest.mark.parametrize(
    ("request_", "first"),
    [
        ("price: round up", "shop/price/rules.py"),
        ("round up in shop/price", "shop/price/rules.py"),
        ("round up in `rules.py`", "shop/price/rules.py"),
        ("round up", "core/sums.py"),
        ("note: round up", "core/sums.py"),
    ],
)
def test_a_path_that_the_request_names_comes_first(request_: str, first: str):
    pair = [found(1, bm25=1.0, path="core/sums.py"), found(2, bm25=0.8, path="shop/price/rules.py")]
    hits = rank(request_, pair, NOTHING)
    assert hits[0].path == first
    assert (hits[0].where > 0.5) == (first != "core/sums.py")


def test_words_of_the_path_tell_between_alike_places():
    pair = [found(1, bm25=1.0, path="core/sums.py"), found(2, bm25=0.9, path="core/tax_rate.py")]
    assert rank("rate of the tax", pair, NOTHING)[0].path == "core/tax_rate.py"


@pytest.mark.parametrize("request_", ["(((.py", "a/" * 5000, "[x]: {y}/\\", "é/ü: ß.py"])
def test_names_of_paths_are_no_patterns(request_: str):
    assert len(rank(request_, [found(1), found(2)], NOTHING)) == 2
