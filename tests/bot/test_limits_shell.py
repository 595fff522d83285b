"""Limits on runs at work, changed from a shell while workers run."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from agent.adapters.database import Database
from agent.run import Limits, Person, Request, RunId, Thread
from bot.cli import main


class Shell:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    async def __call__(self, *words: str) -> tuple[int, list[str], str]:
        """Exit code, output and errors of `journeyman limits …`."""
        code = await asyncio.to_thread(main, ["limits", *words])
        out, err = self._capsys.readouterr()
        return code, [" ".join(line.split()) for line in out.splitlines()], err


@pytest.fixture
def shell(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("JOURNEYMAN_HOME", str(tmp_path))
    return Shell(capsys)


async def asked(db: Database, number: int) -> None:
    request = Request(
        text="add an export",
        project="g/api",
        base_branch=None,
        requester=Person(id="U1", name="mia"),
        thread=Thread(team="T", channel="C", ts=str(number)),
        message=str(number),
    )
    await db.store.create(f"limits-{number}", request, Limits())


async def test_limits_are_shown_set_and_taken_back(db: Database, shell: Shell) -> None:
    await db.store.set_project("g/api", max_runs=2)
    assert await shell() == (0, ["all together 0 of 4", "g/api 0 of 2"], "")
    _, out, _ = await shell("set", "1", "--project", "g/api")
    assert out[1] == "g/api 0 of 1 (set by hand; by default 2)"
    _, out, _ = await shell("set", "9")
    assert out[0] == "all together 0 of 9 (set by hand; by default 4)"
    await db.store.set_project("g/api", max_runs=3)  # as each worker does that starts
    _, out, _ = await shell()
    assert out[1] == "g/api 0 of 1 (set by hand; by default 3)"
    await shell("set", "default")
    _, out, _ = await shell("set", "default", "--project", "g/api")
    assert out == ["all together 0 of 4", "g/api 0 of 3"]


async def test_what_cannot_be_set_is_refused_with_what_to_do(shell: Shell) -> None:
    code, _, err = await shell("set", "1", "--project", "g/unknown")
    assert code == 1
    assert "no limit to set" in err
    assert "journeyman limits" in err
    for wrong in ("0", "-1", "many", "99999"):
        with pytest.raises(SystemExit):
            main(["limits", "set", wrong])


@pytest.mark.parametrize("project", [("--project", "g/api"), ()], ids=["project", "fleet"])
async def test_a_limit_changes_while_workers_run(
    db: Database, shell: Shell, project: tuple[str, ...]
) -> None:
    await db.store.set_project("g/api", max_runs=1 if project else 9)
    if not project:
        await shell("set", "1")
    for number in range(4):
        await asked(db, number)
    at_work: set[RunId] = set()
    may_end, changed = asyncio.Semaphore(0), asyncio.Condition()

    async def on_run(run: RunId) -> None:
        async with changed:
            at_work.add(run)
            changed.notify_all()
        await may_end.acquire()
        async with changed:
            at_work.remove(run)
            changed.notify_all()

    async def until(number: int) -> None:
        async with asyncio.timeout(60), changed:
            await changed.wait_for(lambda: len(at_work) == number)

    queues = [asyncio.create_task(db.queue().work(on_run=on_run)) for _ in range(2)]
    try:
        await until(1)
        await asyncio.sleep(1.5)  # more than one look of each
        assert len(at_work) == 1
        await shell("set", "3", *project)
        await until(3)
        _, out, _ = await shell("set", "1", *project)
        assert any("3 of 1" in line for line in out), out  # what is at work goes on
        await asyncio.sleep(3)  # all workers have looked at the limits
        may_end.release()
        may_end.release()
        await until(1)
        await asyncio.sleep(2.5)
        assert len(at_work) == 1
        may_end.release()
        may_end.release()
        await until(0)
    finally:
        for queue in queues:
            queue.cancel()
            with suppress(asyncio.CancelledError):
                await queue
