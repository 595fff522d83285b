"""What a process says of what it lacks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, cast

import pytest
from aiohttp import web

from agent.adapters.database import Database
from agent.adapters.postgres import Connection
from agent.errors import (
    ContextOverflow,
    JourneymanError,
    ModelUnavailable,
    SettingsError,
    StoreUnavailable,
)
from agent.ports import Answer, Message, ToolSpec
from agent.run import Usage
from bot.roles.health import Watched
from bot.web import health as module
from bot.web.health import Health


async def asked(health: Health) -> tuple[int, dict[str, Any]]:
    answer = await health.ready(cast("web.Request", None))
    return answer.status, json.loads(answer.text or "")


class Part:
    def __init__(self, told: str | JourneymanError | None = "") -> None:
        self.told = told
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.told is None:
            await asyncio.Event().wait()
        if isinstance(self.told, JourneymanError):
            raise self.told
        return str(self.told)


async def test_each_thing_that_is_missing_has_its_name_a_sentence_and_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LIMIT", 0.05)
    health = Health()
    health.add("postgres", Part(StoreUnavailable("PostgreSQL does not answer.")))
    health.add("queue", Part())
    health.add("gitlab", Part(None))
    health.add("slack", Part("The connection is down."))

    status, told = await asked(health)

    assert status == 503
    assert [(each["name"], each["told"]) for each in told["missing"]] == [
        ("postgres", "PostgreSQL does not answer."),
        ("gitlab", "There was no answer within 0 s."),
        ("slack", "The connection is down."),
    ]
    assert all("T" in each["since"] for each in told["missing"])


async def test_it_is_missing_since_the_first_time_and_well_when_it_is_back() -> None:
    part, health = Part("It is away."), Health()
    health.add("gitlab", part, keep=0.0)
    (first,) = await health.missing()
    (second,) = await health.missing()
    assert second.since == first.since

    part.told = ""

    assert await asked(health) == (200, {"status": "ok"})


async def test_many_who_ask_at_once_cost_one_question() -> None:
    part, health = Part(), Health()
    health.add("gitlab", part, keep=60.0)

    await asyncio.gather(*(health.missing() for _ in range(20)))

    assert part.calls == 1


async def test_a_process_that_lacks_something_is_alive_and_asks_nobody_for_that() -> None:
    part, health = Part("It is away."), Health()
    health.add("gitlab", part, keep=0.0)

    first = await health.alive(cast("web.Request", None))
    assert (first.status, part.calls) == (200, 0)
    await health.missing()

    second = await health.alive(cast("web.Request", None))
    told = json.loads(second.text or "")
    assert (second.status, told["missing"][0]["told"]) == (200, "It is away.")


class Provider:
    name = "scripted"
    error: JourneymanError | None = None

    def window_of(self, model: str | None) -> int:
        return 1000

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, model: str | None = None
    ) -> Answer:
        if self.error:
            raise self.error
        return Answer(
            message=Message(role="assistant", content="ok"), finish="stop", usage=Usage(), model="m"
        )


async def test_the_model_is_judged_by_its_last_call() -> None:
    provider = Provider()
    watched = Watched(provider)
    assert await watched.outcome() == ""

    provider.error = ModelUnavailable("The model provider cannot be reached.")
    with pytest.raises(ModelUnavailable):
        await watched.complete((), ())
    assert await watched.outcome() == "The model provider cannot be reached."

    provider.error = ContextOverflow("The prompt is too long.")  # it answered, in its way
    with pytest.raises(ContextOverflow):
        await watched.complete((), ())
    assert await watched.outcome() == "The model provider cannot be reached."

    provider.error = None
    await watched.complete((), ())
    assert await watched.outcome() == ""


async def test_the_database_is_missing_with_its_connections_and_with_its_schema(
    db: Database, owner: Connection
) -> None:
    await db.check()
    await owner.execute("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(SettingsError, match="schema is older than this Journeyman"):
        await db.check()
    db.pool.terminate()
    with pytest.raises(StoreUnavailable):
        await db.check()


async def test_jobs_that_nobody_takes_from_the_dead_are_told(db: Database) -> None:
    with db.listener.subscribed("journeyman_runs"):
        await db.listener.ready()
        assert await db.queue_problem() == ""
        await db.pool.execute(
            "INSERT INTO engine.pgqueuer (priority, entrypoint, status, heartbeat)"
            " VALUES (0, 'run.g/p', 'picked', now() - interval '10 minutes')"
        )
        assert "1 jobs are held by processes that are gone" in await db.queue_problem()


async def test_what_was_mended_is_counted() -> None:
    health, mended = Health(), 0
    health.count("mended", lambda: mended)
    mended = 3
    answer = await health.alive(cast("web.Request", None))
    assert json.loads(answer.text or "") == {"status": "ok", "counts": {"mended": 3}}
    assert await asked(health) == (200, {"status": "ok"})
