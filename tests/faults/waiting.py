"""Runs that wait, kept as a version has left them: in PostgreSQL as SQL, in Slack as JSON; what
stands at GitLab follows from both.

As a program it makes both anew with the present version, once for each schema:
`PYTHONPATH=.:tests python tests/faults/waiting.py`. Times are kept as distances from now, so that
nothing expires in the repository.
"""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import road as roads
from crossing import UNIT, Crossing
from road import FILES, FINISH, PLAN, Road, fault, make_repository, open_road, say

import agent.stages.gates
from agent.adapters import event_codec as codec
from agent.adapters.git_vault import GitVaults
from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter
from agent.adapters.postgres import Connection, connect
from agent.effects.context import Effect, EffectContext
from agent.effects.executor import HANDLERS
from agent.run import RunStatus
from agent.state import fold
from bot.build import engine_project
from bot.settings import load
from playground.gitlab.instant import InstantRunner
from playground.slack.records import Message

TESTS = Path(__file__).parents[1]
DATA = TESTS / "data"
#: What people asked for, in the order of the runs, and what each of them waits for.
ASKED: Mapping[str, RunStatus] = {
    "add approved.txt": RunStatus.WAITING_FOR_APPROVAL,
    "add answered.txt": RunStatus.WAITING_FOR_ANSWER,
    "add watched.txt": RunStatus.WATCHING,
    "add queued.txt": RunStatus.QUEUED,
}
RULE = "approvals = 1\n"
#: Filled by the way; the code's index is made again by who needs it.
TABLES = ("projects", "people", "runs", "events", "bodies", "intents", "messages")
_WHEN = "now() - "


def script(prompt: list[dict[str, Any]]) -> dict[str, Any]:
    """Each run writes the file that was asked for; one asks something first."""
    told = "\n".join(str(each["content"]) for each in prompt if each["role"] == "user")
    name = next(words.split()[1] for words in ASKED if words in told)
    given = sum(each["role"] == "assistant" for each in prompt)
    write = say(("write", {"path": name, "content": "It is here.\n"}))
    ask = [say(("ask", {"question": "Which one?", "choices": ["This", "That"]}))]
    replies = [*(ask if name == "answered.txt" else ()), PLAN, write, FINISH]
    return replies[min(given, len(replies) - 1)]


@asynccontextmanager
async def world(folder: Path, database_url: str) -> AsyncGenerator[Crossing]:
    """The same one each time, to the last commit."""
    when = {f"GIT_{who}_DATE": "2026-01-05T10:00:00Z" for who in ("AUTHOR", "COMMITTER")}
    roads.GIT_ENV.update(when)
    try:
        source = make_repository(folder / "source", {**FILES, ".gitlab-ci.yml": UNIT})
    finally:
        for name in when:
            del roads.GIT_ENV[name]
    async with open_road(folder, database_url, source=source) as road:
        road.gitlab.forge.pipelines.runner = InstantRunner()
        road.script.replies = [script]
        crossing = Crossing(road=road)
        crossing.rules(RULE)
        yield crossing


async def _bring_about(crossing: Crossing) -> None:
    road = crossing.road
    asked = iter(ASKED)

    async def ask(status: RunStatus) -> None:
        number = len(await road.runs()) + 1
        road.ask(next(asked))
        await road.reached(lambda state: state.run == number and state.status is status)

    async with road.serving():
        await ask(RunStatus.WAITING_FOR_APPROVAL)
        await crossing.card()
        await ask(RunStatus.WAITING_FOR_ANSWER)
        road.gitlab.faults.set(fault("job_waits", "job:agent/3:unit", seconds=3600))
        await ask(RunStatus.WATCHING)
        await roads.until(lambda: _shown(road), story=road.story)
    async with roads.open_service(roads.load(road.env), ("front",)):
        await ask(RunStatus.QUEUED)
        await roads.until(lambda: _shown(road), story=road.story)


async def _shown(road: Road) -> bool:
    """Every thread is in step with its run."""
    behind = """
    SELECT count(*) FROM runs r LEFT JOIN messages m ON m.run = r.id AND m.slot = 'shown'
    WHERE m.version IS DISTINCT FROM r.head_seq"""
    return await road.db.pool.fetchval(behind) == 0


async def _dump(owner: Connection) -> str:
    lines = [f"-- Made by {Path(__file__).name}", "SET search_path = public, engine;"]
    mark = await owner.fetchval("SELECT mark FROM installation")
    lines.append(f"UPDATE installation SET mark = '{mark}';")
    for table in (*TABLES, "pgqueuer"):
        lines += await _rows(owner, table)
    lines.append("UPDATE fleet SET turn = (SELECT max(turn) FROM runs WHERE epoch > 0);")
    for table, column in (("runs", "id"), ("intents", "position"), ("pgqueuer", "id")):
        sequence = f"pg_get_serial_sequence('{table}', '{column}')"
        lines.append(f"SELECT setval({sequence}, 1000);")
    return "\n".join(lines) + "\n"


async def _rows(owner: Connection, table: str) -> list[str]:
    await owner.execute("SET search_path = public, engine")
    columns = await owner.fetch(
        "SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute "
        f"WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped "
        "AND attgenerated = '' ORDER BY attnum"
    )
    names = ", ".join(f'"{each["name"]}"' for each in columns)
    values = " || ', ' || ".join(_value(each["name"], each["type"]) for each in columns)
    rows = await owner.fetch(f"SELECT {values} AS told FROM {table} ORDER BY ctid")
    always = "OVERRIDING SYSTEM VALUE "
    return [f"INSERT INTO {table} ({names}) {always}VALUES ({each['told']});" for each in rows]


def _value(name: str, kind: str) -> str:
    if kind != "timestamp with time zone":
        return f'quote_nullable("{name}"::text)'
    ago = f"quote_literal(date_trunc('second', now() - \"{name}\")::text)"
    return f"""coalesce('{_WHEN}' || {ago} || '::interval', 'NULL')"""


async def restore(crossing: Crossing, schema: str) -> None:
    """Slack and GitLab as they were when the dump of this schema was made."""
    for each in json.loads((DATA / f"waiting_{schema}.json").read_text()):
        tuples = {key: tuple(each[key]) for key in ("blocks", "attachments", "files")}
        crossing.road.slack.world.put(Message(**each | tuples))
    road = crossing.road
    url, settings = road.gitlab.url, load(road.env)
    async with (
        GitLabReader(url, road.env["GITLAB_READ_TOKEN"]) as reader,
        GitLabWriter(url, road.env["GITLAB_TOKEN"]) as writer,
    ):
        context = EffectContext(
            store=road.db.store,
            vaults=GitVaults(road.folder / "before").of,
            reader=reader,
            writer=writer,
            merger=writer,
            projects=lambda path: engine_project(settings, path),
        )
        for row in await road.db.pool.fetch("SELECT * FROM intents ORDER BY position"):
            events = await road.db.store.events(row["run"])
            before = [event for event in events if event.seq < row["outcome_seq"]]
            intent = codec.intent(row["kind"], row["data"])
            assert intent
            effect = Effect(
                key=row["key"], intent=intent, state=fold(before), events=before, before=False
            )
            seen = road.gitlab.state.requests._entries  # pyright: ignore[reportPrivateUsage]
            first = len(seen)
            await HANDLERS[type(intent)].act(context, effect)
            done = next(event.at for event in events if event.seq == row["outcome_seq"])
            for number in range(first, len(seen)):  # it was then that they came
                seen[number] = replace(seen[number], at=done)


def _long(**_: float) -> timedelta:
    return timedelta(days=36_500)


async def main() -> None:
    from quick import quicken

    from agent.adapters.embedded_postgres import APP, EmbeddedPostgres
    from agent.adapters.migration import migrate
    from agent.adapters.postgres import SCHEMA

    quicken()
    socket.gethostname = lambda: "host"
    agent.stages.gates.timedelta = _long  # as long as the dump is kept
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with EmbeddedPostgres(folder / "postgres") as server:
            await migrate(server.admin_dsn, APP)
            async with world(folder, server.app_dsn) as crossing:
                await _bring_about(crossing)
                kept = [asdict(each) for each in crossing.road.slack.world.messages.values()]
            owner = await connect(server.admin_dsn)
            text = await _dump(owner)
            await owner.close()
    (DATA / f"waiting_{SCHEMA}.sql").write_text(text)
    (DATA / f"waiting_{SCHEMA}.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
