"""Repositories that are not what one expects."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from road import EDIT, FILES, FINISH, PLAN, ROUND, Road, edit, git, make_repository, open_road, say

from agent.events import FileChange, TestsRan
from agent.run import RunStatus

Opening = Callable[[Path], AbstractAsyncContextManager[Road]]


@pytest.fixture
def opening(tmp_path: Path, database_url: str) -> Opening:
    """A road whose project is a repository of the test's own."""
    return lambda source: open_road(tmp_path, database_url, source=source)


async def test_an_empty_one_is_refused_with_the_way_out(road: Road):
    for ref in (await road.git("for-each-ref", "--format=%(refname)")).split():
        await road.git("update-ref", "-d", ref)
    async with road.serving():
        result = await road.result(road.ask())
        assert "The repository is empty" in result.text
        assert "Push a first commit" in result.text
        assert road.model.requests == []


async def test_one_without_tests(opening: Opening, tmp_path: Path):
    source = make_repository(tmp_path / "plain", {"calc.py": FILES["calc.py"]})
    async with opening(source) as road:
        road.config("[defaults]\nwatch_pipeline = false\n")
        async with road.serving():
            result = await road.result(road.ask())
            assert "is done" in result.text
            assert "Tests: not run" in result.text
            assert "not run on this change" in road.merge_requests[0].description


RED = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "test_calc.py": "import unittest\nimport calc\n\n\nclass Adding(unittest.TestCase):\n"
    "    def test_sum(self):\n        self.assertEqual(calc.add(1, 2), 3)\n\n"
    "    def test_broken_before(self):\n        self.assertEqual(calc.add(1, 1), 3)\n",
}


async def test_one_whose_tests_fail_already(opening: Opening, tmp_path: Path):
    """A new failure is repaired; the old one is named, and no claim of ours."""
    async with opening(make_repository(tmp_path / "red", RED)) as road:
        road.config("[defaults]\nwatch_pipeline = false\n")
        wrong = say(edit("calc.py", "return a + b", "return a - b"))
        right = say(edit("calc.py", "return a - b", "return b + a"))
        road.script.replies = [PLAN, wrong, FINISH, right, FINISH]
        async with road.serving():
            result = await road.result(road.ask())
            told = road.script.told()
            assert "test_sum" in told.split("New failures")[1].split("failed before")[0]
            assert "test_broken_before" in told.split("These failed before")[1]
            assert "1 failed (each of them failed before, too)" in result.text
            description = road.merge_requests[0].description
            known = description.split("Failed before and still do")[1]
            assert "test_broken_before" in known
            assert "New failures" not in description
            assert {ran.where for ran in await road.events(TestsRan)} == {"base", "change"}


@pytest.mark.cell("F30", "PW")
async def test_submodules_lfs_pointers_and_odd_files(opening: Opening, tmp_path: Path):
    """All of it comes through unharmed, byte for byte."""
    other = make_repository(tmp_path / "library", {"lib.py": "x = 1\n"})
    latin = "naïve = 'é'\nold = 1\r\n".encode("latin-1")
    pointer = (
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"
    )
    source = make_repository(
        tmp_path / "odd",
        {
            **FILES,
            "latin.py": latin,
            "big.bin": pointer,
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
        },
    )
    (Path(os.fsdecode(os.fsencode(source) + b"/caf\xe9 \x01\n.txt"))).write_bytes(b"odd")
    (source / "out").symlink_to("/etc/passwd")
    (source / "up").symlink_to("../../..")
    git(source, "add", "-A")
    library = git(other, "rev-parse", "HEAD")
    modules = f'[submodule "lib"]\n\tpath = lib\n\turl = {other}\n'
    (source / ".gitmodules").write_text(modules)
    git(source, "add", "-A")
    git(source, "update-index", "--add", "--cacheinfo", f"160000,{library},lib")
    git(source, "commit", "-qm", "odd things")
    async with opening(source) as road:
        road.script.replies = [
            PLAN,
            say(
                ("read", {"path": "out"}),
                ("read", {"path": "up/etc/passwd"}),
                ("read", {"path": "latin.py"}),
                ("search", {"query": "caf"}),
                ("edit", {"path": "out", "old": "root", "new": "toor"}),
                ("write", {"path": "up/tmp/evil", "content": "x"}),
                ("edit", {"path": "latin.py", "old": "old = 1", "new": "new = 2"}),
            ),
            EDIT,
            FINISH,
        ]
        async with road.serving():
            result = await road.result(road.ask())
            assert "is done" in result.text, await road.story()
            assert "root:" not in str(road.script.prompts)
            changed = await road.git("diff", "--name-only", "main", "agent/1")
            assert changed.splitlines() == ["calc.py", "latin.py"]
            after = await road.git_bytes("cat-file", "blob", "agent/1:latin.py")
            assert after == latin.replace(b"old = 1", b"new = 2")
            notes = " ".join((await road.state()).workspace.notes).lower()
            assert "lfs" in notes
            assert "submodule" in notes
            [commit] = (await road.state()).commits
            assert {file.path for file in commit.files} == {"calc.py", "latin.py"}


async def test_files_that_the_run_itself_makes_odd(opening: Opening, tmp_path: Path):
    """A command of the model's leaves links, odd names and a repository of its own."""
    source = make_repository(tmp_path / "plain")
    command = (
        "ln -s /etc/passwd secret; ln -s / all; printf x > $'n\\xe9w\\n.txt'; "
        "git init -q inner 2>/dev/null; echo '[core]' > .git/config; mkfifo pipe; "
        "head -c 1000 /dev/urandom > data.bin"
    )
    async with opening(source) as road:
        road.script.replies = [
            PLAN,
            say(("run", {"command": command}), ("read", {"path": "secret"})),
            say(("run", {"command": "rm secret all"})),  # links would hold the push
            EDIT,
            FINISH,
        ]
        async with road.serving():
            result = await road.result(road.ask())
            assert "is done" in result.text, await road.story()
            assert "root:" not in str(road.script.prompts)
            listed = await road.git("ls-tree", "-r", "agent/1")
            assert "pipe" not in listed
            files: tuple[FileChange, ...] = (await road.state()).commits[-1].files
            assert "calc.py" in {file.path for file in files}


@pytest.mark.slow
async def test_a_hundred_thousand_files(opening: Opening, tmp_path: Path):
    source = tmp_path / "huge"
    source.mkdir()
    git(source, "init", "-q", "-b", "main")
    stream = [b"blob\nmark :1\ndata 6\nx = 1\n\n"]
    for mark, text in enumerate(FILES.values(), 2):
        data = text.encode() if isinstance(text, str) else text
        stream.append(b"blob\nmark :%d\ndata %d\n%s\n" % (mark, len(data), data))
    stream.append(b"commit refs/heads/main\ncommitter a <a@b> 1700000000 +0000\ndata 4\nhuge\n")
    stream += [b"M 100644 :%d %s\n" % (m, n.encode()) for m, n in enumerate(FILES, 2)]
    stream += [b"M 100644 :1 src/d%d/m%d.py\n" % (n // 250, n) for n in range(100_000)]
    git(source, "fast-import", "--quiet", data=b"".join(stream) + b"\n")
    async with opening(source) as road:
        look = say(
            ("search", {"query": "def add"}), ("search", {"query": "m99999", "mode": "names"})
        )
        road.script.replies = [look, *ROUND]
        async with road.serving():
            began = time.monotonic()
            result = await road.result(road.ask(), seconds=240)
            assert "is done" in result.text, await road.story()
            assert (await road.state()).status is RunStatus.SUCCEEDED
            assert "calc.py:1" in road.script.told()
            assert "src/d399/m99999.py" in road.script.told()
            print(f"a run on 100,000 files: {time.monotonic() - began:.1f} s")
