"""Links and the requests for them, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from agent.adapters.database import Database
from agent.adapters.postgres import Connection
from agent.linking import Account, LinkRequest

MIA, SAM = Account(id=42, username="mia"), Account(id=43, username="sam")
ASKED = LinkRequest(team="T1", slack_user="U1", channel="C1", thread_ts="1.1")
SOON = timedelta(minutes=10)


async def test_a_link_belongs_to_one_person_in_one_workspace(db: Database) -> None:
    assert await db.people.link("T1", "U1", MIA)

    assert await db.people.account("T1", "U1") == MIA
    assert await db.people.account("T2", "U1") is None
    assert await db.people.account("T1", "U2") is None
    assert await db.people.holder("T1", MIA.id) == "U1"
    assert await db.people.unlink("T1", "U1")
    assert not await db.people.unlink("T1", "U1")
    assert await db.people.account("T1", "U1") is None


async def test_nobody_takes_over_the_account_of_another(db: Database) -> None:
    await db.people.link("T1", "U1", MIA)

    assert not await db.people.link("T1", "U2", MIA)
    assert await db.people.link("T2", "U2", MIA)
    assert await db.people.link("T1", "U2", SAM)
    assert not await db.people.link("T1", "U2", MIA)
    assert await db.people.link("T1", "U1", Account(id=42, username="mia-berg"))

    assert await db.people.account("T1", "U1") == Account(id=42, username="mia-berg")
    assert await db.people.account("T1", "U2") == SAM


async def test_of_many_at_once_one_opens_comes_back_and_ends_a_request(db: Database) -> None:
    await db.people.ask("token", ASKED, good_for=SOON)

    opened = await asyncio.gather(*(db.people.open("token", f"browser{n}") for n in range(8)))
    assert [each for each in opened if each] == [ASKED]
    browser = f"browser{[bool(each) for each in opened].index(True)}"
    back = await asyncio.gather(*(db.people.come_back(browser) for _ in range(8)))
    assert [each for each in back if each] == [ASKED]
    assert await db.people.end(browser) is None
    await db.people.prove(browser, MIA)
    await db.people.prove(browser, SAM)
    proven = await db.people.proven(browser)
    ended = await asyncio.gather(*(db.people.end(browser) for _ in range(8)))

    assert proven
    assert proven.account == MIA
    assert [each for each in ended if each] == [proven]


async def test_what_never_came_back_proves_nothing(db: Database) -> None:
    await db.people.ask("token", ASKED, good_for=SOON)
    await db.people.open("token", "browser")

    await db.people.prove("browser", MIA)

    assert await db.people.proven("browser") is None


async def test_time_ends_a_request_at_each_of_its_steps(db: Database, owner: Connection) -> None:
    steps = (
        lambda: db.people.open("token", "browser"),
        lambda: db.people.come_back("browser"),
        lambda: db.people.proven("browser"),
        lambda: db.people.end("browser"),
    )
    for number, step in enumerate(steps):
        await owner.execute("DELETE FROM link_requests")
        await db.people.ask("token", ASKED, good_for=SOON)
        if number > 0:
            assert await db.people.open("token", "browser")
        if number > 1:
            assert await db.people.come_back("browser")
            await db.people.prove("browser", MIA)
        await owner.execute("UPDATE link_requests SET expires_at = now() - interval '1 s'")
        assert await step() is None

    await db.people.ask("another", ASKED, good_for=SOON)
    assert await owner.fetchval("SELECT count(*) FROM link_requests") == 1
