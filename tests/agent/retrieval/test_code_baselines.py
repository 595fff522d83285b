"""What the benchmark of code search puts beside ours, on a small repository."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.retrieval.__main__ import score
from benchmarks.retrieval.bm25 import Bm25, Units, chunks, code
from benchmarks.retrieval.cost import cost, past
from benchmarks.retrieval.kept import Kept
from benchmarks.retrieval.lsa import multiplied
from benchmarks.retrieval.methods import METHODS
from benchmarks.retrieval.repository import Repository
from benchmarks.retrieval.scene import Checkout, Lasting, Scene
from benchmarks.retrieval.trees import AUTHOR
from benchmarks.retrieval.words import GIT_GREP, counts

FIRST: Mapping[str, str] = {
    "shop/basket.py": "def add_article(basket, article):\n    basket.append(article)\n",
    "shop/invoice.py": (
        "class Invoice:\n    def discount_total(self, percent):\n"
        "        return self.total * percent\n"
    ),
    "shop/mail.py": (
        "from shop.invoice import Invoice\n\n\ndef send_mail(invoice: Invoice):\n"
        "    server.deliver(invoice.discount_total(10))\n"
    ),
    "tests/test_mail.py": "def test_mail():\n    assert send_mail\n",
    "docs/mail.md": "# Mail\n\nHow a mail is sent.\n",
}
CHANGES = (
    ("Send mail again when the server refuses", "shop/mail.py", "def again(): server.retry()\n"),
    ("Round the discount of an invoice total", "shop/invoice.py", "def rounded(): round(2)\n"),
    ("Append the same article to a basket twice", "shop/basket.py", "def twice(): pass\n"),
    ("Deliver mail through a second server", "shop/mail.py", "def second(): server.deliver()\n"),
)
WITHOUT_EMBEDDER = [name for name, method in METHODS.items() if not method.embedder]


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True,
        env={**os.environ, **AUTHOR}, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def committed(folder: Path, message: str) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    git(folder, "init", "--quiet")
    for path, text in FIRST.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    committed(folder, "Begin with a shop")
    for message, path, text in CHANGES:
        with (folder / path).open("a") as file:
            file.write(f"\n\n{text}")
        committed(folder, message)
    return folder


@pytest.fixture
def lasting(shop: Path) -> Iterator[Lasting]:
    repository = Repository(shop)
    lasting = Lasting(repository)
    yield lasting
    lasting.close()
    repository.close()


def scene_of(lasting: Lasting, commit: str = "HEAD") -> Scene:
    log = lasting.repository.log(commit)
    return Scene(
        tree=lasting.repository.tree(commit), past=past(log), now=log[0].at, lasting=lasting
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if METHODS[n].tool else ()) for n in WITHOUT_EMBEDDER],
)
def test_each_finds_the_file_that_holds_the_words(name: str, lasting: Lasting):
    method = METHODS[name]
    if reason := method.missing():
        pytest.skip(reason)
    scene = scene_of(lasting)
    places = method.find(scene, "the discount_total by percent")
    found = list(dict.fromkeys(place.path for place in places))
    assert found[0] == "shop/invoice.py"
    assert set(found) <= FIRST.keys()
    assert method.size(scene) > 0 or "grep" in name


def test_our_cases_are_scored_beside_the_baselines(shop: Path):
    scored = score(shop, 3, ["git grep, distinct words", "ours"], costs=False)
    means = scored.means["message", "ours"]
    assert means["R@1"] == means["MRR"] == means["c@20"] == 1
    assert scored.means["message", "git grep, distinct words"]["R@5"] == 1
    assert np.isnan(scored.means["message", "git grep, distinct words"]["lines"])
    assert scored.lines > 10


def test_what_an_index_takes_is_measured_in_a_process_of_its_own(shop: Path):
    found = cost(shop, "HEAD", "BM25 chunks, code tokens")
    assert found.seconds > 0
    assert 0 < found.size < 0.1


def test_a_second_run_reads_no_content_again(shop: Path, tmp_path: Path):
    bm25 = Bm25(cut=chunks, count=code)
    repository = Repository(shop)
    tree = repository.tree("HEAD")
    first = Lasting(repository, Kept(tmp_path, "shop"))
    made = first.readings("chunks", bm25.read, tree)
    first.close()
    repository.close()  # whoever asks it for a content now fails
    second = Lasting(repository, Kept(tmp_path, "shop"))
    found = second.readings("chunks", bm25.read, tree)
    second.close()
    assert len(made) == len(FIRST)
    assert [told(units) for units in found] == [told(units) for units in made]


def told(units: Units) -> tuple[object, ...]:
    return units.places, units.tokens.tolist(), units.counts.tolist(), units.sizes, units.lengths


def test_a_folder_follows_the_trees_it_is_brought_to(tmp_path: Path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a.py").write_text("one = 1\n")
    (tmp_path / "b.py").write_text("two = 2\n")
    old = committed(tmp_path, "files")
    (tmp_path / "b.py").unlink()
    (tmp_path / "a.py").unlink()
    (tmp_path / "a.py").mkdir()
    (tmp_path / "a.py/c.py").write_text("three = 3\n")
    new = committed(tmp_path, "a folder in place of a file")
    repository = Repository(tmp_path)
    with Checkout() as checkout:
        for commit, there in (
            (new, {"a.py/c.py": "three = 3\n"}),
            (old, {"a.py": "one = 1\n", "b.py": "two = 2\n"}),
            (new, {"a.py/c.py": "three = 3\n"}),
        ):
            folder = checkout.to(repository.tree(commit), repository)
            files = [path for path in folder.rglob("*") if path.is_file()]
            assert {str(f.relative_to(folder)): f.read_text() for f in files} == there
    repository.close()


def test_matches_are_told_by_file_whatever_its_name(tmp_path: Path):
    (tmp_path / "odd: 12:name.py").write_text("Word word\nword\n")
    (tmp_path / ".hidden.py").write_text("word\n")
    found = counts(GIT_GREP, ["word", "absent"], tmp_path)
    assert found == {"word": {"odd: 12:name.py": 2, ".hidden.py": 1}, "absent": {}}


def test_a_sparse_matrix_is_multiplied_row_by_row():
    columns = np.array([0, 2, 1])
    values = np.array([1, 2, 3], np.float32)
    dense = np.arange(6, dtype=np.float32).reshape(3, 2)
    product = multiplied(columns, values, np.array([2, 0, 1]), dense)
    assert product.tolist() == [[8, 11], [0, 0], [6, 9]]
