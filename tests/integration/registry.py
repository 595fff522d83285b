"""An index of Python packages and npm's registry on the loopback, and what they do wrong."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

#: What a package that is asked for is answered with: status, type, body; None: never anything.
Answer = tuple[int, str, bytes] | None
HTML, JSON = "text/html", "application/json"


@dataclass
class Registry:
    """Has `gadget` in 1.0.0 and 1.1.0 for both. `wrong` may take an answer's place."""

    url: str = ""
    asked: list[str] = field(default_factory=list[str])
    wrong: Callable[[str], Answer | bool] = lambda path: False
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str) -> Answer:
        name, _, rest = path.strip("/").partition("/")
        if name == "simple":
            files = {f"gadget-{v}-py3-none-any.whl": wheel(v) for v in ("1.0.0", "1.1.0")}
            links = "".join(
                f'<a href="{self.url}/files/{file}#sha256={hashlib.sha256(data).hexdigest()}"'
                f">{file}</a><br>"
                for file, data in files.items()
            )
            return (200, HTML, links.encode()) if rest.strip("/") == "gadget" else (404, HTML, b"")
        if name == "files":
            made = wheel if rest.endswith(".whl") else tarball
            version = "1.0.0" if "1.0.0" in rest else "1.1.0"
            return 200, "application/octet-stream", made(version)
        if name == "gadget":
            return 200, JSON, json.dumps(self._packument()).encode()
        return 404, JSON, b'{"error": "not found"}'

    def _packument(self) -> dict[str, object]:
        versions = {
            version: {
                "name": "gadget",
                "version": version,
                "dist": {
                    "tarball": f"{self.url}/files/gadget-{version}.tgz",
                    "integrity": integrity(version),
                },
            }
            for version in ("1.0.0", "1.1.0")
        }
        return {"name": "gadget", "dist-tags": {"latest": "1.1.0"}, "versions": versions}


def wheel(version: str) -> bytes:
    out, info = io.BytesIO(), f"gadget-{version}.dist-info"
    with zipfile.ZipFile(out, "w") as file:
        for name, text in (
            ("gadget.py", f"VERSION = {version!r}\n"),
            (f"{info}/METADATA", f"Metadata-Version: 2.1\nName: gadget\nVersion: {version}\n"),
            (f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            (f"{info}/RECORD", ""),
        ):
            file.writestr(zipfile.ZipInfo(name), text)
    return out.getvalue()


def tarball(version: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        data = json.dumps({"name": "gadget", "version": version}).encode()
        entry = tarfile.TarInfo("package/package.json")
        entry.size = len(data)
        file.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def integrity(version: str) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(tarball(version)).digest()).decode()


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
