"""The service, or the database under it, dies in each phase of a run; the oracle has the last word.

One test for each fault; its parameters are the phases, of which `make test` has the most telling.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from contextlib import AsyncExitStack

import pytest
from aiohttp import ClientError, ClientSession
from family import alive, birth, family
from phases import Scene, at, phases
from road import fault, until
from server import Server

import agent.adapters.postgres_retry
from agent.events import GateVoted

pytestmark = pytest.mark.usefixtures("staged")

#: Phases in which one process alone has what is done in its hands, by a lease.
ONE_OWNER = "PWUMFXN"
#: Who holds what, by any lease.
HELD = """
SELECT 'job ' || entrypoint AS what FROM engine.pgqueuer WHERE status = 'picked'
UNION ALL SELECT 'lease ' || name FROM leases WHERE holder <> '' AND until > clock_timestamp()
UNION ALL SELECT 'night ' || id FROM nights WHERE owner IS NOT NULL AND ended_at IS NULL"""


@phases("F01", "APWUMGXS", "TCFN")
async def test_killed(scene: Scene):
    async with scene.process() as process:
        async with at(scene):
            await process.end(signal.SIGKILL)
    async with scene.road.serving():
        await scene.ends()


@pytest.mark.alone
@phases("F02", "", "APWTUMCFGXNS")
async def test_stopped(scene: Scene):
    """Whoever comes next need not wait for a lease of who was told to stop."""
    road = scene.road
    async with scene.process() as process:
        async with at(scene):
            children = family(process.pid)
            async with asyncio.timeout(20):
                assert await process.end(signal.SIGTERM) == 0
            assert not children & {each for pid in alive() if (each := birth(pid))}
            assert await road.db.pool.fetch(HELD) == []
    async with road.serving():
        await scene.ends()


@phases("F03", "AWUMGXS", "PCFN")
async def test_two_at_once(scene: Scene):
    """One is not seen for longer than its lease; when it is back, both are at the same point."""
    road = scene.road
    road.slack.faults.set(fault("duplicate", "event:*", times=0))
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(scene.process())
        if scene.phase in ONE_OWNER:
            async with at(scene):
                first.pause()
                await stack.enter_async_context(road.serving())
                await scene.again()
                first.resume()
        else:
            await stack.enter_async_context(road.serving())
            async with at(scene):
                pass
        await scene.ends()


@phases("F04", "WUMGXS", "PT")
async def test_frozen_for_longer_than_its_lease(scene: Scene):
    await frozen(scene, 0)


@pytest.mark.slow
@pytest.mark.parametrize("phase", [pytest.param("U", marks=pytest.mark.cell("F04", "U"))])
async def test_frozen_for_ninety_seconds(scene: Scene):
    await frozen(scene, 90)


async def frozen(scene: Scene, seconds: float) -> None:
    """Another one has brought it all to its end when the first wakes: it does nothing more."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with scene.process(JOURNEYMAN_LISTEN=address) as zombie:
        async with at(scene):
            began = time.monotonic()
            zombie.pause()
        async with scene.road.serving():
            await scene.ends()
            await asyncio.sleep(seconds - (time.monotonic() - began))
            zombie.resume()
            await until(lambda: ready(address), story=scene.road.story)
            assert await zombie.end(signal.SIGTERM) == 0
            await scene.ends()


async def ready(address: str) -> bool:
    """It has found out how the world is by now."""
    try:
        async with ClientSession() as http, http.get(f"http://{address}/readyz") as answer:
            return answer.status == 200
    except ClientError:
        return False


@phases("F05", "AWUMGXS", "PTCFN")
async def test_postgresql_is_restarted(scene: Scene, server: Server):
    async with scene.road.serving():
        async with at(scene):
            await server.restart()
        await scene.ends()


@phases("F06", "", "APTUMCGXNS")
async def test_postgresql_is_down(scene: Scene, server: Server, monkeypatch: pytest.MonkeyPatch):
    """For four times as long as anybody has patience with it."""
    monkeypatch.setattr(agent.adapters.postgres_retry, "_PATIENCE", 0.75)
    async with scene.road.serving():
        async with at(scene):
            await server.down()
        await asyncio.sleep(3)
        await server.up()
        if scene.phase == "G":
            await decided_or_pressed_again(scene)
        await scene.ends()


async def decided_or_pressed_again(scene: Scene) -> None:
    """Whoever is told that nothing was decided can rely on it, and presses again."""
    road = scene.road

    async def decided() -> bool:
        return bool(await road.events(GateVoted))

    async def told() -> bool:
        refusals = [each for each in road.whispers("sam") if "othing was decided" in each.text]
        return bool(refusals) or await decided()

    await until(told, story=road.story)
    if not await decided():
        assert await scene.crossing.press("sam", await scene.crossing.card())


@pytest.mark.slow
@pytest.mark.cell("F06", "A")
@pytest.mark.parametrize("phase", ["A"])
async def test_a_request_that_cannot_be_stored_is_not_acknowledged_and_comes_again(
    scene: Scene, server: Server
):
    delivered = scene.road.slack.delivery.log
    async with scene.road.serving():
        await server.down()
        scene.ask()
        await scene.until(lambda: any(each.reasons for each in delivered))
        assert not any(each.acknowledged for each in delivered)
        await server.up()
        await scene.ends()
        assert any(each.acknowledged and each.attempts > 1 for each in delivered)
