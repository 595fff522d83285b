"""An index in memory, over files that hold next to nothing, or far too much."""

from __future__ import annotations

import pytest

from agent.retrieval.lexical import MOST
from agent.retrieval.memory import Edited, MemoryIndex, index_file
from agent.retrieval.tokens import Tokens, query_weights

CODE = b"def exchange_rate(currency):\n    return 1\n"


@pytest.mark.parametrize("order", [("x", "a.py"), ("a.py", "x"), ("x",), ("a.py", "x", "b.py")])
def test_a_piece_without_words_scores_nothing_wherever_it_stands(order: tuple[str, ...]):
    tokens = Tokens()
    files = [index_file(path, CODE if path != "x" else b"1\n", tokens) for path in order]
    index = MemoryIndex([each for each in files if each is not None])
    assert [file.path for file in index.files] == list(order)
    found = index.weighed(dict.fromkeys(query_weights("exchange rate"), 1.0))
    assert sorted(each.path for each in found) == sorted({*order} - {"x"})
    best = index.best("exchange rate", 3)
    assert "x" not in [each.path for each in best]


def test_a_piece_of_too_many_words_keeps_what_weighs_most():
    words = [chr(a) + chr(b) for a in range(0x4E00, 0x4E96) for b in range(0x5000, 0x5096)]
    each = len(words) // 45
    lines = [" ".join(words[n : n + each])[:990] for n in range(0, len(words), each)]
    text = "\n".join(["price " * 100, *lines, *["x = 1"] * 600])
    index = index_file("words.ini", text.encode(), Tokens())
    assert index is not None
    assert max(index.sizes) == MOST
    assert len(index.tokens) == len(index.weights) == sum(index.sizes)
    (price,) = query_weights("price")
    assert price in index.vector(0)


def test_a_changed_file_is_read_again_and_no_other():
    edited, tokens = Edited(), Tokens()
    first = edited.of({"a.py": CODE, "b.py": b"B = 1\n", "gone.py": None}, tokens)
    assert [each.path for each in first] == ["a.py", "b.py"]
    second = edited.of({"a.py": CODE, "b.py": b"B = 2\n", "c.py": CODE}, tokens)
    assert second[0] is first[0]
    assert second[1] is not first[1]
    assert [each.path for each in second] == ["a.py", "b.py", "c.py"]
    edited.of({}, tokens)
    assert edited.of({"a.py": CODE}, tokens)[0] is not first[0], "what is gone is let go"
