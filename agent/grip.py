"""Whether what is being worked on is still ours: asked right before something is changed outside.

A process may sleep for minutes between two lines, and another one have taken its work over. What
it writes to the log then is refused by the database; what it would change outside is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic

#: Seconds. What is left after twice as long is anybody's, so an answer that took longer is old.
SOON = 4.0

Check = Callable[[], Awaitable[None]]

_check: ContextVar[Check | None] = ContextVar("grip", default=None)


@contextmanager
def gripped(check: Check) -> Generator[None]:
    """While entered, and in the tasks that are begun meanwhile, `check` is what `held` asks."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


async def held() -> None:
    """Raises `Fenced` when somebody else has it by now."""
    if check := _check.get():
        asked = monotonic()
        await check()
        while monotonic() - asked > SOON:
            asked = monotonic()
            await check()
