"""Runs renovate on a local repository as somebody would, and reads what it would open."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from agent.maintenance.dependencies.python_index import canonical
from agent.package_sources import PackageSources

PROGRAM = "RENOVATE"  #: variable that names the program, when it is not on the PATH
SECONDS = 300
SOURCES = ("pypi", "npm")
#: Versions of Python and Node themselves, of actions and images: one of these that it does not
#: reach ends its look at a whole repository.
ELSEWHERE = [
    *("python-version", "node-version", "github-releases", "github-tags", "github-runners"),
    *("docker",),
]


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An update of a package. `branch`: where it would be put."""

    package: str
    current: str
    target: str
    branch: str = ""


@dataclass(frozen=True, kw_only=True)
class Renovated:
    offers: tuple[Offer, ...]
    unknown: tuple[str, ...]  #: what it could not look up, and why
    seconds: float

    def branches(self) -> dict[str, list[Offer]]:
        found: dict[str, list[Offer]] = {}
        for offer in self.offers:
            found.setdefault(offer.branch, []).append(offer)
        return found


class Unusable(Exception): ...


def find() -> tuple[str, str]:
    """The program and its version. Raises `Unusable`."""
    program = os.environ.get(PROGRAM) or shutil.which("renovate")
    if not program:
        raise Unusable(f"renovate is neither on the PATH nor named by ${PROGRAM}")
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"renovate does not start: {error}") from error
    if done.returncode:
        raise Unusable(f"renovate does not start: {(done.stderr or done.stdout).strip()[:200]}")
    return program, done.stdout.strip()


def renovate(program: str, repository: Path, sources: PackageSources, folder: Path) -> Renovated:
    """As on a machine of its own: nothing of ours but the registries, and no token at all. It
    looks things up only, which is all that it does without a forge. Raises `Unusable`."""
    report = folder / f"{repository.name}.json"
    began = time.monotonic()
    try:
        done = subprocess.run(
            [program],
            cwd=repository,
            env=_environment(sources, folder, report),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        seconds = time.monotonic() - began
        told = json.loads(report.read_text())["repositories"]["local"]
        found = told["packageFiles"]
    except (OSError, ValueError, LookupError, TypeError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"renovate gave no report on {repository.name}: {error!r:.200}") from error
    offers, unknown = dict[tuple[str, str], Offer](), list[str]()
    for dependency in _dependencies(found):
        name = str(dependency.get("packageName") or dependency.get("depName"))
        source = dependency.get("datasource")
        reason = dependency.get("skipReason")
        if reason == "disabled":
            unknown.append(f"{name} itself: not compared")
        elif reason:
            unknown.append(f"{name}: {reason}")
        unknown += [f"{name}: {each['message']}" for each in dependency.get("warnings", [])]
        for update in dependency.get("updates", []):
            if source not in SOURCES or not update.get("newVersion"):
                unknown.append(f"{name}: {update.get('updateType')} of {source}, not compared")
                continue
            offer = Offer(
                package=canonical(name) if source == "pypi" else name,
                current=dependency.get("lockedVersion") or dependency.get("currentVersion") or "",
                target=update["newVersion"],
                branch=update["branchName"],
            )
            offers[offer.package, offer.target] = offer
    unknown += [f"{each.get('packageName')}: {each['msg']}" for each in told["problems"]]
    unknown += [
        str(line["msg"]) for line in _lines(done.stdout) if "token is required" in line["msg"]
    ]
    return Renovated(
        offers=tuple(offers.values()), unknown=tuple(dict.fromkeys(unknown)), seconds=seconds
    )


def _environment(sources: PackageSources, folder: Path, report: Path) -> dict[str, str]:
    rules: list[dict[str, Any]] = [{"matchDatasources": ELSEWHERE, "enabled": False}]
    rules += [
        {"matchDatasources": [datasource], "registryUrls": [url]}
        for datasource, url in (("pypi", sources.index), ("npm", sources.npm_registry))
        if url.startswith(("http://", "https://"))
    ]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LOG_LEVEL": "warn",
        "LOG_FORMAT": "json",
        "RENOVATE_PLATFORM": "local",
        "RENOVATE_BASE_DIR": str(folder / "base"),
        "RENOVATE_ONBOARDING": "false",
        "RENOVATE_REQUIRE_CONFIG": "optional",
        "RENOVATE_EXTENDS": '["config:recommended"]',
        "RENOVATE_PACKAGE_RULES": json.dumps(rules),
        "RENOVATE_REPORT_TYPE": "file",
        "RENOVATE_REPORT_PATH": str(report),
    }
    if sources.ca_file:
        env["NODE_EXTRA_CA_CERTS"] = str(sources.ca_file)
    return env


def _dependencies(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for files in found.values():
        for file in files:
            yield from cast("list[dict[str, Any]]", file["deps"])


def _lines(log: str) -> Iterator[dict[str, Any]]:
    for line in log.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and "msg" in said:
            yield cast("dict[str, Any]", said)
