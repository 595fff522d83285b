"""`journeyman sandbox exec` and `journeyman sandbox check`, once their words are parsed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from agent.errors import JourneymanError, SandboxUnusable
from agent.ports import CommandLimits, Network, Sandbox

_NEW_MOUNT_NAMESPACE = 0x00020000


async def exec_command(
    sandbox: Sandbox,
    workspace: Path,
    argv: Sequence[str],
    *,
    network: Network = Network.NONE,
    limits: CommandLimits | None = None,
) -> int:
    """Runs a command as a tool call would; returns its exit code, 1 when nothing was run."""
    try:
        with _reachable(sandbox, workspace.resolve(strict=True)) as folder:
            async with sandbox.open(folder) as box:
                result = await box.exec(argv, network=network, limits=limits)
    except (JourneymanError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print(result.output, end="" if result.output.endswith("\n") else "\n")
    if result.stopped:
        print(f"Stopped by the sandbox: {result.stopped}.", file=sys.stderr)
    return result.exit_code


async def check_command(sandbox: Sandbox) -> int:
    """Prints a line a promise; 0 when all of them hold, else 1."""
    try:
        checks = await sandbox.check()
    except JourneymanError as error:
        print(error, file=sys.stderr)
        return 1
    width = max(len(check.name) for check in checks)
    for check in checks:
        print(f"{'ok' if check.ok else 'FAILED':<7} {check.name:<{width}}  {check.detail}")
        if check.remedy:
            print(f"{'':<7} {'':<{width}}  {check.remedy}")
    return 0 if all(check.ok for check in checks) else 1


@contextlib.contextmanager
def _reachable(sandbox: Sandbox, workspace: Path) -> Generator[Path]:
    """Any folder of root's, also in a private one, as a folder that a sandbox user can enter.

    It is mounted where those users may go, in a namespace that ends with this process, and
    belongs to the sandbox's user until the command has ended.
    """
    if os.geteuid() != 0:
        yield workspace
        return
    owner = workspace.stat()
    folder = sandbox.new_folder("exec")
    try:
        if ctypes.CDLL(None).unshare(_NEW_MOUNT_NAMESPACE) != 0:
            raise SandboxUnusable(
                "As root, this needs the right to mount folders, which is missing here: run"
                " `journeyman sandbox exec` as an ordinary user."
            )
        _run("mount", "--make-rprivate", "/")
        _run("mount", "--bind", str(workspace), str(folder))
        try:
            sandbox.adopt(folder)
            yield folder
        finally:
            _run("chown", "-RhP", f"{owner.st_uid}:{owner.st_gid}", "--", str(folder))
            _run("umount", str(folder))
    finally:
        folder.rmdir()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
