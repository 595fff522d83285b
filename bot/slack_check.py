"""What `doctor` asks Slack."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from aiohttp import ClientError
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from agent.ports import Check
from bot.settings import Settings

MANIFEST = Path(__file__).parent.parent / "slack-manifest.json"
TIMEOUT = 10


async def slack_checks(settings: Settings) -> Sequence[Check]:
    checks = [await _bot_token(settings)]
    if settings.slack_app_token:
        checks.append(await _app_token(settings))
    else:
        detail = "without SLACK_APP_TOKEN Slack has to reach /slack/events by HTTP"
        checks.append(Check(name="Slack delivery", ok=True, detail=detail))
    return checks


async def _bot_token(settings: Settings) -> Check:
    client = AsyncWebClient(
        token=settings.slack_bot_token, base_url=settings.slack_api_url, timeout=TIMEOUT
    )
    try:
        answer = await client.auth_test()  # pyright: ignore[reportUnknownMemberType]
    except SlackApiError as error:
        return Check(
            name="Slack bot token",
            ok=False,
            detail=f"Slack refuses it: {error.response['error']}",
            remedy="Copy SLACK_BOT_TOKEN (xoxb-…) from the app's page, Install App.",
        )
    except (ClientError, TimeoutError, OSError):
        return _silent("Slack bot token", settings)
    headers = cast("Mapping[str, str]", answer.headers)  # pyright: ignore[reportUnknownMemberType]
    granted = {scope.strip() for scope in headers.get("x-oauth-scopes", "").split(",")}
    missing = sorted(_wanted() - granted) if granted - {""} else []
    who = f"@{answer.get('user')} in {answer.get('team')}"
    return Check(
        name="Slack bot token",
        ok=not missing,
        detail=f"{who}, scopes missing: {', '.join(missing)}" if missing else who,
        remedy="Paste slack-manifest.json into the app again and reinstall it." if missing else "",
    )


async def _app_token(settings: Settings) -> Check:
    client = AsyncWebClient(base_url=settings.slack_api_url, timeout=TIMEOUT)
    try:
        await client.apps_connections_open(  # pyright: ignore[reportUnknownMemberType]
            app_token=settings.slack_app_token
        )
    except SlackApiError as error:
        return Check(
            name="Slack app token",
            ok=False,
            detail=f"Slack refuses it: {error.response['error']}",
            remedy="Make SLACK_APP_TOKEN (xapp-…) with the scope connections:write, "
            "and turn Socket Mode on.",
        )
    except (ClientError, TimeoutError, OSError):
        return _silent("Slack app token", settings)
    return Check(name="Slack app token", ok=True, detail="Socket Mode opens")


def _silent(name: str, settings: Settings) -> Check:
    return Check(
        name=name,
        ok=False,
        detail=f"{settings.slack_api_url} does not answer",
        remedy="Check the network of this machine and SLACK_API_URL.",
    )


def _wanted() -> set[str]:
    """The manifest's scopes; none where the package stands without it."""
    if not MANIFEST.is_file():
        return set()
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return set(manifest["oauth_config"]["scopes"]["bot"])
