"""How a run goes on, is held up, and ends."""

from __future__ import annotations

from dataclasses import dataclass

from agent.freeze import Freeze
from agent.maintenance.night import Errand
from agent.run import Limits, Person, Request, RunStatus, TreeSha


@dataclass(frozen=True, kw_only=True)
class RunAccepted:
    request: Request
    limits: Limits


@dataclass(frozen=True, kw_only=True)
class ErrandGiven:
    """The run is the agent's share of a night: nobody is there to be asked, and what it comes to
    is accepted by the errand's own terms."""

    errand: Errand


@dataclass(frozen=True, kw_only=True)
class RunClaimed:
    """A worker took the run. `resumed` means that another one had begun it."""

    worker: str
    epoch: int
    resumed: bool = False


@dataclass(frozen=True, kw_only=True)
class StatusChanged:
    status: RunStatus
    reason: str = ""  #: a sentence for people, empty when the state says it all
    put_off: RunStatus | None = None  #: an outage sent it back to the queue from here
    message: str = ""  #: by which a person brought it about, where it is in no other fact


@dataclass(frozen=True, kw_only=True)
class RunFrozen:
    """A freeze holds the run; `status` is the one from which it goes on afterwards."""

    freeze: Freeze
    status: RunStatus


@dataclass(frozen=True, kw_only=True)
class RunThawed:
    """The freeze was ended, and the run goes on."""


@dataclass(frozen=True, kw_only=True)
class StopAsked:
    by: Person
    how: str  #: "mention", "stop button", "menu", "page", "shell", "a later night"
    reason: str = ""  #: a sentence, where it says more than who it was
    message: str = ""  #: by which a person asked for it, where it was one


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One row of an escalation report."""

    number: int
    failing: tuple[str, ...]
    tried: str
    tree: TreeSha | None = None


@dataclass(frozen=True, kw_only=True)
class Escalation:
    reason: str
    attempts: tuple[Attempt, ...] = ()
    likely_cause: str = ""
    not_tried: str = ""


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    status: RunStatus
    reason: str = ""  #: why it did not succeed, a sentence for people
    summary: str = ""  #: what was done, in the model's words: untrusted text
    answer: str = ""  #: to a question that needed no change: untrusted text
    error_id: str = ""  #: for a defect of ours
    escalation: Escalation | None = None
