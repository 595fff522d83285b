"""`journeyman sandbox`: what the shell sees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.adapters import bubblewrap_sandbox
from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox, unusable
from agent.adapters.sandbox_cli import check_command
from agent.errors import SandboxUnusable


@pytest.fixture
def sandbox(open_folder: Path) -> BubblewrapSandbox:
    return BubblewrapSandbox(open_folder / "sandbox")


async def test_check_proves_each_promise(
    sandbox: BubblewrapSandbox, capsys: pytest.CaptureFixture[str]
):
    assert await check_command(sandbox) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("ok ") for line in lines) == 12
    assert any("hard limits" in line or "soft limits" in line for line in lines)


async def test_check_names_what_to_install(
    sandbox: BubblewrapSandbox,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(bubblewrap_sandbox, "_TOOLS", {"/usr/bin/no-such-bwrap": "bubblewrap"})
    assert await check_command(sandbox) == 1
    assert "apt-get install bubblewrap" in capsys.readouterr().err


async def test_a_host_without_user_namespaces_is_told_what_to_set(sandbox: BubblewrapSandbox):
    reason = "No permissions to create a new namespace, likely because the kernel does not allow"
    assert "sysctl" in unusable(reason)
    assert "AppArmor" in unusable("setting up uid map: Permission denied")


async def test_a_sandbox_that_cannot_be_set_up_runs_nothing(open_folder: Path):
    broken = BubblewrapSandbox(open_folder / "sandbox", toolchains=[Path("/no/such/toolchain")])
    folder = broken.new_folder("x")
    with pytest.raises(SandboxUnusable, match="nothing was run"):
        async with broken.open(folder) as box:
            await box.exec(["touch", "ran"])
    assert list(folder.iterdir()) == []
    await broken.remove(folder)


EXEC = """
import asyncio, sys
from pathlib import Path
from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.sandbox_cli import exec_command
sandbox = BubblewrapSandbox(Path(sys.argv[1]))
sys.exit(asyncio.run(exec_command(sandbox, Path(sys.argv[2]), sys.argv[3:])))
"""


def run_exec(folder: Path, workspace: Path, *command: str) -> subprocess.CompletedProcess[str]:
    # in a process of its own: as root the command changes that process's mounts
    return subprocess.run(
        [sys.executable, "-c", EXEC, str(folder), str(workspace), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_exec_in_a_private_folder(open_folder: Path, tmp_path: Path):
    workspace = tmp_path / "private" / "workspace"
    workspace.mkdir(parents=True)
    workspace.parent.chmod(0o700)
    (workspace / "a").write_text("content")
    ran = run_exec(open_folder / "sandbox", workspace, "sh", "-c", "cat a; touch b; exit 7")
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, "content\n", "")
    assert (workspace / "b").stat().st_uid == os.geteuid()


def test_exec_without_the_folder(open_folder: Path, tmp_path: Path):
    ran = run_exec(open_folder / "sandbox", tmp_path / "missing", "true")
    assert ran.returncode == 1
    assert "missing" in ran.stderr
