"""Every error that the product raises on purpose.

    JourneymanError
    ├── SettingsError            wrong settings or usage (exit code 2)
    ├── Refused                  a rule says no; the text names the rule and the way out
    │   └── NotLinked            nobody knows the GitLab account of this person
    ├── Unavailable              something outside does not answer; trying again may help
    │   ├── ModelUnavailable
    │   ├── ForgeUnavailable
    │   ├── StoreUnavailable
    │   └── CopyLost             this host's copy of a repository broke; it is made anew
    ├── ModelRejected            the model endpoint refused the request for good
    │   ├── QuotaExhausted
    │   ├── ContextOverflow
    │   └── TextsRefused
    ├── ForgeRejected            GitLab answered no: a sentence of GitLab's own
    │   ├── NotFound
    │   └── Conflict
    ├── LogUnreadable            the log of another CI system is not to be had
    ├── SandboxUnusable          nothing may run here; names what to install
    ├── ToolFailed               told to the model as the result of its call
    ├── GitFailed                a git command of the host's failed
    ├── Fenced                   another worker owns the run now; stop without a trace
    ├── Stopped                  a person stopped the run
    ├── Frozen                   a freeze interrupts the run, which goes on after it
    ├── LimitReached             a cap of the run was reached
    ├── NobodyThere              it takes a person, and the run has none
    └── Broken                   a defect of ours; the log has it under its id

The text of each error is a whole sentence for the person who reads it.
"""

from __future__ import annotations

#: How people are told of a defect of ours; its id follows.
BROKE = "Something broke on our side"


class JourneymanError(Exception):
    """Root of the tree."""


class SettingsError(JourneymanError):
    """Settings or usage are wrong; the message names file, key and remedy."""


class Refused(JourneymanError):
    """A rule says no; the message names the rule and the way out."""


class Unrecorded(Refused):
    """A refusal that no log has: what was refused can still be carried out when it comes again."""


class NotLinked(Refused):
    """Nobody knows the GitLab account of this person, who can change that."""


class Unavailable(JourneymanError):
    """Something outside does not answer. `retry_after` is in seconds, when it was named."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelUnavailable(Unavailable):
    """The model endpoint does not answer or asks for patience."""


class ForgeUnavailable(Unavailable):
    """GitLab does not answer or asks for patience."""


class StoreUnavailable(Unavailable):
    """PostgreSQL does not answer."""


class CopyLost(Unavailable):
    """This host's copy of a repository broke or was removed; the next who needs it makes it."""


class ModelRejected(JourneymanError):
    """The model endpoint refused the request, and would refuse it again."""


class QuotaExhausted(ModelRejected):
    """The account behind the key has no credit left."""


class ContextOverflow(ModelRejected):
    """The prompt is longer than the model's window."""


class TextsRefused(ModelRejected):
    """These texts are not embedded, or not well; fewer or shorter ones may be."""


class ForgeRejected(JourneymanError):
    """GitLab refused; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NotFound(ForgeRejected):
    """GitLab has no such thing, or hides it from this token."""


class Conflict(ForgeRejected):
    """GitLab has it already, or it changed meanwhile."""


class LogUnreadable(JourneymanError):
    """A log of another CI system may not be fetched from here, or cannot."""


class SandboxUnusable(JourneymanError):
    """The sandbox cannot isolate on this host; the message names what to install."""


class ToolFailed(JourneymanError):
    """A tool call cannot be carried out; the text goes back to the model."""


class GitFailed(JourneymanError):
    """A git command of the host failed; in git's own words, without credentials."""


class Fenced(JourneymanError):
    """Another worker has taken the run over: stop, and write nothing more."""


class Stopped(JourneymanError):
    """A person stopped the run."""


class Frozen(JourneymanError):
    """A freeze interrupts the run: let go of it, it goes on afterwards."""


class LimitReached(JourneymanError):
    """A cap of the run was reached; `limit` names it."""

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class NobodyThere(JourneymanError):
    """It takes a person, and nobody can be asked: the run is a night's."""


class Broken(JourneymanError):
    """A defect of ours, caught by `agent.guard`; `cause` is the name of what was raised."""

    def __init__(self, *, cause: str, error_id: str) -> None:
        super().__init__(f"{BROKE} (error {error_id}).")
        self.cause = cause
        self.error_id = error_id
