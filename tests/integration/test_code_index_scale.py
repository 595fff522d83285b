"""The index of code where the server dies, and where a repository is very large."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from codetrees import BareRepository

from agent.adapters.database import Database, open_database
from agent.adapters.git_code import GitCode
from agent.adapters.postgres_files import lay_out
from agent.errors import StoreUnavailable
from agent.retrieval.indexer import Progress, bring_up
from agent.run import CommitSha

ROOT = Path(__file__).parents[2]
LIMIT = 300  #: MB


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    shutil.rmtree(lay_out(tmp_path / "home").folder, ignore_errors=True)


def module(number: int) -> bytes:
    return f"def price_{number}(cents):\n    return cents * {number}\n".encode()


async def test_a_server_that_dies_in_the_middle_costs_what_was_not_stored_yet(
    home: Path, tmp_path: Path
):
    repository = BareRepository(tmp_path / "code.git")
    commit = CommitSha(repository.commit({f"src/m{n:03}.py": module(n) for n in range(900)}))
    source = GitCode(repository.folder)
    async with open_database(home=home) as db:
        pid_file = lay_out(home).folder / "data/postmaster.pid"

        def kill(progress: Progress) -> None:
            if progress.done == 400:
                os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)

        with pytest.raises(StoreUnavailable):
            await bring_up(db.code, source, "shop", commit, tell=kill)
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(StoreUnavailable):
                    done = await bring_up(db.code, source, "shop", commit)
                    break
                await asyncio.sleep(0.2)
        assert done.read == 500
        assert (done.tree.files, done.tree.chunks) == (900, 900)
        fresh = await bring_up(db.code, source, "fresh", commit)
        tokens = range(1 << 20)
        assert await db.code.frequencies(done.tree, tokens) == await db.code.frequencies(
            fresh.tree, tokens
        )


INDEX = """
import asyncio, sys
from pathlib import Path
from agent.adapters.git_code import GitCode
from agent.adapters.postgres_code import PostgresCode
from agent.retrieval.indexer import bring_up

async def main():
    dsn, repository, commit = sys.argv[1:]
    store = PostgresCode(dsn)
    done = await bring_up(store, GitCode(Path(repository)), "large", commit)
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(done.tree.files, int(peak.split()[1]) * 1024 // 1_000_000)
    await store.close()

asyncio.run(main())
"""


async def indexed_apart(url: str, repository: BareRepository, commit: str) -> tuple[int, int]:
    """Files, and the peak of a process that does nothing else, in MB."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", INDEX, url, str(repository.folder), commit),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )
    out, _ = await process.communicate()
    files, peak = map(int, out.split())
    return files, peak


@pytest.mark.slow  # 20 MB of words
async def test_files_as_large_as_they_may_be_take_little_memory(database_url: str, tmp_path: Path):
    chance = random.Random(1)
    words = [f"word{n}" for n in range(3000)]

    def guide() -> bytes:
        lines = (" ".join(chance.choices(words, k=12)) for _ in range(10_500))
        return "\n".join(
            f"## {line[:20]}" if n % 20 == 0 else line for n, line in enumerate(lines)
        ).encode()

    repository = BareRepository(tmp_path / "code.git")
    commit = repository.many((f"docs/d{n}.md", guide()) for n in range(20))
    files, peak = await indexed_apart(database_url, repository, commit)
    assert files == 20
    assert peak < LIMIT


@pytest.mark.slow  # 100,000 files
async def test_a_hundred_thousand_files_take_little_memory(
    db: Database, database_url: str, tmp_path: Path
):
    repository = BareRepository(tmp_path / "code.git")
    commit = repository.many((f"src/p{n // 500}/m{n}.py", module(n)) for n in range(100_000))
    files, peak = await indexed_apart(database_url, repository, commit)
    assert files == 100_000
    assert peak < LIMIT
    pushed = repository.commit({f"src/p0/m{n}.py": module(n + 7) for n in range(20)}, parent=commit)
    done = await bring_up(db.code, GitCode(repository.folder), "large", CommitSha(pushed))
    assert (done.read, done.tree.files) == (20, 100_000)
