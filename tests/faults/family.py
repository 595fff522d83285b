"""Who descends from a process, by /proc."""

from __future__ import annotations

from pathlib import Path


def alive() -> list[int]:
    return [int(each.name) for each in Path("/proc").glob("[0-9]*")]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def birth(pid: int) -> tuple[int, str] | None:
    """The id with the time of birth, since ids are used again; None for who is gone, or is only
    waited for by its parent."""
    facts = _facts(pid)
    return (pid, facts[19]) if facts and facts[0] != "Z" else None


def family(pid: int) -> set[tuple[int, str]]:
    """All descendants."""
    parents = {each: int(facts[1]) for each in alive() if (facts := _facts(each))}
    found = {pid}
    while more := {each for each, parent in parents.items() if parent in found} - found:
        found |= more
    return {known for each in found - {pid} if (known := birth(each))}


def _facts(pid: int) -> list[str] | None:
    """What stands behind the name in `stat`: the state, the parent, …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
