"""Commands in namespaces of their own, by bubblewrap: an almost empty root, no network, no
environment, limits on everything, and nothing alive afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agent.adapters import bubblewrap_args as arguments
from agent.adapters import seccomp
from agent.adapters.cgroups import Group, Parents, find_parents
from agent.adapters.fetch_access import FetchAccess
from agent.adapters.sandbox_owner import Owner
from agent.adapters.sandbox_process import Ended, run
from agent.adapters.sandbox_start import Start, end_strays
from agent.adapters.sandbox_users import SandboxUsers, own
from agent.adapters.watchdog import Disk
from agent.errors import SandboxUnusable, ToolFailed
from agent.files import make_enterable
from agent.ports import Check, CommandLimits, CommandResult, Mount, Network

#: Users for the boxes of a service that root started: between those of systemd's dynamic users
#: and those handed out for containers, so that they are nobody else's.
DEFAULT_UIDS = range(71_000, 71_064)

_TOOLS = {
    arguments.BWRAP: "bubblewrap",
    "/usr/bin/setpriv": "util-linux",
}


class BubblewrapSandbox:
    """Workspaces live below `folder`, which the users in `uids` have to be able to enter when the
    service runs as root. `toolchains` are further folders that commands may read, shown at the
    same path. Without `fetch` there is never a network."""

    name = "bubblewrap"

    def __init__(
        self,
        folder: Path,
        *,
        fetch: FetchAccess | None = None,
        toolchains: Sequence[Path] = (),
        uids: range = DEFAULT_UIDS,
    ) -> None:
        self.folder = folder.absolute()
        self.fetch = fetch
        self.toolchains = tuple(toolchains)
        self.users = SandboxUsers(self.folder / "users", uids)
        self._owner = Owner(self.folder / "owners")

    async def check(self) -> Sequence[Check]:
        from agent.adapters.sandbox_check import check

        return await check(self)

    def new_folder(self, name: str) -> Path:
        work = self.host.work
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60]
        folder = Path(tempfile.mkdtemp(prefix=f"{plain}-{self._owner.name}-", dir=work))
        self.users.give(folder)
        return folder

    def adopt(self, folder: Path) -> None:
        self.users.give(folder)

    @contextlib.asynccontextmanager
    async def open(
        self, workspace: Path, *, mounts: Sequence[Mount] = ()
    ) -> AsyncGenerator[BubblewrapBox]:
        host = self.host
        with self.users.hold(workspace) as uid:
            group = None
            if host.parents:
                group = Group(host.parents)
                group.create()
            try:
                yield BubblewrapBox(self, workspace, uid, group, mounts)
            finally:
                if group:
                    group.remove()

    async def remove(self, folder: Path) -> None:
        if self.host.work not in folder.parents:
            raise ValueError(f"{folder} is not a folder of the sandbox")
        removing = asyncio.create_task(asyncio.to_thread(_remove, folder))
        try:
            await asyncio.shield(removing)
        finally:  # whoever is cancelled meanwhile leaves no thread at work on it
            await removing

    def sweep(self) -> int:
        """Removes what processes that were killed have left; how much that was."""
        left = self._owner.left(self.host.work)
        for folder in left:
            _remove(folder)
        self._owner.forget()
        return len(left)

    @cached_property
    def host(self) -> Host:
        """What is the same for every command, found out at the first one."""
        missing = {package for path, package in _TOOLS.items() if not Path(path).exists()}
        if missing:
            raise SandboxUnusable(
                "The sandbox needs what is not installed here, and nothing runs without it: run"
                f" `apt-get install {' '.join(sorted(missing))}`, or the like of your system."
            )
        work, etc = self.folder / "work", self.folder / "etc"
        make_enterable(work)
        make_enterable(etc)
        if self.users.needed:
            self._refuse_closed_parents()
        arguments.write_own_etc(etc)
        end_strays()
        return Host(
            work=work,
            fixed=tuple(arguments.fixed_arguments(etc, self.toolchains)),
            seccomp=seccomp.program(),
            parents=find_parents(),
        )

    def _refuse_closed_parents(self) -> None:
        for parent in (self.folder, *self.folder.parents):
            if not parent.stat().st_mode & 0o001:
                raise SandboxUnusable(
                    f"The sandbox's users cannot enter {parent}, which holds the sandbox's folder"
                    f" {self.folder}. Give the sandbox a folder elsewhere, for example below"
                    " /var/lib, or start the service as an ordinary user."
                )


@dataclass(frozen=True, kw_only=True)
class Host:
    work: Path
    fixed: tuple[str, ...]
    seccomp: bytes
    parents: Parents | None  #: None: limits on memory and processes are watched, not enforced


class BubblewrapBox:
    """The commands of one run, each in new namespaces, all as the same user."""

    def __init__(
        self,
        sandbox: BubblewrapSandbox,
        workspace: Path,
        uid: int | None,
        group: Group | None,
        mounts: Sequence[Mount],
    ) -> None:
        self._sandbox = sandbox
        self._workspace = workspace
        self._uid = uid
        self._group = group
        self._mounts = tuple(mounts)
        self._limited: CommandLimits | None = None
        self._disk = Disk(self._writable(self._mounts))
        self._owned: set[Path] = set()

    async def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        limits: CommandLimits | None = None,
        network: Network = Network.NONE,
        mounts: Sequence[Mount] = (),
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        limits = limits or CommandLimits()
        env = env or {}
        mounts = (*self._mounts, *mounts)
        async with contextlib.AsyncExitStack() as stack:
            if network is Network.FETCH:
                if self._sandbox.fetch is None:
                    raise ToolFailed("This sandbox has no access to package registries.")
                door = await stack.enter_async_context(self._sandbox.fetch.open(self._uid))
                argv, env, mounts = door.wrap(argv), {**door.env, **env}, (*mounts, *door.mounts)
            start = self._start(argv, cwd, env, limits, mounts)
            ended = await run(
                start, limits, group=self._group, disk=self._disk, on_output=on_output
            )
        return _result(ended, cwd)

    def _start(
        self,
        argv: Sequence[str],
        cwd: str,
        env: Mapping[str, str],
        limits: CommandLimits,
        mounts: Sequence[Mount],
    ) -> Start:
        if not argv or not _plain([*argv, cwd, *env, *env.values()]):
            raise ToolFailed("The command is empty, or has a NUL or half a character in it.")
        for mount in mounts:
            if mount.writable and mount.source not in self._owned:
                own(mount.source, self._uid)
                self._owned.add(mount.source)
        if self._group and self._limited != limits:
            self._group.limit(limits)
            self._limited = limits
        host = self._sandbox.host
        return Start(
            prefix=self._sandbox.users.prefix(self._uid),
            arguments=[
                *host.fixed,
                *arguments.command_arguments(self._workspace, cwd, env, mounts),
            ],
            limits=arguments.kernel_limits(limits, data=self._group is None, nproc=_COUNTED_INSIDE),
            argv=argv,
            seccomp=host.seccomp,
        )

    def _writable(self, mounts: Sequence[Mount]) -> list[Path]:
        return [self._workspace, *(mount.source for mount in mounts if mount.writable)]


def _counts_processes_by_namespace(release: str) -> bool:
    """From Linux 5.14 on, the limit on processes counts those of the namespace, not all of the
    user's on the host."""
    numbers = re.findall(r"\d+", release)[:2]
    return tuple(map(int, numbers)) >= (5, 14)


_COUNTED_INSIDE = _counts_processes_by_namespace(platform.release())


def _plain(words: Sequence[str]) -> bool:
    try:
        return not any(b"\0" in os.fsencode(word) for word in words)
    except UnicodeEncodeError:
        return False


def _result(ended: Ended, cwd: str) -> CommandResult:
    output = ended.output.text()
    if not ended.started:
        reason = output.strip().removeprefix("bwrap: ")
        if "Can't chdir" in reason:
            raise ToolFailed(f"The folder {cwd} does not exist in the workspace.")
        raise SandboxUnusable(unusable(reason))
    return CommandResult(
        exit_code=ended.exit_code,
        output=output,
        total_bytes=ended.output.total,
        seconds=ended.seconds,
        cpu_seconds=ended.cpu_seconds,
        stopped=ended.stopped,
    )


def unusable(reason: str) -> str:
    """What bubblewrap's own complaint means for the person who runs this host."""
    advice = "Run `journeyman sandbox check` to see what is missing."
    lower = reason.lower()
    if "namespace" in lower or "uid map" in lower or "operation not permitted" in lower:
        advice = (
            "Unprivileged user namespaces seem to be turned off: set `sysctl -w"
            " kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000`; on Ubuntu 24.04"
            " install the AppArmor profile `bwrap-userns-restrict` or set `sysctl -w"
            " kernel.apparmor_restrict_unprivileged_userns=0`; in a container start it with"
            " `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`."
        )
    return f"The sandbox could not be set up, and nothing was run: {reason}. {advice}"


def _remove(folder: Path) -> None:
    """With rm(1), which neither follows links nor minds how deep a hostile tree is."""
    remove = ["/usr/bin/rm", "-rf", "--", str(folder)]
    clean = {"PATH": "/usr/bin:/bin"}
    if subprocess.run(remove, env=clean, stderr=subprocess.DEVNULL, check=False).returncode:
        subprocess.run(["/usr/bin/chmod", "-R", "u+rwX", "--", str(folder)], env=clean, check=False)
        subprocess.run(remove, env=clean, check=False)
