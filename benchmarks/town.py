"""The service as it is deployed: each role a process of its own, over one PostgreSQL that writes
through to the disk. Slack and GitLab are the stand-ins, in this process; the model is the scripted
endpoint, in another."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.adapters.database import Database, open_database
from agent.adapters.postgres_files import lay_out
from agent.linking import Account
from agent.run import ENDED, Limits, Person, Request, Run, RunId, RunStatus, Thread
from benchmarks.lag import quantile, read
from benchmarks.measure import MB
from benchmarks.script import call
from benchmarks.scripted import ROOT, Endpoint, endpoint, environment
from bot.build import sandbox_folder
from playground import seed
from playground.gitlab.records import Project
from playground.gitlab.server import GitLabStandIn
from playground.slack.server import SlackStandIn

PROJECT = "demo/calc"
SECRET = "0123456789abcdef0123456789abcdef"
PROBED = (sys.executable, "-m", "benchmarks.lag")
FILES = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "check.sh": "grep -q 'return b + a' calc.py || grep -q 'return a + b' calc.py\n",
}
PLAN = call("update_plan", steps=[{"title": "Do it", "status": "in_progress"}])
EDIT = call("edit", path="calc.py", old="return a + b", new="return b + a")
FINISH = call("finish", summary="Turn the sum around")
#: What the model does; tests, commit, push and merge request are the harness's.
SHORT = (PLAN, EDIT, FINISH)


@dataclass(kw_only=True)
class Process:
    """One `journeyman serve`."""

    process: subprocess.Popen[bytes]
    log: Path
    began: float
    lag: Path  #: where its event loop's lag is written
    started: float = 0.0  #: seconds until it was ready

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        if self.process.poll() is None:
            self.kill()

    def rss(self) -> float:
        """MB, its own."""
        return _number(Path(f"/proc/{self.pid}/status"), "VmRSS:") / MB

    def cpu(self) -> float:
        """Seconds, with those of all that it has waited for."""
        return cpu_of(self.pid)

    async def ready(self, seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while b" is ready " not in self.log.read_bytes():
                if self.process.poll() is not None:
                    raise SystemExit(f"It did not start:\n{self.log.read_text()[-2000:]}")
                await asyncio.sleep(0.02)
        self.started = time.monotonic() - self.began

    def late(self, share: float) -> int:
        """Milliseconds by which its event loop was late at most, in this share of looks."""
        return quantile(read(self.lag), share)


@dataclass(kw_only=True)
class Town:
    folder: Path
    db: Database
    slack: SlackStandIn
    gitlab: GitLabStandIn
    project: Project
    model: Endpoint
    env: dict[str, str]
    processes: list[Process] = field(default_factory=list[Process])

    def start(
        self, role: str, name: str = "", *, prefix: Sequence[str] = (), **env: str
    ) -> Process:
        """With a home of its own, as on a host of its own. `prefix`: a command before it."""
        name = name or f"{role}-{len(self.processes)}"
        log, lag = self.folder / f"{name}.log", self.folder / f"{name}.lag"
        began = time.monotonic()
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*prefix, *PROBED, str(lag), "serve", "--role", role],
                cwd=ROOT,
                env={**self.env, "JOURNEYMAN_HOME": str(self.folder / name), **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        made = Process(process=process, log=log, began=began, lag=lag)
        self.processes.append(made)
        return made

    async def up(self, *roles: str, **env: str) -> list[Process]:
        started = [self.start(role, **env) for role in roles]
        await asyncio.gather(*(each.ready() for each in started))
        return started

    async def down(self, *processes: Process) -> None:
        await asyncio.gather(*(asyncio.to_thread(each.stop) for each in processes))

    async def ask(self, channel: str = "", *, ts: str = "", team: str = "") -> Run:
        """What the front stores of a request; without a channel no thread is written."""
        once = uuid.uuid4().hex
        request = Request(
            text="turn it around",
            project=PROJECT,
            base_branch=None,
            requester=Person(id="U0MIA", name="mia", gitlab_id=2, access=30),
            thread=Thread(team=team or self.slack.world.team_id, channel=channel, ts=ts or once),
            message=once,
        )
        run, _ = await self.db.store.create(once, request, Limits())
        return run

    async def ended(self, runs: Sequence[RunId], seconds: float) -> dict[RunId, RunStatus]:
        """As soon as none is left, or when the time is over."""
        query = "SELECT id, status FROM runs WHERE id = ANY ($1::bigint[])"
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            rows = await self.db.pool.fetch(query, list(runs))
            found = {RunId(row["id"]): RunStatus(row["status"]) for row in rows}
            done = all(status in ENDED for status in found.values())
            if done or asyncio.get_running_loop().time() > deadline:
                return found
            await asyncio.sleep(0.2)

    async def until(self, run: RunId, kind: str, count: int = 1, seconds: float = 90) -> None:
        """So many facts of a kind are in its log."""
        query = "SELECT count(*) FROM events WHERE run = $1 AND kind = $2"
        deadline = asyncio.get_running_loop().time() + seconds
        while await self.db.pool.fetchval(query, run, kind) < count:
            if asyncio.get_running_loop().time() > deadline:
                raise SystemExit(f"No {kind} came about.\n{await self._story(run)}")
            await asyncio.sleep(0.02)

    async def _story(self, run: RunId) -> str:
        told = [str(event.payload)[:300] for event in await self.db.store.events(run)]
        return "\n".join((*told, *(each.log.read_text()[-1500:] for each in self.processes)))

    def postgres_cpu(self) -> float:
        return postgres_cpu(self.folder / "home")


def postgres_cpu(home: Path) -> float:
    """Seconds of the server of a home and of all its connections, closed ones too."""
    pid = int((lay_out(home).data / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_of(pid) + sum(cpu_of(int(child)) for child in children)


def cpu_of(pid: int) -> float:
    """Seconds of a process and of those that it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _number(path: Path, name: str) -> float:
    with suppress(OSError):
        for line in path.read_text().splitlines():
            if line.startswith(name):
                return float(line.split()[1]) * 1024
    return 0.0


@asynccontextmanager
async def open_town(
    folder: Path,
    *,
    script: Sequence[Mapping[str, Any]] = SHORT,
    latency: float = 0.0,
    parallel: int = 4,
    watch: bool = False,
    host: str = "127.0.0.1",
) -> AsyncGenerator[Town]:
    """`latency`: of the model, a request; `parallel`: runs at once in a process, and over all of
    them until somebody says otherwise; `host`: where the model listens."""
    slack = SlackStandIn(seed.make_world(ROOT / "slack-manifest.json"), speed=1000)
    slack.limits.enabled = False
    gitlab = GitLabStandIn(folder / "gitlab")
    source = _source(folder / "source")
    answers = [{"content": "", "tool_calls": [each]} for each in script]
    (folder / "model").mkdir()
    with endpoint(folder / "model", answers, latency, host) as model:
        async with slack, gitlab, open_database(home=folder / "home", fleet=parallel) as db:
            state = gitlab.state
            people = {p.name: state.add_user(p.name, name=p.real_name) for p in seed.PEOPLE}
            agent = state.add_user("journeyman", name="Journeyman", bot=True)
            write = state.add_token(agent, "api", name="write").secret
            read = state.add_token(agent, "read_api", "read_repository", name="read").secret
            project = await seed.add_project(gitlab, "calc", source, people, agent)
            for name, account in people.items():
                user = slack.world.user_named(name).id
                await db.people.link(
                    slack.world.team_id, user, Account(id=account.id, username=name)
                )
            tokens = {token.kind: token.value for token in slack.world.tokens.values()}
            config = folder / "journeyman.toml"
            config.write_text(_config(slack, parallel, watch=watch))
            town = Town(
                folder=folder,
                db=db,
                slack=slack,
                gitlab=gitlab,
                project=project,
                model=model,
                env=environment(
                    SLACK_API_URL=slack.api_url,
                    SLACK_BOT_TOKEN=tokens["bot"],
                    SLACK_SIGNING_SECRET=SECRET,
                    GITLAB_URL=gitlab.url,
                    GITLAB_TOKEN=write,
                    GITLAB_READ_TOKEN=read,
                    GITLAB_SIGNIN_ID="signin",
                    GITLAB_WEBHOOK_SECRET=SECRET,
                    JOURNEYMAN_PUBLIC_URL="http://127.0.0.1",
                    JOURNEYMAN_CONFIG=str(config),
                    JOURNEYMAN_LISTEN="127.0.0.1:0",
                    JOURNEYMAN_MODEL="scripted",
                    OPENAI_BASE_URL=model.url,
                    OPENAI_API_KEY="none",
                    DATABASE_URL=db.dsn,
                    PYTHONUNBUFFERED="1",
                ),
            )
            await db.store.set_project(PROJECT, max_runs=64)
            try:
                yield town
            finally:
                await town.down(*town.processes)
                for home in {each.log.with_suffix("") for each in town.processes}:
                    shutil.rmtree(sandbox_folder(home), ignore_errors=True)


def _config(slack: SlackStandIn, parallel: int, *, watch: bool) -> str:
    channel = slack.world.channel_named("billing").id
    lines = [
        f"parallel_runs = {parallel}",
        "[defaults]",
        'test_command = "sh check.sh"',
        f"watch_pipeline = {json.dumps(watch)}",
        "max_runs = 64",
        f"[projects.{json.dumps(PROJECT)}]",
        f"channels = [{json.dumps(channel)}]",
    ]
    return "\n".join(lines) + "\n"


def _source(folder: Path) -> Path:
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / ".gitlab-ci.yml").write_text("unit:\n  script: ['true']\n")
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        [*identity, "commit", "-qm", "Sample"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder
