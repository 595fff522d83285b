"""`journeyman index` and `search`, as somebody calls them who has just got the program."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from agent.adapters.git_code import GitCode
from agent.errors import GitFailed, SettingsError
from agent.retrieval.indexer import Blob
from bot.cli import main
from bot.code import index_command, search_command

RATE = "def exchange_rate(currency):\n    return RATES[currency]\n"
FILES = {"money/rates.py": RATE, "tests/test_rates.py": f"from money import rates\n\n\n{RATE}"}


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=Mia", "-c", "user.email=mia@example.com")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def repo(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repo"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(text)
    git(tmp_path, "init", "-q", str(folder))
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "First")
    for name in ("HOME", "JOURNEYMAN_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.delenv("JOURNEYMAN_CONFIG", raising=False)
    return folder


async def search(repo: Path, query: str, path: str = "") -> int:
    return await search_command(
        repo=str(repo), ref="HEAD", query=query, top_k=20, as_json=False, path=path
    )


async def test_a_repository_is_indexed_once_and_searched(
    repo: Path, capsys: pytest.CaptureFixture[str]
):
    for read in (2, 0):
        assert await index_command(repo=str(repo), ref="HEAD") == 0
        told = capsys.readouterr()
        assert f"is indexed: 2 files, 7 lines, 2 places; {read} files were read" in told.out
        assert told.err == "", "no bar where nobody watches"
    assert await search(repo, "exchange rate") == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("money/rates.py:1-2")
    for path in ("tests", "./tests/", "tests/test_rates.py"):
        assert await search(repo, "exchange rate", path) == 0
        (head, *lines) = capsys.readouterr().out.splitlines()
        assert head.startswith("tests/test_rates.py:1-5")
        assert not any("money/rates.py" in line for line in lines)


async def test_names_that_look_like_markup_or_a_terminal_s_commands_are_shown_as_they_are(
    repo: Path, capsys: pytest.CaptureFixture[str]
):
    odd = ("app/[slug]/page.py", "a[/b]c.py", "[bold]x.py", "back\\.py", "es\033[31mc.py")
    for path in odd:
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_text("def unusual_name():\n    return '\033[2J'\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "Odd")
    assert await search(repo, "unusual name") == 0
    told = capsys.readouterr().out
    assert "\033" not in told
    heads = {line.split(":1-2")[0] for line in told.splitlines() if ":1-2 " in line}
    assert {path.replace("\033", "") for path in odd} <= heads


async def test_what_no_commit_has_is_said_to_be_missing(
    repo: Path, capsys: pytest.CaptureFixture[str]
):
    ran = repo.parent / "ran"
    for name in ("x", "a=b.c"):
        git(repo, "config", f"filter.{name}.clean", f"tee {ran}")
        git(repo, "config", f"filter.{name}.required", "true")
    (repo / ".git/info/attributes").write_text("*.py filter=x\n")
    (repo / "money/rates.py").write_text("def uncommitted_rate():\n    pass\n")
    os.utime(repo / "money/rates.py", (1, 1))
    (repo / "new.py").write_text("def brand_new():\n    pass\n")
    (repo / ".git/info/exclude").write_text("build/\n")
    (repo / "build").mkdir()
    (repo / "build/out.py").write_text("x = 1\n")
    told = "In the work tree 2 files have changes that no commit has: only what is committed"
    await index_command(repo=str(repo), ref="HEAD")
    assert told in capsys.readouterr().out
    await search(repo, "uncommitted rate")
    said = capsys.readouterr()
    assert "uncommitted_rate" not in said.out
    assert told in said.err
    await search_command(repo=str(repo), ref="HEAD", query="rate", top_k=3, as_json=True)
    said = capsys.readouterr()
    assert json.loads(said.out)["places"][0]["path"] == "money/rates.py"
    await index_command(repo=str(repo), ref="HEAD^{commit}")
    assert "work tree" not in capsys.readouterr().out, "that was not asked for"
    assert not ran.exists(), "no program that the repository names was run"


async def test_a_bare_repository_and_a_linked_work_tree(
    repo: Path, capsys: pytest.CaptureFixture[str]
):
    git(repo, "clone", "-q", "--bare", str(repo), str(repo.parent / "bare"))
    git(repo, "worktree", "add", "-q", str(repo.parent / "linked"))
    for name in ("bare", "linked"):
        assert await search(repo.parent / name, "exchange rate") == 0
        told = capsys.readouterr()
        assert told.out.startswith("money/rates.py:1-2")
        assert told.err == ""


async def test_what_is_no_repository_is_told_with_what_to_do(repo: Path):
    (repo.parent / "empty").mkdir()
    for name, told in {
        "empty": "make one of it with `git init` and a first commit",
        "nowhere": "there is no such folder",
        "repo/money/rates.py": "it is a file",
        "repo/money": f"a folder in one: give {repo}",
    }.items():
        with pytest.raises(SettingsError, match="is no git repository") as error:
            await index_command(repo=str(repo.parent / name), ref="HEAD")
        assert told in str(error.value)
    git(repo.parent, "init", "-q", str(repo.parent / "fresh"))
    with pytest.raises(GitFailed, match="Commit something first"):
        await search(repo.parent / "fresh", "rate")
    with pytest.raises(GitFailed, match="There is no commit nope"):
        await index_command(repo=str(repo), ref="nope")
    with pytest.raises(SettingsError, match="query is empty"):
        await search(repo, " \n")


@pytest.mark.parametrize("count", ["0", "-3", "x", "1001"])
def test_a_senseless_number_of_places_is_wrong_usage(
    count: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as end:
        main(["search", "--repo", ".", f"--top-k={count}", "x"])
    assert end.value.code == 2
    assert "give a number from 1 to 1000" in capsys.readouterr().err


async def test_an_interrupted_index_says_what_is_kept_and_goes_on(
    repo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    reading = asyncio.Event()

    async def slowly(self: GitCode, blobs: Sequence[Blob]) -> AsyncGenerator[tuple[Blob, bytes]]:
        reading.set()
        await asyncio.Event().wait()
        yield blobs[0], b""

    with monkeypatch.context() as patch:
        patch.setattr(GitCode, "contents", slowly)
        task = asyncio.create_task(index_command(repo=str(repo), ref="HEAD"))
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert capsys.readouterr().err == "What was read is kept; the same command reads the rest.\n"
    assert await index_command(repo=str(repo), ref="HEAD") == 0
