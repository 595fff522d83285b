"""What every handler of an effect is given, and what they have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

from agent.canaries import CREDENTIAL, Canaries
from agent.errors import Frozen, JourneymanError, Refused
from agent.events import EffectDone, RunEvent
from agent.grip import held
from agent.intents import Intent
from agent.ports import Clock, ForgeReader, ForgeWriter, Store, Vault
from agent.project import Projects
from agent.run import CommitSha, RunId
from agent.state import RunState
from agent.work import Holder

I = TypeVar("I", bound=Intent)  # noqa: E741  (the intent's class)


class NotYet(JourneymanError):
    """What was just made is not seen everywhere yet: the effect is tried again soon."""


class Later(JourneymanError):
    """GitLab has accepted it and does it when it likes: looked at again for two hours."""


@dataclass(frozen=True, kw_only=True)
class EffectContext:
    store: Store
    vaults: Callable[[str], Vault]
    reader: ForgeReader
    writer: ForgeWriter
    merger: ForgeWriter  #: merges and deploys, with a credential of its own where there is one
    projects: Projects
    clock: Clock | None = None
    canaries: Canaries = field(default_factory=Canaries)
    public_url: str = ""
    holder: Holder | None = None  #: who has linked an account; None: what a vote says stands

    def now(self) -> datetime:
        return self.clock.now() if self.clock else datetime.now(UTC)

    async def heed(self, run: RunId) -> None:
        """For right before a change outside. Raises `Frozen`: it waits, and no try is counted;
        and `Fenced` when another process does it by now."""
        if freeze := await self.store.heed_freeze(run):
            raise Frozen(freeze.sentence)
        await held()  # last: looking for a freeze may take longer than a lease

    def silent(self, *texts: str | bytes) -> None:
        """Refuses to say what one of our own credentials is in."""
        if self.canaries.found_in(texts):
            raise Refused(CREDENTIAL)


@dataclass(frozen=True, kw_only=True)
class Effect(Generic[I]):
    """One intent, with the log that it is checked against."""

    key: str
    intent: I
    state: RunState
    events: Sequence[RunEvent]
    before: bool  #: begun before, and its outcome is not known: read back first


@dataclass(frozen=True, kw_only=True)
class Handler(Generic[I]):
    """`act` raises `NotYet`, `Later` and what is `Unavailable` to come again, else it failed for
    good. With `stands`, which raises `Refused`, nothing may come between the state that it has
    seen and the intent in the log: who says no in that moment is first, or is told that it has
    begun."""

    subject: Callable[[RunState, I], str]  #: what it acts on, for people
    act: Callable[[EffectContext, Effect[I]], Awaitable[EffectDone]]
    stands: Callable[[RunState, I], object] | None = None


def known(state: RunState, commit: CommitSha) -> None:
    """Refuses a commit that the run did not make."""
    if commit not in {made.commit for made in state.commits}:
        raise Refused(f"The commit {commit[:8]} is not one of the run's own.")


def found(done: EffectDone) -> EffectDone:
    return replace(done, found=True)
