"""Links the people of the town to their GitLab accounts, the way that they would themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from playground.browser import Browser
from playground.slack.records import Ephemeral
from playground.slack.server import SlackStandIn

SECONDS = 30.0
_BUTTON = "Link "


class NotLinked(Exception):
    """The text says for whom and where it ended."""


async def link_people(slack: SlackStandIn, names: Iterable[str]) -> None:
    """Each has the same name at GitLab. Nothing of it stays in their Slack."""
    await asyncio.gather(*(link(slack, name) for name in names))


async def link(slack: SlackStandIn, name: str, username: str = "") -> None:
    """Asks the agent for the button, presses it, signs in at GitLab and confirms."""
    username = username or name
    world = slack.world
    asked = slack.people.post(name, f"@{world.app.name}", "settings")
    try:
        async with asyncio.timeout(SECONDS):
            shown = await _answer(slack, asked.user, asked.channel)
            async with Browser() as browser:
                page = await browser.open(address_in(shown))
                for label in (f"@{username}", "Authorize", "Both are me"):
                    page = await browser.press(page, label)
    except (TimeoutError, LookupError) as problem:
        raise NotLinked(f"{name} could not be linked at GitLab. {problem}".strip()) from problem
    if page.status != 200:
        raise NotLinked(f"{name} could not be linked at GitLab:\n{page.text}")
    slack.people.delete(asked)
    for each in [e for e in world.ephemerals.values() if e.user == asked.user]:
        world.dismiss(each)


def address_in(shown: Ephemeral) -> str:
    """Where the button leads. Raises LookupError."""
    for block in shown.blocks:
        for element in block.get("elements", ()):
            if element.get("url") and element["text"]["text"].startswith(_BUTTON):
                return element["url"]
    raise LookupError(f"There is no button to link an account: {shown.text}")


async def _answer(slack: SlackStandIn, user: str, channel: str) -> Ephemeral:
    changed = asyncio.Event()
    end = slack.world.subscribe(lambda _: changed.set())
    try:
        while True:
            changed.clear()
            for each in slack.world.ephemerals.values():
                if (each.user, each.channel) == (user, channel) and each.blocks:
                    return each
            await changed.wait()
    finally:
        end()
