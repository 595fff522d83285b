"""Chat Completions over HTTP, answered from tapes or by a function."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from playground.faults import Fault, Faults, add_control_routes, fault_middleware
from playground.model.tapes import Tape, load_tapes, reply

#: Providers cache a prompt's prefix from this many tokens on, in steps of `CACHE_STEP`.
CACHE_FROM, CACHE_STEP = 1024, 128

Answerer = Callable[[list[dict[str, Any]]], dict[str, Any]]


class ModelStandIn:
    """`answer` takes the messages and gives `{"content", "tool_calls"}`; without it, tapes do.
    `requests` keeps what was asked, for tests."""

    def __init__(
        self,
        *,
        tapes: Sequence[Tape] | None = None,
        answer: Answerer | None = None,
        latency: float = 0.0,
        key: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "scripted",
    ) -> None:
        self.faults = Faults()
        self.requests: list[dict[str, Any]] = []
        self.name = name
        self._tapes = tapes
        self._answer = answer
        self._latency = latency
        self._key = key
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        self._seen: list[str] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        faulty = fault_middleware(self.faults, call_of=_call_of, failure=_failure)
        app = web.Application(middlewares=[faulty], client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._completions)
        app.router.add_get("/v1/models", self._models)
        add_control_routes(app, self.faults)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://{self._host}:{port}/v1"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        model = {"id": self.name, "object": "model", "created": 0, "owned_by": "playground"}
        return web.json_response({"object": "list", "data": [model]})

    async def _completions(self, request: web.Request) -> web.Response:
        if self._key and request.headers.get("Authorization") != f"Bearer {self._key}":
            return _error(401, "Incorrect API key provided.", "invalid_api_key")
        try:
            body = await request.json()
            messages = body["messages"]
        except (ValueError, KeyError, TypeError):
            return _error(400, "The body is not a chat completion request.", None)
        self.requests.append(body)
        if self._latency:
            await asyncio.sleep(self._latency)
        if self._answer is not None:
            answer = self._answer(messages)
        else:
            if self._tapes is None:
                self._tapes = load_tapes()
            answer = reply(self._tapes, messages)
        return web.json_response(self._completion(body, answer))

    def _completion(self, body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer.get("content"),
            "refusal": answer.get("refusal"),
        }
        if answer.get("tool_calls"):
            message["tool_calls"] = [_tool_call(call) for call in answer["tool_calls"]]
        finish = answer.get("finish_reason") or (
            "tool_calls" if "tool_calls" in message else "stop"
        )
        prompt = json.dumps(body.get("tools", [])) + json.dumps(body["messages"])
        prompt_tokens, completion_tokens = len(prompt) // 4, len(json.dumps(message)) // 4
        return {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body.get("model") or self.name,
            "choices": [
                {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
                "prompt_tokens_details": {"cached_tokens": self._cached(prompt), "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": 0,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                },
            },
        }

    def _cached(self, prompt: str) -> int:
        shared = max((_common(prompt, seen) for seen in self._seen), default=0) // 4
        self._seen = [*self._seen[-15:], prompt]
        return shared // CACHE_STEP * CACHE_STEP if shared >= CACHE_FROM else 0


def _call_of(request: web.Request) -> str | None:
    return request.path.removeprefix("/v1/") if request.path.startswith("/v1/") else None


def _failure(fault: Fault) -> web.Response:
    return _error(fault.status, "The server had an error.", fault.error or None)


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    arguments = call.get("arguments", {})
    return {
        "id": f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {
            "name": call["name"],
            "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
        },
    }


def _common(one: str, other: str) -> int:
    """Length of the shared beginning, by bisection on slices: prompts are long."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _error(status: int, message: str, code: str | None) -> web.Response:
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return web.json_response({"error": body}, status=status)
