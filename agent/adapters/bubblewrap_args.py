"""What a sandboxed command sees, as arguments for bubblewrap."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from agent.errors import ToolFailed
from agent.ports import CommandLimits, Mount

WORKSPACE = "/workspace"
BWRAP = "/usr/bin/bwrap"  # not a copy: AppArmor rules name this path
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/home/agent",
    "USER": "agent",
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",
    "TERM": "dumb",
    "CI": "1",
}

# of the host's /etc, only what programs need to start and to speak to nobody in particular
_ETC = """
    alternatives ca-certificates fonts java-11-openjdk java-17-openjdk java-21-openjdk
    ld.so.cache ld.so.conf ld.so.conf.d localtime magic mime.types nsswitch.conf os-release
    protocols python3 services ssl/certs ssl/openssl.cnf
"""
_OWN_ETC: Mapping[str, str] = {
    "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    "agent:x:1000:1000:agent:/home/agent:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "hostname": "sandbox\n",
    "resolv.conf": "",
    "gitconfig": "[user]\n\tname = agent\n\temail = agent@sandbox\n"
    "[safe]\n\tdirectory = *\n[init]\n\tdefaultBranch = main\n",
}
_FIXED = """
    --unshare-user --unshare-ipc --unshare-pid --unshare-net --unshare-uts
    --unshare-cgroup-try --disable-userns --uid 1000 --gid 1000 --hostname sandbox
    --die-with-parent --new-session --cap-drop ALL --clearenv
    --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/sbin /sbin
    --symlink usr/lib /lib --symlink usr/lib64 /lib64
"""
_MB = 1024 * 1024


def write_own_etc(folder: Path) -> None:
    """The files that stand in for the host's own in /etc."""
    for name, text in _OWN_ETC.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)


def fixed_arguments(etc: Path, toolchains: Sequence[Path]) -> list[str]:
    """The part that is the same for every command: namespaces and an almost empty root."""
    arguments = _FIXED.split()
    for name in _ETC.split():
        arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for toolchain in toolchains:
        arguments += ["--ro-bind", str(toolchain), str(toolchain)]
    arguments += (
        "--proc /proc --ro-bind /proc/sys /proc/sys --dev /dev"
        f" --size {256 * _MB} --tmpfs /tmp --size {256 * _MB} --tmpfs /home/agent"
        f" --size {64 * _MB} --tmpfs /dev/shm --size {16 * _MB} --tmpfs /run"
        " --symlink /tmp /var/tmp"
    ).split()
    for name in _OWN_ETC:
        arguments += ["--ro-bind", str(etc / name), f"/etc/{name}"]
    return arguments


def command_arguments(
    workspace: Path, cwd: str, env: Mapping[str, str], mounts: Sequence[Mount]
) -> list[str]:
    """The part of one command. Raises `ToolFailed` for a folder outside the workspace."""
    arguments = ["--bind", str(workspace), WORKSPACE]
    for mount in mounts:
        arguments += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
    for name, value in {**ENVIRONMENT, **env}.items():
        arguments += ["--setenv", name, value]
    return [*arguments, "--remount-ro", "/", "--chdir", inner_folder(cwd)]


def inner_folder(cwd: str) -> str:
    folder = PurePosixPath(WORKSPACE, cwd)
    if ".." in folder.parts or not folder.is_relative_to(WORKSPACE):
        raise ToolFailed(
            f"The folder {cwd} is outside the workspace; commands start in a folder below it,"
            ' given relative to it, for example ".".'
        )
    return str(folder)


def kernel_limits(limits: CommandLimits, *, data: bool, nproc: bool) -> str:
    """The kernel's own limits in the words of a POSIX shell, which sets them inside, where only
    the command's processes count."""
    set_ = [
        "ulimit -c 0",
        f"ulimit -n {_allowed(resource.RLIMIT_NOFILE, 4096)}",
        f"ulimit -f {_allowed(resource.RLIMIT_FSIZE, limits.file_mb * _MB) // 512}",
    ]
    if data:
        set_.append(f"ulimit -d {_allowed(resource.RLIMIT_DATA, limits.memory_mb * _MB) // 1024}")
    if nproc:
        count = _allowed(resource.RLIMIT_NPROC, limits.processes)
        set_.append(f"{{ ulimit -u {count} 2>/dev/null || ulimit -p {count}; }}")  # bash, dash
    return " && ".join(set_)


def _allowed(kind: int, value: int) -> int:
    ceiling = resource.getrlimit(kind)[1]  # our own, which nobody inside may raise
    return value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
