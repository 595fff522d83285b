"""Operations from a shell: runs, schema, sandbox."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path

from agent.events import StatusChanged, StopAsked
from agent.ports import Network, Store, Write
from agent.run import ENDED, Person, RunId, RunStatus
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


async def runs_command(arguments: argparse.Namespace) -> int:
    from agent.adapters.database import open_database

    settings = load()
    async with open_database(home=settings.home, url=settings.database_url) as database:
        if arguments.runs == "list":
            return await _list(database.store)
        run = RunId(arguments.run)
        if arguments.runs == "show":
            return await _show(database.store, run, settings)
        by = Person(id="shell", name=getpass.getuser())
        if arguments.runs == "stop":
            await database.store.ask_stop(run, StopAsked(by=by, how="shell"), actor="shell")
            print(f"Run {run} is being stopped.")
            return 0
        again = StatusChanged(status=RunStatus.QUEUED, reason=f"Queued again by {by.name}.")
        write = Write(payloads=(again,), wake=True)
        await database.store.write(run, write, actor="shell", expect=ENDED)
        print(f"Run {run} is queued again.")
        return 0


async def _list(store: Store) -> int:
    for run in await store.runs():
        title = " ".join(run.request.text.split())[:70]
        print(f"{run.id:>6}  {run.status:<20} {run.request.project:<30} {title}")
    return 0


async def _show(store: Store, run: RunId, settings: Settings) -> int:
    events = await store.events(run)
    if not events:
        print(f"There is no run {run}.")
        return 1
    state = fold(events)
    print(f"Run {run} on {state.request.project}: {state.status}. {state.reason}".rstrip())
    print(" ".join(state.request.text.split()))
    for row in rows(events):
        print(f"{row.at:%H:%M:%S}  {row.title}  {' '.join(row.text.split())[:120]}".rstrip())
    if settings.public_url:
        print(f"{settings.public_url.rstrip('/')}/runs/{run}")
    return 0
