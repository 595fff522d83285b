"""Faults by chance and without end, and ledgers that tell when they are not whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from gitlab_scene import Scene
from slack_bolt.app.async_app import AsyncApp
from slack_hearing import Bot, connection, settle, until
from slack_sdk.web.async_client import AsyncWebClient

from playground.faults import Fault, FaultMode, Faults
from playground.gitlab.server import GitLabStandIn
from playground.ledger import Incomplete, Ledger
from playground.model import ModelStandIn
from playground.slack.server import SlackStandIn
from playground.slack.world import World


def hits(faults: Faults, calls: int = 1000) -> list[int]:
    return [n for n in range(calls) if faults.meet("GET /a", FaultMode.FAIL)]


def by_chance(seed: int | None, chance: float, **more: Any) -> Faults:
    faults = Faults(seed=seed)
    faults.set(Fault(mode=FaultMode.FAIL, chance=chance, **({"times": 0} | more)))
    return faults


def test_a_seed_repeats_what_chance_has_hit() -> None:
    first, again, other = (hits(by_chance(seed, 0.05)) for seed in (7, 7, 8))

    assert first == again != other
    assert 20 < len(first) < 90
    assert hits(by_chance(7, 0.0)) == []
    assert len(hits(by_chance(7, 1.0))) == 1000


def test_what_chance_hits_does_not_depend_on_other_calls() -> None:
    alone, beside = by_chance(7, 0.05), by_chance(7, 0.05, method="GET /a")
    beside.set(Fault(mode=FaultMode.FAIL, times=0, chance=0.5, method="POST *"))
    told: list[int] = []
    for n in range(1000):
        beside.meet("POST /b", FaultMode.FAIL)
        told += [n] if beside.meet("GET /a", FaultMode.FAIL) else []

    assert told == hits(alone)


def test_a_fault_by_chance_hits_as_often_as_it_says_and_no_sooner() -> None:
    found = hits(by_chance(7, 0.5, nth=100, times=3))

    assert len(found) == 3
    assert found[0] >= 99


def test_a_seed_that_nobody_gave_can_be_told_afterwards() -> None:
    faults = by_chance(None, 0.05)

    assert faults.seed is not None
    assert hits(faults) == hits(by_chance(faults.seed, 0.05))
    assert Faults().seed is None


@pytest.mark.parametrize("chance", [-0.1, 1.1, "often", True])
def test_a_chance_that_is_none_is_refused(chance: object) -> None:
    with pytest.raises(ValueError, match="chance"):
        Fault.parse({"mode": "fail", "chance": chance})


def test_a_ledger_keeps_all_or_says_so() -> None:
    ledger: Ledger[int] = Ledger(3)
    for n in range(3):
        ledger.append(n)
    assert (list(ledger), len(ledger), ledger[0]) == ([0, 1, 2], 3, 0)
    ledger.append(3)

    assert ledger[-1] == 3
    reads: list[Callable[[], object]] = [
        lambda: list(ledger),
        lambda: len(ledger),
        lambda: ledger[0],
    ]
    for read in reads:
        with pytest.raises(Incomplete, match="1 entries"):
            read()
    ledger = Ledger(0)
    for n in range(30_000):
        ledger.append(n)
    assert len(ledger) == 30_000


# --- hang


async def test_a_call_hangs_until_the_fault_is_cleared(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    hang = slack.faults.set(Fault(mode=FaultMode.HANG, method="chat.postMessage"))
    posting = asyncio.create_task(client.chat_postMessage(channel="#platform", text="late"))
    await until(lambda: hang.hits == 1)
    assert (await client.auth_test())["ok"]  # another call
    assert not posting.done()
    assert world.messages == {}
    slack.faults.clear(hang.id)

    assert (await posting)["ok"]
    assert [each.text for each in world.messages.values()] == ["late"]


async def test_a_server_closes_though_a_call_hangs() -> None:
    async with asyncio.timeout(20), ModelStandIn(answer=lambda _: {"content": "a"}) as endpoint:
        hang = endpoint.faults.set(Fault(mode=FaultMode.HANG))
        async with aiohttp.ClientSession() as session:
            asking = asyncio.create_task(session.get(f"{endpoint.url}/models"))
            await until(lambda: hang.hits == 1)
            asking.cancel()
            await asyncio.wait([asking])


# --- what is kept


async def test_gitlab_keeps_what_it_was_sent(scene: Scene, gitlab: GitLabStandIn) -> None:
    project = await scene.do(scene.client("sam").projects.get, "demo/app")
    await scene.do(project.issues.create, {"title": "Export to CSV"})
    await scene.do(project.branches.create, {"branch": "topic", "ref": "main"})
    gitlab.faults.set(Fault(mode=FaultMode.FAIL, method="POST */issues"))
    with pytest.raises(Exception, match="500"):
        await scene.do(project.issues.create, {"title": "refused"})

    sent = {seen.path: seen for seen in gitlab.state.requests if seen.method == "POST"}
    bodies = [seen.body for seen in gitlab.state.requests if seen.path.endswith("/issues")]
    assert len(sent) == 2
    assert b"Export to CSV" in bodies[0]
    assert b"refused" in bodies[1]
    assert all(seen.body == b"" for seen in gitlab.state.requests if seen.method == "GET")


async def test_gitlab_keeps_what_a_push_has_changed(scene: Scene, gitlab: GitLabStandIn) -> None:
    async def git(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments),
            cwd=scene.folder,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode().strip()

    await git("clone", "-q", scene.remote(scene.token("mia")), "here")
    await git("-C", "here", "commit", "-q", "--allow-empty", "-m", "more")
    await git("-C", "here", "push", "-q", "origin", "HEAD:refs/heads/topic")
    head = await git("-C", "here", "rev-parse", "HEAD")

    [push] = [seen for seen in gitlab.state.requests if seen.pushed]
    assert push.actor == "mia"
    assert push.path.endswith("git-receive-pack")
    assert push.pushed == (("0" * 40, head, "refs/heads/topic"),)


# --- sockets


async def test_sockets_are_asked_to_reconnect_from_outside(
    slack: SlackStandIn, client: AsyncWebClient, world: World
) -> None:
    bot = Bot(app=AsyncApp(client=client, signing_secret=world.app.signing_secret))
    bot.listen()
    async with connection(bot, slack), aiohttp.ClientSession() as session:
        for order in ("refresh_requested", "cut"):
            before = slack.sockets.connections[0]
            url = f"{slack.base_url}/control/sockets"
            async with session.post(url, json={"do": order}) as answer:
                assert await answer.json() == {"connections": 1}
            await until(lambda before=before: before not in slack.sockets.connections != [])
        async with session.post(url, json={"do": "sing"}) as answer:
            assert answer.status == 400
        slack.people.post("mia", "platform", "still there?")
        await settle(slack, bot, 1)

    assert bot.heard("text") == [("still there?",)]
