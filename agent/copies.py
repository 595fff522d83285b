"""A host's copy of a repository that breaks under work in hand: it is made anew, and the work goes
on from what PostgreSQL has of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from agent.errors import CopyLost, GitFailed
from agent.events import StatusChanged
from agent.journal import Journal
from agent.outage import tries
from agent.ports import Vault
from agent.run import CommitSha, RunStatus

log = logging.getLogger(__name__)

TRIES = 3  #: in a row; then it is the host, and somebody has to look
AGAIN = 1.0  # seconds until a worker takes the run once more

_LOST = (
    "This host's copy of the repository broke, or was removed, while it was in use. It is a copy "
    "only, and is made anew when it is needed. If this comes again, look at the host's disk and at "
    "what cleans it up."
)


@asynccontextmanager
async def minded(vault: Vault, base: CommitSha | None) -> AsyncGenerator[None]:
    """Raises `CopyLost` for a command of git's that failed because of that."""
    try:
        yield
    except GitFailed as error:
        if not await vault.lost(base):
            raise
        log.warning("copy_lost", extra={"problem": str(error)})
        raise CopyLost(_LOST) from error


async def take_up_again(journal: Journal, lost: CopyLost) -> None:
    """Lets go of the run, to be taken from its last checkpoint; raises `lost` when that was in
    vain. As with an outage, the tries are counted in the log."""
    number = tries(journal.events) + 1
    if number > TRIES:
        raise lost
    told = StatusChanged(
        status=RunStatus.QUEUED,
        reason="This host's copy of the repository broke. It is made anew, and the run goes on "
        f"from its last checkpoint, {number} of {TRIES}; nothing that was stored is lost.",
        put_off=journal.state.status,
    )
    await journal.write(told, wake=True, wake_after=AGAIN)
