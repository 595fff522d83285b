"""Operations on runs, from a shell."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.database import Database
from agent.events import Payload, RunEnded, StatusChanged, StopAsked
from agent.ports import Write
from agent.run import Limits, Person, Request, Run, RunId, RunStatus, Thread
from agent.state import RunState, fold
from bot.cli import main


class Shell:
    def __init__(self, db: Database, capsys: pytest.CaptureFixture[str]) -> None:
        self.db = db
        self._capsys = capsys

    async def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output and errors of `journeyman runs …`."""
        code = await asyncio.to_thread(main, ["runs", *words])
        out, err = self._capsys.readouterr()
        return code, out, err

    async def run(self, text: str, *payloads: Payload, project: str = "g/api") -> Run:
        request = Request(
            text=text,
            project=project,
            base_branch=None,
            requester=Person(id="U1", name="mia"),
            thread=Thread(team="T", channel="C", ts=text),
            message=text,
        )
        run, _ = await self.db.store.create(text, request, Limits())
        if not payloads:
            return run
        return await self.db.store.write(run.id, Write(payloads=payloads), actor="worker")

    async def state(self, run: Run) -> RunState:
        return fold(await self.db.store.events(run.id))


WORKS = StatusChanged(status=RunStatus.WORKING)


def ended(status: RunStatus) -> RunEnded:
    return RunEnded(status=status, reason="It broke.")


@pytest.fixture
def shell(
    db: Database,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("JOURNEYMAN_HOME", str(tmp_path))
    monkeypatch.setenv("JOURNEYMAN_PUBLIC_URL", "https://agent.example")
    return Shell(db, capsys)


async def test_a_list_is_of_the_status_and_project_that_are_asked_for(shell: Shell) -> None:
    await shell.run("add an export")
    await shell.run("mend\nthe build", WORKS)
    await shell.run("paint it", WORKS, project="g/web")

    async def listed(*words: str) -> list[str]:
        code, out, _ = await shell("list", *words)
        assert code == 0
        return [line.split(maxsplit=1)[0] for line in out.splitlines()]

    assert await listed() == ["3", "2", "1"]
    assert await listed("--status", "working") == ["3", "2"]
    assert await listed("--status", "queued,working", "--project", "g/api") == ["2", "1"]
    assert await listed("--project", "g/none") == []
    assert await listed("--limit", "1") == ["3"]
    _, out, _ = await shell("list", "--project", "g/api", "--status", "working")
    assert out.split() == ["2", "working", "g/api", "mend", "the", "build"]


async def test_a_list_for_programs_is_one_array(shell: Shell) -> None:
    await shell.run("add an export", WORKS)

    _, out, _ = await shell("list", "--json", "--status", "working")

    (told,) = json.loads(out)
    assert told["run"] == 1
    assert (told["status"], told["project"], told["requester"]) == ("working", "g/api", "mia")
    assert told["request"] == "add an export"
    _, out, _ = await shell("list", "--json", "--status", "failed")
    assert json.loads(out) == []


async def test_a_status_that_there_is_not_is_wrong_usage(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        await shell("list", "--status", "sleeping")
    assert "'sleeping' is none of queued, planning," in capsys.readouterr().err


async def test_a_run_is_shown_with_what_happened_and_where_its_page_is(shell: Shell) -> None:
    await shell.run("add an export", WORKS, ended(RunStatus.FAILED))

    code, out, _ = await shell("show", "1")

    assert code == 0
    assert out.startswith("Run 1 on g/api: failed. It broke.\nadd an export\n")
    assert out.endswith("https://agent.example/runs/1\n")
    _, out, _ = await shell("show", "1", "--json")
    told: dict[str, Any] = json.loads(out)
    assert (told["status"], told["reason"]) == ("failed", "It broke.")
    assert [row["seq"] for row in told["log"]] == [1, 2, 3]


@pytest.mark.parametrize("deed", ["show", "stop", "retry"])
async def test_of_a_run_that_there_is_not_that_is_said(shell: Shell, deed: str) -> None:
    assert await shell(deed, "99") == (1, "", "There is no run 99.\n")


async def test_a_run_is_stopped_once(shell: Shell) -> None:
    run = await shell.run("add an export")

    assert await shell("stop", "1") == (0, "Run 1 is being stopped.\n", "")

    state = await shell.state(run)
    assert state.status is RunStatus.CANCELLED
    stops = [e.payload for e in await shell.db.store.events(run.id)]
    assert [stop.how for stop in stops if isinstance(stop, StopAsked)] == ["shell"]
    again = await shell("stop", "1")
    assert again == (1, "", "Run 1 has ended already (cancelled); nothing was changed.\n")


async def test_one_that_failed_is_set_going_again_and_a_worker_is_woken(shell: Shell) -> None:
    run = await shell.run("add an export", WORKS, ended(RunStatus.FAILED))
    before = await shell.db.pool.fetchval("SELECT wake FROM runs")

    assert await shell("retry", "1") == (0, "Run 1 is queued again.\n", "")

    state = await shell.state(run)
    assert state.status is RunStatus.QUEUED
    assert state.reason.startswith("Set going by @")
    assert await shell.db.pool.fetchval("SELECT wake FROM runs") == before + 1


@pytest.mark.parametrize(
    ("payloads", "told"),
    [
        ((WORKS, ended(RunStatus.SUCCEEDED)), "This run is done."),
        ((WORKS,), "This run is working; there is no need to."),
    ],
)
async def test_what_the_thread_would_refuse_to_retry_a_shell_does_not_do_either(
    shell: Shell, payloads: tuple[Payload, ...], told: str
) -> None:
    run = await shell.run("add an export", *payloads)
    before = await shell.db.store.events(RunId(run.id))

    code, out, err = await shell("retry", "1")

    assert (code, out) == (1, "")
    assert told in err
    assert await shell.db.store.events(run.id) == before
