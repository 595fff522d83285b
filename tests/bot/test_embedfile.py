"""Which endpoint makes embeddings, and which key it is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import SettingsError
from bot.build import make_embedder
from bot.settings import Settings, load


def read(folder: Path, text: str, **env: str) -> Settings:
    file = folder / "journeyman.toml"
    file.write_text(text)
    return load({"HOME": str(folder), "JOURNEYMAN_CONFIG": str(file)} | env)


def test_without_a_model_nothing_is_embedded(tmp_path: Path):
    assert make_embedder(load({"HOME": str(tmp_path), "OPENAI_API_KEY": "sk-1"})) is None
    assert make_embedder(read(tmp_path, '[embeddings]\nbase_url = "http://x/v1"')) is None


def test_the_table_says_how_and_the_environment_names_the_model(tmp_path: Path):
    text = """
        [embeddings]
        model = "code"
        base_url = "http://127.0.0.1:1/v1"
        dimensions = 256
        batch = 8
        requests_per_minute = 30
        price = 0.02
        query_prefix = "find: "
    """
    made = make_embedder(read(tmp_path, text, EMBEDDINGS_API_KEY="own"))
    assert made is not None
    assert (made.model, made.dimensions, made.batch) == ("code@256", 256, 8)
    assert (made.requests_per_minute, made.price, made.query_prefix) == (30, 0.02, "find: ")
    assert made.of("old@128").dimensions == 128
    other = make_embedder(read(tmp_path, text, JOURNEYMAN_EMBEDDING_MODEL="better"))
    assert other is not None
    assert other.model == "better@256"


def test_another_endpoint_is_never_given_the_key_of_the_model_s(tmp_path: Path):
    env = {"OPENAI_API_KEY": "sk-model", "OPENAI_BASE_URL": "https://models.example/v1"}
    same = make_embedder(read(tmp_path, '[embeddings]\nmodel = "m"', **env))
    assert same is not None
    assert (same.api_key, same.base_url) == ("sk-model", "https://models.example/v1")
    text = '[embeddings]\nmodel = "m"\nbase_url = "https://elsewhere.example/v1"'
    other = make_embedder(read(tmp_path, text, **env))
    assert other is not None
    assert (other.api_key, other.base_url) == ("none", "https://elsewhere.example/v1")
    assert "sk-model" not in repr(same)
    assert "own-key" in read(tmp_path, text, EMBEDDINGS_API_KEY="own-key").secrets


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('base_url = "example.com"', "embeddings.base_url has a wrong form"),
        ("dimensions = 0", "embeddings.dimensions is 0"),
        ("requests_per_minute = 0", "embeddings.requests_per_minute is 0"),
        ('modell = "x"', "did you mean model?"),
    ],
)
def test_a_wrong_line_is_told(tmp_path: Path, line: str, told: str):
    with pytest.raises(SettingsError) as error:
        read(tmp_path, f"[embeddings]\n{line}")
    assert told in str(error.value)
