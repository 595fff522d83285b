"""The local embedder: the published weights or none, and the published vectors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from agent.adapters.minilm import MODEL, PACKAGE, MiniLM, installed, pieces
from agent.errors import ModelRejected, SettingsError
from bot.build import make_embedder
from bot.settings import Settings

needs_weights = pytest.mark.skipif(
    find_spec(PACKAGE) is None, reason="the weights of requirements-minilm.txt are not installed"
)


async def test_weights_that_are_not_the_published_ones_are_not_used(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 1000)
    with pytest.raises(SettingsError, match="is not what the makers of"):
        await MiniLM(folder=tmp_path).__aenter__()
    with pytest.raises(SettingsError, match="cannot be read"):
        await MiniLM(folder=tmp_path / "none").__aenter__()


def test_another_local_model_is_told():
    with pytest.raises(SettingsError, match=r"local:other.*is not known"):
        make_embedder(Settings(embedding_model="local:other"))


def test_vectors_of_another_model_cannot_be_asked_for(tmp_path: Path):
    embedder = MiniLM(folder=tmp_path)
    assert embedder.of(MODEL) is embedder
    with pytest.raises(ModelRejected, match="not set any more"):
        embedder.of("text-embedding-3-small")


@pytest.mark.skipif(find_spec(PACKAGE) is not None, reason="the weights are installed")
def test_without_the_weights_it_is_said_how_to_get_them():
    with pytest.raises(SettingsError, match=r"--no-deps -r requirements-minilm\.txt"):
        installed()


def test_a_word_is_cut_into_known_pieces_and_a_long_one_is_not_looked_at():
    looked: list[str] = []

    class Vocabulary(dict[str, int]):
        def __contains__(self, key: object) -> bool:
            looked.append(str(key))
            return super().__contains__(key)

    known = Vocabulary({"[UNK]": 0, "pay": 1, "##ment": 2, "##s": 3, "a": 4, "##a": 5})
    assert pieces("payments", known) == [1, 2, 3]
    assert pieces("payer", known) == [0]
    assert pieces("a" * 100, known) == [4] + [5] * 99
    looked.clear()
    assert pieces("a" * 100_000, known) == [0]
    assert looked == []


@needs_weights
async def test_a_text_is_read_as_far_as_its_words_count():
    async with MiniLM() as embedder:
        long, same = [await embedder.embed_query(text) for text in ("a b " * 10**6, "a b " * 999)]
    assert np.allclose(long, same, atol=1e-5)


@needs_weights
async def test_the_vectors_are_those_that_the_model_s_makers_show():
    async with MiniLM() as embedder:
        made = await embedder.embed_documents(
            ["Each sentence is converted", "This is an example sentence"]
        )
        query = await embedder.embed_query("This is an example sentence")
    shown = [0.0676569, 0.0634959, 0.0487131, 0.0793049, 0.0374480]
    assert np.allclose(made.vectors[1][:5], shown, atol=2e-6)
    assert np.allclose(query, made.vectors[1], atol=1e-5)
    assert made.tokens == 13


@needs_weights
async def test_any_text_has_a_vector():
    texts = ["", " ", "\0\ufffd", "é" * 300, "x" * 5000, "中文 查询", "_" * 2000, "ß‍🦊"]
    async with MiniLM() as embedder:
        made, query = await asyncio.gather(
            embedder.embed_documents(texts), embedder.embed_query("fox")
        )
    assert made.vectors.shape == (len(texts), 384)
    assert np.allclose(np.linalg.norm(made.vectors, axis=1), 1, atol=1e-5)
    assert np.isfinite(query).all()


@needs_weights
def test_nothing_of_the_package_is_run():
    code = (
        "import sys, asyncio; from agent.adapters.minilm import MiniLM, PACKAGE\n"
        "async def main():\n    async with MiniLM() as e: await e.embed_query('x')\n"
        "asyncio.run(main()); sys.exit(PACKAGE in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
