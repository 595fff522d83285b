"""The command line, as a shell sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.adapters.database import Database
from agent.run import Limits, Person, Request, RunStatus, Thread
from bot.progress import Progress
from bot.trial import Interrupts
from playground.model.server import ModelStandIn

ROOT = Path(__file__).parents[2]
#: Half a second each, or more; `try` needs none of them before its first model request.
HEAVY = ["openai", "gitlab", "slack_sdk", "aiohttp", "sqlalchemy", "alembic", "pgqueuer", "rich"]


def journeyman(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere"} | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("fly",),
        ("serve", "--role", "front,cook"),
        ("try", "do it"),
        ("runs", "stop", "one"),
        ("sandbox", "exec", "--workspace", ".", "--network", "all", "true"),
    ],
)
def test_wrong_usage_exits_2(words: tuple[str, ...]) -> None:
    done = journeyman(*words)
    assert done.returncode == 2
    assert "usage: journeyman" in done.stderr


@pytest.mark.parametrize(
    ("words", "env", "told"),
    [
        (("serve",), {}, "SLACK_BOT_TOKEN is not set: create a Slack app"),
        (("serve",), {"SLACK_BOT_TOKEN": "nonsense"}, "SLACK_BOT_TOKEN does not begin with xoxb-"),
        (("try", "--repo", ".", "x"), {}, "JOURNEYMAN_MODEL is not set"),
        (
            ("try", "--repo", "docs-of-nothing", "x"),
            {"JOURNEYMAN_MODEL": "m", "OPENAI_API_KEY": "k"},
            "--repo docs-of-nothing is no git repository",
        ),
        (("runs", "list"), {"JOURNEYMAN_CONFIG": "nowhere.toml"}, "which is not there"),
    ],
)
def test_wrong_settings_are_one_sentence_and_exit_2(
    words: tuple[str, ...], env: dict[str, str], told: str
) -> None:
    done = journeyman(*words, **env)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_what_a_command_does_not_use_is_not_imported() -> None:
    code = f"import bot.trial, sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def repository(folder: Path) -> Path:
    repo = folder / "repo"
    repo.mkdir()
    (repo / "README.md").write_text("# Made to be read\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "First"]):
        who = ["-c", "user.name=Mia", "-c", "user.email=mia@example.com"]
        subprocess.run(["git", "-C", str(repo), *who, *words], check=True)
    return repo


@pytest.fixture
async def model() -> AsyncIterator[ModelStandIn]:
    async with ModelStandIn(answer=_answer) as running:
        yield running


def _answer(messages: list[dict[str, object]]) -> dict[str, object]:
    """Answers a question about the project."""
    text = "It says so in README.md:1."
    finish = {"name": "finish", "arguments": {"summary": "Read the README.", "answer": text}}
    return {"content": None, "tool_calls": [finish]}


async def test_a_question_about_a_local_repository_is_answered(
    model: ModelStandIn, tmp_path: Path
) -> None:
    repo = repository(tmp_path)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "try", "--repo", str(repo), "--json"),
        "what does the README say?",
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "OPENAI_BASE_URL": model.url,
            "JOURNEYMAN_MODEL": "scripted",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, told = await process.communicate()

    assert process.returncode == 0, told.decode()
    result = json.loads(out)
    assert result["status"] == "succeeded"
    assert result["answer"] == "It says so in README.md:1."
    assert (result["branch"], result["commit"], result["files"]) == (None, None, [])
    assert result["steps"] >= 1
    assert {"planning"} <= result["seconds"].keys()
    assert "Planning" in told.decode()


def test_the_installed_command_takes_no_code_from_the_folder_it_is_called_in(tmp_path: Path):
    (tmp_path / "bot").mkdir()
    (tmp_path / "bot" / "__init__.py").write_text("raise SystemExit('somebody else')")

    done = subprocess.run(
        [Path(sys.executable).parent / "journeyman", "--help"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "one run on a local repository" in done.stdout


async def test_ctrl_c_is_answered_at_once_and_stops_the_run(tmp_path: Path) -> None:
    plan = {"steps": [{"title": "Wait"}]}
    waits = [
        {"name": "update_plan", "arguments": plan},
        {"name": "run", "arguments": {"command": "sleep 60"}},
    ]
    async with ModelStandIn(answer=lambda _: {"content": None, "tool_calls": waits}) as model:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "try", "--repo", str(repository(tmp_path)), "wait"),
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "OPENAI_BASE_URL": model.url,
                "JOURNEYMAN_MODEL": "scripted",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        told: list[str] = []
        async for line in process.stdout:
            told.append(line.decode().strip())
            if "steps done" in told[-1]:
                process.send_signal(signal.SIGINT)
    assert "Stopping the run. Press Ctrl-C again to leave at once." in told
    assert any("Stopped by @you" in line for line in told), told
    assert await process.wait() == 1


async def test_ctrl_c_before_there_is_a_run_ends_the_program_with_a_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def begin() -> None:
        with Interrupts(progress=Progress()).heard():
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(begin())
    assert "Interrupted before the run began; nothing was changed." in capsys.readouterr().out


async def test_ctrl_c_between_the_start_and_its_first_word_is_not_lost(db: Database) -> None:
    me = Person(id="local", name="you")
    where = Thread(team="local", channel="local", ts="1")
    asked = Request(
        text="x", project="/repo", base_branch=None, requester=me, thread=where, message="1"
    )
    run, _ = await db.store.create("1", asked, Limits())
    interrupts = Interrupts(progress=Progress(), store=db.store)
    with interrupts.heard():
        os.kill(os.getpid(), signal.SIGINT)
        while not interrupts.asked:  # noqa: ASYNC110  (the loop itself has to hear the signal)
            await asyncio.sleep(0)
        interrupts.show((await db.store.events(run.id))[0])
        await db.store.stop_asked(run.id)
    assert (await db.store.run(run.id)).status is RunStatus.CANCELLED
