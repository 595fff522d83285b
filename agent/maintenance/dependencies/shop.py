"""Where a package manager works on a project's manifests: it sees them and nothing else, reaches
its registry through the filtering proxy, and runs no code of packages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.dependencies import Installer
from agent.errors import ToolFailed, Unavailable
from agent.files import WorkspaceFiles
from agent.package_sources import environment
from agent.ports import Box, CommandLimits, Mount, Network, Sandbox

UV = "/run/journeyman/uv"
NIGHT = "/night"  #: inside: what we hand in and get out, apart from the manifests
LARGEST = 16 * 2**20  #: bytes of a manifest or an answer
_LIMITS = CommandLimits(seconds=180, memory_mb=2048, processes=256, disk_mb=1024)
_DOWN = re.compile(
    r"dns error|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ERR_SOCKET_TIMEOUT"
    r"|tunneling socket|error sending request|refused by the sandbox's proxy|connection (?:failed"
    r"|refused|reset)|timed out|operation timeout|HTTP status server error|\b50[0234]\b"
    r"|invalid json|Failed to deserialize|Couldn't parse metadata|no such host|could not resolve"
    r"|Unknown host",
    re.IGNORECASE,
)


_SOURCE = re.compile(
    rb"""\bregistry *= *"([^"]*)"|(?:"?\bresolved"?:? *"|\btarball: *)https?://([^/"@, }]*)"""
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`out` is what the program answered, `err` what it said besides."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Shop:
    folder: Path
    files: WorkspaceFiles
    given: Mapping[str, bytes]  #: the manifests at the base
    indexed: bool  #: False: this machine has no index of Python packages, only local folders
    index: str  #: of Python packages; empty: none
    npm_registry: str  #: empty: npm's own default
    #: for what writes a lock file: folders of this machine have no place in it
    remote: Mapping[str, str]
    _out: Path
    _box: Box
    _env: Mapping[str, str]

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        ok: Sequence[int] = (0,),
        network: Network = Network.FETCH,
        called: str = "",
    ) -> Answer:
        """Each word of `argv` is one argument. Raises `Unavailable` when the registry is the
        cause, and `ToolFailed`, in the program's own words, for any other end than those in
        `ok`. `called`: the program to name there when another one runs it."""
        script = f'"$@" >{NIGHT}/answer'
        result = await self._box.exec(
            ["bash", "-c", script, "sh", *argv],
            env={**self._env, **(env or {})},
            limits=_LIMITS,
            network=network,
        )
        answer = WorkspaceFiles(self._out).read("answer", LARGEST) if not result.stopped else b""
        out, err = answer.decode("utf-8", "replace"), result.output
        name = called or Path(argv[0]).name
        if result.stopped:
            raise Unavailable(
                f"`{name}` was ended by the sandbox ({result.stopped}) before it had answered."
            )
        if result.exit_code == 127 and not out:
            raise ToolFailed(f"`{name}` is not installed here.")
        if result.exit_code not in ok:
            said = telling(err) or telling(out)
            if is_down(err) or is_down(out[:4000]):
                raise Unavailable(f"`{name}` could not use its registry: {said}")
            raise ToolFailed(f"`{name}` says: {said}")
        return Answer(code=result.exit_code, out=out, err=err)

    def hand_in(self, name: str, text: str) -> str:
        """A file beside the manifests; returns its path inside."""
        WorkspaceFiles(self._out).write(name, text.encode())
        return f"{NIGHT}/{name}"

    def handed_out(self, name: str) -> bytes:
        """What a program put beside the manifests; of a larger file than `LARGEST` the start."""
        return WorkspaceFiles(self._out).read(name, LARGEST)

    def text(self, path: str) -> str:
        return self.files.read(path, LARGEST).decode("utf-8", "replace")

    def result(self, mine: Sequence[str]) -> dict[str, bytes]:
        """The manifests that were changed. Raises `ToolFailed` when anything else was touched, or
        one of them was emptied or removed."""
        now = _walk(self.files)
        strange = sorted(
            path
            for path in now.keys() | self.given.keys()
            if path not in mine and now.get(path) != self.given.get(path)
        )
        if strange:
            raise ToolFailed(
                f"It changed files that are neither manifests nor lock files of its own"
                f" ({', '.join(strange[:5])}), and was refused."
            )
        for path in mine:
            if self.given.get(path, b"").strip() and not now.get(path, b"").strip():
                raise ToolFailed(f"It emptied {path}, and was refused.")
        changed = {p: now[p] for p in mine if p in now and now[p] != self.given[p]}
        for path, data in changed.items():
            if len(data) >= LARGEST:  # more was not read
                raise ToolFailed(f"{path} would be larger than {LARGEST // 2**20} MB.")
            before = _sources(self.given[path])
            if before and (new := _sources(data) - before):
                named = ", ".join(sorted(new)[:3])
                raise ToolFailed(
                    f"{path} would name another registry than before ({named}), since this machine"
                    " is configured to use it; that is left to people."
                )
        return changed


@asynccontextmanager
async def opened(
    given: Mapping[str, bytes], *, sandbox: Sandbox, installer: Installer, project: str
) -> AsyncGenerator[Shop]:
    """A shop with the manifests as they are at the base; thrown away afterwards."""
    folder, out = sandbox.new_folder("shop"), sandbox.new_folder("night-out")
    try:
        files = WorkspaceFiles(folder)
        for path, data in given.items():
            files.write(path, data)
        await asyncio.to_thread(sandbox.adopt, folder)
        mounts = [
            *await installer.tools(project),
            Mount(source=out, target=NIGHT, writable=True),
        ]
        async with sandbox.open(folder, mounts=mounts) as box:
            yield Shop(
                folder=folder,
                files=files,
                given=given,
                indexed=bool(installer.sources.index or installer.sources.extra_indexes),
                index=installer.sources.index,
                npm_registry=installer.sources.npm_registry,
                remote={
                    "UV_INDEX": " ".join(
                        each
                        for each in installer.sources.extra_indexes
                        if each.startswith(("http://", "https://"))
                    ),
                    "UV_FIND_LINKS": "",
                },
                _out=out,
                _box=box,
                _env={**environment(installer.sources), **_QUIET},
            )
    finally:
        await sandbox.remove(folder)
        await sandbox.remove(out)


_QUIET: Mapping[str, str] = {
    "npm_config_ignore_scripts": "true",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_fetch_retries": "1",
    "npm_config_fetch_timeout": "30000",
    "npm_config_logs_max": "0",
    "UV_HTTP_TIMEOUT": "30",
    "NO_COLOR": "1",
}


def _sources(data: bytes) -> set[str]:
    """The registries that a lock file of uv, npm, pnpm or Yarn says packages come from."""
    found = (match[1] or match[2] for match in _SOURCE.finditer(data))
    return {source.decode("utf-8", "replace").lower() for source in found}


def is_down(said: str) -> bool:
    """Whether a registry is the cause of what a package manager complains about."""
    return _DOWN.search(said) is not None


def telling(text: str) -> str:
    """What a program says went wrong, in one line that is not long."""
    lines = [line.strip(" \t×╰─▶├│") for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("npm warn", "warning:"))]
    starts = [i for i, line in enumerate(lines) if re.match(r"error|npm err", line, re.IGNORECASE)]
    kept = lines[starts[0] :] if starts else lines[-6:]
    kept = [line for line in kept if "complete log of this run" not in line]
    return re.sub(r"\s+", " ", " ".join(kept))[:400]


def _walk(files: WorkspaceFiles, folder: str = ".", depth: int = 0) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name in files.listing(folder):
        path = name if folder == "." else f"{folder}/{name}"
        if name.endswith("/"):
            if depth < 8 and len(found) < 10_000:
                found |= _walk(files, path.rstrip("/"), depth + 1)
        else:
            try:
                found[path] = files.read(path, LARGEST)
            except ToolFailed:
                found[path] = b""  # a link or a pipe: not what was there
    return found
