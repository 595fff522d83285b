"""A newer version comes: what waits under the present one is finished, and an older process beside
it leaves alone what it does not understand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import waiting
from crossing import Crossing
from oracle import holds
from road import until
from sqlalchemy import Connection as Raw
from sqlalchemy.ext.asyncio import create_async_engine

from agent.adapters import event_codec, postgres
from agent.adapters.embedded_postgres import ADMIN, APP, EmbeddedPostgres
from agent.adapters.migration import SCRIPTS, config
from agent.adapters.postgres import Connection, connect
from agent.adapters.postgres_append import Append
from agent.adapters.postgres_store import CODE, PostgresStore
from agent.run import ENDED, RunId, RunStatus
from agent.state import RunState
from alembic import command
from playground.slack.records import Message

DUMPED = "0013"
PATIENCE = 240.0  #: seconds; four runs go all the way, on any machine
NEXT = f"{int(postgres.SCHEMA) + 1:04}"
ADDITIVE = f'''
from alembic import op

revision = "{NEXT}"
down_revision = "{postgres.SCHEMA}"

def upgrade():
    op.execute("ALTER TABLE runs ADD mood text NOT NULL DEFAULT 'good'")
    op.execute("ALTER TABLE events ADD mood text")
    op.execute("CREATE TABLE moods (id bigint PRIMARY KEY, mood text)")
    op.execute("UPDATE installation SET works_from = '{DUMPED}'")
'''


@dataclass(frozen=True, kw_only=True)
class MoodSeen:
    """A fact that only the next version knows."""

    mood: str


@pytest.fixture
async def owner(postgres_server: EmbeddedPostgres) -> AsyncIterator[Connection]:
    """Of a database as the version of the dump has left it, brought to the present schema."""
    name = "upgraded"
    admin = await connect(postgres_server.admin_dsn)
    await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await admin.execute(f"CREATE DATABASE {name}")
    url = postgres_server.dsn(ADMIN, name)
    await migrate(url, DUMPED)
    owner = await connect(url)
    await owner.execute((waiting.DATA / f"waiting_{DUMPED}.sql").read_text())
    await owner.execute("RESET search_path")
    await migrate(url, postgres.SCHEMA)
    yield owner
    await owner.close()
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def crossing(
    owner: Connection, postgres_server: EmbeddedPostgres, tmp_path: Path
) -> AsyncIterator[Crossing]:
    async with waiting.world(tmp_path, postgres_server.dsn(APP, "upgraded")) as made:
        await waiting.restore(made, DUMPED)
        yield made


@pytest.fixture
async def newer_schema(
    crossing: Crossing, postgres_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / f"{NEXT}_moods.py").write_text(ADDITIVE)
    await migrate(postgres_server.dsn(ADMIN, "upgraded"), NEXT, versions)


async def migrate(admin_url: str, revision: str, *more: Path) -> None:
    engine = create_async_engine(admin_url.replace("postgresql://", "postgresql+asyncpg://"))

    def up(raw: Raw) -> None:
        made = config(connection=raw, app_role=APP)
        folders = [str(SCRIPTS / "versions"), *map(str, more)]
        made.set_main_option("path_separator", "newline")
        made.set_main_option("version_locations", "\n".join(folders).replace("%", "%%"))
        command.upgrade(made, revision)

    async with engine.begin() as connection:
        await connection.run_sync(up)
    await engine.dispose()


@contextmanager
def newer() -> Generator[None]:
    """Whoever is opened in this process inside is of the next version: it writes facts of a kind
    that is new, fields that are new, and asks for its own code."""
    plain, begin = event_codec.to_json, Append.__init__

    def to_json(record: Any) -> str:
        more = json.loads(plain(record)) | {"since": NEXT}
        return json.dumps(more, sort_keys=True, separators=(",", ":"))

    def begun(self: Any, row: Any, prepared: Any, *, actor: str) -> None:
        begin(self, row, prepared, actor=actor)
        if actor in ("worker", "effects") and self._payloads:
            self._payloads.insert(0, MoodSeen(mood="good"))
            self._texts.insert(0, json.dumps({"mood": "good", "since": NEXT}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_codec, "to_json", to_json)
        patch.setattr(Append, "__init__", begun)
        patch.setattr(postgres, "SCHEMA", NEXT)
        assert PostgresStore.__init__.__kwdefaults__
        patch.setitem(PostgresStore.__init__.__kwdefaults__, "code", CODE + 1)
        yield


async def approve(crossing: Crossing) -> None:
    """Whatever people are asked to let pass, until nothing is left to do."""
    road = crossing.road
    pressed: set[str] = set()

    async def over() -> bool:
        slots = [await road.db.threads.slots(run) for run in await road.runs()]
        known = {slot.ts for each in slots for slot in each.values()}
        for card in crossing.cards():
            shown = card.edited_ts or card.ts
            if card.ts in known and shown not in pressed:
                pressed.add(shown)
                await crossing.press("sam", card)
        return all(run.status in ENDED for run in await road.db.store.runs())

    await until(over, PATIENCE, road.story)


async def finished(crossing: Crossing) -> None:
    road = crossing.road
    for number, words in enumerate(waiting.ASKED, 1):
        state = await road.state(number)
        assert state.status is RunStatus.SUCCEEDED, await road.story()
        assert await road.read("main", words.split()[1]) == "It is here."
        assert await road.db.store.verify(RunId(number)) is None
    assert sorted(mr.state for mr in road.merge_requests) == ["merged"] * len(waiting.ASKED)
    await holds(road)


async def written(owner: Connection) -> dict[int, list[bool]]:
    """Of each run, whether the next version wrote it, fact by fact of those at work."""
    rows = await owner.fetch(
        "SELECT run, data::jsonb ? 'since' AS newer FROM events "
        "WHERE actor IN ('worker', 'effects') ORDER BY run, seq"
    )
    found: dict[int, list[bool]] = {}
    for row in rows:
        found.setdefault(row["run"], []).append(row["newer"])
    return found


@pytest.mark.slow
async def test_what_waits_is_finished_by_the_present_version(crossing: Crossing):
    states = [await crossing.road.state(run) for run in await crossing.road.runs()]
    assert [state.status for state in states] == list(waiting.ASKED.values())
    async with crossing.road.serving():
        answer(crossing, await crossing.road.state(2))
        await approve(crossing)
        await finished(crossing)


@pytest.mark.cell("F32", "WCG")
@pytest.mark.usefixtures("newer_schema")
async def test_what_waits_is_finished_by_the_next_version(crossing: Crossing, owner: Connection):
    with newer():
        async with crossing.road.serving():
            answer(crossing, await crossing.road.state(2))
            await approve(crossing)
            await finished(crossing)
    assert await owner.fetchval("SELECT min(min_code) FROM runs") == CODE + 1


@pytest.mark.cell("F32", "WCGX")
@pytest.mark.usefixtures("newer_schema")
async def test_an_older_process_leaves_what_the_next_version_has_gone_on_with(
    crossing: Crossing, owner: Connection
):
    """It is started again on the newer schema, and goes on with what nobody else has had."""
    road = crossing.road
    async with road.process():
        await until(lambda: asks(crossing, 4), PATIENCE, road.story)
        assert await owner.fetchval("SELECT max(min_code) FROM runs") == CODE
    with newer():
        async with road.serving():
            answer(crossing, await road.state(2))
            await until(lambda: asks(crossing, 2), PATIENCE, road.story)
    async with road.process():
        for run in (2, 1):
            assert await crossing.press("sam", await card(crossing, run))
        await until(lambda: ended(crossing, 1), PATIENCE, road.story)
        await until(lambda: handed_back(owner, 2), PATIENCE, road.story)
        assert (await road.state(2)).status is RunStatus.DELIVERING
    with newer():
        async with road.serving():
            await approve(crossing)
            await finished(crossing)
    by_newer = await written(owner)
    assert not any(by_newer[1])
    assert [sorted(each) == each and each[-1] for each in by_newer.values()][1:] == [True] * 3


def answer(crossing: Crossing, state: RunState) -> None:
    place = state.request.thread.channel, state.request.message
    crossing.road.reply(crossing.road.slack.world.messages[place], "@agent This")


async def asks(crossing: Crossing, run: int) -> bool:
    return (await crossing.road.state(run)).status is RunStatus.WAITING_FOR_APPROVAL


async def ended(crossing: Crossing, run: int) -> bool:
    return (await crossing.road.state(run)).status in ENDED


async def card(crossing: Crossing, run: int) -> Message:
    """On which people decide about a run, once the service knows where it stands."""
    await until(lambda: _card(crossing, run), PATIENCE, crossing.road.story)
    found = await _card(crossing, run)
    assert found
    return found


async def _card(crossing: Crossing, run: int) -> Message | None:
    slots = await crossing.road.db.threads.slots(RunId(run))
    known = {slot.ts for slot in slots.values()}
    return next((each for each in crossing.cards() if each.ts in known), None)


async def handed_back(owner: Connection, run: int) -> bool:
    """Somebody has taken its wake-up, and let go of it again."""
    of = "SELECT max(attempts) FROM engine.pgqueuer WHERE starts_with(dedupe_key, $1)"
    return bool(await owner.fetchval(of, f"run:{run}:"))
