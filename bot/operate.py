"""Operations from a shell: runs, schema, sandbox."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from pathlib import Path

from agent.changing import set_going
from agent.events import StopAsked
from agent.ports import Network, Store
from agent.run import ENDED, Person, Run, RunId
from agent.state import fold
from bot.settings import Settings, load
from bot.web.timeline import rows


async def migrate_command() -> int:
    from agent.adapters.database import migrate_database

    settings = load()
    await migrate_database(
        home=settings.home, url=settings.database_url, admin_url=settings.database_admin_url
    )
    print("The schema is up to date.")
    return 0


async def sandbox_command(arguments: argparse.Namespace) -> int:
    from agent.adapters.sandbox_cli import check_command, exec_command
    from bot.build import make_sandbox

    sandbox = make_sandbox(load())
    if arguments.sandbox == "check":
        return await check_command(sandbox)
    return await exec_command(
        sandbox,
        Path(arguments.workspace),
        arguments.argv,
        network=Network(arguments.network),
    )


async def limits_command(arguments: argparse.Namespace) -> int:
    from agent.adapters.database import open_database
    from agent.adapters.postgres_limits import LimitTable

    settings = load()
    async with open_database(home=settings.home, url=settings.database_url) as database:
        table = LimitTable(database.pool)
        if arguments.limits == "set":
            await table.tell(arguments.most, project=arguments.project)
        for limit in await table.limits():
            default = limit.default or settings.parallel_runs
            said = "" if limit.told is None else f"  (set by hand; by default {default})"
            name = limit.project or "all together"
            print(f"{name:<40} {limit.at_work:>3} of {limit.told or default}{said}")
    return 0


async def runs_command(arguments: argparse.Namespace) -> int:
    from agent.adapters.database import open_database

    settings = load()
    async with open_database(home=settings.home, url=settings.database_url) as database:
        if arguments.runs == "list":
            return await _list(database.store, arguments)
        run = RunId(arguments.run)
        if arguments.runs == "show":
            return await _show(database.store, run, settings, as_json=arguments.json)
        by = Person(id="shell", name=getpass.getuser())
        row = await database.store.run(run)
        if arguments.runs == "stop":
            return await _stop(database.store, row, by)
        await set_going(database.store, row, by)
        print(f"Run {run} is queued again.")
        return 0


async def _stop(store: Store, run: Run, by: Person) -> int:
    if run.status in ENDED:
        print(
            f"Run {run.id} has ended already ({run.status}); nothing was changed.", file=sys.stderr
        )
        return 1
    await store.ask_stop(run.id, StopAsked(by=by, how="shell"), actor=by.id)
    print(f"Run {run.id} is being stopped.")
    return 0


async def _list(store: Store, arguments: argparse.Namespace) -> int:
    runs = await store.runs(
        statuses=arguments.status, project=arguments.project, limit=arguments.limit
    )
    if arguments.json:
        print(json.dumps([_told(run) for run in runs], indent=2))
        return 0
    for run in runs:
        title = " ".join(run.request.text.split())[:70]
        print(f"{run.id:>6}  {run.status:<20} {run.request.project:<30} {title}")
    return 0


async def _show(store: Store, run: RunId, settings: Settings, *, as_json: bool) -> int:
    row = await store.run(run)
    events = await store.events(run)
    state = fold(events)
    page = f"{settings.public_url.rstrip('/')}/runs/{run}" if settings.public_url else ""
    if as_json:
        log = [
            {"seq": row.seq, "at": row.at.isoformat(), "title": row.title, "text": row.text}
            for row in rows(events)
        ]
        print(json.dumps(_told(row) | {"reason": state.reason, "page": page, "log": log}, indent=2))
        return 0
    print(f"Run {run} on {state.request.project}: {state.status}. {state.reason}".rstrip())
    print(" ".join(state.request.text.split()))
    for each in rows(events):
        print(f"{each.at:%H:%M:%S}  {each.title}  {' '.join(each.text.split())[:120]}".rstrip())
    if page:
        print(page)
    return 0


def _told(run: Run) -> dict[str, object]:
    return {
        "run": run.id,
        "status": run.status,
        "project": run.request.project,
        "request": run.request.text,
        "requester": run.request.requester.name,
        "created_at": run.created_at.isoformat(),
        "updated_at": run.updated_at.isoformat(),
    }
