"""PostgreSQL has no connection, no room or no patience left, in each phase of a run: the run waits,
and goes on by itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from night_road import Nightly
from phases import Scene, at, phases
from refusing import DEADLOCK, DISK_FULL, SERIALIZATION, refusing
from server import Server

from agent.adapters.postgres import connect

pytestmark = pytest.mark.usefixtures("staged")

CROWD = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'journeyman_app'"


@asynccontextmanager
async def crowded(admin_url: str, database: str) -> AsyncGenerator[None]:
    """The server closes all connections to the database, and has none to give."""
    owner = await connect(admin_url)
    try:
        await owner.execute(f"ALTER DATABASE {database} CONNECTION LIMIT 0")
        await owner.execute(f"{CROWD} AND datname = '{database}'")
        yield
        await owner.execute(f"ALTER DATABASE {database} CONNECTION LIMIT -1")
    finally:
        await owner.close()


@phases("F07", "AX", "PUCGS")
async def test_no_connection_is_left(scene: Scene, admin_url: str, database: str, server: Server):
    async with scene.road.serving():
        if scene.phase == "A":
            async with crowded(admin_url, database):
                await refused(scene)
        else:
            async with at(scene), crowded(admin_url, database):
                await scene.until(lambda: server.refused(database))
        await scene.ends()


async def refused(scene: Scene) -> None:
    """A request that cannot be stored is not acknowledged: Slack sends it again."""
    scene.ask()
    delivered = scene.road.slack.delivery.log
    await scene.until(lambda: any(each.reasons for each in delivered))


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("X", marks=pytest.mark.cell("F08", "AUMCGX")),
        pytest.param("N", marks=[pytest.mark.cell("F08", "N"), pytest.mark.slow]),
    ],
)
async def test_each_third_transaction_is_given_up(scene: Scene, admin_url: str):
    """From the request to the merge."""
    async with (
        refusing(admin_url, "inbox", DEADLOCK, which="% 3 = 1") as asked,
        refusing(admin_url, "runs", SERIALIZATION, which="% 3 = 0") as moved,
        refusing(admin_url, "events", DEADLOCK, which="% 3 = 0") as told,
        refusing(admin_url, "messages", SERIALIZATION, which="% 3 = 0"),
        scene.road.serving(),
    ):
        async with at(scene):
            pass
        if scene.phase == "N":
            [report] = await Nightly(road=scene.road).over()
            assert report.status == "done", await scene.road.story()
            assert len(scene.road.merge_requests) == 1
        else:
            await scene.crossing.merged(90)
            assert await asked() > 1
        assert min(await moved(), await told()) > 10
        assert len(await scene.road.runs()) == 1


@phases("F09", "AX", "TUG")
async def test_the_disk_of_the_database_is_full(scene: Scene, admin_url: str):
    """As PostgreSQL says it of each file that would have to grow."""
    async with scene.road.serving():
        if scene.phase == "A":
            async with refusing(admin_url, "inbox", DISK_FULL, which="> 0"):
                await refused(scene)
        else:
            async with AsyncExitStack() as full:
                async with at(scene):
                    way = refusing(admin_url, "events", DISK_FULL, which="> 0")
                    tried = await full.enter_async_context(way)
                await scene.until(tried)
        await scene.ends()
