"""What people say to a run, are asked, and accept."""

from __future__ import annotations

from dataclasses import dataclass

from agent.pipeline import Violation
from agent.run import Person, TreeSha


@dataclass(frozen=True, kw_only=True)
class ReviewNote:
    """A comment on the merge request that an instruction was made of."""

    id: int
    discussion: str
    place: str = ""  #: "app.py:12"


@dataclass(frozen=True, kw_only=True)
class InstructionGiven:
    """A follow-up from the thread, whose ts is `message`; or `notes` of one person's review."""

    text: str
    by: Person
    message: str = ""
    notes: tuple[ReviewNote, ...] = ()
    approves: bool = False  #: the plan with which the run has ended


@dataclass(frozen=True, kw_only=True)
class InstructionTaken:
    """The model has it in its prompt now; `given` is the `seq` of its `InstructionGiven`."""

    given: int
    step: int


@dataclass(frozen=True, kw_only=True)
class QuestionAsked:
    question: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class QuestionAnswered:
    text: str
    by: Person
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class ChangeJudged:
    """What comparing a tree with the base has found where nobody is asked: facts only."""

    tree: TreeSha
    violations: tuple[Violation, ...]


@dataclass(frozen=True, kw_only=True)
class PushHeld:
    """The change would pass by weakening what checks it, or breaks a rule: a person decides."""

    tree: TreeSha
    violations: tuple[Violation, ...]
    self_accept: bool = False  #: the one who asked for the change may accept it, too


@dataclass(frozen=True, kw_only=True)
class HoldLifted:
    """A person accepts the violations of one tree, once."""

    tree: TreeSha
    by: Person
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HoldRefused:
    """A click on a hold that lets nothing pass."""

    by: Person
    reason: str  #: as the person was told
    hold: int = 0  #: `held_seq` of what the person has seen
    message: str = ""  #: the click


@dataclass(frozen=True, kw_only=True)
class HoldReminded:
    """People were told once more that a hold waits for them."""

    hold: int


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """The branch is this person's from now on: the run adds to it only when people ask again."""

    by: Person
    message: str = ""  #: by which the person took it
