"""The four ledgers as they stand at one moment: PostgreSQL, GitLab's requests, Slack's messages and
the bare repository; with what surrounds them."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from road import Road

from agent.events import RunEvent
from agent.intents import Intent
from agent.project import ProjectSettings
from agent.run import RunStatus
from agent.state import RunState, fold
from bot.build import sandbox_folder
from oracle.database import Delivery, JobRow, Meant, RunRow, SlotRow, of_postgres
from oracle.repositories import of_git, vaults_of
from oracle.told import settings_of
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
    settings: Sequence[ProjectSettings] = ()  #: of all projects, as they stood at any time
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
    folders: frozenset[str] = frozenset()  #: of commands in the sandbox
    vaults: bytes = b""  #: what is in the service's own repositories

    @cached_property
    def states(self) -> Mapping[int, RunState]:
        return {run: fold(events) for run, events in self.events.items()}

    @cached_property
    def changes(self) -> Sequence[Seen]:
        """What the agent has changed at GitLab."""
        return [each for each in self.seen if changes_something(each)]

    @cached_property
    def reads(self) -> Mapping[str, Sequence[datetime]]:
        """When GitLab has answered somebody who read there, by project, in order."""
        found: dict[str, list[datetime]] = {}
        for seen in self.seen:
            if seen.method == "GET" and seen.status == 200:
                found.setdefault(self.project_of(seen), []).append(seen.at)
        return {project: sorted(times) for project, times in found.items()}

    def project_of(self, seen: Seen) -> str:
        """Full path; empty for what concerns none."""
        path = seen.path.partition("?")[0]
        if path not in self._projects:
            self._projects[path] = self._project(path)
        return self._projects[path]

    @cached_property
    def _projects(self) -> dict[str, str]:
        return {}

    def _project(self, path: str) -> str:
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
        prompts = tuple(road.model.requests)  # each is in the log before it is sent
        seeds = (each.faults.seed for each in (road.slack, road.gitlab, road.model))
        homes = list(dict.fromkeys((Path(road.env["JOURNEYMAN_HOME"]), *sorted(road.homes))))
        agent = gitlab.user_by_name(AGENT)
        merge_requests = {iid: copy.copy(mr) for iid, mr in road.project.merge_requests.items()}
        return Ledgers(
            seed=next((seed for seed in seeds if seed is not None), None),
            **await of_postgres(road),
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
            settings=await asyncio.to_thread(settings_of, road),
            **await of_git(road, merge_requests),
            prompts=prompts,
            log=road.log.read_bytes() if road.log.exists() else b"",
            secrets={k: v for k, v in road.env.items() if k.endswith(("TOKEN", "KEY"))},
            processes=[
                line
                for home in homes
                for line in await asyncio.to_thread(processes_below, str(sandbox_folder(home)))
            ],
            home=frozenset(each.name for home in homes for each in home.glob("*")),
            # a host that is lost has kept its own until it comes back
            folders=frozenset(each.name for each in sandbox_folder(homes[0]).glob("work/*-*")),
            vaults=await asyncio.to_thread(vaults_of, homes),
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
