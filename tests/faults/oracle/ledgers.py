"""The four ledgers as they stand at one moment: PostgreSQL, GitLab's requests, Slack's messages and
the bare repository; with what surrounds them."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from road import Road

from agent.adapters import event_codec as codec
from agent.events import RunEvent
from agent.intents import Intent
from agent.run import RunId, RunStatus
from agent.state import RunState, fold
from bot.build import sandbox_folder
from playground.gitlab.ci_records import Pipeline
from playground.gitlab.state import Seen
from playground.gitlab.talk_records import MergeRequest
from playground.slack.delivery import Delivered
from playground.slack.records import Ephemeral, Message
from playground.slack.server import ApiCall

AGENT = "journeyman"
LEASE = 2.0  #: of the queue, as the tests have it
_API = re.compile(r"/api/v4/projects/([^/?]+)(/[^?]*)?")
_GIT = re.compile(r"/(.+?)(?:\.git)?/git-receive-pack")

RUNS = "SELECT id, key, team, channel, message_ts, status FROM runs ORDER BY id"
INBOX = "SELECT source, key, handled_at IS NOT NULL AS handled, attempts, error FROM inbox"
INTENTS = "SELECT run, key, kind, data, outcome_seq IS NULL AS open FROM intents"
SLOTS = "SELECT run, slot, channel, ts, state FROM messages WHERE slot <> 'shown'"
JOBS = """
SELECT (convert_from(payload, 'UTF8')::json ->> 'run')::bigint AS run, entrypoint, status::text,
    execute_after <= now() AS due, extract(epoch FROM now() - heartbeat)::float AS silent
FROM engine.pgqueuer WHERE dedupe_key IS NOT NULL"""
NIGHTS = "SELECT project, task, fire_at FROM nights"
EVENT_TEXTS = "SELECT data::text FROM events"
BODIES = "SELECT data FROM bodies"


@dataclass(frozen=True, kw_only=True)
class RunRow:
    id: int
    key: str
    team: str
    channel: str
    message_ts: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What the inbox has."""

    source: str
    key: str
    handled: bool
    attempts: int = 0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Meant:
    """An intent of a run."""

    run: int
    key: str
    intent: Intent
    open: bool


@dataclass(frozen=True, kw_only=True)
class SlotRow:
    run: int
    slot: str
    channel: str
    ts: str
    state: str


@dataclass(frozen=True, kw_only=True)
class JobRow:
    run: int | None
    entrypoint: str
    status: str
    due: bool
    silent: float  #: seconds since it was last heard of


@dataclass(frozen=True, kw_only=True)
class Ledgers:
    seed: int | None = None  #: of the faults
    # PostgreSQL
    runs: Sequence[RunRow] = ()
    events: Mapping[int, Sequence[RunEvent]] = field(default_factory=dict[int, Sequence[RunEvent]])
    changed: Mapping[int, int] = field(default_factory=dict[int, int])  #: logs that do not verify
    inbox: Sequence[Delivery] = ()
    intents: Sequence[Meant] = ()
    slots: Sequence[SlotRow] = ()
    jobs: Sequence[JobRow] = ()
    nights: Sequence[tuple[str, str, datetime]] = ()
    stored: Sequence[bytes] = ()  #: all texts of the log
    # GitLab
    seen: Sequence[Seen] = ()
    merge_requests: Mapping[int, MergeRequest] = field(default_factory=dict[int, MergeRequest])
    pipelines: Sequence[Pipeline] = ()
    names: Mapping[str, str] = field(default_factory=dict[str, str])  #: of projects, by number
    agent: int = 0  #: its account
    mails: Mapping[int, str] = field(default_factory=dict[int, str])  #: of accounts
    # Slack
    team: str = ""
    bot: str = ""
    messages: Sequence[Message] = ()
    ephemerals: Sequence[Ephemeral] = ()
    calls: Sequence[ApiCall] = ()
    delivered: Sequence[Delivered] = ()
    responses: Sequence[Mapping[str, Any]] = ()
    direct: Mapping[str, str] = field(default_factory=dict[str, str])  #: whose, by channel
    # the repository
    refs: Mapping[str, str] = field(default_factory=dict[str, str])
    authors: Mapping[int, frozenset[str]] = field(default_factory=dict[int, frozenset[str]])
    objects: bytes = b""
    # what surrounds them
    prompts: Sequence[Mapping[str, Any]] = ()
    log: bytes = b""
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    processes: Sequence[str] = ()  #: that have to do with the sandbox
    home: frozenset[str] = frozenset()

    @cached_property
    def states(self) -> Mapping[int, RunState]:
        return {run: fold(events) for run, events in self.events.items()}

    @cached_property
    def changes(self) -> Sequence[Seen]:
        """What the agent has changed at GitLab."""
        return [each for each in self.seen if changes_something(each)]

    def project_of(self, seen: Seen) -> str:
        """Full path; empty for what concerns none."""
        path = seen.path.partition("?")[0]
        if found := _GIT.fullmatch(path):
            return unquote(found[1])
        found = _API.match(path)
        name = unquote(found[1]) if found else ""
        return self.names.get(name, name)

    def thread(self, run: int) -> Mapping[str, Sequence[Message]]:
        """The agent's messages about a run, by slot."""
        return self._threads.get(run, {})

    @cached_property
    def _threads(self) -> Mapping[int, Mapping[str, Sequence[Message]]]:
        found: dict[int, dict[str, list[Message]]] = {}
        for message in self.messages:
            about = about_of(message)
            if "run" in about:
                slots = found.setdefault(about["run"], {})
                slots.setdefault(str(about["slot"]), []).append(message)
        return found

    @cached_property
    def by_key(self) -> Mapping[str, Intent]:
        """The intents."""
        return {each.key: each.intent for each in self.intents}

    @cached_property
    def written(self) -> Mapping[int, Sequence[tuple[ApiCall, str]]]:
        """Everything that was sent to be read, as JSON, by run; 0 for what is about none."""
        found: dict[int, list[tuple[ApiCall, str]]] = {}
        for call in self.calls:
            if call.method in ("chat.postMessage", "chat.update", "chat.postEphemeral"):
                text = json.dumps(call.args, ensure_ascii=False)
                found.setdefault(_about_call(call), []).append((call, text))
        return found

    @staticmethod
    async def read(road: Road) -> Ledgers:
        """Once; what happens afterwards is not in it."""
        world, gitlab = road.slack.world, road.gitlab.state
        seeds = (each.faults.seed for each in (road.slack, road.gitlab, road.model))
        folder = str(sandbox_folder(Path(road.env["JOURNEYMAN_HOME"])))
        agent = gitlab.user_by_name(AGENT)
        merge_requests = {iid: copy.copy(mr) for iid, mr in road.project.merge_requests.items()}
        return Ledgers(
            seed=next((seed for seed in seeds if seed is not None), None),
            **await _of_postgres(road),
            seen=tuple(gitlab.requests),
            merge_requests=merge_requests,
            pipelines=[copy.copy(each) for each in road.project.pipelines.values()],
            names={str(each.id): gitlab.full_path(each) for each in gitlab.projects.values()},
            agent=agent.id if agent else 0,
            mails={each.id: each.email for each in gitlab.users.values()},
            team=world.team_id,
            bot=world.app.bot_user,
            messages=tuple(world.messages.values()),
            ephemerals=tuple(world.ephemerals.values()),
            calls=tuple(road.slack.calls),
            delivered=tuple(road.slack.delivery.log),
            responses=tuple(road.slack.responses),
            direct={c.id: c.user for c in world.channels.values() if c.kind == "im"},
            **await _of_git(road, merge_requests),
            prompts=tuple(road.model.requests),
            log=road.log.read_bytes() if road.log.exists() else b"",
            secrets={k: v for k, v in road.env.items() if k.endswith(("TOKEN", "KEY"))},
            processes=await asyncio.to_thread(processes_below, folder),
            home=frozenset(each.name for each in Path(road.env["JOURNEYMAN_HOME"]).glob("*")),
        )


def changes_something(seen: Seen) -> bool:
    if seen.actor != AGENT or seen.method == "GET" or seen.status >= 300:
        return False
    if seen.path.endswith("git-receive-pack"):
        return bool(seen.pushed)
    return not seen.path.endswith("git-upload-pack")


def about_of(message: Message) -> Mapping[str, Any]:
    return (message.metadata or {}).get("event_payload") or {}


def _about_call(call: ApiCall) -> int:
    about = call.args.get("metadata") or {}
    try:
        about = json.loads(about) if isinstance(about, str) else about
        return int(about["event_payload"]["run"])
    except (ValueError, KeyError, TypeError):
        return 0


def body_of(seen: Seen) -> Mapping[str, Any]:
    try:
        body = json.loads(seen.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


async def _of_postgres(road: Road) -> dict[str, Any]:
    pool, store = road.db.pool, road.db.store
    runs = [RunRow(**row) for row in await pool.fetch(RUNS)]
    meant: list[Meant] = []
    for row in await pool.fetch(INTENTS):
        intent = codec.intent(row["kind"], row["data"])
        assert intent is not None
        meant.append(Meant(run=row["run"], key=row["key"], intent=intent, open=row["open"]))
    verified = {run.id: await store.verify(RunId(run.id)) for run in runs}
    texts = [row["data"].encode() for row in await pool.fetch(EVENT_TEXTS)]
    bodies = [zlib.decompress(row["data"]) for row in await pool.fetch(BODIES)]
    return {
        "runs": runs,
        "events": {run.id: await store.events(RunId(run.id)) for run in runs},
        "changed": {run: seq for run, seq in verified.items() if seq is not None},
        "inbox": [Delivery(**row) for row in await pool.fetch(INBOX)],
        "intents": meant,
        "slots": [SlotRow(**row) for row in await pool.fetch(SLOTS)],
        "jobs": [JobRow(**row) for row in await pool.fetch(JOBS)],
        "nights": [tuple(row) for row in await pool.fetch(NIGHTS)],
        "stored": [*texts, *bodies],
    }


async def _of_git(road: Road, merge_requests: Mapping[int, MergeRequest]) -> dict[str, Any]:
    lines = await road.git("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads")
    authors: dict[int, frozenset[str]] = {}
    for iid, mr in merge_requests.items():
        if mr.state == "merged" and mr.merge_commit_sha:
            told = await road.git(
                "log", "--format=%ae%n%ce", f"{mr.merge_commit_sha}^1..{mr.sha}", "--"
            )
            authors[iid] = frozenset(told.split())
    objects = await road.git_bytes("cat-file", "--batch-all-objects", "--batch", "--buffer")
    return {
        "refs": dict(line.split() for line in lines.splitlines()),
        "authors": authors,
        "objects": objects,
    }


def processes_below(folder: str) -> list[str]:
    found: list[str] = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            line = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if folder in line or str((each / "cwd").readlink()).startswith(folder):
                found.append(line.strip())
        except OSError:
            continue
    return found


def running(state: RunState) -> bool:
    """Something is still to be done without anybody's word."""
    return state.status not in {
        RunStatus.SUCCEEDED,
        RunStatus.FAILED,
        RunStatus.ESCALATED,
        RunStatus.CANCELLED,
        RunStatus.WAITING_FOR_ANSWER,
        RunStatus.WAITING_FOR_APPROVAL,
    }
