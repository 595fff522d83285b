"""Archives of packages: read in memory, whatever is in them."""

from __future__ import annotations

import bz2
import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping

import pytest

from agent.errors import ToolFailed
from agent.maintenance.dependencies import archives
from agent.maintenance.dependencies.archives import read

LOG = b"## 2.0.0\nThe old function is gone.\n"
ABOUT = (
    b"Metadata-Version: 2.1\nName: gadget\nProject-URL: Homepage, https://example.org\n"
    b"Project-URL: Changelog, https://example.org/changes\n\nA gadget.\n"
)


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


def packed(content: Mapping[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as file:
        for name, data in content.items():
            if isinstance(data, tarfile.TarInfo):
                file.addfile(data)
            else:
                file.addfile(entry(name, size=len(data)), io.BytesIO(data))
    return out.getvalue()


def zipped(content: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return out.getvalue()


SOURCE = {
    "gadget-2.0.0/setup.py": b"raise SystemExit('never run')",
    "gadget-2.0.0/PKG-INFO": ABOUT,
    "gadget-2.0.0/docs/changes.rst": b"docs",
    "gadget-2.0.0/CHANGES.rst": LOG,
    "gadget-2.0.0/src/gadgets/__init__.py": b"",
    "gadget-2.0.0/src/gadgets/inner/__init__.py": b"",
    "gadget-2.0.0/tests/__init__.py": b"",
}


@pytest.mark.parametrize("pack", [packed, lambda c: packed(c, "w"), zipped])
def test_a_source_tells_changelog_modules_and_where_more_is(pack):
    found = read(pack(SOURCE))
    assert found.logs == (LOG.decode(), "docs", "A gadget.\n")
    assert found.modules == ("gadgets",)
    assert found.url == "https://example.org/changes"


@pytest.mark.parametrize(
    "name", ["CHANGELOG.md", "HISTORY.md", "changelog", "Changes", "NEWS.txt", "RELEASE-NOTES.md"]
)
def test_names_of_changelogs(name: str):
    assert read(packed({f"package/{name}": LOG})).logs == (LOG.decode(),)


@pytest.mark.parametrize(
    "name", ["lib/changelog.md", "changelog.js", "node_modules/x/CHANGELOG.md", "old-changes.md"]
)
def test_names_of_other_files(name: str):
    assert read(packed({f"package/{name}": LOG})).logs == ()


def test_a_wheel_has_no_folder_around_it():
    wheel = {"gadgets/__init__.py": b"", "single.py": b"", "gadget-2.0.0.dist-info/METADATA": ABOUT}
    found = read(zipped(wheel))
    assert set(found.modules) == {"gadgets", "single"}
    assert found.url == "https://example.org/changes"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
@pytest.mark.parametrize("link", ["/etc/passwd", "../../../../etc/passwd", "README.md"])
def test_links_and_pipes_are_no_changelogs(kind: bytes, link: str):
    named = entry("package/CHANGELOG.md", kind, link)
    data = packed({"package/README.md": LOG, named.name: named, "package/HISTORY.md": b"true"})
    assert read(data).logs == ("true",)


@pytest.mark.parametrize(
    "name",
    [
        *("/CHANGELOG.md", "/package/CHANGELOG.md", "../CHANGELOG.md", "package/../CHANGELOG.md"),
        *("package/docs/../CHANGELOG.md", "package\\CHANGELOG.md", "//CHANGELOG.md"),
    ],
)
def test_names_that_lead_elsewhere_are_not_read(name: str):
    for pack in (packed, zipped):
        assert read(pack({name: LOG})).logs == ()


def test_links_in_a_zip_are_no_changelogs():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        link = zipfile.ZipInfo("gadget-2.0/CHANGES.md")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    assert read(out.getvalue()).logs == ()


def test_a_bomb_is_refused_before_it_is_unpacked():
    size = archives.UNPACKED + 1
    bomb = packed({"package/CHANGELOG.md": bytes(size)})
    assert len(bomb) < size // 500
    with pytest.raises(ToolFailed, match="holds more than 128 MB"):
        read(packed({"package/other": bytes(size)}))
    with pytest.raises(ToolFailed, match="holds more than 128 MB"):
        read(bomb)


def test_of_a_changelog_without_end_the_start_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "TEXT", 1000)
    for pack in (packed, zipped):
        [log] = read(pack({"gadget-1/CHANGELOG.md": LOG * 1000})).logs
        assert len(log) == 1000


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "ENTRIES", 20)
    many = {f"gadget-1/{number}": b"" for number in range(21)}
    for pack in (packed, zipped):
        with pytest.raises(ToolFailed, match="more than 20 entries"):
            read(pack(many))


def test_few_changelogs_are_read():
    stems = ("changes", "changelog", "history", "news", "releases")
    many = {f"package/{stem}{end}": LOG for stem in stems for end in ("", ".md", ".rst", ".txt")}
    assert len(read(packed(many)).logs) == 6


def _huge_header(kind: bytes) -> bytes:
    """It says that its name has gigabytes, which then come."""
    head = entry("x", kind, size=8 << 30).tobuf(tarfile.GNU_FORMAT)
    return gzip.compress(head + bytes(archives.UNPACKED + 1000), compresslevel=1)


BROKEN = {
    "empty": b"",
    "text": b"<html>Sign in to the guest network</html>",
    "gzip of text": gzip.compress(b"nothing"),
    "cut": packed(SOURCE)[:100],
    "zip, cut": zipped(SOURCE)[:200],
    "bzip2": bz2.compress(packed(SOURCE, "w")),
    "pax bomb": _huge_header(tarfile.XHDTYPE),
    "long name bomb": _huge_header(tarfile.GNUTYPE_LONGNAME),
    "nested headers": b"".join(
        entry("x", tarfile.XHDTYPE).tobuf(tarfile.GNU_FORMAT) for _ in range(5000)
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_archive_or_a_broken_one_is_said(name: str):
    with pytest.raises(ToolFailed, match="archive"):
        read(BROKEN[name])


def test_of_a_torn_archive_nothing_is_believed():
    data = packed({"package/CHANGELOG.md": LOG}, "w")
    with pytest.raises(ToolFailed):
        read(data[: 512 + 10])
