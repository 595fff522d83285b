"""Calls of Slack's Web API, with the patience that Slack asks for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import ClientError, ClientSession
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from agent.errors import JourneymanError, Unavailable
from bot.pace import Pace
from bot.records import Json, record

TIMEOUT = 10  # seconds; the library's own default is 30
ATTEMPTS = 6

_TRY_AGAIN = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
)


class SlackRejected(JourneymanError):
    """Slack refused a call; `code` is its word for the reason."""

    def __init__(self, method: str, code: str) -> None:
        super().__init__(f"Slack refused {method}: {code}.")
        self.code = code


class SlackUnavailable(Unavailable):
    """Slack does not answer."""


class Doubtful(Exception):
    """No answer came: the call may have been carried out."""


@dataclass(kw_only=True)
class SlackApi:
    client: AsyncWebClient
    patience: float = 0.5  #: seconds before the second attempt, doubled with each further one

    async def call(
        self,
        method: str,
        arguments: Json,
        *,
        get: bool = False,
        pace: Pace | None = None,
        sure: Callable[[], None] | None = None,
    ) -> Json:
        """One call; waits for as long as Slack asks to. `sure` is asked right before, also after
        such a wait. Raises `Doubtful`, `SlackRejected`."""
        api_call = cast("Callable[..., Any]", self.client.api_call)
        for _ in range(ATTEMPTS):
            if sure:
                sure()
            try:
                if get:
                    answer = await api_call(method, http_verb="GET", params=arguments)
                else:
                    answer = await api_call(method, json=arguments)
                return record(answer.data)
            except SlackApiError as error:
                code, status, headers = _refusal(error)
                if status == 429 or code == "ratelimited":
                    wait = _retry_after(headers)
                    if pace:
                        pace.pause(wait)
                    await asyncio.sleep(wait)
                elif status >= 500 or code in _TRY_AGAIN:
                    raise Doubtful(code or str(status)) from error
                else:
                    raise SlackRejected(method, code) from error
            except (ClientError, TimeoutError, OSError) as error:
                raise Doubtful(type(error).__name__) from error
        raise SlackUnavailable("Slack keeps asking for patience; trying again later.")

    async def patiently(self, method: str, arguments: Json, *, get: bool = False) -> Json:
        """For calls that may be repeated. Raises `SlackUnavailable`, `SlackRejected`."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self.call(method, arguments, get=get)
            except Doubtful:
                await self.back_off(attempt)
        raise SlackUnavailable("Slack does not answer at the moment.")

    async def put(self, url: str, content: bytes) -> None:
        """The content of a file, to where Slack said. Raises `SlackUnavailable`."""
        session = cast("ClientSession", self.client.session)
        try:
            async with session.post(url, data=content) as answer:
                if answer.status == 200:
                    return
                told = f"Slack does not take the file ({answer.status})."
        except (ClientError, TimeoutError, OSError) as error:
            raise SlackUnavailable(f"Slack does not take the file ({error}).") from error
        raise SlackUnavailable(told)

    async def back_off(self, attempt: int) -> None:
        wait = min(30.0, self.patience * 2 ** (attempt - 1))
        await asyncio.sleep(wait * random.uniform(0.75, 1.25))


def _refusal(error: SlackApiError) -> tuple[str, int, Mapping[str, str]]:
    """Slack's word for it, the HTTP status and the headers; the body may not have been JSON."""
    response = cast("Any", error).response
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0) or 0)
    body = record(getattr(response, "data", None))
    return str(body.get("error", "")), status, getattr(response, "headers", {})


def _retry_after(headers: Mapping[str, str]) -> float:
    found = next((v for k, v in headers.items() if k.lower() == "retry-after"), "1")
    return min(float(found), 300.0) if found.replace(".", "", 1).isdigit() else 1.0
