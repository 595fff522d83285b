"""Installs what a project declares, before any of its code runs.

The fetch phase has the network, by way of the filtering proxy, but sees only manifests and lock
files and runs no code of packages; what it made is kept by its contents and shown read-only to
every later command, which has no network.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import platform
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent import manifests, node_tools
from agent.errors import SandboxUnusable, ToolFailed
from agent.events import DependenciesReady
from agent.files import WorkspaceFiles, make_enterable
from agent.manifests import JAVASCRIPT, Manifests
from agent.metadata import ROOTS, site_files
from agent.package_sources import (
    CA_FILE,
    INNER,
    PACKAGE_CACHE,
    PYTHON,
    PackageSources,
    environment,
)
from agent.ports import CommandLimits, CommandResult, Mount, Network, Sandbox

_UV = "/run/journeyman/uv"
_LIMITS = CommandLimits(seconds=900, memory_mb=2048, processes=256, disk_mb=8192)
_LAYOUT = "1"  # of what is kept; another one makes all of it anew
_NETWORK_WORDS = ("dns error", "connect", "proxy", "timed out", "ENOTFOUND", "ECONNREFUSED")


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What later commands are given to find the packages."""

    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str]
    record: DependenciesReady


@dataclass(frozen=True, kw_only=True)
class Installer:
    """`cache` is a folder that the sandbox's users can enter; `uv` is the program, None without.
    `shared`: the project whose downloads are used for every other, too."""

    sandbox: Sandbox
    cache: Path
    sources: PackageSources
    uv: Path | None
    shared: str = ""
    _compiling: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def install(self, checkout: Path, *, project: str) -> Installed:
        """Never raises for what the project or the network does: commands run with what is there,
        and the record says what is missing."""
        began = time.monotonic()
        files = WorkspaceFiles(checkout)
        try:
            found = await asyncio.to_thread(manifests.find, files)
            pytest = await asyncio.to_thread(manifests.wants_pytest, files)
        except ToolFailed as error:
            return _nothing(f"The project's manifests cannot be read: {error}", began)
        if found.manager in JAVASCRIPT:
            key = self._key(found, found.manager)
            plan = _Plan(found, found.manager, key, "node_modules", "")
        elif found.manager or (pytest and not found.problem.startswith("Only JavaScript")):
            extra = "pytest" if pytest else ""
            plan = _Plan(found, "uv", self._key(found, extra), "python", extra)
        else:
            return _nothing(found.problem, began)

        kept = self.cache / "kept" / plan.key
        if kept.is_dir():
            os.utime(kept)
            return _installed(plan, kept, began, cached=True)
        try:
            problem = await self._fetch(plan, kept, project)
        except (ToolFailed, SandboxUnusable, OSError) as error:
            problem = f"The project's packages could not be installed: {error}"
        if problem:
            return _nothing(problem, began, manager=plan.tool)
        if plan.tool == "uv":
            task = asyncio.create_task(self._compile(kept))
            self._compiling.add(task)
            task.add_done_callback(self._compiling.discard)
        return _installed(plan, kept, began, cached=False)

    def _key(self, found: Manifests, extra: str) -> str:
        interpreter = Path(PYTHON).resolve().name
        uv = self.uv.stat() if self.uv and self.uv.exists() else None
        facts = (
            *(_LAYOUT, extra, interpreter, platform.machine(), platform.libc_ver()[1]),
            *((str(uv.st_size), str(uv.st_mtime_ns)) if uv else ()),
            *(self.sources.index, *self.sources.extra_indexes, *self.sources.find_links),
            self.sources.npm_registry,
        )
        digest = hashlib.sha256("\0".join(facts).encode())
        digest.update(found.lock)
        return digest.hexdigest()

    async def _fetch(self, plan: _Plan, kept: Path, project: str) -> str:
        """Fills `kept`; returns a sentence when that failed."""
        if plan.tool == "uv" and (self.uv is None or not self.uv.exists()):
            return "The project's packages were not installed: the program `uv` is missing here."
        options = "" if self.sources.index or self.sources.extra_indexes else "--no-index"
        work = self.sandbox.new_folder("fetch")
        target = self.sandbox.new_folder("deps")
        try:
            await asyncio.to_thread(_write_manifests, work, plan.found, self.sources)
            self.sandbox.adopt(work)
            mounts = [
                *await self.tools(project),
                Mount(source=target, target=INNER, writable=True),
            ]
            async with self.sandbox.open(work, mounts=mounts) as box:
                result = await box.exec(
                    ["bash", "-euc", plan.script(options)],
                    env=environment(self.sources),
                    limits=_LIMITS,
                    network=Network.FETCH,
                )
            if result.exit_code or result.stopped:
                return _failure(plan.tool, result)
            if plan.tool == "uv":
                await asyncio.to_thread(_add_project, target / plan.folder, plan.found)
            await asyncio.to_thread(_keep, target, kept)
            return ""
        finally:
            await self.sandbox.remove(work)
            if target.exists():
                await self.sandbox.remove(target)

    async def _compile(self, kept: Path) -> None:
        """Saves every later command the compiling, since none can write here. While the model
        thinks: installing does not wait for it. `-S` keeps packages from running code of theirs."""
        work = self.sandbox.new_folder("compile")
        mount = Mount(source=kept, target=INNER, writable=True)
        compile_all = [
            "nice",
            PYTHON,
            "-I",
            "-S",
            "-m",
            "compileall",
            "-q",
            f"{INNER}/python/lib",
        ]
        try:
            async with self.sandbox.open(work, mounts=[mount]) as box:
                await box.exec(compile_all, limits=_LIMITS)
        except (SandboxUnusable, OSError):
            pass  # it is only about speed, and the next command will say what is wrong
        finally:
            await self.sandbox.remove(work)

    async def tools(self, project: str) -> list[Mount]:
        """What package managers need in the fetch phase, their cache of the project included."""
        packages = self.cache / "packages" / _digest(self.shared or project)
        make_enterable(packages)
        make_enterable(self.cache / "kept")
        mounts = [Mount(source=packages, target=PACKAGE_CACHE, writable=True)]
        if self.uv:
            mounts.append(Mount(source=await asyncio.to_thread(self._shared_uv), target=_UV))
        if self.sources.ca_file and self.sources.ca_file.is_file():
            mounts.append(Mount(source=self.sources.ca_file, target=CA_FILE))
        mounts += [
            Mount(source=folder, target=str(folder))
            for folder in self.sources.folders
            if folder.is_dir()
        ]
        return mounts

    def _shared_uv(self) -> Path:
        """A copy that the sandbox's users can run, wherever ours is installed."""
        assert self.uv is not None
        facts = self.uv.stat()
        shared = self.cache / f"uv-{facts.st_size}-{facts.st_mtime_ns}"
        if not shared.exists():
            temporary = shared.with_suffix(f".{secrets.token_hex(8)}")  # another may copy, too
            shutil.copyfile(self.uv, temporary)
            temporary.chmod(0o755)
            temporary.rename(shared)
        return shared


def _digest(project: str) -> str:
    return hashlib.sha256(project.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Plan:
    found: Manifests
    tool: str
    key: str
    folder: str
    extra: str  #: a package to add when the project does not bring it itself

    def script(self, options: str) -> str:
        if self.tool in JAVASCRIPT:
            return node_tools.script(self.tool, self.found.arguments or (), INNER)
        home = f"{INNER}/{self.folder}"
        install = f"{_UV} pip install --no-build {options} --python {home}"
        if self.found.arguments is None:
            lines = [f"{_UV} sync --frozen --no-install-project --no-install-workspace --no-build"]
            lines[0] += " --all-groups --all-extras"
        else:
            lines = [f"{_UV} venv --python {PYTHON} {home}"]
            if self.found.arguments:
                lines.append(" ".join([install, *self.found.arguments]))
        if self.extra:
            lines.append(f"[ -x {home}/bin/{self.extra} ] || {install} {self.extra}")
        return "\n".join(lines)


def _write_manifests(folder: Path, found: Manifests, sources: PackageSources) -> None:
    files = WorkspaceFiles(folder)
    for name, data in found.files.items():
        if name == "yarn.lock":
            text = data.decode("utf-8", "replace")
            data = node_tools.localized(text, sources.npm_registry).encode()
        files.write(name, data)


def _add_project(home: Path, found: Manifests) -> None:
    files = WorkspaceFiles(home)
    for version in files.listing("lib"):
        site = f"lib/{version.rstrip('/')}/site-packages"
        if files.exists(site):
            for name, text in site_files(found.files.get("pyproject.toml")).items():
                files.write(f"{site}/{name}", text.encode())


def _keep(made: Path, kept: Path) -> None:
    """Puts it in its place at once; another run may have been quicker."""
    made.chmod(0o755)
    with contextlib.suppress(FileExistsError):
        try:
            made.rename(kept)
        except OSError as error:
            if kept.is_dir():
                raise FileExistsError from error
            raise


def _installed(plan: _Plan, kept: Path, began: float, *, cached: bool) -> Installed:
    record = DependenciesReady(
        manager=plan.tool,
        cached=cached,
        seconds=time.monotonic() - began,
        problem=plan.found.problem,
    )
    if plan.tool in JAVASCRIPT:
        mount = Mount(source=kept / plan.folder, target=f"/workspace/{plan.folder}")
        return Installed(mounts=(mount,), env={}, record=record)
    home = f"{INNER}/{plan.folder}"
    env = {
        **_PYTHON_PATH,
        "VIRTUAL_ENV": home,
        "PATH": f"{home}/bin:/usr/local/bin:/usr/bin:/bin",
    }
    return Installed(mounts=(Mount(source=kept, target=INNER),), env=env, record=record)


_PYTHON_PATH: Mapping[str, str] = {"PYTHONPATH": ":".join(ROOTS)}


def _nothing(problem: str, began: float, *, manager: str = "") -> Installed:
    seconds = time.monotonic() - began
    record = DependenciesReady(manager=manager, cached=False, seconds=seconds, problem=problem)
    return Installed(env=_PYTHON_PATH, record=record)


def _failure(tool: str, result: CommandResult) -> str:
    start = "The project's packages could not be installed, and tests run with what is there"
    if result.stopped:
        return f"{start}: `{tool}` was ended by the sandbox ({result.stopped})."
    lines = [line.strip() for line in result.output.splitlines() if line.strip()]
    said = " ".join(_telling(lines))[:600]
    if any(word in said for word in _NETWORK_WORDS):
        return f"{start}: `{tool}` could not reach a package registry of this machine: {said}"
    return f"{start}: `{tool}` says: {said}"


def _telling(lines: Sequence[str]) -> Sequence[str]:
    starts = [
        i for i, line in enumerate(lines) if line.lower().startswith(("error", "npm err", "×"))
    ]
    return lines[starts[0] :] if starts else lines[-5:]
