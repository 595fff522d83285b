"""What the engine needs from outside. Adapters implement these; the engine knows nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

from agent.events import FileChange, Payload, RunEvent
from agent.freeze import Freeze, OperatorEvent
from agent.gate import GateId
from agent.intents import Intent
from agent.outside import Place
from agent.pipeline import Job, Pipeline
from agent.run import (
    CommitSha,
    Digest,
    Limits,
    Linked,
    Person,
    Request,
    Run,
    RunId,
    RunStatus,
    TreeSha,
    Usage,
)
from agent.testreport import TestReport

# --- the model ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    id: str
    name: str
    arguments: str  #: JSON as the model wrote it, possibly broken


@dataclass(frozen=True, kw_only=True)
class Message:
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """A tool as the model is told of it; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    message: Message
    finish: Literal["stop", "tool_calls", "length", "content_filter"]
    usage: Usage
    model: str


class Model(Protocol):
    """One call, one answer; retries are the loop's. Raises `ModelUnavailable`, `ModelRejected`,
    `QuotaExhausted`, `ContextOverflow`."""

    @property
    def name(self) -> str: ...

    @property
    def window(self) -> int:
        """Tokens that prompt and answer may have together."""
        ...

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, model: str | None = None
    ) -> Answer: ...


# --- the sandbox -------------------------------------------------------------------------


class Network(StrEnum):
    NONE = "none"
    FETCH = "fetch"  # only through the filtering proxy, for package managers


@dataclass(frozen=True, kw_only=True)
class CommandLimits:
    seconds: float = 120.0
    memory_mb: int = 2048
    processes: int = 256
    file_mb: int = 1024  #: size of one file
    disk_mb: int = 2048  #: growth of the writable folders
    head: int = 16_384  #: bytes kept of the start of the output
    tail: int = 49_152  #: bytes kept of its end


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    exit_code: int  #: 128 + signal when ended by one
    output: str  #: both streams, control sequences removed, cut in the middle with a note
    total_bytes: int
    seconds: float
    cpu_seconds: float = 0.0
    #: why the sandbox ended it; empty when it ended by itself
    stopped: Literal["", "timeout", "memory", "processes", "disk", "cancelled"] = ""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A host folder shown to the command. Writable ones belong to this box alone."""

    source: Path
    target: str
    writable: bool = False


class Box(Protocol):
    """Where a run's commands run; each has namespaces of its own and leaves nothing alive."""

    async def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        limits: CommandLimits | None = None,
        network: Network = Network.NONE,
        mounts: Sequence[Mount] = (),
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Cancelling the task kills the whole process tree within a second."""
        ...


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of `sandbox check` or `doctor`."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


class Sandbox(Protocol):
    """Raises `SandboxUnusable` where it cannot isolate; nothing ever runs without it."""

    @property
    def name(self) -> str: ...

    async def check(self) -> Sequence[Check]:
        """Proves the isolation of this host; each promise is one line."""
        ...

    def new_folder(self, name: str) -> Path:
        """An empty folder that commands can be given, as workspace or as mount."""
        ...

    def adopt(self, folder: Path) -> None:
        """Makes what the host put into a folder belong to the sandbox's user."""
        ...

    def open(
        self, workspace: Path, *, mounts: Sequence[Mount] = ()
    ) -> AbstractAsyncContextManager[Box]:
        """The workspace is `/workspace` inside, writable."""
        ...

    async def remove(self, folder: Path) -> None: ...


# --- git ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a project's code comes from: an https URL, http on loopback, or a local path."""

    url: str
    #: environment variable name and secret for GIT_ASKPASS, never in the URL
    token: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class Collected:
    """The work tree as git sees it, against a base."""

    tree: TreeSha
    patch: str  #: unified diff with binary parts; surrogate-escaped where it is not UTF-8
    files: tuple[FileChange, ...]
    notes: tuple[str, ...] = ()  #: what was left out and why: nested repositories, too large files


@dataclass(frozen=True, kw_only=True)
class Author:
    name: str
    email: str


class Vault(Protocol):
    """The bare repository outside every sandbox; the only git that the host runs."""

    async def fetch(self, origin: Origin, branch: str | None) -> tuple[CommitSha, str]:
        """Newest commit of the branch (None: the default one) and the branch's name."""
        ...

    async def has(self, commit: CommitSha) -> bool: ...

    async def checkout(self, treeish: str, folder: Path) -> Sequence[str]:
        """Fills an empty folder; returns notes on what is unusual (LFS, submodules, odd names)."""
        ...

    async def read(self, commit: CommitSha, path: str, *, limit: int = 65_536) -> bytes | None: ...

    async def list(self, treeish: str) -> Sequence[str]: ...

    async def collect(self, folder: Path, base: CommitSha) -> Collected: ...

    async def restore(self, base: CommitSha, patch: str) -> TreeSha:
        """The tree that a stored patch makes of the base commit."""
        ...

    async def commit(
        self, tree: TreeSha, parent: CommitSha, message: str, *, author: Author, at: datetime
    ) -> CommitSha:
        """The same arguments give the same SHA on any host."""
        ...

    async def push(
        self, origin: Origin, commit: CommitSha, branch: str, *, expected: CommitSha | None
    ) -> None:
        """With a lease: raises `Conflict` when the branch is not where `expected` says
        (None: it must not exist yet, or be at `commit`)."""
        ...

    async def remote_head(self, origin: Origin, branch: str) -> CommitSha | None: ...

    def forget(self, folder: Path) -> None:
        """Drops what is kept for a workspace that is gone."""
        ...


# --- GitLab ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Project:
    id: int
    path: str  #: with namespace
    default_branch: str | None  #: None: the repository is empty
    clone_url: str
    web_url: str


@dataclass(frozen=True, kw_only=True)
class MergeRequest:
    project: str
    iid: int
    url: str
    title: str
    description: str
    state: Literal["opened", "closed", "merged", "locked"]
    draft: bool
    source_branch: str
    target_branch: str
    sha: CommitSha | None
    author_id: int | None
    project_id: int = 0
    detailed_status: str = ""  #: GitLab's word for whether and why it cannot be merged now
    merged: CommitSha | None = None  #: what the target branch got: merge, squash or fast-forward
    merged_by: int | None = None
    comments: int = 0  #: of people, without GitLab's own
    target_changed: bool = False  #: its difference is still being worked out by GitLab
    pipeline: Pipeline | None = None  #: the newest of its head, without jobs; not in lists


@dataclass(frozen=True, kw_only=True)
class ForgeUser:
    id: int
    username: str
    name: str
    active: bool
    bot: bool
    external: bool = False
    emails: frozenset[str] = frozenset()  #: as far as GitLab shows them, in lower case


@dataclass(frozen=True, kw_only=True)
class Member:
    id: int
    username: str
    access: int


@dataclass(frozen=True, kw_only=True)
class ForgeCommit:
    sha: CommitSha
    title: str
    names: frozenset[str]  #: of author and committer
    emails: frozenset[str]  #: of author and committer, in lower case


@dataclass(frozen=True, kw_only=True)
class ForgeRules:
    """What GitLab itself asks for before it merges or deploys: shown, and never worked around."""

    sentences: tuple[str, ...] = ()
    approvals_left: int = 0


@dataclass(frozen=True, kw_only=True)
class Protection:
    """What GitLab lets people do with a branch past everything that is settled here."""

    protected: bool
    developers_push: bool
    developers_merge: bool


@dataclass(frozen=True, kw_only=True)
class Deployment:
    id: int
    environment: str
    commit: CommitSha
    status: str  #: GitLab's own word
    job: int | None
    url: str = ""  #: of the environment


@dataclass(frozen=True, kw_only=True)
class Comment:
    id: int
    author_id: int
    author: str  #: username
    text: str
    at: datetime
    system: bool = False  #: written by GitLab itself: "changed the title"
    path: str = ""  #: of the file that it is about
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class Discussion:
    """Of a merge request. A comment outside of the change cannot be resolved."""

    id: str
    comments: tuple[Comment, ...]
    resolvable: bool = False
    resolved: bool = False


class ForgeReader(Protocol):
    """Reads GitLab, live. Raises `ForgeUnavailable`, `ForgeRejected`, `NotFound`."""

    async def project(self, path: str) -> Project: ...

    async def access(self, project: str, user_id: int) -> int:
        """Access level of the person in the project, inherited ones too; 0 for none."""
        ...

    async def username(self, user_id: int) -> str: ...

    async def merge_requests(self, project: str, source_branch: str) -> Sequence[MergeRequest]:
        """Newest first, in every state."""
        ...

    async def merge_request(self, project: str, iid: int) -> MergeRequest:
        """As it is at this moment."""
        ...

    async def difference(self, project: str, iid: int) -> bytes:
        """The whole unified diff of a merge request, as GitLab shows it. Raises `ForgeRejected`
        where it is too large to be shown in one piece."""
        ...

    async def commits(self, project: str, iid: int) -> Sequence[ForgeCommit]:
        """All commits of a merge request."""
        ...

    async def user(self, user_id: int) -> ForgeUser: ...

    async def project_members(self, project: str) -> Sequence[Member]:
        """The first hundred active ones, inherited ones too, who may do the most first."""
        ...

    async def group_access(self, group: str, user_id: int) -> int:
        """Access level in a group, inherited ones too; 0 for none."""
        ...

    async def merge_rules(self, project: str, iid: int, target: str) -> ForgeRules:
        """Protection of the target branch, and approvals that GitLab asks for."""
        ...

    async def deploy_rules(self, project: str, environment: str) -> ForgeRules: ...

    async def deployment(
        self, project: str, environment: str, commit: CommitSha
    ) -> Deployment | None:
        """The newest one of a commit."""
        ...

    async def linked(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int
    ) -> Linked: ...

    async def has_note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, marker: str
    ) -> bool:
        """Whether one of the newest hundred notes carries the marker."""
        ...

    async def discussions(self, project: str, iid: int) -> Sequence[Discussion]:
        """All of a merge request, oldest first; those that only a team may read are left out."""
        ...

    async def pipelines(self, project: str, *, sha: CommitSha) -> Sequence[Pipeline]:
        """Pipelines of exactly this commit, newest first, with their jobs and with what other
        systems reported for it; detached and merged-result ones, too."""
        ...

    async def branch_pipeline(self, project: str, branch: str) -> Pipeline | None:
        """The newest finished pipeline of a branch, with its jobs."""
        ...

    async def job(self, project: str, job: int) -> Job: ...

    async def job_log(self, project: str, job: int, sink: Callable[[bytes], None]) -> None:
        """Streams the whole log in pieces; nothing of it is kept in memory here."""
        ...

    async def pipeline_tests(self, project: str, pipeline: int) -> TestReport | None:
        """What the pipeline's JUnit reports say; None when it has none."""
        ...

    async def ci_script(self, project: str, commit: CommitSha, job: str) -> tuple[str, ...]:
        """The job's own commands (before_script, script), as GitLab's merged configuration has
        them; empty when they cannot be had."""
        ...

    def origin(self, project: Project) -> Origin:
        """With this reader's own credential."""
        ...


class OutsideLogs(Protocol):
    """Logs of jobs that other CI systems have reported to GitLab."""

    async def read(
        self, url: str, prefixes: Sequence[Place], sink: Callable[[bytes], None]
    ) -> None:
        """Streams the whole log as text, from below one of the prefixes. Raises `LogUnreadable`,
        also when only a part of it came."""
        ...


class ForgeWriter(Protocol):
    """Changes GitLab. Never repeats by itself: who calls reads back first."""

    def origin(self, project: Project) -> Origin: ...

    async def me(self) -> int:
        """Id of the user whom the credential belongs to."""
        ...

    async def open_merge_request(
        self, project: str, *, source: str, target: str, title: str, description: str
    ) -> MergeRequest:
        """A draft when its title says so. Raises `Conflict` when one stands for the branch
        already."""
        ...

    async def mark_ready(self, project: str, iid: int) -> None:
        """Takes "Draft:" from the title."""
        ...

    async def merge(self, project: str, iid: int, commit: CommitSha) -> MergeRequest:
        """Asks once for a merge at exactly this head. What is given back may still be open: a
        merge train takes it, or GitLab does it later. Raises `Conflict` (409: another head),
        `ForgeRejected` with GitLab's status (400, 401, 403, 405, 406, 422), and
        `ForgeUnavailable` where nobody knows whether it was done."""
        ...

    async def create_branch(self, project: str, branch: str, start: str) -> CommitSha:
        """Raises `Conflict` when it is there already."""
        ...

    async def revert(self, project: str, commit: CommitSha, branch: str) -> CommitSha:
        """The commit on the branch that takes this one back. Raises `ForgeRejected` (400) where
        it cannot be taken back without a conflict."""
        ...

    async def play_job(self, project: str, job: int) -> Job:
        """Starts a manual job. Raises `ForgeRejected` (400: not playable, 403: not allowed)."""
        ...

    async def update_merge_request(self, project: str, iid: int, *, description: str) -> None: ...

    async def note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, text: str
    ) -> None: ...

    async def reply(self, project: str, iid: int, discussion: str, text: str) -> None: ...

    async def resolve(self, project: str, iid: int, discussion: str) -> None: ...

    async def assign(self, project: str, iid: int, user_id: int) -> None:
        """Makes the person the merge request's only assignee."""
        ...

    async def retry_job(self, project: str, job: int) -> Job:
        """The new job. Raises `ForgeRejected` when this one cannot be run again."""
        ...


# --- state -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Write:
    """What one transaction adds to a run. State and events change together, always.

    The row's status follows the log: `status` makes the store append a `StatusChanged` after
    the payloads, unless a `StatusChanged` (to give a reason) or a `RunEnded` is among them;
    these two change the row by themselves, `status` may then be left out.
    """

    payloads: tuple[Payload, ...]
    bodies: tuple[bytes, ...] = ()
    status: RunStatus | None = None
    intents: tuple[Intent, ...] = ()  #: stored and queued for the effect plane, in this order
    wake: bool = False  #: queue the run in the same transaction; its worker lets go of it
    wake_after: float = 0.0  #: with `wake`: seconds from now, instead of any other such wake-up


class Freezes(Protocol):
    """What is frozen: for its runs nothing is begun, gone on with, or changed outside."""

    async def freeze(self, scope: str, by: Person, reason: str) -> Freeze:
        """Gives the freeze that stands then: of two of one scope the first one."""
        ...

    async def unfreeze(self, scope: str, by: Person, reason: str) -> Freeze | None:
        """Gives the freeze that was ended; what it held goes on by itself."""
        ...

    async def frozen(self, project: str) -> Freeze | None:
        """What holds the runs of a project, if anything does."""
        ...

    async def freezes(self) -> Sequence[Freeze]: ...

    async def until_frozen(self, project: str) -> None:
        """Returns as soon as the project is frozen, also before the call."""
        ...

    async def heed_freeze(self, run: RunId, *, epoch: int | None = None) -> Freeze | None:
        """Tells the run's log whether a freeze holds it, and gives the one that does. With
        `epoch` its worker lets go of it: it is queued again, and comes back after the freeze."""
        ...

    async def record(self, event: OperatorEvent) -> None:
        """`freeze` and `unfreeze` are recorded with what they do; this is for all else."""
        ...


class Store(Freezes, Protocol):
    """Runs and their logs. Raises `Fenced`, `StoreUnavailable`."""

    async def create(self, key: str, request: Request, limits: Limits) -> tuple[Run, bool]:
        """Stores and queues a run; False when `key` made one before."""
        ...

    async def run(self, run: RunId) -> Run: ...

    async def runs(
        self,
        *,
        statuses: Collection[RunStatus] | None = None,
        project: str | None = None,
        limit: int = 50,
    ) -> Sequence[Run]: ...

    async def run_of_thread(self, team: str, channel: str, ts: str) -> Run | None:
        """The newest run of a thread."""
        ...

    async def events(self, run: RunId, *, after: int = 0) -> Sequence[RunEvent]: ...

    async def body(self, run: RunId, digest: Digest) -> bytes: ...

    async def claim(self, run: RunId, worker: str) -> Run | None:
        """Takes the run: epoch + 1, event `RunClaimed`; the status stays what it was. None when
        there is nothing to do: ended, waiting, or just ended here because a stop was asked for.
        Raises `Unavailable` with `retry_after` when as many runs are at work as may be, or while
        a freeze holds the run.

        A run that watches or delivers is looked after many times an hour: it needs no place among
        those at work, and its claim leaves no event. To work again it is woken as any other run.
        """
        ...

    async def write(
        self,
        run: RunId,
        write: Write,
        *,
        actor: str,
        epoch: int | None = None,
        expect: Collection[RunStatus] | None = None,
        expect_seq: int | None = None,
    ) -> Run:
        """One transaction. With `epoch`: raises `Fenced` when another worker owns the run.
        With `expect`: raises `Conflict` when the status is another one, with `expect_seq` when
        the log has grown past this event, and always when the new status may not follow the
        present one."""
        ...

    async def run_of_gate(self, gate: GateId) -> RunId | None:
        """The run that opened it."""
        ...

    async def pending_intents(self, run: RunId) -> Sequence[tuple[str, Intent]]:
        """Keys and intents that have no outcome yet, oldest first."""
        ...

    async def settle(self, run: RunId, key: str, payload: Payload, *, wake: bool) -> None:
        """Stores the outcome of an intent (`EffectDone`, or `EffectFailed` for good) once."""
        ...

    async def ask_stop(self, run: RunId, payload: Payload, *, actor: str) -> Run:
        """Sets the cancel flag; a run that is queued or waiting ends at once."""
        ...

    async def hint(self, run: RunId) -> bool:
        """Brings forward what a parked run that watches or delivers will do later, a second after
        it was parked at the earliest. False when there is no such wake-up."""
        ...

    async def stop_asked(self, run: RunId) -> None:
        """Returns as soon as a stop of the run has been asked for, also before the call."""
        ...

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[RunId]]:
        """Ids of runs as their logs grow, by notification. On each (re)connect first every run
        that has not ended or that changed during the last day. Ids that come faster than they
        are taken are merged."""
        ...


class Queue(Protocol):
    """Wake-ups of runs and effects, leased to workers."""

    async def work(
        self,
        *,
        on_run: Callable[[RunId], Awaitable[None]] | None = None,
        on_effects: Callable[[RunId], Awaitable[None]] | None = None,
        slots: int = 4,
    ) -> None:
        """Serves until cancelled; what is in flight is cancelled then and handed back within
        20 s. A call that raises `Unavailable` is handed back, too, and comes again after its
        `retry_after`. `slots`: runs at once in this process."""
        ...


class Clock(Protocol):
    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...
