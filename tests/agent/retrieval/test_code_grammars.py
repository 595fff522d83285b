"""Every grammar cuts a small file into named pieces; one that is broken leaves windows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from samples import SAMPLES

from agent.retrieval import grammars
from agent.retrieval.chunks import LARGEST, chunks_of
from agent.retrieval.grammars import GrammarBroken, grammar, language_of, names


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Loaded grammars are remembered: a broken one is loaded anew."""
    grammar.cache_clear()
    yield
    grammar.cache_clear()


def test_every_grammar_has_a_sample():
    assert set(SAMPLES) == set(names())


@pytest.mark.parametrize("name", names())
def test_a_file_is_cut_into_pieces_that_know_their_names_and_where_they_are(name: str):
    sample = SAMPLES[name]
    assert language_of(sample.path) == name
    found = chunks_of(sample.path, sample.data)
    assert found is not None
    assert (found.language, found.problem) == (name, "")
    assert sample.symbols <= {symbol for chunk in found.chunks for symbol in chunk.symbols}
    assert len(found.chunks) > 1
    assert sample.encloses in found.chunks[-1].context.splitlines()


@pytest.mark.parametrize("name", names())
def test_pieces_cover_every_line_once_and_stay_small(name: str):
    sample = SAMPLES[name]
    found = chunks_of(sample.path, sample.data)
    assert found is not None
    lines = [line for c in found.chunks for line in range(c.start, c.end + 1)]
    assert lines == list(range(1, sample.data.count(b"\n") + 1))
    assert "\n".join(c.text for c in found.chunks) == sample.data.decode().rstrip("\n")
    for chunk in found.chunks:
        assert len("".join(chunk.text.split())) <= LARGEST


@pytest.mark.parametrize("name", names())
def test_a_file_that_is_no_such_language_is_cut_all_the_same(name: str):
    path = SAMPLES[name].path
    for text in ("}}}}((((\n" * 300, "« ~ \x01 '\"`$ \\\n" * 300, "(" * 900 + "\n" + "x\n" * 40):
        found = chunks_of(path, text.encode())
        assert found is not None
        assert [line for c in found.chunks for line in range(c.start, c.end + 1)] == list(
            range(1, text.count("\n") + 1)
        )


def test_a_grammar_whose_wheel_is_missing_leaves_windows_and_says_so(
    forgetful: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(grammars._MODULES, "go", ("tree_sitter_nowhere", "language"))
    found = chunks_of("shop.go", SAMPLES["go"].data)
    assert found is not None
    assert found.language == ""
    assert found.problem.startswith("The grammar of go does not work here")
    assert found.chunks[0].end == 50
    assert found.chunks[1].start == 41


def test_a_query_that_does_not_fit_the_grammar_is_told_as_broken(
    forgetful: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(grammars._QUERIED, "go", "python")
    with pytest.raises(GrammarBroken, match="of go"):
        grammar("go")
