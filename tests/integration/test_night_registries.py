"""Nights with a registry that is down, slow or gives nonsense, and with hostile manifests: real
package managers, a registry on the loopback."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from registry import HTML, JSON, Answer, Registry, integrity, serving
from test_nightly_updates import Bench

import agent.maintenance.dependencies.shop as shop_module
from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.fetch_access import FetchAccess
from agent.adapters.git_vault import GitVaults
from agent.adapters.package_config import RegistryEndpoints, find_uv, read_sources
from agent.dependencies import Installer
from agent.maintenance.dependencies.task import dependencies
from agent.maintenance.night import TaskReport

PIP = {"requirements.txt": "gadget==1.0.0\n", "main.py": "import gadget\n"}


def npm(url: str) -> dict[str, str]:
    package = {"name": "x", "version": "1.0.0", "dependencies": {"gadget": "1.0.0"}}
    entry = {
        "version": "1.0.0",
        "resolved": f"{url}/files/gadget-1.0.0.tgz",
        "integrity": integrity("1.0.0"),
    }
    lock = {
        "name": "x",
        "version": "1.0.0",
        "lockfileVersion": 3,
        "packages": {"": package, "node_modules/gadget": entry},
    }
    return {"package.json": json.dumps(package), "package-lock.json": json.dumps(lock)}


@dataclass
class Line:
    """One project a call, on a machine whose registry is this one."""

    registry: Registry
    home: Path

    async def night(self, files: Mapping[str, str], url: str = "") -> TaskReport:
        url = url or self.registry.url
        env = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": f"{url}/simple"}
        sources = read_sources({**env, "npm_config_registry": url})
        access = FetchAccess(self.home / "fetch", RegistryEndpoints(sources))
        sandbox = BubblewrapSandbox(self.home / "sandbox", fetch=access)
        cache = self.home / "cache"
        installer = Installer(sandbox=sandbox, cache=cache, sources=sources, uv=find_uv())
        bench = Bench(sandbox, installer, GitVaults(self.home / "vaults"), self.home)
        sample = self.home / f"sample-{time.monotonic_ns()}"
        for name, text in files.items():
            (sample / name).parent.mkdir(parents=True, exist_ok=True)
            (sample / name).write_text(text)
        return await dependencies(await bench.night(sample))


@pytest.fixture
def line(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Package managers ask once here."""
    once = {"npm_config_fetch_retries": "0", "UV_HTTP_RETRIES": "0"}
    monkeypatch.setattr(shop_module, "_QUIET", {**shop_module._QUIET, **once})
    home = open_folder / f"line-{time.monotonic_ns()}"
    home.mkdir()
    home.chmod(0o711)
    with serving() as registry:
        yield Line(registry, home)


@pytest.fixture
def hasty(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing usable is to come, what is waited for is not waited for long."""
    brief = {"npm_config_fetch_timeout": "1500", "UV_HTTP_TIMEOUT": "1"}
    monkeypatch.setattr(shop_module, "_QUIET", {**shop_module._QUIET, **brief})


def files_of(kind: str, line: Line) -> dict[str, str]:
    return PIP if kind == "pip" else npm(line.registry.url)


@pytest.mark.parametrize("kind", ["pip", "npm"])
async def test_with_a_registry_that_works_the_update_is_found_and_kept(
    line: Line, kind: str
) -> None:
    report = await line.night(files_of(kind, line))

    assert [(each.package, each.target) for each in report.updates] == [("gadget", "1.1.0")]
    assert len(report.groups) == 1


async def test_a_package_that_is_up_to_date_counts_as_checked(line: Line) -> None:
    newest = {n: t.replace("1.0.0", "1.1.0") for n, t in npm(line.registry.url).items()}
    report = await line.night(newest)
    assert report.updates == report.problems == ()
    assert not [each for each in report.not_checked if "gadget" in each or "Updates" in each]


WRONG: Mapping[str, Answer | bool] = {
    "down": (503, HTML, b"away"),
    "stalls": True,
    "html": (200, HTML, b"<html><h1>Sign in to the guest network</h1></html>"),
    "garbage": (200, JSON, b'{"versions": {"1.1.0": [[[' + b"\xff" * 200),
    "odd": (200, JSON, b'{"versions": 7, "dist-tags": ["latest"]}'),
    "huge": (200, JSON, b'{"a": "' + b"x" * 60_000_000 + b'"}'),
}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("kind", ["pip", "npm"])
async def test_a_registry_that_gives_nothing_usable_is_not_checked_and_changes_nothing(
    line: Line, kind: str, wrong: str
) -> None:
    line.registry.wrong = lambda path: WRONG[wrong]
    report = await line.night(files_of(kind, line))

    assert line.registry.asked
    assert report.status in ("failed", "partial")
    assert report.groups == report.updates == ()
    assert any(
        "not checked" in each or "not looked for" in each
        for each in (*report.not_checked, *report.problems)
        if "ulnerabilities" not in each
    )


@pytest.mark.parametrize("kind", ["pip", "npm"])
async def test_a_registry_that_refuses_connections_is_not_checked(line: Line, kind: str) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        report = await line.night(
            files_of(kind, line), f"http://127.0.0.1:{taken.getsockname()[1]}"
        )
    assert report.groups == report.updates == ()
    assert report.status == "failed"
    assert any(each.startswith(f"Updates of {kind}: not checked") for each in report.not_checked)


@pytest.mark.slow  # installers try again for up to a minute
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("kind", ["pip", "npm"])
@pytest.mark.parametrize("cut", [True, False])
async def test_an_archive_that_is_cut_off_or_not_what_was_promised_is_not_published(
    line: Line, kind: str, cut: bool
) -> None:
    def wrong(path: str) -> Answer | bool:
        if "1.1.0" not in path:
            return False
        whole = line.registry.answer(path)
        assert whole is not None
        return whole[0], whole[1], whole[2][:-40] if cut else b"other" * 100

    line.registry.wrong = wrong
    report = await line.night(files_of(kind, line))

    assert report.groups == report.updates == ()
    assert report.left_out or report.not_checked or report.problems


async def test_one_registry_that_is_down_does_not_keep_back_the_other(line: Line) -> None:
    line.registry.wrong = lambda path: (503, HTML, b"") if path == "/gadget" else False
    report = await line.night({**PIP, **npm(line.registry.url)})
    assert report.status == "partial"
    assert [(each.ecosystem, each.target) for each in report.updates] == [("pip", "1.1.0")]
    assert any(each.startswith("Updates of npm: not checked") for each in report.not_checked)


async def test_odd_names_are_told_and_reach_neither_tool_nor_registry(line: Line) -> None:
    odd = ["a;touch x", "$(touch x)", "--global", "-g", "a\nb", "l\u043edash", "a b", "../x", "`x`"]
    files = npm(line.registry.url)
    package, lock = (json.loads(files[name]) for name in ("package.json", "package-lock.json"))
    package["dependencies"] |= dict.fromkeys(odd, "1.0.0")
    lock["packages"] |= {f"node_modules/{name}": {"version": "1.0.0"} for name in odd}
    files = {"package.json": json.dumps(package), "package-lock.json": json.dumps(lock)}
    report = await line.night(files)
    told = [each for each in report.not_checked if "no name of an npm package" in each]
    assert len(told) == len(odd)
    assert {each.package for each in report.updates} <= {"gadget"}
    assert "touch" not in str(line.registry.asked)
