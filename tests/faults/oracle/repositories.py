"""What the bare repository has of a road, and the service's own ones."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from road import Road

from playground.gitlab.talk_records import MergeRequest


async def of_git(road: Road, merge_requests: Mapping[int, MergeRequest]) -> dict[str, Any]:
    if road.project.id not in road.gitlab.state.projects:
        return {}  # somebody has deleted it
    lines = await road.git("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads")
    authors: dict[int, frozenset[str]] = {}
    for iid, mr in merge_requests.items():
        if mr.state == "merged" and mr.merge_commit_sha:
            told = await road.git(
                "log", "--format=%ae%n%ce", f"{mr.merge_commit_sha}^1..{mr.sha}", "--"
            )
            authors[iid] = frozenset(told.split())
    objects = await road.git_bytes("cat-file", "--batch-all-objects", "--batch", "--buffer")
    return {
        "refs": dict(line.split() for line in lines.splitlines()),
        "authors": authors,
        "objects": objects,
    }


def vaults_of(homes: Iterable[Path]) -> bytes:
    """Everything in the service's own repositories."""
    found = b""
    for vault in (each for home in homes for each in home.glob("vaults/*.git")):
        with contextlib.suppress(subprocess.CalledProcessError):  # it is just being made
            found += subprocess.run(
                ["git", f"--git-dir={vault}", "cat-file", "--batch-all-objects", "--batch"],
                check=True,
                capture_output=True,
                stdin=subprocess.DEVNULL,
            ).stdout
    return found
