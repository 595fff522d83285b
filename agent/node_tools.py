"""pnpm and Yarn 1, fetched by npm in the version that has written a project's lock file, and how
each of them installs without running code of packages."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from agent.package_sources import PACKAGE_CACHE

YARN = "yarn@1.22.22"
_PNPM = {"5": "pnpm@7.33.7", "6": "pnpm@8.15.9", "9": "pnpm@10.34.9"}  #: by format of the lock file
_NAMED = re.compile(r"pnpm@(?:[7-9]|1\d)\.\d{1,4}\.\d{1,4}(?=\+|$)")
_FORMAT = re.compile(rb"^lockfileVersion: ['\"]?(\d+)\b", re.MULTILINE)
_TARBALL = re.compile(
    r'^  resolved "(https?://[^"\s]*?/)((?:@[^/"\s]+/)?[^/"\s]+/-/[^"\s]+)"$', re.MULTILINE
)
#: No program of the project's is run in pnpm's place, and its store is not linked to.
PNPM_OPTIONS = (
    "--config.manage-package-manager-versions=false",
    "--config.package-manager-strict=false",
    "--config.package-import-method=copy",
    f"--config.store-dir={PACKAGE_CACHE}/pnpm",
    "--ignore-pnpmfile",
    "--ignore-scripts",
)


def pnpm(package: bytes, lock: bytes) -> str:
    """The pnpm of the project, as npm names it; empty for a lock file that none here reads."""
    try:
        data: Any = json.loads(package)
    except (ValueError, RecursionError):
        data = None
    named: Any = (
        cast("dict[str, Any]", data).get("packageManager") if isinstance(data, dict) else None
    )
    if isinstance(named, str) and (match := _NAMED.match(named)):
        return match[0]
    format_ = _FORMAT.search(lock[:4096])
    return _PNPM.get(format_[1].decode(), "") if format_ else ""


def fetched(tool: str, *words: str) -> list[str]:
    """A command of `tool`, which is `name@version`."""
    return ["npm", "exec", "--yes", f"--package={tool}", "--", tool.partition("@")[0], *words]


def installs(manager: str, tool: Sequence[str]) -> list[str]:
    """Fills node_modules with what the lock file says."""
    if manager == "pnpm":
        return fetched(*tool, "install", "--frozen-lockfile", *PNPM_OPTIONS)
    if manager == "yarn":
        options = ("--frozen-lockfile", "--ignore-scripts", "--non-interactive")
        return fetched(*tool, "install", *options, "--production=false")
    # the lock file says what is wanted, by its hash: what is at hand need not be asked for
    return ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]


def script(manager: str, tool: Sequence[str], target: str) -> str:
    install = shlex.join(installs(manager, tool))
    return f"{install} && mkdir -p node_modules && mv node_modules {target}/"


def localized(lock: str, registry: str) -> str:
    """Yarn 1 asks the host that its lock file names: now that is this machine's registry. The
    hashes beside the addresses stay."""
    if not registry:
        return lock
    return _TARBALL.sub(lambda m: f'  resolved "{registry.rstrip("/")}/{m[2]}"', lock)


def delocalized(lock: str, given: str) -> str:
    """The other way round: what was there keeps its address, what is new gets the usual one."""
    known = {match[2]: match[1] for match in _TARBALL.finditer(given)}
    usual = Counter(known.values()).most_common(1)
    if not usual:
        return lock
    return _TARBALL.sub(lambda m: f'  resolved "{known.get(m[2], usual[0][0])}{m[2]}"', lock)
