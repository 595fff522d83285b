"""Hostile and clumsy commands, against the real bubblewrap."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.adapters.bubblewrap_sandbox import BubblewrapBox, BubblewrapSandbox
from agent.adapters.sandbox_start import Start, end_strays, spawn
from agent.errors import SandboxUnusable, ToolFailed
from agent.ports import CommandLimits, CommandResult, Mount, Network


@pytest.fixture(scope="module")
def sandbox(open_folder: Path) -> BubblewrapSandbox:
    return BubblewrapSandbox(open_folder / "sandbox")


@pytest.fixture(params=["as the host allows", "without control groups"])
def limiting(request: pytest.FixtureRequest, sandbox: BubblewrapSandbox) -> BubblewrapSandbox:
    """The sandbox on a host with control groups, where there are any, and on one without."""
    if request.param == "as the host allows":
        return sandbox
    other = BubblewrapSandbox(sandbox.folder)
    other.host = replace(sandbox.host, parents=None)
    return other


@pytest.fixture
async def limited(limiting: BubblewrapSandbox, workspace: Path) -> AsyncIterator[BubblewrapBox]:
    async with limiting.open(workspace) as box:
        yield box


@pytest.fixture
async def workspace(sandbox: BubblewrapSandbox) -> AsyncIterator[Path]:
    workspace = sandbox.new_folder("a project/with: odd name")
    yield workspace
    await sandbox.remove(workspace)


@pytest.fixture
async def box(sandbox: BubblewrapSandbox, workspace: Path) -> AsyncIterator[BubblewrapBox]:
    async with sandbox.open(workspace) as box:
        yield box


async def shell(box: BubblewrapBox, script: str, *words: str, **limits: float) -> CommandResult:
    chosen = CommandLimits(**{"seconds": 10.0, **limits})  # type: ignore[arg-type]
    return await box.exec(["bash", "-c", script, "bash", *words], limits=chosen)


def alive(marker: str) -> list[str]:
    """Processes of the whole host that carry the marker as an argument of their own."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if marker.encode() in words:
            found.append(process.name)
    return found


SERVICE = """
import asyncio, sys
from pathlib import Path
from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
async def main():
    async with BubblewrapSandbox(Path(sys.argv[1])).open(Path(sys.argv[2])) as box:
        print("opened", flush=True)
        await box.exec(["bash", "-c", "setsid sleep $1 & sleep $1", "bash", sys.argv[3]])
asyncio.run(main())
"""


@contextmanager
def service(
    sandbox: BubblewrapSandbox, workspace: Path, marker: str
) -> Generator[subprocess.Popen[bytes]]:
    """A process of its own, about to start a command."""
    argv = [sys.executable, "-c", SERVICE, str(sandbox.folder), str(workspace), marker]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"opened\n"
        yield process


def program(pid: str) -> str:
    """What a process is by now; empty when it is gone."""
    try:
        return Path("/proc", pid, "comm").read_text().strip()
    except OSError:
        return ""


def gone(marker: str) -> bool:
    """The kernel ends a tree of processes in its own time."""
    deadline = time.monotonic() + 5
    while alive(marker) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(marker)


# --- ordinary needs ----------------------------------------------------------------------


async def test_a_command_works_in_the_workspace(box: BubblewrapBox, workspace: Path):
    (workspace / "sub").mkdir()
    result = await box.exec(
        ["sh", "-c", 'echo "$GREETING" > ../out'], cwd="sub", env={"GREETING": "hi"}
    )
    assert (result.exit_code, result.stopped) == (0, "")
    assert (workspace / "out").read_text() == "hi\n"


async def test_both_streams_and_the_exit_code_come_back(box: BubblewrapBox):
    chunks: list[bytes] = []
    result = await box.exec(
        ["bash", "-c", "echo out; echo err >&2; exit 3"], on_output=chunks.append
    )
    assert result.exit_code == 3
    assert sorted(result.output.split()) == ["err", "out"]
    assert sum(map(len, chunks)) == result.total_bytes == 8


async def test_a_signal_is_told_as_shells_do(box: BubblewrapBox):
    assert (await shell(box, "kill -SEGV $$")).exit_code == 139


async def test_a_missing_program_is_told(box: BubblewrapBox):
    result = await box.exec(["no-such-program"])
    assert result.exit_code == 127
    assert "no-such-program" in result.output


async def test_local_servers_and_threads_work_inside(box: BubblewrapBox):
    program = (
        "import socket,threading;s=socket.create_server(('127.0.0.1',0));"
        "threading.Thread(target=lambda:s.accept()[0].send(b'hello')).start();"
        "print(socket.create_connection(s.getsockname()).recv(9))"
    )
    result = await box.exec(["/usr/bin/python3", "-c", program])
    assert result.output == "b'hello'\n"


async def test_tmp_and_home_are_writable_and_forgotten(box: BubblewrapBox):
    assert (await shell(box, "touch /tmp/x ~/x /dev/shm/x /run/x")).exit_code == 0
    assert (await shell(box, "ls /tmp ~ /dev/shm /run | grep -c x")).output == "0\n"


async def test_read_only_and_writable_mounts(sandbox: BubblewrapSandbox, box: BubblewrapBox):
    shown, own = sandbox.new_folder("shown"), sandbox.new_folder("own")
    shown.chmod(0o755)
    (shown / "a").write_text("a")
    mounts = [
        Mount(source=shown, target="/deps"),
        Mount(source=own, target="/cache", writable=True),
    ]
    result = await box.exec(
        ["sh", "-c", "cat /deps/a; touch /deps/b; touch /cache/c"], mounts=mounts
    )
    assert "Read-only" in result.output
    assert [path.name for path in (*shown.iterdir(), *own.iterdir())] == ["a", "c"]
    await sandbox.remove(shown)
    await sandbox.remove(own)


@pytest.mark.parametrize("cwd", ["../..", "/etc", "a/../../b"])
async def test_a_folder_outside_is_refused(box: BubblewrapBox, cwd: str):
    with pytest.raises(ToolFailed, match="outside the workspace"):
        await box.exec(["true"], cwd=cwd)


async def test_a_missing_folder_is_named(box: BubblewrapBox):
    with pytest.raises(ToolFailed, match="nowhere does not exist"):
        await box.exec(["true"], cwd="nowhere")


@pytest.mark.parametrize("argv", [[], ["a\0b"], ["\ud800"], ["echo", "x" * 3_000_000]])
async def test_an_impossible_command_is_refused(box: BubblewrapBox, argv: list[str]):
    with pytest.raises(ToolFailed):
        await box.exec(argv)
    assert (await box.exec(["true"])).exit_code == 0


async def test_without_registries_there_is_no_fetch_phase(box: BubblewrapBox):
    with pytest.raises(ToolFailed, match="registries"):
        await box.exec(["true"], network=Network.FETCH)


# --- what it must not reach --------------------------------------------------------------


async def test_the_environment_of_the_service_is_not_there(
    box: BubblewrapBox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    result = await shell(box, "env; cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/*/cmdline")
    assert "PATH=" in result.output
    assert "sk-very-secret" not in result.output


async def test_files_of_the_host_are_not_there(box: BubblewrapBox, open_folder: Path):
    secret = open_folder / "secret.txt"
    secret.write_text("host-secret")
    secret.chmod(0o644)
    script = 'cat "$1"; cat "/proc/1/root$1"; cat "/proc/self/cwd/../$1"; ls /root /home /var /etc'
    result = await shell(box, script, str(secret))
    assert "host-secret" not in result.output
    assert "shadow" not in result.output


async def test_a_link_out_of_the_tree_leads_nowhere(box: BubblewrapBox, open_folder: Path):
    target = open_folder / "target.txt"
    target.write_text("untouched")
    target.chmod(0o666)
    await shell(box, 'ln -s "$1" link; echo changed > link; echo changed > "$1"', str(target))
    assert target.read_text() == "untouched"


async def test_nothing_but_the_workspace_can_be_written(box: BubblewrapBox):
    script = (
        "for f in / /usr /etc /proc/sys/kernel /var; do touch $f/x 2>/dev/null && echo $f; done"
    )
    assert (await shell(box, script)).output == ""


async def test_there_is_no_network(box: BubblewrapBox):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = await shell(box, f"echo > /dev/tcp/127.0.0.1/{port} || echo refused")
    assert "refused" in result.output
    devices = await shell(box, "ls /sys/class/net 2>/dev/null; tail -n +3 /proc/net/dev")
    assert [line.split(":")[0].strip() for line in devices.output.splitlines()] == ["lo"]


async def test_unix_sockets_of_the_host_are_out_of_reach(box: BubblewrapBox):
    name = f"\0journeyman-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        program = f"import socket;socket.socket(socket.AF_UNIX).connect({name!r})"
        assert (await box.exec(["/usr/bin/python3", "-c", program])).exit_code == 1


async def test_other_processes_are_not_seen(box: BubblewrapBox):
    result = await shell(box, "ls -d /proc/[0-9]* | wc -l; kill -9 -1; echo unreached")
    assert int(result.output.split()[0]) < 8
    assert os.getpid()  # still here


@pytest.mark.parametrize(
    "attempt",
    [
        "unshare -U true",
        "unshare -m true",
        "mount -t tmpfs x /tmp",
        "chroot / true",
        "mknod device c 1 3",
        "/usr/bin/python3 -c 'import socket;socket.socket(40,1)'",  # vsock
        "/usr/bin/python3 -c 'import socket;socket.socket(38,5)'",  # alg
        "/usr/bin/python3 -c 'import socket;socket.socket(17,3)'",  # packet
        "/usr/bin/python3 -c 'import socket;socket.socket(2,3)'",  # raw
    ],
)
async def test_privileges_are_refused(box: BubblewrapBox, attempt: str):
    assert (await shell(box, attempt)).exit_code != 0


async def test_system_calls_that_widen_a_sandbox_are_refused(box: BubblewrapBox):
    program = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for number in (425, 248, 298, 321, 323, 435, 304):  # io_uring, keys, perf, bpf, faults, clone3
    assert libc.syscall(number, 0, 0, 0, 0, 0) == -1, number
    assert ctypes.get_errno() in (1, 38), number
"""
    result = await box.exec(["/usr/bin/python3", "-c", program])
    assert (result.exit_code, result.output) == (0, "")


async def test_no_descriptor_is_inherited(box: BubblewrapBox):
    assert (await shell(box, "ls /proc/self/fd /proc/1/fd 2>/dev/null | wc -w")).exit_code == 0
    result = await box.exec(["ls", "/proc/self/fd"])
    assert result.output.split() == ["0", "1", "2", "3"]  # 3 is the folder being listed


async def test_it_does_not_run_as_root(box: BubblewrapBox, workspace: Path):
    await shell(box, "touch mine; cp /usr/bin/true suid; chmod 4755 suid")
    owner = (workspace / "mine").stat().st_uid
    assert owner != 0
    assert (workspace / "suid").stat().st_uid == owner


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has only itself")
async def test_boxes_of_root_have_users_of_their_own(
    sandbox: BubblewrapSandbox, box: BubblewrapBox
):
    other = sandbox.new_folder("other")
    async with sandbox.open(other) as second, sandbox.open(other) as same:
        for each in (box, second, same):
            assert (await shell(each, "touch mine")).exit_code == 0
    assert other.stat().st_uid != box._workspace.stat().st_uid
    await sandbox.remove(other)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
async def test_a_folder_that_sandbox_users_cannot_enter_is_named(tmp_path: Path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(
        SandboxUnusable, match=r"cannot enter .*Give the sandbox a folder elsewhere"
    ):
        BubblewrapSandbox(private / "sandbox").new_folder("x")


# --- limits ------------------------------------------------------------------------------


@pytest.mark.alone
async def test_a_command_that_never_ends_is_ended_with_all_its_children(box: BubblewrapBox):
    marker = f"{time.time_ns()}"
    began = time.monotonic()
    script = "trap '' TERM INT HUP; sleep $1 & setsid sleep $1 & while :; do :; done"
    result = await shell(box, script, marker, seconds=0.5)
    assert (result.stopped, result.exit_code) == ("timeout", 137)
    assert time.monotonic() - began < 3
    assert alive(marker) == []


@pytest.mark.alone
async def test_cancelling_kills_the_tree_within_a_second(box: BubblewrapBox):
    marker = f"{time.time_ns()}"
    task = asyncio.create_task(shell(box, "trap '' TERM; setsid sleep $1 & sleep $1", marker))
    async with asyncio.timeout(30):
        while len(alive(marker)) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 1
    assert alive(marker) == []


async def test_cancelling_at_once_leaves_nothing(box: BubblewrapBox):
    marker = f"{time.time_ns()}"
    for delay in (0, 0, 0.001, 0.003, 0.006, 0.01):
        task = asyncio.create_task(shell(box, "sleep $1", marker))
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.sleep(0.05)
    assert alive(marker) == []


def test_a_killed_service_leaves_nothing_running(sandbox: BubblewrapSandbox, workspace: Path):
    marker = f"{time.time_ns()}"
    with service(sandbox, workspace, marker) as killed:
        deadline = time.monotonic() + 10
        while len(alive(marker)) < 4 and time.monotonic() < deadline:  # the service has it too
            time.sleep(0.02)
        assert len(alive(marker)) >= 4
        killed.kill()
    assert gone(marker)


@pytest.mark.parametrize("milliseconds", [0, 2, 4, 6, 8, 10, 12, 14, 18])
def test_a_service_killed_while_a_command_starts_leaves_nothing_running(
    sandbox: BubblewrapSandbox, workspace: Path, milliseconds: int
):
    marker = f"{time.time_ns()}"
    with service(sandbox, workspace, marker) as killed:
        time.sleep(milliseconds / 1000)
        killed.kill()
    if not gone(marker):  # bubblewrap itself may wait for good; a service that starts ends it
        end_strays()
    assert gone(marker)


def test_what_bubblewrap_leaves_waiting_is_ended_by_the_next_service():
    """The outer process is killed before it gives the word: nobody reads what it reports."""
    marker = f"{time.time_ns()}"
    given = ["--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--json-status-fd"]
    reading, report = os.pipe()
    os.close(reading)
    limits, argv = "ulimit -c 0", ["sleep", marker]
    ours, word = socket.socketpair()
    with tempfile.TemporaryFile() as arguments, ours, word:
        arguments.write("\0".join([*given, str(report)]).encode())
        arguments.seek(0)
        start = Start(prefix=[], arguments=[], limits=limits, argv=argv, seccomp=b"")
        outer = spawn(start, arguments.fileno(), word.fileno(), report, (report,))
        assert outer.wait(10) == -signal.SIGPIPE
    os.close(report)
    assert len(alive(marker)) == 1
    end_strays()
    assert gone(marker)


@pytest.mark.alone
async def test_a_daemon_that_holds_the_output_does_not_hold_us(box: BubblewrapBox):
    marker = f"{time.time_ns()}"
    began = time.monotonic()
    result = await shell(box, "setsid nohup sleep $1 & disown; echo done", marker)
    assert result.output == "done\n"
    assert time.monotonic() - began < 2
    assert alive(marker) == []


@pytest.mark.cell("F29", "W")
async def test_a_gigabyte_of_output_is_drained_and_cut(box: BubblewrapBox):
    result = await shell(
        box, "echo first; head -c 1000000000 /dev/zero | tr '\\0' x; echo last", seconds=60
    )
    assert result.exit_code == 0
    assert result.total_bytes == 1_000_000_011
    assert result.output.startswith("first\nxxx")
    assert result.output.endswith("xxxlast\n")
    assert f"\n[... {1_000_000_011 - 65_536} bytes cut ...]\n" in result.output
    assert len(result.output) < 66_000


@pytest.mark.cell("F29", "W")
@pytest.mark.alone
async def test_a_fork_bomb_is_contained(limited: BubblewrapBox):
    marker = f"{time.time_ns()}"
    bomb = "b() { b | b & sleep $1; }; b $1 2>/dev/null"
    result = await shell(limited, bomb, marker, seconds=2, processes=64)
    assert result.seconds < 6
    assert alive(marker) == []
    assert (await shell(limited, "echo alive")).output == "alive\n"


async def test_processes_are_counted(limited: BubblewrapBox):
    program = """
import os, time
for count in range(100):
    try:
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
    except BlockingIOError:
        break
print(count)
"""
    limits = CommandLimits(seconds=10, processes=30)
    result = await limited.exec(["/usr/bin/python3", "-c", program], limits=limits)
    assert result.stopped == "processes" or 20 < int(result.output) < 40


@pytest.mark.cell("F29", "W")
async def test_memory_is_bounded(limited: BubblewrapBox):
    program = "x = b'x' * 400_000_000; import time; time.sleep(2); print('had it')"
    limits = CommandLimits(seconds=10, memory_mb=128)
    result = await limited.exec(["/usr/bin/python3", "-c", program], limits=limits)
    assert "had it" not in result.output
    assert result.stopped == "memory" or "MemoryError" in result.output


async def test_memory_of_many_processes_is_bounded_together(limited: BubblewrapBox):
    program = "import time; x = b'x' * 60_000_000; time.sleep(3)"
    script = 'for i in 1 2 3 4 5 6; do /usr/bin/python3 -c "$1" & done; wait -n || exit 9; wait'
    result = await shell(limited, script, program, memory_mb=160)
    assert result.stopped == "memory"


async def test_no_command_runs_outside_of_its_group(sandbox: BubblewrapSandbox, workspace: Path):
    parents = sandbox.host.parents
    if parents is None:
        pytest.skip("this host gives no control groups")
    async with sandbox.open(workspace) as box:
        group = next(parents.memory.glob(f"journeyman-{os.getpid()}-*"))
        for _ in range(10):
            marker = f"{time.time_ns()}"
            task = asyncio.create_task(shell(box, "exec sleep $1", marker))
            async with asyncio.timeout(30):
                while True:
                    running = [pid for pid in alive(marker) if program(pid) == "sleep"]
                    inside = (group / "cgroup.procs").read_text().split()
                    assert set(running) <= set(inside)  # from its first moment on
                    if running:
                        break
                    await asyncio.sleep(0.005)
            assert len(inside) == 2
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_the_size_of_a_file_is_bounded(box: BubblewrapBox, workspace: Path):
    result = await shell(box, "head -c 30000000 /dev/zero > big", file_mb=10)
    assert result.exit_code != 0
    assert (workspace / "big").stat().st_size <= 10 * 1024 * 1024


async def test_growth_of_the_disk_is_bounded(box: BubblewrapBox):
    script = (
        "sleep 0.5; for i in $(seq 40); do head -c 10000000 /dev/zero > f$i; sleep 0.05; done;"
        "sleep 2; echo unreached"
    )
    result = await shell(box, script, disk_mb=100)
    assert result.stopped == "disk"
    assert "unreached" not in result.output


async def test_starting_costs_little(box: BubblewrapBox):
    await box.exec(["true"])
    times = [(await box.exec(["true"])).seconds for _ in range(15)]
    assert min(times) < 0.06  # 0.01 on an idle machine


async def test_removing_a_hostile_tree(sandbox: BubblewrapSandbox, open_folder: Path):
    outside = open_folder / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    hostile = sandbox.new_folder("hostile")
    async with sandbox.open(hostile) as box:
        deep = "import os\nfor i in range(1200): os.mkdir('d'); os.chdir('d')"
        await box.exec(["/usr/bin/python3", "-c", deep])
        await shell(
            box, 'mkdir locked; touch locked/x; chmod 0 locked; ln -s "$1" out', str(outside)
        )
    await sandbox.remove(hostile)
    assert not hostile.exists()
    assert (outside / "kept").exists()


async def test_only_folders_of_the_sandbox_are_removed(sandbox: BubblewrapSandbox, tmp_path: Path):
    with pytest.raises(ValueError, match="not a folder of the sandbox"):
        await sandbox.remove(tmp_path)
    assert tmp_path.exists()


async def test_a_removal_that_is_called_off_is_over_all_the_same(sandbox: BubblewrapSandbox):
    folder = sandbox.new_folder("large")
    for number in range(500):
        (folder / f"{number}").mkdir()
    removing = asyncio.create_task(sandbox.remove(folder))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    removing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await removing
    assert not folder.exists()
