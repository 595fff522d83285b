"""A bench for a night's updates, with real package managers and the registries that this machine
is configured for."""

from __future__ import annotations

import asyncio
import difflib
import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.fetch_access import FetchAccess
from agent.adapters.fetch_rules import Endpoint
from agent.adapters.git_vault import GitVaults
from agent.adapters.package_config import RegistryEndpoints, find_uv, read_sources
from agent.adapters.system_clock import SystemClock
from agent.dependencies import Installer
from agent.maintenance.night import TaskReport
from agent.maintenance.workshop import Night, begin
from agent.package_sources import PackageSources, environment
from agent.ports import Origin
from agent.project import ProjectSettings
from agent.run import CommitSha
from bot.settings import load


@dataclass
class Bench:
    sandbox: BubblewrapSandbox
    installer: Installer
    vaults: GitVaults
    folder: Path

    async def night(self, sample: Path) -> Night:
        repository = self.folder / f"repository-{time.monotonic_ns()}"
        shutil.copytree(sample, repository)
        author = ["-c", "user.name=t", "-c", "user.email=t@t"]
        for words in (["init", "-qb", "main"], ["add", "-A"], [*author, "commit", "-qm", "first"]):
            await run(["git", *words], repository)
        return await begin(
            ProjectSettings(path=str(repository), local=True),
            self.vaults.of(str(repository)),
            Origin(url=str(repository)),
            sandbox=self.sandbox,
            installer=self.installer,
            clock=SystemClock(),
            findings=NoFindings(),
        )


async def run(command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=env)
    assert await process.wait() == 0


def outside(sources: PackageSources) -> dict[str, str]:
    """For uv on the host, which reads neither pip's settings nor the system's certificates."""
    inside = environment(sources)
    mine = {name: inside[name] for name in inside if "INDEX" in name or "LINKS" in name}
    certificates = {"SSL_CERT_FILE": str(sources.ca_file)} if sources.ca_file else {}
    return {**os.environ, **mine, "UV_SYSTEM_CERTS": "1", **certificates}


class NoFindings:
    async def last(self, project: str) -> None:
        return None

    async def keep(self, project: str, findings: object) -> None:
        pass


def open_bench(folder: Path) -> Bench:
    sources = read_sources(load().environment)
    access = FetchAccess(folder / "fetch", RegistryEndpoints(sources))
    sandbox = BubblewrapSandbox(folder / "sandbox", fetch=access)
    installer = Installer(sandbox=sandbox, cache=folder / "cache", sources=sources, uv=find_uv())
    return Bench(sandbox, installer, GitVaults(folder / "vaults"), folder)


def unreachable(bench: Bench) -> str:
    """Which registry of this machine's does not answer; empty when all do."""
    for place in asyncio.run(_endpoints(bench)):
        try:
            socket.create_connection((place.host, place.port), timeout=10).close()
        except OSError as error:
            return f"A package registry cannot be reached from here: {error!r}"
    return ""


async def _endpoints(bench: Bench) -> Sequence[Endpoint]:
    return await RegistryEndpoints(bench.installer.sources)()


def steps(report: TaskReport) -> set[tuple[str, str]]:
    return {(update.package, update.level) for update in report.updates}


def left(report: TaskReport) -> dict[str, str]:
    return {each.update.package: each.reason for each in report.left_out}


async def changed(night: Night, tree: str, path: str) -> list[str]:
    before, after = [
        (await night.vault.read(CommitSha(treeish), path) or b"").decode().splitlines()
        for treeish in (night.base, tree)
    ]
    return [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
