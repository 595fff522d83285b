"""The whole road, from a message in Slack to a merge request in GitLab, with the real service
between the stand-ins: in this process, or as `journeyman serve` where it is to be killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linked import link

from agent.adapters.database import Database, open_database
from agent.run import RunId
from agent.state import RunState, fold
from bot.app import Service, open_service
from bot.build import sandbox_folder
from bot.settings import load
from playground import seed
from playground.faults import Fault, FaultMode
from playground.gitlab.records import MergeRequest, Project
from playground.gitlab.server import GitLabStandIn
from playground.model import ModelStandIn
from playground.slack.records import Ephemeral, Message
from playground.slack.server import SlackStandIn

ROOT = Path(__file__).parents[2]
ROLES = ("front", "worker", "effects")
PROJECT = "demo/calc"
MODEL_KEY = "sk-4f9a1c7be2d05836"
FILES: Mapping[str, str | bytes] = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "check.sh": "set -e\nPYTHONPATH=. python3 -c 'import calc; assert calc.add(1, 2) == 3'\n",
}

#: Roads that stand at present; who sets `leaving` is asked before one of them is taken down.
STANDING: list[Road] = []
leaving: Callable[[Road], Awaitable[None]] | None = None

#: What the model answers: `{"content", "tool_calls"}`, or a function of the prompt that does.
Reply = dict[str, Any] | Callable[[list[dict[str, Any]]], dict[str, Any]]


def say(*calls: tuple[str, Mapping[str, Any] | str], **more: Any) -> dict[str, Any]:
    made = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return {"content": None, "tool_calls": made, **more}


def run(command: str, **more: Any) -> tuple[str, Mapping[str, Any]]:
    return "run", {"command": command, **more}


def edit(path: str, old: str, new: str) -> tuple[str, Mapping[str, Any]]:
    return "edit", {"path": path, "old": old, "new": new}


PLAN = say(("update_plan", {"steps": [{"title": "Do it", "status": "in_progress"}]}))
EDIT = say(edit("calc.py", "return a + b", "return b + a"))
FINISH = say(("finish", {"summary": "Turn the sum around"}))
ROUND = (PLAN, EDIT, FINISH)


@dataclass
class Script:
    """The number of answers in a prompt chooses the reply, so that asking again repeats it."""

    replies: Sequence[Reply] = ROUND
    prompts: list[list[dict[str, Any]]] = field(default_factory=list)

    def __call__(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        self.prompts.append(messages)
        given = sum(message["role"] == "assistant" for message in messages)
        reply = self.replies[min(given, len(self.replies) - 1)]
        return reply(messages) if callable(reply) else reply

    def told(self) -> str:
        """All results of tools and words of people in the newest prompt."""
        return "\n".join(
            str(message["content"])
            for message in self.prompts[-1]
            if message["role"] in ("tool", "user")
        )


@dataclass(kw_only=True)
class Road:
    slack: SlackStandIn
    gitlab: GitLabStandIn
    model: ModelStandIn
    script: Script
    project: Project
    env: dict[str, str]
    folder: Path
    db: Database
    log: Path = field(init=False)
    served: dict[str, str] = field(default_factory=dict[str, str])  #: with which it served last
    written: list[str] = field(default_factory=list[str])  #: the settings, oldest first
    homes: set[Path] = field(default_factory=set[Path])  #: of the processes that there were

    def __post_init__(self) -> None:
        self.log = self.folder / "serve.log"

    # --- the service

    def config(
        self,
        text: str = '[defaults]\ntest_command = "bash check.sh"\nwatch_pipeline = false\n',
        *,
        channels: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Writes the settings file. `channels`: what may be worked on beside the default of
        #billing."""
        world = self.slack.world
        listed = {"direct": [PROJECT]} | {
            world.channel_named(name).id: list(paths) for name, paths in (channels or {}).items()
        }
        lines = [
            text,
            "[channels]",
            *(f"{channel} = {json.dumps(paths)}" for channel, paths in listed.items()),
            f"[projects.{json.dumps(PROJECT)}]",
            f"channels = {json.dumps([world.channel_named('billing').id])}",
        ]
        self.written.append("\n".join(lines))
        Path(self.env["JOURNEYMAN_CONFIG"]).write_text(self.written[-1])

    @asynccontextmanager
    async def serving(self, **env: str) -> AsyncGenerator[Service]:
        self.served = env
        async with open_service(load(self.env | env), ROLES) as service:
            yield service

    @asynccontextmanager
    async def process(self, **env: str) -> AsyncGenerator[Process]:
        """`journeyman serve`; ended at the end, unless it ended before."""
        self.served = env
        process = Process(self, self.env | env)
        try:
            await process.ready()
            yield process
        finally:
            await process.end(signal.SIGKILL)

    # --- people

    def ask(
        self, text: str = "turn it around", *, user: str = "mia", channel: str = "billing"
    ) -> Message:
        return self.slack.people.post(user, channel, f"@agent {text}")

    def reply(self, message: Message, text: str, *, user: str = "mia") -> Message:
        """In the thread of a message."""
        root = message.thread_ts or message.ts
        return self.slack.people.post(user, message.channel, text, thread_ts=root)

    def whispers(self, user: str = "mia") -> list[Ephemeral]:
        """What one person alone was shown."""
        person = self.slack.world.user_named(user).id
        return [e for e in self.slack.world.ephemerals.values() if e.user == person]

    async def whispered(self, words: str, user: str = "mia") -> Ephemeral:
        await until(lambda: any(words in each.text for each in self.whispers(user)))
        return next(each for each in self.whispers(user) if words in each.text)

    # --- what stands in the thread

    def said(self, message: Message) -> list[Message]:
        """The agent's messages in the thread of a message, oldest first."""
        world = self.slack.world
        thread = world.thread(message.channel, message.thread_ts or message.ts)
        return [each for each in thread if each.user == world.app.bot_user]

    def shown(self) -> str:
        """Everything that stood in any thread at any time."""
        return "\n".join(json.dumps(args, ensure_ascii=False) for args in self._written())

    def marked_up(self) -> list[str]:
        """The part of it in which Slack would find mentions."""
        found: list[str] = []

        def look(item: Any) -> None:
            match item:
                case {"type": "mrkdwn", "text": text}:
                    found.append(text)
                case {"type": "broadcast" | "usergroup" as kind}:
                    found.append(f"<!{kind}>")
                case {"type": "user", "user_id": user}:
                    found.append(f"<@{user}>")
                case dict() | list():
                    for each in item.values() if isinstance(item, dict) else item:
                        look(each)
                case _:
                    pass

        for args in self._written():
            found.append(args["text"])
            look(args["blocks"])
        return found

    def _written(self) -> list[Any]:
        methods = ("chat.postMessage", "chat.update")
        return [call.args for call in self.slack.calls if call.method in methods]

    def reactions(self, message: Message) -> set[str]:
        now = self.slack.world.messages[message.channel, message.ts]
        return {name for name, users in now.reactions.items() if users}

    async def mark(self, message: Message, *names: str, seconds: float = 60) -> str:
        """The agent's mark on a request, as soon as it is one of these."""
        await until(lambda: bool(self.reactions(message) & set(names)), seconds, self.story)
        return (self.reactions(message) & set(names)).pop()

    async def result(self, message: Message, seconds: float = 60) -> Message:
        """The last word about a run that has ended, once the card below the request is final."""
        ends = ("white_check_mark", "warning", "octagonal_sign")
        await self.mark(message, *ends, seconds=seconds)
        await until(lambda: len(self.said(message)) > 1, seconds, self.story)
        state = await self.state()
        words = {"succeeded": ": done", "cancelled": ": stopped", "failed": ": failed"}
        word = words.get(state.status, ": needs a person")
        await until(lambda: word in self.said(message)[0].text, seconds, self.story)
        return self.said(message)[-1]

    # --- runs

    async def runs(self) -> list[RunId]:
        return sorted(row.id for row in await self.db.store.runs())

    async def state(self, run: int = 0) -> RunState:
        """Of the newest run."""
        number = RunId(run) if run else (await self.runs())[-1]
        return fold(await self.db.store.events(number))

    async def events(self, kind: type[Any]) -> list[Any]:
        """The newest run's facts of one kind."""
        found = await self.db.store.events((await self.runs())[-1])
        return [event.payload for event in found if isinstance(event.payload, kind)]

    async def reached(self, condition: Callable[[RunState], bool], seconds: float = 60) -> RunState:
        """The newest run's state, once it is so."""

        async def so() -> bool:
            return bool(await self.runs()) and condition(await self.state())

        await until(so, seconds, self.story)
        return await self.state()

    async def story(self) -> str:
        """For who has to find out why a test failed."""
        lines: list[str] = []
        for number in await self.runs():
            for event in await self.db.store.events(number):
                lines.append(str(event.payload)[:400])
        lines += [f"{each.user}: {each.text}" for each in self.slack.world.messages.values()]
        lines += [f"to {each.user}: {each.text}" for each in self.slack.world.ephemerals.values()]
        if self.log.exists():
            lines.append(self.log.read_text("utf-8", "replace")[-3000:])
        return "\n".join(lines)

    # --- GitLab

    @property
    def merge_requests(self) -> list[MergeRequest]:
        return list(self.project.merge_requests.values())

    async def git(self, *arguments: str) -> str:
        """In GitLab's own repository."""
        return (await self.git_bytes(*arguments)).decode().strip()

    async def git_bytes(self, *arguments: str) -> bytes:
        return await self.gitlab.forge.repository(self.project).git(*arguments)

    async def commit(self, branch: str, path: str, text: str) -> str:
        """Sam pushes a commit of his own onto a branch."""
        token = self.gitlab.state.add_token(seed.account(self.gitlab.state, "sam"), "api").secret
        remote = self.gitlab.url.replace("://", f"://sam:{token}@") + f"/{PROJECT}.git"
        clone = self.folder / f"clone-{branch.replace('/', '-')}"

        def push() -> str:
            git(self.folder, "clone", "-q", "-b", branch, remote, clone.name)
            (clone / path).write_text(text)
            git(clone, "add", "-A")
            git(clone, "commit", "-qm", "By somebody else")
            git(clone, "push", "-q")
            return git(clone, "rev-parse", "HEAD")

        return await asyncio.to_thread(push)

    async def read(self, branch: str, path: str) -> str:
        return await self.git("show", f"{branch}:{path}")


@dataclass
class Process:
    """One `journeyman serve`."""

    road: Road
    env: Mapping[str, str]
    program: str = "quick.py"  #: beside this file
    arguments: Sequence[str] = ()
    _process: asyncio.subprocess.Process | None = None

    async def ready(self) -> None:
        self.road.homes.add(Path(self.env["JOURNEYMAN_HOME"]))
        told = self.road.log.stat().st_size if self.road.log.exists() else 0
        with self.road.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(Path(__file__).with_name(self.program)), "serve"),
                *self.arguments,
                env={
                    **self.env,
                    "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
                    "PYTHONUNBUFFERED": "1",
                },
                cwd=self.road.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await until(lambda: b" is ready " in self.road.log.read_bytes()[told:], 30, self.road.story)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()

    def pause(self) -> None:
        """It does nothing and knows nothing of it, until it is resumed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def ended(self) -> None:
        assert self._process is not None
        await until(lambda: self._process and self._process.returncode is not None, 30)

    async def end(self, number: signal.Signals) -> int:
        """Its exit code."""
        process = self._process
        assert process is not None
        if process.returncode is None:
            process.send_signal(number)
        return await process.wait()


async def until(
    condition: Callable[[], Any], seconds: float = 60, story: Callable[[], Any] | None = None
) -> None:
    """Waits for something that has to come about."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                began = time.monotonic()
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return
                # a look that takes long, on a busy machine, is taken less often
                await asyncio.sleep(min(max(0.02, 3 * (time.monotonic() - began)), 0.2))
    except TimeoutError:
        told = await story() if story else ""
        raise AssertionError(f"It did not come about within {seconds} s.\n{told}") from None


def processes() -> bytes:
    """The command lines of all there are."""
    found = b""
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += each.read_bytes() + b"\n"
        except OSError:
            continue
    return found


def own(seconds: int) -> str:
    """For sleep(1): a time that no other process of the tests sleeps for."""
    return f"{seconds}.{os.getpid():07}"


def sleeps(seconds: str) -> bool:
    return f"sleep\0{seconds}\0".encode() in processes()


GIT_ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{r}_{p}": "a@b" for r in ("AUTHOR", "COMMITTER") for p in ("NAME", "EMAIL")},
}


def git(folder: Path, *arguments: str, data: bytes | None = None) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=GIT_ENV, check=True, capture_output=True, input=data
    )
    return done.stdout.decode().strip()


def make_repository(folder: Path, files: Mapping[str, str | bytes] = FILES) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


@asynccontextmanager
async def open_road(
    folder: Path,
    database_url: str,
    *,
    source: Path | None = None,
) -> AsyncGenerator[Road]:
    """`source`: the project's repository."""
    source = source or make_repository(folder / "source")
    slack = SlackStandIn(seed.make_world(ROOT / "slack-manifest.json"), speed=1000)
    slack.limits.enabled = False
    gitlab = GitLabStandIn(folder / "gitlab")
    script = Script()
    model = ModelStandIn(answer=script, key=MODEL_KEY)
    home = folder / "home"
    async with slack, gitlab, model, open_database(home=home, url=database_url) as db:
        state = gitlab.state
        accounts = {p.name: state.add_user(p.name, name=p.real_name) for p in seed.PEOPLE}
        agent = state.add_user("journeyman", name="Journeyman", bot=True)
        write = state.add_token(agent, "api", name="write")
        read = state.add_token(agent, "read_api", "read_repository", name="read")
        project = await seed.add_project(gitlab, "calc", source, accounts, agent)
        tokens = {token.kind: token.value for token in slack.world.tokens.values()}
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "SLACK_API_URL": slack.api_url,
            "SLACK_BOT_TOKEN": tokens["bot"],
            "SLACK_APP_TOKEN": tokens["app"],
            "GITLAB_URL": gitlab.url,
            "GITLAB_TOKEN": write.secret,
            "GITLAB_READ_TOKEN": read.secret,
            "GITLAB_SIGNIN_ID": "signin",
            "JOURNEYMAN_PUBLIC_URL": "http://127.0.0.1",
            "OPENAI_BASE_URL": model.url,
            "OPENAI_API_KEY": MODEL_KEY,
            "JOURNEYMAN_MODEL": model.name,
            "JOURNEYMAN_HOME": str(home),
            "JOURNEYMAN_CONFIG": str(folder / "journeyman.toml"),
            "JOURNEYMAN_LISTEN": "127.0.0.1:0",
            "DATABASE_URL": database_url,
        }
        road = Road(
            slack=slack,
            gitlab=gitlab,
            model=model,
            script=script,
            project=project,
            env=env,
            folder=folder,
            db=db,
        )
        road.config()
        world = slack.world
        ids = {world.user_named(name).id: account.id for name, account in accounts.items()}
        await link(db, world.team_id, ids)
        STANDING.append(road)
        try:
            yield road
            if leaving:
                await leaving(road)
        finally:
            STANDING.remove(road)
    shutil.rmtree(sandbox_folder(home), ignore_errors=True)


def fault(mode: str, method: str = "*", **more: Any) -> Fault:
    return Fault(mode=FaultMode(mode), method=method, **more)
