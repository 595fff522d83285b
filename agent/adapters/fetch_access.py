"""Opens the way to the package registries for one command of the fetch phase."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.adapters import fetch_forwarder
from agent.adapters.fetch_proxy import Access, FilteringProxy
from agent.adapters.fetch_rules import Endpoint
from agent.files import make_enterable
from agent.ports import Mount

_PYTHON = "/usr/bin/python3"
_PORT = 3128
_INSIDE = "/run/journeyman"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Door:
    """What a command needs to use the proxy."""

    mounts: tuple[Mount, ...]
    env: Mapping[str, str]

    def wrap(self, argv: Sequence[str]) -> list[str]:
        forwarder = f"{_INSIDE}/forwarder.py"
        return [_PYTHON, "-I", "-S", forwarder, f"{_INSIDE}/proxy.sock", str(_PORT), *argv]


class FetchAccess:
    """`endpoints` tells, when first needed, where packages may come from. `folder` is one that
    the sandbox's users can enter."""

    def __init__(
        self,
        folder: Path,
        endpoints: Callable[[], Awaitable[Sequence[Endpoint]]],
        *,
        log: Callable[[Access], None] | None = None,
    ) -> None:
        self._folder = folder
        self._endpoints = endpoints
        self._log = log or _to_log

    @contextlib.asynccontextmanager
    async def open(self, uid: int | None) -> AsyncGenerator[Door]:
        endpoints = await self._endpoints()
        make_enterable(self._folder)
        with tempfile.TemporaryDirectory(prefix="fetch-", dir=self._folder) as name:
            folder = Path(name)
            folder.chmod(0o711)
            # a copy, since the users of the sandbox may be unable to read our own code
            forwarder = folder / "forwarder.py"
            forwarder.write_bytes(Path(fetch_forwarder.__file__).read_bytes())
            forwarder.chmod(0o644)
            path = folder / "proxy.sock"
            async with FilteringProxy(path, endpoints, uid=uid, log=self._log):
                yield Door(
                    mounts=(
                        Mount(source=forwarder, target=f"{_INSIDE}/forwarder.py"),
                        Mount(source=path, target=f"{_INSIDE}/proxy.sock"),
                    ),
                    env=_environment(),
                )


def _environment() -> dict[str, str]:
    url = f"http://127.0.0.1:{_PORT}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    env = {name: url for each in names for name in (each, each.lower())}
    return {**env, "NO_PROXY": "", "no_proxy": "", "npm_config_noproxy": ""}


def _to_log(access: Access) -> None:
    level = logging.INFO if access.allowed else logging.WARNING
    _log.log(level, "fetch", extra={"access": access})
