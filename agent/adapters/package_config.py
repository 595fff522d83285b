"""Where this machine gets packages from, as its own package managers are configured: the hosts
of the fetch phase are these and no others, so that company mirrors just work."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import importlib
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from agent.adapters.fetch_rules import Endpoint, Scope
from agent.package_sources import PackageSources

_PORTS = {"http": 80, "https": 443}
_ASK_SECONDS = 15
_ANSWER = 16 * 1024 * 1024
_COMMON = "pip"  # a package that an index is likely to have
_HREF = re.compile(r"""href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_NPM = "/usr/bin/npm"
_NPM_SETTINGS = "@npmcli/config/lib/definitions/definitions.js"
_NPM_DEFAULT = re.compile(r"""'registry',\s*\{\s*default:\s*['"`](https?://[^'"`]+)""")


def read_sources(env: Mapping[str, str]) -> PackageSources:
    """From the files of pip, uv and npm, and the variables in `env`."""
    pip, uv, npmrc = _pip(env), _uv(env), _npmrc(env)
    index = uv.get("index") or pip.get("index-url") or ("" if _true(pip, "no-index") else None)
    if index is None:
        index = _default_index()
    extra = [*uv.get("extra", "").split(), *pip.get("extra-index-url", "").split()]
    links = [*re.split(r"[\s,]+", uv.get("links", "")), *pip.get("find-links", "").split()]
    links = list(dict.fromkeys(_absolute(link) for link in links if link))
    ca = pip.get("cert") or env.get("SSL_CERT_FILE") or npmrc.get("cafile")
    return PackageSources(
        index=index,
        extra_indexes=tuple(dict.fromkeys(extra)),
        find_links=tuple(links),
        folders=tuple(_folders([index, *extra, *links])),
        ca_file=Path(ca) if ca else None,
        npm_registry=npmrc.get("registry") or _default_registry(),
    )


def find_uv() -> Path | None:
    """The program that the package `uv` brings along."""
    try:
        return Path(importlib.import_module("uv").find_uv_bin())
    except (ImportError, FileNotFoundError):
        return None


class RegistryEndpoints:
    """The hosts of the fetch phase, found out once: the configured ones, and those that the
    indexes name as holding the files."""

    def __init__(self, sources: PackageSources) -> None:
        self._sources = sources
        self._found: Sequence[Endpoint] | None = None

    async def __call__(self) -> Sequence[Endpoint]:
        if self._found is None:
            self._found = await asyncio.to_thread(self._find)
        return self._found

    def _find(self) -> Sequence[Endpoint]:
        sources = self._sources
        indexes = [url for url in (sources.index, *sources.extra_indexes) if _remote(url)]
        pages = [url for url in sources.find_links if _remote(url)]
        registries = [sources.npm_registry] if sources.npm_registry else []
        found = [_endpoint(url, Scope.ANY) for url in (*indexes, *pages, *registries)]
        for index in indexes:
            for url in _file_urls(index, sources.ca_file):
                if urlsplit(url).scheme == "https" or urlsplit(index).scheme == "http":
                    found.append(_endpoint(url, Scope.NETWORK))
        # the first entry for a host counts: what is configured is not narrowed by what is learned
        unique = {(e.host, e.port, e.tls): e for e in reversed(found) if e is not None}
        return list(unique.values())


def _pip(env: Mapping[str, str]) -> dict[str, str]:
    home = Path(env.get("HOME", "/nonexistent"))
    config = Path(env.get("XDG_CONFIG_HOME", home / ".config"))
    files = [
        *(Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip" / "pip.conf"),
        *(config / "pip" / "pip.conf", Path(sys.prefix, "pip.conf")),
    ]
    if named := env.get("PIP_CONFIG_FILE"):
        files = [] if named == "/dev/null" else [*files, Path(named)]
    parser = configparser.RawConfigParser()
    for file in files:
        with contextlib.suppress(configparser.Error, OSError, UnicodeDecodeError):
            parser.read_string(file.read_text())
    values: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            values |= {name.replace("_", "-"): value for name, value in parser.items(section)}
    variables = {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in env.items()
        if name.startswith("PIP_") and value
    }
    return values | variables


def _uv(env: Mapping[str, str]) -> dict[str, str]:
    home = Path(env.get("HOME", "/nonexistent"))
    config = Path(env.get("XDG_CONFIG_HOME", home / ".config"))
    default, extra, links = "", list[str](), list[str]()
    for file in (Path("/etc/uv/uv.toml"), config / "uv" / "uv.toml"):
        try:
            data = tomllib.loads(file.read_text())
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
            continue
        for entry in cast("list[dict[str, Any]]", data.get("index", [])):
            if entry.get("default"):
                default = str(entry["url"])
            else:
                extra.append(str(entry["url"]))
        default = str(data.get("index-url", default))
        extra += cast("list[str]", data.get("extra-index-url", []))
        links += cast("list[str]", data.get("find-links", []))
    default = env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL") or default
    named = (env.get("UV_INDEX", "") + " " + env.get("UV_EXTRA_INDEX_URL", "")).split()
    extra += [_unnamed(entry) for entry in named]
    links += [env.get("UV_FIND_LINKS", "")]
    return {"index": _unnamed(default), "extra": " ".join(extra), "links": ",".join(links)}


def _unnamed(entry: str) -> str:
    """The address in uv's `name=address`."""
    return re.sub(r"^[\w.-]+=", "", entry)


def _npmrc(env: Mapping[str, str]) -> dict[str, str]:
    home = Path(env.get("HOME", "/nonexistent"))
    values: dict[str, str] = {}
    for file in (Path("/usr/etc/npmrc"), Path("/etc/npmrc"), home / ".npmrc"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            for line in file.read_text().splitlines():
                name, equals, value = line.partition("=")
                if equals and not name.lstrip().startswith(("#", ";")):
                    values[name.strip()] = value.strip().strip('"')
    for name, value in env.items():
        if name.lower().startswith("npm_config_"):
            values[name.lower().removeprefix("npm_config_").replace("_", "-")] = value
    return values


def _default_index() -> str:
    """What pip itself falls back to."""
    try:
        models = importlib.import_module("pip._internal.models.index")
    except ImportError:
        return ""
    return str(models.PyPI.simple_url)


def _default_registry() -> str:
    """What npm itself falls back to, out of its own list of settings: asking npm takes long."""
    program = Path(_NPM).resolve()
    for folder in (program.parents[1] / "node_modules", program.parents[2]):
        try:
            text = (folder / _NPM_SETTINGS).read_text("utf-8", "replace")
        except OSError:
            continue
        if match := _NPM_DEFAULT.search(text):
            return match[1]
    return ""


def _file_urls(index: str, ca_file: Path | None) -> list[str]:
    """Addresses of files, out of the index's page for a common package; none if it has none."""
    import ssl  # these two are slow to import, and only a first fetch needs them
    import urllib.request

    base = index.rstrip("/") + f"/{_COMMON}/"
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    request = urllib.request.Request(base, headers={"Accept": accept})
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(request, timeout=_ASK_SECONDS) as answer:
            text = answer.read(_ANSWER).decode("utf-8", "replace")
    except (OSError, ValueError):
        return []
    try:
        files = cast("list[dict[str, Any]]", json.loads(text)["files"])
        found = [str(file["url"]) for file in files]
    except (ValueError, KeyError, TypeError):
        found = _HREF.findall(text)
    hosts = {urlsplit(url).netloc: url for url in (urljoin(base, each) for each in found)}
    return [url for url in hosts.values() if _remote(url)]


def _endpoint(url: str, scope: Scope) -> Endpoint | None:
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in _PORTS:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port or _PORTS[parts.scheme]
    return Endpoint(host=host.lower(), port=port, tls=parts.scheme == "https", scope=scope)


def _folders(urls: Iterable[str]) -> list[Path]:
    """The local folders behind addresses, with those that a local index's links lead to."""
    found: dict[Path, None] = {}
    for url in urls:
        folder = _local(url)
        if folder is None or not folder.is_dir():
            continue
        found[folder] = None
        page = next(folder.glob("*/index.html"), None)
        if page is None:
            continue
        for link in _HREF.findall(page.read_text("utf-8", "replace"))[:20]:
            target = _local(urljoin(page.as_uri(), link.partition("#")[0]))
            if target and folder not in target.parents:
                found[target.parent] = None
    return list(found)


def _local(url: str) -> Path | None:
    parts: SplitResult = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(url) if url.startswith("/") else None


def _absolute(link: str) -> str:
    return link if "://" in link else str(Path(link).expanduser().absolute())


def _remote(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _true(values: Mapping[str, str], name: str) -> bool:
    return values.get(name, "").lower() in ("1", "true", "yes", "on")
