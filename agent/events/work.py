"""What a run reads, plans, asks, does, tests and commits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.plan import Plan
from agent.run import CommitSha, Digest, TreeSha, Usage
from agent.testreport import TestReport


@dataclass(frozen=True, kw_only=True)
class WorkspaceReady:
    base: CommitSha
    branch: str  #: the base branch
    files: int
    seconds: float
    notes: tuple[str, ...] = ()  #: what is unusual: LFS pointers, submodules, odd names


@dataclass(frozen=True, kw_only=True)
class DependenciesReady:
    manager: str  #: "uv", "npm" …, empty when the project declares none
    cached: bool
    seconds: float
    problem: str = ""  #: a sentence, empty when they were installed


@dataclass(frozen=True, kw_only=True)
class RetrievedPlace:
    """A piece of code that may be about what was asked; the parts of its score are 0 to 1."""

    path: str
    start: int  #: first line, from 1
    end: int
    symbols: tuple[str, ...] = ()
    score: float = 0.0
    words: float = 0.0
    similar: float = 0.0
    named: bool = False
    where: float = 0.0
    history: float = 0.0
    shown: bool = True  #: with its text; the others by path and lines alone


@dataclass(frozen=True, kw_only=True)
class CodeRetrieved:
    """What the model was shown before it asked for anything. Without places `problem` says why:
    it has exact search then."""

    purpose: Literal["plan", "repair"]
    query: Digest
    commit: CommitSha  #: of the index
    state: Literal["ready", "late", "broken"]
    places: tuple[RetrievedPlace, ...] = ()
    records: tuple[str, ...] = ()  #: decision records that match, by path
    edited: int = 0  #: files that were read as the run has left them
    milliseconds: float = 0.0  #: of the search
    waited: float = 0.0  #: seconds for the index
    problem: str = ""
    meaning: str = ""  #: how far the places rest on embeddings


@dataclass(frozen=True, kw_only=True)
class PlanMade:
    """The first plan or a later state of it; the newest one counts."""

    plan: Plan


@dataclass(frozen=True, kw_only=True)
class ModelAsked:
    """`appended` is the JSON list of the messages since the last answer; `prefix` is the
    SHA-256 of all that stands before them, so that the log holds each message once."""

    call: int
    appended: Digest
    prefix: Digest
    messages: int  #: in the whole prompt


@dataclass(frozen=True, kw_only=True)
class ModelAnswered:
    call: int
    message: Digest  #: JSON of the assistant's message
    usage: Usage
    model: str
    finish: str


@dataclass(frozen=True, kw_only=True)
class ModelFailed:
    call: int
    problem: str  #: a sentence for people
    attempt: int
    attempts: int
    retry_in: float | None  #: seconds, None when it is not tried again


@dataclass(frozen=True, kw_only=True)
class ContextCompacted:
    """The prompt was rewritten once to fit the window; the log keeps everything."""

    before_tokens: int
    after_tokens: int
    messages: Digest  #: JSON list that replaces everything before


@dataclass(frozen=True, kw_only=True)
class ToolStarted:
    """Stored for a call that takes a while, so that people see what is being waited for."""

    call: int
    tool: str
    summary: str  #: one line for people: the command


@dataclass(frozen=True, kw_only=True)
class ToolReturned:
    call: int  #: of the model answer that asked for it
    id: str  #: of the tool call
    tool: str
    arguments: str  #: JSON as the model wrote it, cut to 2,000 characters
    ok: bool
    summary: str  #: one line for people, for example "pytest -q: exit 1 in 2.1 s"
    output: Digest  #: what the model was shown
    seconds: float
    whole: Digest | None = None  #: all that was printed, where the model was shown a part


@dataclass(frozen=True, kw_only=True)
class FileChange:
    path: str
    status: Literal["added", "modified", "deleted", "renamed"]
    added: int
    removed: int


@dataclass(frozen=True, kw_only=True)
class CheckpointTaken:
    """The work tree as a tree in the vault, and as a patch against the base commit from which
    any host restores it."""

    tree: TreeSha
    patch: Digest
    files: tuple[FileChange, ...]


@dataclass(frozen=True, kw_only=True)
class TestsRan:
    __test__ = False  # not a test class of pytest's

    report: TestReport
    where: Literal["base", "change", "during"]  #: "during": asked for by the model


@dataclass(frozen=True, kw_only=True)
class HealStarted:
    attempt: int
    attempts: int
    failing: tuple[str, ...]
    refused: tuple[str, ...] = ()  #: why what an errand has come to was not accepted


@dataclass(frozen=True, kw_only=True)
class Committed:
    commit: CommitSha
    tree: TreeSha
    files: tuple[FileChange, ...]
    title: str
    #: git's own record of the commit, by which any host makes it again; None in old logs
    recipe: Digest | None = None
