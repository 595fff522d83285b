"""A run is shown the code that its request is about, and finds its own changes in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from engine_bench import FINISH, GOOD, PLAN, Bench, make_repository

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.database import Database
from agent.adapters.git_past import GitPast, VaultCode
from agent.adapters.git_vault import GitVaults
from agent.events import CodeRetrieved
from agent.ports import Origin
from agent.project import ProjectSettings
from agent.retrieval.library import Library
from agent.testing import call, say

RATES = "def exchange_rate(currency):\n    # of the day\n    return {'EUR': 1.0}[currency]\n"
ADR = "# Rates come from the bank\n\nAn exchange rate is never computed in this service.\n"
FILES = {
    "AGENTS.md": "Say it in one line.\n",
    "calc.py": "def add(a, b):\n    return a + b\n",
    "money/rates.py": RATES,
    "money/names.py": "def label(currency):\n    return currency.title()\n",
    "docs/adr/0001-rates.md": ADR,
    "docs/adr/0002-logging.md": "# Logs are lines\n\nEvery line is JSON.\n",
    "check.sh": "set -e\nPYTHONPATH=. python3 -c 'import calc; assert calc.add(1, 2) == 3'\n",
}
REQUEST = "the exchange rate of the day is wrong for EUR"


@pytest.fixture
async def shop(db: Database, tmp_path: Path, sandbox_folder: Path) -> AsyncIterator[Bench]:
    make_repository(tmp_path / "origin", FILES)
    vaults = GitVaults(tmp_path / "vaults")

    async def origin(path: str) -> Origin:
        return Origin(url=str(tmp_path / "origin"))

    bench = Bench(
        db=db,
        folder=tmp_path,
        sandbox=BubblewrapSandbox(sandbox_folder),
        vaults=vaults,
        project=ProjectSettings(path="team/calc", test_command="bash check.sh"),
    )
    past = GitPast(tmp_path / "past", origin).changes
    async with Library(
        store=db.code,
        sources=lambda project: VaultCode(vaults.of(project).repository),
        clock=bench.clock,
        past=past,
    ) as library:
        bench.library = library
        yield bench


def results(prompt: bytes) -> list[str]:
    """What the tools answered, in order."""
    lines = [json.loads(line) for line in prompt.splitlines()]
    return [line["content"] for line in lines if line["role"] == "tool"]


def first(prompt: bytes) -> str:
    return json.loads(prompt.splitlines()[1])["content"]


async def test_the_first_prompt_holds_the_code_that_the_request_is_about(shop: Bench):
    run = await shop.ask(REQUEST)
    model = await shop.go(run, [PLAN, GOOD, FINISH])
    text = first(model.prompts[0])
    assert "--- money/rates.py:1-3 exchange_rate\n" + RATES in text
    assert "  rates.py: exchange_rate" in text  # of the map
    assert "never computed in this service" in text
    assert text.index("docs/adr/0001") < text.index("--- money/rates.py")
    mark = text.split("\nRECORD ")[1].split()[0]
    assert text.split(f"END RECORD {mark}")[0].count("exchange_rate(currency)") == 1
    (found,) = await shop.facts(run, CodeRetrieved)
    assert (found.state, found.purpose, found.records) == (
        "ready",
        "plan",
        ("docs/adr/0001-rates.md",),
    )
    assert found.places[0].path == "money/rates.py"
    assert (await shop.db.store.body(run.id, found.query)).decode() == REQUEST
    state = await shop.state(run)
    assert found.commit == state.workspace.base


async def test_search_finds_what_the_run_has_written_and_not_what_it_has_deleted(shop: Bench):
    def look(mode: str, query: str) -> tuple[str, str]:
        return call("search", mode=mode, query=query)

    new = call("write", path="fees.py", content="def handling_fee(order):\n    return 2\n")
    old = call("edit", path="money/rates.py", old="exchange_rate", new="bank_rate")
    gone = call("run", command="rm money/names.py")
    run = await shop.ask("fees")
    model = await shop.go(
        run,
        [
            PLAN,
            say(look("defined", "exchange_rate"), look("defined", "label")),
            say(old, gone, new, look("ranked", "handling fee")),
            say(look("defined", "rates.bank_rate"), look("defined", "exchange_rate")),
            say(look("ranked", "label of a currency"), look("ranked", "bank rate of the day")),
            GOOD,
            FINISH,
        ],
    )
    told = results(model.prompts[-1])
    assert "money/rates.py:1\n" in told[1]
    assert "money/names.py:1\n" in told[2]
    assert "with 3 changed files" in told[6]
    assert "fees.py:1-2  handling_fee" in told[6]
    assert "money/rates.py:1\n    def bank_rate(currency):" in told[7]
    assert told[8].startswith("Nothing found"), told[8]
    assert "names.py" not in told[9]
    assert "bank_rate" in told[10]
