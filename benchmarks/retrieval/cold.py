"""What somebody waits for who types a command: nothing runs yet, the index is there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.adapters.embedded_postgres import EmbeddedPostgres
from benchmarks.measure import Used, run
from benchmarks.script import call
from benchmarks.scripted import Endpoint, endpoint, environment
from benchmarks.table import Row, median, spread

ROUNDS = 5
LIMIT = 2.0  #: seconds, of a search
PATIENCE = 600.0


def cold(folder: Path, repository: Path, queries: Sequence[str]) -> list[Row]:
    """In a home of their own in `folder`."""
    home = folder / "home"
    _ours(home, "index", "--repo", str(repository))
    asked = [["search", "--repo", str(repository), query] for query in queries[:ROUNDS]]
    stopped = [_ours(home, *each).seconds for each in asked]
    running = asyncio.run(_beside(home, asked))
    with endpoint(folder, [{"content": "", "tool_calls": [call("finish", summary="-")]}]) as model:
        first = [_first(home, model, repository, query) for query in queries[:ROUNDS]]
    return [
        Row(what="`journeyman search` in a new process", value=median(stopped), unit="s",
            limit=LIMIT, note=f"starts and stops PostgreSQL; {spread(stopped)}"),
        Row(what="… while PostgreSQL runs", value=median(running), unit="s",
            limit=LIMIT, note=spread(running)),
        Row(what="`journeyman try` up to its first question to the model", value=median(first),
            unit="s", note=f"clones, and looks for the places; {spread(first)}"),
    ]  # fmt: skip


async def _beside(home: Path, asked: Sequence[Sequence[str]]) -> list[float]:
    async with EmbeddedPostgres(home):
        return [(await asyncio.to_thread(_ours, home, *each)).seconds for each in asked]


def _first(home: Path, model: Endpoint, repository: Path, query: str) -> float:
    model.log.write_text("")
    used = run(
        [sys.executable, "-m", "bot", "try", "--repo", str(repository),
         "--test-command", "true", "--json", query],
        cwd=home.parent, env=_environment(home, model.url), seconds=PATIENCE,
    )  # fmt: skip
    requests = model.requests()
    if not requests:
        raise SystemExit(f"`journeyman try` asked no model:\n{used.output[-2000:]}")
    return requests[0]["arrived"] - used.began


def _ours(home: Path, *arguments: str) -> Used:
    argv = [sys.executable, "-m", "bot", *arguments]
    used = run(argv, cwd=home.parent, env=_environment(home), seconds=PATIENCE)
    if used.exit_code:
        raise SystemExit(f"`journeyman {arguments[0]}` failed:\n{used.output[-2000:]}")
    return used


def _environment(home: Path, model: str = "http://127.0.0.1:9/v1") -> dict[str, str]:
    return environment(
        JOURNEYMAN_HOME=str(home),
        JOURNEYMAN_MODEL="scripted",
        OPENAI_BASE_URL=model,
        OPENAI_API_KEY="none",
    )
