"""What one process does at a time, over connections that break."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.adapters import postgres_lease
from agent.adapters.database import Database, open_database


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"LENGTH": 2.0, "_EVERY": 0.1, "_LOOK": 0.05, "_MARGIN": 0.1}.items():
        monkeypatch.setattr(postgres_lease, name, seconds)


async def test_one_waits_until_the_other_has_left(db: Database, database_url: str, tmp_path: Path):
    async with open_database(home=tmp_path, url=database_url) as other, asyncio.timeout(60):
        entered = asyncio.Event()

        async def second() -> None:
            async with other.threads.alone() as hold:
                assert hold.sure()
                entered.set()

        async with db.threads.alone() as hold:
            waiting = asyncio.create_task(second())
            await asyncio.sleep(2.5)  # longer than it is given for: it is renewed
            assert hold.sure()
            assert not entered.is_set()
        await waiting
        assert await db.pool.fetchval("SELECT count(*) FROM leases") == 0


async def test_whoever_cannot_renew_it_knows_before_another_has_it(
    db: Database, database_url: str, tmp_path: Path
):
    async with open_database(home=tmp_path, url=database_url) as other, asyncio.timeout(60):
        async with other.threads.alone() as lost:
            # as if it were frozen: from now on the row is not renewed
            await db.pool.execute(
                "UPDATE leases SET holder = 'somebody', until = clock_timestamp() + '1 s'"
            )
            await lost.lost.wait()
            assert not lost.sure()
            async with db.threads.alone() as hold:
                assert hold.sure()
                assert not lost.sure()


async def test_an_outage_longer_than_the_lease_loses_it(db: Database):
    async with asyncio.timeout(60), db.threads.alone() as hold:
        db.threads._reserved.terminate()
        await hold.lost.wait()
        assert not hold.sure()
