"""An embeddings endpoint on the loopback: vectors of hashed words, and faults on demand."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import Counter
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from agent.adapters.openai_embeddings import OpenAIEmbeddings


class EmbeddingStandIn:
    """`counts` tells how often each text was paid for, by model."""

    def __init__(self, dimensions: int = 32) -> None:
        self.dimensions = dimensions
        self.counts: Counter[tuple[str, str]] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.refusals: list[web.Response] = []  #: given first
        self.models: set[str] | None = None  #: others are unknown
        self.spoilt: list[float] | None = None  #: instead of a text's vector
        self.spoils = ""  #: texts with this in them; all when empty
        self.longest = 1_000_000  #: characters of a text
        self.short = 0  #: vectors that are left out
        self.gate: asyncio.Event | None = None  #: answers wait for it
        self.asked = asyncio.Event()
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/embeddings", self._embeddings)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def client(self, model: str = "words", **settings: Any) -> OpenAIEmbeddings:
        settings = {"requests_per_minute": 1e6, "batch": 4} | settings
        return OpenAIEmbeddings(name=model, api_key="key", base_url=self.url, **settings)

    async def _embeddings(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.refusals:
            return self.refusals.pop(0)
        if self.models is not None and body["model"] not in self.models:
            return refusal(404, f"The model {body['model']} does not exist.")
        texts: list[str] = body["input"]
        if any(len(text) > self.longest for text in texts):
            return refusal(400, "This model's maximum context length is 256 tokens.")
        size = body.get("dimensions", self.dimensions)
        rows = [
            {"object": "embedding", "index": n, "embedding": self._vector(text, size)}
            for n, text in enumerate(texts)
        ]
        self.counts.update((body["model"], text) for text in texts)
        tokens = sum(len(text.split()) for text in texts)
        rows = rows[: len(rows) - self.short]
        # JSON as Python writes it: with NaN and Infinity, as some servers do
        return web.json_response(
            {"object": "list", "data": rows[::-1], "usage": {"total_tokens": tokens}}
        )

    def _vector(self, text: str, size: int) -> list[float]:
        if self.spoilt is not None and self.spoils in text:
            return self.spoilt
        vector = [0.001] * size
        for word in re.findall(r"[a-z]+", text.lower()):
            vector[zlib.crc32(word.encode()) % size] += 1.0
        return vector


def refusal(status: int, message: str, **headers: str) -> web.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"error": {"message": message, "type": "error"}}
    return web.json_response(body, status=status, headers=names)
