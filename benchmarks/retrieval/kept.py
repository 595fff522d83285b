"""What was read of contents, in a file, so that a second run reads none of them again."""

from __future__ import annotations

import hashlib
import pickle
import sqlite3
from pathlib import Path
from typing import Any

import agent.retrieval

_SOURCES = (*agent.retrieval.__path__, str(Path(__file__).parent))
_READ_BY = ("chunks", "grammars", "kinds", "lexical", "memory", "tokens", "bm25", "pagerank")


class Kept:
    """Of one repository. Readers that have changed since find nothing of what older ones left."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / f"{name}-{_version()}.sqlite")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value BLOB)")

    def get(self, key: str) -> tuple[bool, Any]:
        """Whether it is there, and what it is."""
        row = self._db.execute("SELECT value FROM kept WHERE key = ?", (key,)).fetchone()
        return (True, pickle.loads(row[0])) if row else (False, None)

    def put(self, key: str, value: object) -> None:
        self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (key, pickle.dumps(value, 5)))

    def close(self) -> None:
        self._db.commit()
        self._db.close()


def _version() -> str:
    digest = hashlib.sha256()
    for folder in _SOURCES:
        files = [Path(folder) / f"{name}.py" for name in _READ_BY]
        for path in (*files, *sorted(Path(folder).glob("queries/*.scm"))):
            if path.exists():
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
