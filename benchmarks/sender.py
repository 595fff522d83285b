"""Sends signed deliveries as Slack does, in a process of its own, so that what it waits for is not
its own work. `python -m benchmarks.sender` takes JSON on its standard input and prints JSON."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from benchmarks.scripted import ROOT

AGAIN = 1.0  #: seconds until what was not acknowledged is sent again, twice as long each time
SLOWEST = 16.0
TRIES = 12


@dataclass(frozen=True, kw_only=True)
class Sent:
    """`ms`: from when it was due, or from the attempt that was acknowledged at last."""

    ms: float
    refused: int  #: attempts that were answered with 503
    unanswered: int  #: attempts that got another answer, or none
    acknowledged: bool


async def send(url: str, secret: str, due: Sequence[tuple[float, str]]) -> list[Sent]:
    """`due`: seconds from now, and the body."""
    given = json.dumps({"url": url, "secret": secret, "due": due})
    argv = [sys.executable, "-m", "benchmarks.sender"]
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            argv, cwd=ROOT, input=given, text=True, stdout=subprocess.PIPE, check=True
        )
    )
    return [Sent(**each) for each in json.loads(done.stdout)]


async def _send_all(url: str, secret: str, due: Sequence[tuple[float, str]]) -> list[Any]:
    loop = asyncio.get_running_loop()
    begun = loop.time() + 0.5

    async def one(session: ClientSession, at: float, body: bytes) -> dict[str, Any]:
        await asyncio.sleep(begun + at - loop.time())
        since, refused, unanswered, status = begun + at, 0, 0, 0
        for tried in range(TRIES):
            status = await _post(session, url, secret, body)
            if status == 200:
                break
            refused, unanswered = refused + (status == 503), unanswered + (status != 503)
            await asyncio.sleep(min(SLOWEST, AGAIN * 2**tried))
            since = loop.time()
        told = {"refused": refused, "unanswered": unanswered, "acknowledged": status == 200}
        return {"ms": 1000 * (loop.time() - since), **told}

    async with ClientSession(
        timeout=ClientTimeout(total=3), connector=TCPConnector(limit=0)
    ) as session:
        sending = (one(session, at, body.encode()) for at, body in due)
        return list(await asyncio.gather(*sending))


async def _post(session: ClientSession, url: str, secret: str, body: bytes) -> int:
    stamp = str(int(time.time()))
    signed = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256)
    headers = {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={signed.hexdigest()}",
    }
    try:
        async with session.post(url, data=body, headers=headers) as answer:
            await answer.read()
            return answer.status
    except (ClientError, TimeoutError):
        return 0


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_send_all(**json.load(sys.stdin)))))
