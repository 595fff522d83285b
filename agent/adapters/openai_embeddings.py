"""Embeddings of any OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from agent.adapters.openai_model import told_by, translate
from agent.errors import (
    ContextOverflow,
    JourneymanError,
    ModelRejected,
    ModelUnavailable,
    TextsRefused,
)
from agent.retrieval.embed import LONGEST, Embedded, Vectors, believed

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI
    from openai._types import RequestOptions

TIMEOUT = 120.0
PATIENCE = 3.0  #: seconds that a search waits for the vector of its query
PAUSE = 30.0  #: seconds without a query to an endpoint that did not answer one
_QUERIES = 256  #: that are remembered

_UNREADABLE = "The embeddings endpoint answered with something unreadable."
_KEY = "Check EMBEDDINGS_API_KEY, and base_url in [embeddings]."
_MODEL = "Check model and base_url in [embeddings]."


@dataclass(kw_only=True)
class _Shared:
    """What all models of an endpoint have in common."""

    client: AsyncOpenAI | None = None
    next_at: float = 0.0  #: when the limit allows another request
    pacing: asyncio.Lock = field(default_factory=asyncio.Lock)
    quiet: dict[str, tuple[float, str]] = field(default_factory=dict[str, tuple[float, str]])
    queries: OrderedDict[tuple[str, str], Vectors] = field(
        default_factory=OrderedDict[tuple[str, str], Vectors]
    )


@dataclass(kw_only=True)
class OpenAIEmbeddings:
    """Implements `agent.retrieval.embed.Embedder`. Opening it connects to nothing."""

    name: str
    api_key: str = field(repr=False)
    base_url: str | None = None
    declared: int | None = None  #: dimensions that are asked for
    batch: int = 64
    requests_per_minute: float = 600.0
    price: float = 0.0  #: US dollars for a million tokens
    query_prefix: str = ""
    timeout: float = TIMEOUT
    patience: float = PATIENCE
    dimensions: int | None = field(default=None, init=False)
    _shared: _Shared = field(default_factory=_Shared, repr=False)

    def __post_init__(self) -> None:
        self.dimensions = self.declared

    async def __aenter__(self) -> Self:
        from openai import AsyncOpenAI

        self._shared.client = AsyncOpenAI(
            api_key=self.api_key,
            base_url=self.base_url,
            timeout=self.timeout,
            max_retries=0,  # the backfill waits; a search does not
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shared.client is not None:
            await self._shared.client.close()
            self._shared.client = None

    @property
    def model(self) -> str:
        return f"{self.name}@{self.declared}" if self.declared else self.name

    def of(self, model: str) -> OpenAIEmbeddings:
        name, _, dimensions = model.rpartition("@")
        if not name or not dimensions.isdigit():
            return replace(self, name=model, declared=None)
        return replace(self, name=name, declared=int(dimensions))

    async def embed_documents(self, texts: Sequence[str]) -> Embedded:
        await self._turn()
        return await self._embedded(texts, self.timeout)

    async def embed_query(self, text: str) -> Vectors:
        shared, text = self._shared, f"{self.query_prefix}{text}"[:LONGEST]
        if (key := (self.model, text)) in shared.queries:
            shared.queries.move_to_end(key)
            return shared.queries[key]
        until, because = shared.quiet.get(self.model, (0.0, ""))
        if time.monotonic() < until:
            raise ModelUnavailable(because)
        try:
            async with asyncio.timeout(self.patience):
                vector = (await self._embedded([text], self.patience)).vectors[0]
        except TimeoutError as error:
            raise self._quiet(self._late(self.patience)) from error
        except TextsRefused:
            raise
        except (ModelUnavailable, ModelRejected) as error:
            raise self._quiet(str(error)) from error
        shared.queries[key] = vector
        if len(shared.queries) > _QUERIES:
            shared.queries.popitem(last=False)
        return vector

    def _quiet(self, because: str) -> ModelUnavailable:
        """The next searches need not wait for it again."""
        self._shared.quiet[self.model] = (time.monotonic() + PAUSE, because)
        return ModelUnavailable(because)

    async def _turn(self) -> None:
        """Waits until the limit allows a request; searches do not count."""
        shared = self._shared
        async with shared.pacing:
            now = time.monotonic()
            await asyncio.sleep(max(shared.next_at - now, 0.0))
            shared.next_at = max(shared.next_at, now) + 60.0 / self.requests_per_minute

    async def _embedded(self, texts: Sequence[str], timeout: float) -> Embedded:
        import openai

        if self._shared.client is None:
            raise RuntimeError("the embedder is not open")
        body: dict[str, Any] = {"model": self.name, "input": list(texts)}
        if self.declared:
            body["dimensions"] = self.declared
        options: RequestOptions = {"timeout": timeout}
        try:
            # as it came: the library would believe any shape of it
            answer = await self._shared.client.post(
                "/embeddings", body=body, cast_to=object, options=options
            )
        except openai.APITimeoutError as error:
            raise ModelUnavailable(self._late(timeout)) from error
        except openai.APIConnectionError as error:
            raise ModelUnavailable("The embeddings endpoint cannot be reached.") from error
        except openai.APIStatusError as error:
            raise self._refusal(error) from error
        except (openai.APIResponseValidationError, ValueError) as error:
            raise ModelUnavailable(_UNREADABLE) from error
        return self._decoded(cast("Any", answer), len(texts))

    def _late(self, timeout: float) -> str:
        return f"The embeddings endpoint did not answer within {timeout:g} s."

    def _refusal(self, error: APIStatusError) -> JourneymanError:
        match error.status_code:
            case 401 | 403:
                return ModelRejected(
                    f"The embeddings endpoint refused the key ({error.status_code}). {_KEY}"
                )
            case 404:
                return ModelRejected(
                    f"The embeddings endpoint does not know {self.name!r}: {told_by(error)} "
                    f"{_MODEL}"
                )
            case 400 | 413 | 422:
                return TextsRefused(
                    f"The embeddings endpoint refused the texts ({error.status_code}): "
                    f"{told_by(error)}"
                )
            case _:
                told = translate(error, self.name)
        if isinstance(told, ContextOverflow):
            return TextsRefused(str(told))
        return _about_embeddings(told)

    def _decoded(self, answer: Any, asked: int) -> Embedded:
        try:
            rows: list[Any] = sorted(answer["data"], key=lambda each: int(each["index"]))
            vectors = [_numbers(row["embedding"]) for row in rows]
            usage = cast("dict[str, Any]", answer.get("usage") or {})
            tokens = max(int(usage.get("total_tokens") or usage.get("prompt_tokens") or 0), 0)
        except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as error:
            raise ModelUnavailable(_UNREADABLE) from error
        found = believed(vectors, asked, self.dimensions)
        self.dimensions = found.shape[1]
        return Embedded(vectors=found, tokens=tokens, money=tokens * self.price / 1_000_000)


def _numbers(given: Any) -> Sequence[float]:
    """A list, or float32 in base64."""
    if isinstance(given, str):
        return np.frombuffer(base64.b64decode(given), dtype="<f4").tolist()
    return [float(value) for value in given]


def _about_embeddings(told: JourneymanError) -> JourneymanError:
    text = str(told).replace("The model provider", "The embeddings endpoint")
    if isinstance(told, ModelUnavailable):
        return ModelUnavailable(text, retry_after=told.retry_after)
    return type(told)(text)
