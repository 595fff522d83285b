"""Starts the scripted endpoint, and reads its log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CLEAN = ("PATH", "HOME", "LANG", "TMPDIR", "PIP_", "UV_", "SSL_CERT", "REQUESTS_CA", "NO_PROXY")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    url: str
    log: Path

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def endpoint(
    folder: Path,
    script: Sequence[Mapping[str, Any]],
    latency: float = 0.0,
    host: str = "127.0.0.1",
) -> Generator[Endpoint]:
    script_path, log = folder / "script.json", folder / "endpoint.log"
    script_path.write_text(json.dumps(list(script)))
    log.write_text("")
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.endpoint", script_path, log, str(latency), host],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            yield Endpoint(url=process.stdout.readline().strip(), log=log)
        finally:
            process.stdin.close()


def environment(**more: str) -> dict[str, str]:
    """Of the machine only what finds programs and packages."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(CLEAN)}
    return {**kept, "PYTHONPATH": str(ROOT), **more}
