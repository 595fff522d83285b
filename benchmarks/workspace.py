"""What a run needs before its first step: its files, and the packages of the project."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from agent.ports import Origin, Sandbox, Vault
from benchmarks import script
from benchmarks.scratch import scratch
from benchmarks.scripted import environment
from benchmarks.table import Row, Table, median, skipped, spread
from bot.build import make_installer, make_sandbox, make_vaults
from bot.settings import Settings, load

ROUNDS = 5
FILES, FOLDERS, COMMITS = 2_000, 100, 40
PIP_ROUNDS = 3  # a round takes many seconds


def workspace() -> list[Table]:
    with scratch() as folder:
        settings = load(environment(JOURNEYMAN_HOME=str(folder / "home")))
        files = asyncio.run(_files(settings, folder))
        packages = asyncio.run(_packages(settings, folder))
    return [Table(title="Before the first step", rows=[*files, *packages])]


async def _files(settings: Settings, folder: Path) -> list[Row]:
    repository = _repository(folder / "big")
    vault = make_vaults(settings).of("bench/big")
    origin = Origin(url=str(repository))
    sandbox = make_sandbox(settings)
    cold = await _workspace(sandbox, vault, origin)
    ours, clones, trees = [], [], []
    for number in range(ROUNDS):
        ours.append(await _workspace(sandbox, vault, origin))
        clones.append(await _git(folder, "clone", "-q", f"file://{repository}", f"clone{number}"))
        tree = folder / f"tree{number}"
        trees.append(await _git(repository, "worktree", "add", "-q", "--detach", str(tree)))
    return [
        Row(
            what=f"workspace of {FILES:,} files from a warm mirror, the branch looked up again",
            value=median(ours),
            unit="s",
            limit=1,
            baseline=f"full clone {median(clones):.2f} s, bare worktree add {median(trees):.2f} s",
            note=f"{spread(ours, 2)}; with a cold mirror {cold:.2f}",
        )
    ]


async def _workspace(sandbox: Sandbox, vault: Vault, origin: Origin) -> float:
    """Left in place, as clones and trees are: ext4 without a journal passes over each file that
    was deleted in the last minutes when it makes a new one, which takes ten times as long."""
    began = time.monotonic()
    base, _ = await vault.fetch(origin, None)
    folder = sandbox.new_folder("bench")
    await vault.checkout(base, folder)
    await asyncio.to_thread(sandbox.adopt, folder)
    paths = await vault.list(base)
    took = time.monotonic() - began
    assert len(paths) == FILES
    assert sum(len(files) for _, _, files in os.walk(folder)) == FILES
    return took


def _repository(folder: Path) -> Path:
    for number in range(FILES):
        file = folder / f"part{number % FOLDERS}" / f"module{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"def name_{number}_{line}(): return {line * number}\n" for line in range(60))
        file.write_text("".join(lines))
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder, check=True)
    for number in range(COMMITS):
        with (folder / "part0" / "module0.py").open("a") as file:
            file.write(f"# {number}\n")
        subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
        commit = ["git", *identity, "commit", "-qm", f"Change {number}"]
        subprocess.run(commit, cwd=folder, check=True)
    return folder


async def _git(cwd: Path, *arguments: str) -> float:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec("git", *arguments, cwd=cwd)
    assert await process.wait() == 0
    return time.monotonic() - began


async def _packages(settings: Settings, folder: Path) -> list[Row]:
    what = "packages of the sample project by uv, warm cache, new lock file"
    sandbox = make_sandbox(settings)
    installer = make_installer(settings, sandbox)
    project = script.repository(folder / "project")
    lock = project / "requirements-dev.txt"
    ours, again = [], []
    for number in range(ROUNDS + 1):
        with lock.open("a") as file:
            file.write(f"# {number}\n")  # another lock file, the same packages
        installed = await installer.install(project, project="bench/packages")
        if installed.record.problem:
            return [skipped(what, installed.record.problem)]
        ours.append(installed.record.seconds)
        again.append((await installer.install(project, project="bench/packages")).record.seconds)
    theirs = [await asyncio.to_thread(_pip, folder, lock) for _ in range(PIP_ROUNDS + 1)][1:]
    known = [each for each in theirs if each is not None]
    base = f"pip, warm cache, no sandbox {median(known):.1f} s" if known else "pip: it failed"
    factor = f"{median(known) / median(ours[1:]):.0f} times faster; " if known else ""
    return [
        Row(
            what=what,
            value=median(ours[1:]),
            unit="s",
            baseline=base,
            note=f"{factor}in the sandbox, through the proxy; cold cache {ours[0]:.1f} s",
        ),
        Row(
            what="packages for a lock file that was installed before",
            value=1000 * median(again),
            unit="ms",
        ),
    ]


def _pip(folder: Path, lock: Path) -> float | None:
    """Seconds of a new environment with the same packages; None when that fails."""
    target = folder / "pip"
    shutil.rmtree(target, ignore_errors=True)
    began = time.monotonic()
    install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(lock)]
    try:
        subprocess.run([sys.executable, "-m", "venv", target], check=True, capture_output=True)
        subprocess.run(
            [target / "bin" / "python", *install], check=True, capture_output=True, timeout=300
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return time.monotonic() - began
