"""The service with shorter waits, and without proving the sandbox again at every start.

As a program: `journeyman` with its own arguments.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import agent.adapters.gitlab_client
import agent.loop
import agent.outage
import agent.stages.publish
import bot.front
import bot.presenter
import bot.roles.work
from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.database import Database


async def _proved_before(self: BubblewrapSandbox) -> tuple[()]:
    return ()


def quicken(put: Callable[[Any, str, Any], None] = setattr) -> None:
    put(bot.front, "Presenter", functools.partial(bot.front.Presenter, every=0.1))
    put(bot.front, "Slack", functools.partial(bot.front.Slack, post_gap=0.0, edit_gap=0.0))
    put(bot.front, "SlackApi", functools.partial(bot.front.SlackApi, patience=0.05))
    put(bot.presenter, "_AGAIN", 0.3)
    put(bot.front, "Redelivery", functools.partial(bot.front.Redelivery, every=0.5, left=1.0))
    put(bot.front, "Desk", functools.partial(bot.front.Desk, hold=0.2))
    put(agent.loop, "WAITS", (0.5, 0.1, 0.1, 0.1))
    put(agent.outage, "PAUSES", (0.1, 0.1, 0.1))
    put(agent.outage, "AGAIN", 1.0)
    put(agent.stages.publish, "FIRST_LOOK", 1.0)
    put(bot.roles.work, "Pace", functools.partial(bot.roles.work.Pace, least=0.2))
    put(agent.adapters.gitlab_client, "LETS_GO", 1.0)
    put(Database, "queue", functools.partialmethod(Database.queue, lease=2.0))
    put(BubblewrapSandbox, "check", _proved_before)


if __name__ == "__main__":
    from bot.cli import main

    quicken()
    sys.exit(main())
