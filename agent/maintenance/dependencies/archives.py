"""Reads what a package tells of itself out of its archive. Nothing is unpacked: no file is
written, no link followed, and what has no end is not read to it."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from agent.errors import ToolFailed

ENTRIES = 20_000
UNPACKED = 128 * 2**20  #: bytes of all that is gone through
TEXT = 8 * 2**20  #: bytes of one text
_TEXTS = 6
_LOG = re.compile(
    r"(?:docs?/)?(?:change[-_ ]?log|changes|history|news|releases?|release[-_]notes)"
    r"(?:\.(?:md|markdown|rst|txt))?",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"(?:.*\.dist-info/METADATA)|PKG-INFO")
_MODULE = re.compile(r"(?:src/|lib/)?([A-Za-z_]\w*)(?:/__init__)?\.pyi?", re.ASCII)
_NOT_ITS = {"setup", "conftest", "noxfile", "tasks", "tests", "test", "docs", "doc", "examples"}
_URL = re.compile(
    r"^Project-URL: *(?:change[- ]?log|changes|history|release notes|what's new|news) *,"
    r" *(https?://\S{1,300})$",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, kw_only=True)
class Package:
    """`logs`: what may be a changelog, the likeliest first; `modules`: what Python code would
    import. All of it is foreign text."""

    logs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    url: str = ""  #: where it says that its changelog is


def read(data: bytes) -> Package:
    """Of a tar, gzipped or not, or a zip. Raises `ToolFailed` for any other, and for one that is
    out of bounds or broken."""
    zipped = data.startswith(b"PK")
    logs: dict[str, str] = {}
    about, modules = "", dict[str, None]()
    try:
        for name, file in _of_zip(data) if zipped else _of_tar(data):
            if not _inside(name):
                continue
            path = name if _is_wheel(name, zipped) else name.partition("/")[2]
            if match := _MODULE.fullmatch(path):
                modules[match[1]] = None
            elif len(logs) < _TEXTS and path not in logs and _LOG.fullmatch(path):
                logs[path] = _text(file)
            elif not about and _ABOUT.fullmatch(path):
                about = _text(file)
    except _BROKEN as error:
        raise ToolFailed(f"The package's archive cannot be read: {error!r}"[:300]) from error
    head, _, description = about.replace("\r\n", "\n").partition("\n\n")
    match = _URL.search(head)
    found = sorted(logs, key=lambda path: ("/" in path, "change" not in path.lower()))
    return Package(
        logs=(*(logs[path] for path in found), *([description] if description else [])),
        modules=tuple(each for each in modules if each.lower() not in _NOT_ITS),
        url=match[1] if match else "",
    )


_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, OSError, EOFError),
    *(ValueError, RuntimeError, OverflowError, IndexError),
)


def _is_wheel(name: str, zipped: bool) -> bool:
    """A wheel has no folder around it all; a zipped source has."""
    return zipped and (".dist-info/" in name or not re.match(r"[^/]+-\d[^/]*/", name))


def _inside(name: str) -> bool:
    return not name.startswith("/") and "\\" not in name and ".." not in name.split("/")


def _text(file: IO[bytes]) -> str:
    return file.read(TEXT).decode("utf-8", "replace")


def _of_tar(data: bytes) -> Iterator[tuple[str, IO[bytes]]]:
    """Regular files only, in their order: links are no files."""
    plain: io.BufferedIOBase = io.BytesIO(data)
    if data.startswith(b"\x1f\x8b"):
        plain = gzip.GzipFile(fileobj=plain)
    with tarfile.open(fileobj=_Bounded(plain), mode="r|") as archive:
        for number, entry in enumerate(archive):
            if number >= ENTRIES:
                raise ToolFailed(f"The package's archive has more than {ENTRIES:,} entries.")
            if entry.isreg() and not entry.issparse():
                file = archive.extractfile(entry)
                if file is not None:
                    yield entry.name, file


def _of_zip(data: bytes) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) > ENTRIES:
            raise ToolFailed(f"The package's archive has more than {ENTRIES:,} entries.")
        for entry in entries:
            known = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            link = (entry.external_attr >> 16) & 0o170000 == 0o120000
            if known and not link and not entry.is_dir() and not entry.flag_bits & 1:
                with archive.open(entry) as file:
                    yield entry.filename, file


class _Bounded(io.RawIOBase):
    def __init__(self, inner: io.BufferedIOBase) -> None:
        self._inner, self._left = inner, UNPACKED

    def read(self, size: int = -1) -> bytes:
        data = self._inner.read(min(size, 2**20) if size >= 0 else 2**20)
        self._left -= len(data)
        if self._left < 0:
            raise ToolFailed(f"The package's archive holds more than {UNPACKED // 2**20} MB.")
        return data
