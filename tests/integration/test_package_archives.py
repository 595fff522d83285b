"""Archives of packages, fetched the way updates are: real npm and the sandbox's proxy, a registry
on the loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.fetch_access import FetchAccess
from agent.adapters.package_config import RegistryEndpoints, find_uv, read_sources
from agent.dependencies import Installer
from agent.errors import ToolFailed, Unavailable
from agent.maintenance.dependencies import shop as shop_module
from agent.maintenance.dependencies.archives import read
from agent.maintenance.dependencies.shop import opened
from agent.maintenance.dependencies.source import archive
from agent.maintenance.night import Update
from tests.integration.registry import HTML, Registry, packed, serving

LOG = "## 2.0.0\nThe old function is gone.\n"
BOTH = pytest.mark.parametrize("kind", ["pip", "npm"])


@dataclass
class Counter:
    registry: Registry
    home: Path

    async def fetch(self, kind: str, package: str = "gadget", target: str = "2.0.0") -> bytes:
        url = self.registry.url
        env = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": f"{url}/simple"}
        sources = read_sources({**env, "npm_config_registry": url})
        access = FetchAccess(self.home / "fetch", RegistryEndpoints(sources))
        sandbox = BubblewrapSandbox(self.home / "sandbox", fetch=access)
        cache = self.home / "cache"
        installer = Installer(sandbox=sandbox, cache=cache, sources=sources, uv=find_uv())
        update = Update(
            ecosystem=kind,
            package=package,
            current="1.0.0",
            target=target,
            level="major",
            direct=True,
            manifest="package.json",
        )
        given = {"package.json": b'{"name": "x", "scripts": {"prepack": "touch /night/ran"}}'}
        async with opened(given, sandbox=sandbox, installer=installer, project="x") as shop:
            data = await archive(shop, update)
            with pytest.raises(ToolFailed):
                shop.handed_out("ran")
            return data


@pytest.fixture
def counter(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    quick = {"npm_config_fetch_retries": "0", "npm_config_fetch_timeout": "1500"}
    monkeypatch.setattr(shop_module, "_QUIET", {**shop_module._QUIET, **quick})
    home = open_folder / f"counter-{time.monotonic_ns()}"
    home.mkdir()
    home.chmod(0o711)
    with serving() as registry:
        registry.newest, registry.changelog = "2.0.0", LOG
        yield Counter(registry, home)


@BOTH
async def test_the_archive_of_a_package_has_its_changelog(counter: Counter, kind: str):
    assert read(await counter.fetch(kind)).logs == (LOG,)
    assert not [each for each in counter.registry.asked if "its-code-was-run" in each]


async def test_without_a_source_the_wheel_tells_what_it_can(counter: Counter):
    counter.registry.changelog = ""
    assert read(await counter.fetch("pip")).modules == ("gadget",)


@BOTH
async def test_another_file_than_the_one_that_is_named_is_not_taken(counter: Counter, kind: str):
    other = packed({"package/CHANGELOG.md": "## 2.0.0\nTrust me.\n"})
    counter.registry.wrong = lambda path: (
        (200, "application/octet-stream", other) if "/files/" in path else False
    )
    with pytest.raises((ToolFailed, Unavailable)):
        await counter.fetch(kind)


@BOTH
@pytest.mark.parametrize("status", [404, 503, 200])
async def test_a_registry_without_an_answer_is_said(counter: Counter, kind: str, status: int):
    counter.registry.wrong = lambda path: (status, HTML, b"<h1>Sign in</h1>")
    with pytest.raises((ToolFailed, Unavailable)):
        await counter.fetch(kind)


@BOTH
async def test_a_version_that_nobody_has_is_said(counter: Counter, kind: str):
    with pytest.raises(ToolFailed):
        await counter.fetch(kind, target="3.0.0")


@BOTH
@pytest.mark.parametrize("name", ["--registry=x", "file:.", "a b", "$(id)", "..", "gadget@1", ""])
async def test_what_is_no_name_is_asked_of_nobody(counter: Counter, kind: str, name: str):
    with pytest.raises(ToolFailed, match="unusual"):
        await counter.fetch(kind, package=name)
    with pytest.raises(ToolFailed, match="unusual"):
        await counter.fetch(kind, target=name)
    assert not [each for each in counter.registry.asked if "/pip/" not in each]


async def test_an_index_that_names_a_file_of_this_machine_gets_nothing(counter: Counter):
    page = b'<a href="file:///etc/passwd#/gadget-2.0.0.tar.gz">gadget-2.0.0.tar.gz</a>'
    page += b'<a href="file:///etc/gadget-2.0.0.tar.gz">gadget-2.0.0.tar.gz</a>'
    counter.registry.wrong = lambda path: (200, HTML, page)
    with pytest.raises(ToolFailed):
        await counter.fetch("pip")


async def test_an_index_that_names_another_host_is_held_by_the_proxy(counter: Counter):
    with serving() as other:
        other.newest, other.changelog = "2.0.0", LOG
        page = f'<a href="{other.url}/files/gadget-2.0.0.tar.gz">gadget-2.0.0.tar.gz</a>'.encode()
        counter.registry.wrong = lambda path: (200, HTML, page) if "gadget" in path else False
        with pytest.raises((ToolFailed, Unavailable)):
            await counter.fetch("pip")
        assert other.asked == []
