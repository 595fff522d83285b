"""What a worker that was killed leaves on its disk is removed by the next one, and nothing else."""

from __future__ import annotations

import asyncio
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.sandbox_owner import Owner

#: Another worker, which makes two folders and then waits to be killed.
WORKS = """
import sys
from pathlib import Path
from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
sandbox = BubblewrapSandbox(Path(sys.argv[1]))
for name in ("run-7", "output-7"):
    folder = sandbox.new_folder(name)
    (folder / "deep").mkdir()
    (folder / "deep" / "file").write_text("x")
    print(folder, flush=True)
sys.stdin.read()
"""


def test_only_what_the_dead_have_left_is_removed(open_folder: Path):
    sandbox = BubblewrapSandbox(open_folder / "left")
    mine = sandbox.new_folder("run-1")
    stranger = sandbox.host.work / "run-2-abcdefgh"  # of a version that named nobody
    stranger.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", WORKS, str(sandbox.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout
        theirs = [Path(other.stdout.readline().strip()) for _ in range(2)]
        assert sandbox.sweep() == 0  # who lives keeps what is theirs
        assert all((each / "deep" / "file").exists() for each in theirs)
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert BubblewrapSandbox(sandbox.folder).sweep() == 2
    assert sorted(sandbox.host.work.iterdir()) == sorted([mine, stranger])
    assert len(list((sandbox.folder / "owners").iterdir())) == 1
    assert sandbox.sweep() == 0
    assert mine.exists()
    asyncio.run(sandbox.remove(mine))


def test_nobody_can_take_a_name_while_it_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    began = tmp_path / "0123456789ab"  # its owner has made it and not locked it yet
    began.touch()
    late: list[bool] = []
    drop = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        with path.open("rb") as owner:
            try:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                late.append(False)
            except BlockingIOError:  # the owner waits, and then sees that its file is gone
                late.append(True)
            drop(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    Owner(tmp_path).forget()
    assert late == [True]
    assert not began.exists()
