"""Each role on a machine of its own, with no disk in common: only PostgreSQL, Slack and GitLab."""

from __future__ import annotations

import shutil
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from crossing import ALONE, Crossing
from oracle import holds
from road import EDIT, FINISH, PLAN, ROUND, Process, Road, fault, run, say, until

from agent.events import Committed, ModelAnswered, RunClaimed
from agent.run import RunStatus
from agent.state import RunState
from bot.build import sandbox_folder

SHARED = frozenset(
    {"PATH", "HOME", "GITLAB_URL", "DATABASE_URL", "JOURNEYMAN_CONFIG", "JOURNEYMAN_PUBLIC_URL"}
)
#: What only this role is given.
OWN: dict[str, Collection[str]] = {
    "front": {
        "SLACK_API_URL",
        "SLACK_BOT_TOKEN",
        "SLACK_APP_TOKEN",
        "GITLAB_READ_TOKEN",
        "GITLAB_SIGNIN_ID",
        "JOURNEYMAN_LISTEN",
    },
    "worker": {"GITLAB_READ_TOKEN", "OPENAI_BASE_URL", "OPENAI_API_KEY", "JOURNEYMAN_MODEL"},
    "effects": {"GITLAB_TOKEN"},
}
_PREFIXES = {"SLACK_BOT_TOKEN": "xoxb-", "SLACK_APP_TOKEN": "xapp-"}
MERGE_REQUESTS = "POST /projects/:id/merge_requests"
PUSH = "POST git-receive-pack"
MOVED = "def add(a, b):\n    return sum((a, b))\n\n\ndef twice(a):\n    return add(a, a)\n"


@dataclass(kw_only=True)
class Hosts:
    """Machines beside each other; one is taken up by its name."""

    road: Road
    homes: list[Path] = field(default_factory=list[Path])
    surplus: Mapping[str, str] = field(default_factory=dict[str, str])  #: instead of nothing

    @asynccontextmanager
    async def up(self, role: str, number: int = 1) -> AsyncGenerator[Process]:
        home = self.road.folder / f"host-{role}-{number}"
        self.homes.append(home)
        names = SHARED | set(OWN[role])
        env = {name: value for name, value in self.road.env.items() if name in names}
        env = {**self.surplus, **env, "JOURNEYMAN_HOME": str(home)}
        process = Process(self.road, env, arguments=("--role", role))
        try:
            await process.ready()
            yield process
        finally:
            await process.end(signal.SIGKILL)

    @asynccontextmanager
    async def all_up(self, *roles: str) -> AsyncGenerator[list[Process]]:
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.up(role)) for role in roles]


@pytest.fixture
async def hosts(road: Road) -> AsyncIterator[Hosts]:
    made = Hosts(road=road)
    yield made
    forget(made)


def forget(hosts: Hosts) -> None:
    for home in hosts.homes:
        shutil.rmtree(sandbox_folder(home), ignore_errors=True)


async def claims(road: Road) -> set[str]:
    """The workers that have had the newest run."""
    return {each.worker for each in await road.events(RunClaimed)}


def elsewhere(road: Road) -> set[str]:
    """The files of every vault, by the host that has it."""
    return {path.parents[1].name for path in road.folder.glob("host-*/vaults/*.git")}


async def test_each_role_on_its_own_host_brings_a_change_to_the_target(crossing: Crossing):
    crossing.rules(ALONE)
    hosts = Hosts(road=crossing.road)
    async with hosts.all_up("front", "worker", "effects"):
        crossing.ask()
        await crossing.merged(90)
    assert await crossing.road.read("main", "calc.py") == "def add(a, b):\n    return b + a"
    assert elsewhere(crossing.road) == {"host-worker-1", "host-effects-1"}
    forget(hosts)


async def test_no_role_uses_what_is_another_one_s(road: Road):
    """Each is given canaries for all that is not its own: with any of them GitLab, Slack and the
    model would refuse it."""
    own = {variable for names in OWN.values() for variable in names}
    secret = {name for name in own if name.endswith(("_TOKEN", "_KEY"))}
    made = {name: f"{_PREFIXES.get(name, '')}canary-{name.lower()}-31415" for name in secret}
    hosts = Hosts(road=road, surplus=made)
    async with hosts.all_up("front", "worker", "effects"):
        await road.result(road.ask(), 90)
        assert len(road.merge_requests) == 1
    forget(hosts)
    told = road.log.read_text()
    assert not any(canary in told for canary in made.values())
    assert "Not used by worker, and better not given to it: SLACK_BOT_TOKEN" in told
    asked = [seen for seen in road.gitlab.state.requests if seen.path.startswith("/api")]
    assert not [seen for seen in asked if seen.status == 401]


async def test_another_host_finishes_what_a_lost_one_had_begun(hosts: Hosts):
    """It is lost at work, at tests, and before its push was made; the base branch moves on."""
    road = hosts.road
    base = await road.git("rev-parse", "main")
    road.script.replies = [PLAN, EDIT, say(run("sleep 3; echo done >> log")), FINISH]
    async with hosts.all_up("front", "effects"):
        async with hosts.up("worker", 1) as first:
            asked = road.ask()
            await road.reached(lambda state: state.calls == 3)
            moved = await road.commit("main", "calc.py", MOVED)
            await first.end(signal.SIGKILL)
        async with hosts.up("worker", 2):
            result = await road.result(asked, 90)
            assert ": draft merge request !1 on" in result.text, await road.story()
            assert len(await claims(road)) == 2
            assert await road.git("rev-parse", "main") == moved
            assert await road.git("merge-base", "main", "agent/1") == base
            assert await road.git("rev-list", "--count", "main..agent/1") == "1"
            assert await road.read("agent/1", "calc.py") == "def add(a, b):\n    return b + a"
            assert await road.read("agent/1", "log") == "done"
            assert len(await road.events(ModelAnswered)) == 4
            await holds(road)


@pytest.mark.parametrize("where", ["tested", "pushed"])
async def test_another_host_goes_on_at_the_very_stage(hosts: Hosts, where: str):
    road = hosts.road
    test = "sleep 2; bash check.sh"
    road.config(f'[defaults]\ntest_command = "{test}"\nwatch_pipeline = false\n')
    slow = road.gitlab.faults.set(fault("delay", PUSH, seconds=3)) if where == "pushed" else None

    async def there() -> bool:
        if slow:
            return bool(slow.hits)
        return (await road.state()).status is RunStatus.TESTING if await road.runs() else False

    async with hosts.all_up("front", "effects"):
        async with hosts.up("worker", 1) as first:
            asked = road.ask()
            await until(there, story=road.story)
            await road.commit("main", "calc.py", MOVED)
            await first.end(signal.SIGKILL)
        async with hosts.up("worker", 2):
            await road.result(asked, 90)
            assert [mr.source_branch for mr in road.merge_requests] == ["agent/1"]
            assert await road.git("rev-list", "--count", "main..agent/1") == "1"
            assert len(await road.events(ModelAnswered)) == 3
            assert len(await road.events(Committed)) == 1
            await holds(road)


async def test_effects_are_made_by_a_host_that_has_nothing_of_the_run(hosts: Hosts):
    """The first one is lost between its push and its merge request, the next begins empty."""
    road = hosts.road
    slow = road.gitlab.faults.set(fault("delay", MERGE_REQUESTS, seconds=3))
    async with hosts.all_up("front", "worker"):
        async with hosts.up("effects", 1) as first:
            asked = road.ask()
            await until(lambda: slow.hits, story=road.story)
            await first.end(signal.SIGKILL)
        async with hosts.up("effects", 2):
            await road.result(asked, 90)
            assert len(road.merge_requests) == 1
            await holds(road)


async def test_a_second_round_is_made_and_pushed_by_other_hosts(hosts: Hosts):
    road = hosts.road
    more = say(("write", {"path": "README", "content": "It adds.\n"}))
    road.script.replies = [*ROUND, more, FINISH]
    async with hosts.up("front"):
        async with hosts.up("worker", 1), hosts.up("effects", 1):
            asked = road.ask()
            await road.result(asked, 90)
        first = await road.git("rev-parse", "agent/1")
        await road.commit("main", "calc.py", MOVED)
        async with hosts.up("worker", 2), hosts.up("effects", 2):
            road.reply(asked, "@agent say what it does")
            await road.reached(again)
            assert await road.git("rev-parse", "agent/1^") == first
            assert await road.read("agent/1", "README") == "It adds."
            assert await road.read("agent/1", "calc.py") == "def add(a, b):\n    return b + a"
            assert len(road.merge_requests) == 1
            await holds(road)


async def test_another_host_mends_a_red_pipeline(crossing: Crossing):
    """What it mends was made, tested and pushed elsewhere."""
    road, hosts = crossing.road, Hosts(road=crossing.road)
    crossing.rules(ALONE)
    more = say(("write", {"path": "README", "content": "It adds.\n"}))
    road.script.replies = [*ROUND, say(run("sleep 3")), more, FINISH]
    broken = road.gitlab.faults.set(fault("job_fails", "job:agent/1:unit", times=2))
    async with hosts.all_up("front", "effects"):
        async with hosts.up("worker", 1) as first:
            crossing.ask()
            await road.reached(lambda state: bool(state.fixes) and state.calls == 4, 90)
            base = await road.git("rev-parse", "main")
            await road.commit("main", "notes.txt", "mine")
            await first.end(signal.SIGKILL)
        pushed = await road.git("rev-parse", "agent/1")
        async with hosts.up("worker", 2):
            await crossing.merged(90)
            assert broken.hits == 2
            assert await road.git("rev-list", "main^2", "-2") == f"{await mended(road)}\n{pushed}"
            assert await road.git("rev-parse", f"{pushed}^") == base
            assert await road.read("main", "README") == "It adds."
            assert await road.read("main", "notes.txt") == "mine"
    forget(hosts)


async def mended(road: Road) -> str:
    return (await road.state()).commits[-1].commit


def again(state: RunState) -> bool:
    return state.rounds == 2 and state.end is not None
