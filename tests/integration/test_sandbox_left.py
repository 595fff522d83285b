"""What a worker that was killed leaves on its disk is removed by the next one, and nothing else."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox

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
