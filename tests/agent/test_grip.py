"""Whether work is still one's own, asked of somebody who may take long to answer."""

from __future__ import annotations

import pytest

from agent import grip
from agent.errors import Fenced


async def test_what_nobody_else_could_take_is_held() -> None:
    await grip.held()


async def test_an_answer_that_took_too_long_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, answers = 0.0, [grip.SOON + 1, 0.1]

    async def ours() -> None:
        nonlocal now
        now += answers.pop(0)

    monkeypatch.setattr(grip, "monotonic", lambda: now)
    with grip.gripped(ours):
        await grip.held()
    assert answers == []


async def test_what_was_lost_while_the_answer_was_on_its_way_is_not_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0

    async def ours() -> None:
        nonlocal now
        if now:
            raise Fenced("Another process has taken this over.")
        now += grip.SOON + 1

    monkeypatch.setattr(grip, "monotonic", lambda: now)
    with grip.gripped(ours), pytest.raises(Fenced):
        await grip.held()
