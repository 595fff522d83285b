"""Whether a bare repository can still be relied on, and what becomes of one that cannot."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from agent.adapters.git_command import HARMLESS, REMOTE_SECONDS, Git

_CHECK = (
    *(part for defect in HARMLESS for part in ("-c", f"fsck.{defect}=ignore")),
    "fsck",
    "--no-dangling",
    "--no-progress",
)


async def sound(git: Git) -> bool:
    """Reads every object: for a repository on which a command has failed."""
    return (await git.run(_CHECK, seconds=REMOTE_SECONDS)).code == 0


def throw_away(repository: Path) -> None:
    """At once for who looks at the path, and then from the disk."""
    aside = repository.with_name(f"{repository.name}.broken-{uuid.uuid4().hex}")
    repository.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
