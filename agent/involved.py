"""Who has a part in a run's change, and so may not be the one who lets it pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.events import InstructionGiven, QuestionAnswered, RunAccepted, RunEvent
from agent.run import Person


@dataclass(frozen=True, kw_only=True)
class Involved:
    """Of one run, since its start, through all its rounds."""

    requester: Person
    instructors: tuple[Person, ...] = ()  #: by any way: thread, answers, review comments

    def includes(self, person: Person) -> str | None:
        """The reason, a whole sentence to that person; None for somebody who has no part in it.
        One who is known by another Slack id, or only at GitLab, is still the same person."""
        if same_person(person, self.requester):
            return "You asked for this change yourself."
        if any(same_person(person, each) for each in self.instructors):
            return "You gave the run instructions, so this change is partly your own."
        return None


def involved(events: Iterable[RunEvent]) -> Involved:
    """`events`: the run's whole log. Call `involved(events).includes(person)` and refuse with
    the sentence that it gives. Nobody else can have committed: a run never goes on from commits
    that are not its own."""
    requester: Person | None = None
    instructors: dict[tuple[str, int | None], Person] = {}  # an account may be linked anew
    for event in events:
        match event.payload:
            case RunAccepted(request=request):
                requester = request.requester
            case InstructionGiven(by=by) | QuestionAnswered(by=by):
                instructors[by.id, by.gitlab_id] = by
            case _:
                pass
    if requester is None:
        raise ValueError("a log begins with the acceptance of its run")
    return Involved(requester=requester, instructors=tuple(instructors.values()))


def same_person(one: Person, other: Person) -> bool:
    """Two Slack users of one GitLab user are one person."""
    return one.id == other.id or (one.gitlab_id is not None and one.gitlab_id == other.gitlab_id)
