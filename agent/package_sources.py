"""Where packages may come from, and how package managers are told so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PYTHON = "/usr/bin/python3"  #: the one that commands in the sandbox have
INNER = "/deps"  #: where commands find the packages
PACKAGE_CACHE = "/cache"  #: what package managers keep for a project between two fetches
CA_FILE = "/run/journeyman/ca.pem"
_CA_VARIABLES = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True, kw_only=True)
class PackageSources:
    """Where this machine's own package managers are configured to get packages from."""

    index: str = ""  #: of Python packages; empty: none
    extra_indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()  #: local folders, or pages
    folders: tuple[Path, ...] = ()  #: local folders that indexes and links need
    ca_file: Path | None = None
    npm_registry: str = ""  #: empty: npm's own default


def environment(sources: PackageSources) -> dict[str, str]:
    """For uv, npm, pnpm and Yarn in the fetch phase; what a checkout configures is not asked."""
    env = {
        "UV_CACHE_DIR": f"{PACKAGE_CACHE}/uv",
        "UV_LINK_MODE": "copy",
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_HTTP_RETRIES": "1",
        "UV_PYTHON": PYTHON,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PROJECT_ENVIRONMENT": f"{INNER}/python",
        # as pip does it: all of the machine's indexes count alike
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_SYSTEM_CERTS": "1",
        "npm_config_cache": f"{PACKAGE_CACHE}/npm",
        "npm_config_update_notifier": "false",
        "YARN_CACHE_FOLDER": f"{PACKAGE_CACHE}/yarn",
        "SKIP_YARN_COREPACK_CHECK": "1",
    }
    if sources.index:
        env["UV_DEFAULT_INDEX"] = sources.index
    if sources.extra_indexes:
        env["UV_INDEX"] = " ".join(sources.extra_indexes)
    if sources.find_links:
        env["UV_FIND_LINKS"] = ",".join(sources.find_links)
    if sources.npm_registry:
        names = ("npm_config_registry", "pnpm_config_registry", "YARN_REGISTRY")
        env |= dict.fromkeys(names, sources.npm_registry)
    if sources.ca_file and sources.ca_file.is_file():
        env |= {name: CA_FILE for name in _CA_VARIABLES}
    return env
