"""An index of Python packages and npm's registry on the loopback, and what they do wrong."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

#: What a package that is asked for is answered with: status, type, body; None: never anything.
Answer = tuple[int, str, bytes] | None
HTML, JSON = "text/html", "application/json"


@dataclass
class Registry:
    """Has `gadget` in 1.0.0 and one more version for both. `wrong` may take an answer's place."""

    url: str = ""
    newest: str = "1.1.0"
    code: Callable[[str], str] = lambda version: f"VERSION = {version!r}\n"
    changelog: str = ""  #: of the newest; empty: there is neither one nor a source
    asked: list[str] = field(default_factory=list[str])
    wrong: Callable[[str], Answer | bool] = lambda path: False
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str) -> Answer:
        name, _, rest = path.strip("/").partition("/")
        if name == "simple":
            files = {f"gadget-{v}-py3-none-any.whl": self.wheel(v) for v in self.versions}
            if self.changelog:
                files[f"gadget-{self.newest}.tar.gz"] = self.source()
            links = "".join(
                f'<a href="{self.url}/files/{file}#sha256={hashlib.sha256(data).hexdigest()}"'
                f">{file}</a><br>"
                for file, data in files.items()
            )
            return (200, HTML, links.encode()) if rest.strip("/") == "gadget" else (404, HTML, b"")
        if name == "files":
            version = "1.0.0" if "1.0.0" in rest else self.newest
            made = self.wheel(version) if rest.endswith(".whl") else self.tarball(version)
            if rest.endswith(".tar.gz"):
                made = self.source()
            return 200, "application/octet-stream", made
        if name == "gadget":
            return 200, JSON, json.dumps(self._packument()).encode()
        return 404, JSON, b'{"error": "not found"}'

    @property
    def versions(self) -> tuple[str, str]:
        return "1.0.0", self.newest

    def wheel(self, version: str) -> bytes:
        return wheel(version, self.code(version))

    def tarball(self, version: str) -> bytes:
        more = {"CHANGELOG.md": self.changelog} if self.changelog else {}
        return tarball(version, **more)

    def source(self) -> bytes:
        """Whoever runs its code is told of at once."""
        trap = f"import urllib.request as r\nr.urlopen('{self.url}/its-code-was-run')\n"
        root = f"gadget-{self.newest}"
        files = {f"{root}/CHANGES.md": self.changelog, f"{root}/setup.py": trap}
        return gzip.compress(packed(files), mtime=0)

    def _packument(self) -> dict[str, object]:
        versions = {
            version: {
                "name": "gadget",
                "version": version,
                "dist": {
                    "tarball": f"{self.url}/files/gadget-{version}.tgz",
                    "integrity": _integrity(self.tarball(version)),
                },
            }
            for version in self.versions
        }
        return {"name": "gadget", "dist-tags": {"latest": self.newest}, "versions": versions}


def wheel(version: str, code: str) -> bytes:
    out, info = io.BytesIO(), f"gadget-{version}.dist-info"
    with zipfile.ZipFile(out, "w") as file:
        for name, text in (
            ("gadget.py", code),
            (f"{info}/METADATA", f"Metadata-Version: 2.1\nName: gadget\nVersion: {version}\n"),
            (f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            (f"{info}/RECORD", ""),
        ):
            file.writestr(zipfile.ZipInfo(name), text)
    return out.getvalue()


def tarball(version: str, **more: str) -> bytes:
    package = json.dumps({"name": "gadget", "version": version})
    files = {"package.json": package, **more}
    return packed({f"package/{name}": text for name, text in files.items()})


def packed(files: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            file.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def integrity(version: str) -> str:
    return _integrity(tarball(version))


def _integrity(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


@contextmanager
def serving() -> Generator[Registry]:
    registry = Registry()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append(self.path)
            wrong = registry.wrong(self.path)
            answer = registry.answer(self.path) if wrong is False else wrong
            if answer is None or answer is True:
                registry.over.wait(60)
                return
            status, kind, body = answer
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                return  # it has heard enough

        do_POST = do_GET
        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    registry.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
