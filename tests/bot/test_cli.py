"""The command line, as a shell sees it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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
