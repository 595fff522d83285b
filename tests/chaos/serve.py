"""`journeyman` with shorter waits, in the proportions that they have in production."""

from __future__ import annotations

import functools
import sys
from datetime import timedelta

from quick import quicken

import bot.front
import bot.inbox

if __name__ == "__main__":
    from bot.cli import main

    redelivery = bot.front.Redelivery
    quicken()
    bot.front.Redelivery = functools.partial(  # pyright: ignore
        redelivery, every=3.0, left=1.0
    )
    bot.inbox.LOST = timedelta(seconds=30)
    sys.exit(main())
