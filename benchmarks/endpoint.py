"""The scripted endpoint of the step benchmark, in a process of its own so that its CPU is not
charged to anybody. `python -m benchmarks.endpoint SCRIPT LOG [LATENCY [HOST]]` prints its URL; each
answered request appends a line to LOG: when it arrived, when it was answered, and its size."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web


async def serve(script: list[dict[str, Any]], log: Path, latency: float, host: str) -> None:
    before: dict[str, str] = {}

    async def completions(request: web.Request) -> web.Response:
        arrived = time.monotonic()
        raw = await request.read()
        body = json.loads(raw)
        messages = body["messages"]
        given = sum(message["role"] == "assistant" for message in messages)
        reply = script[min(given, len(script) - 1)]
        await asyncio.sleep(latency)
        text = json.dumps([body.get("tools", []), *messages])[:-1]
        name = hashlib.sha256(json.dumps(messages[:2]).encode()).hexdigest()[:8]
        last = before.get(name) if given else None
        if last is None:
            log.with_name(f"first-{name}.json").write_bytes(raw)
        before[name] = text
        answer = json.dumps(completion(body, given, reply))
        line = {
            "arrived": arrived,
            "given": given,
            "conversation": name,
            "kept": 1.0 if last is None else same_start(last, text) / len(last),
            "answered": time.monotonic(),  # what we did ourselves is charged to nobody
        }
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        return web.Response(text=answer, content_type="application/json")

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/chat/completions", completions)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    print(f"http://{host}:{runner.addresses[0][1]}/v1", flush=True)
    # the parent closes our standard input when it is done with us
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def same_start(one: str, two: str) -> int:
    """How many characters they begin with in common."""
    if two.startswith(one):
        return len(one)
    return next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), len(two))


def completion(body: dict[str, Any], given: int, reply: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {
            "id": f"call_{given}_{position}",
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])},
        }
        for position, call in enumerate(reply["tool_calls"])
    ]
    prompt = sum(len(message.get("content") or "") for message in body["messages"]) // 4
    return {
        "id": f"chatcmpl-{given}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": reply.get("content", ""),
                    "tool_calls": calls,
                },
            }
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": 20, "total_tokens": prompt + 20},
    }


if __name__ == "__main__":
    script_path, log_path, *rest = sys.argv[1:]
    asyncio.run(
        serve(
            json.loads(Path(script_path).read_text()),
            Path(log_path),
            float(rest[0]) if rest else 0.0,
            rest[1] if len(rest) > 1 else "127.0.0.1",
        )
    )
