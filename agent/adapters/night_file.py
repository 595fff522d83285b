"""What local nights leave for the next one: a JSON file a project."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from agent.maintenance.findings import Findings
from agent.maintenance.local import Put


@dataclass(frozen=True, kw_only=True)
class _Kept:
    findings: Findings | None = None
    branches: Mapping[str, Put] = field(default_factory=dict[str, Put])


class NightFiles:
    """Implements `FindingStore` and `BranchStore`. A file that cannot be read is none: the next
    night is then the first one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def last(self, project: str) -> Findings | None:
        return (await asyncio.to_thread(self._read, project)).findings

    async def keep(self, project: str, findings: Findings) -> None:
        kept = await asyncio.to_thread(self._read, project)
        await asyncio.to_thread(self._write, project, replace(kept, findings=findings))

    async def put(self, project: str, branch: str) -> Put | None:
        return (await asyncio.to_thread(self._read, project)).branches.get(branch)

    async def note(self, project: str, branch: str, put: Put) -> None:
        kept = await asyncio.to_thread(self._read, project)
        branches = {**kept.branches, branch: put}
        await asyncio.to_thread(self._write, project, replace(kept, branches=branches))

    def _path(self, project: str) -> Path:
        name = hashlib.sha256(project.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return self._folder / f"{name}.json"

    def _read(self, project: str) -> _Kept:
        try:
            plain = json.loads(self._path(project).read_bytes())
            return TypeAdapter(_Kept).validate_python(plain)
        except (OSError, ValueError):  # pydantic's errors are ValueErrors
            return _Kept()

    def _write(self, project: str, kept: _Kept) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        plain = TypeAdapter(_Kept).dump_python(kept, mode="json")
        path = self._path(project)
        temporary = path.with_suffix(f".{secrets.token_hex(8)}")
        temporary.write_text(json.dumps(plain))  # ASCII: also odd file names
        temporary.rename(path)
