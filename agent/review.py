"""Comments on a run's merge request: as instructions, each once, and what is answered there."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from agent.decision import overtaken
from agent.errors import Conflict, ForgeRejected
from agent.events import InstructionGiven, ReviewNote, StatusChanged
from agent.intents import Reply
from agent.ports import Comment, Discussion, ForgeReader, MergeRequest, Store, Write
from agent.prompt import clean, cut
from agent.run import DEVELOPER, ENDED, CommitSha, Person, RunId, RunStatus
from agent.state import RunState, fold

COMMENTS = 40  #: of one person at a time; the rest come with the next look
CHARACTERS = 4_000  #: of one comment
TRIES = 5  #: a run may change while its comments are read
log = logging.getLogger(__name__)


async def instructions(
    forge: ForgeReader, state: RunState, request: MergeRequest
) -> tuple[InstructionGiven, ...]:
    """What people with access have written since the last look, one instruction a person. Who
    may not start a run is not heard, neither are bots, nor the run's own user; what has been
    resolved needs nobody any more."""
    project, known = request.project, _known(state)
    fresh: dict[int, list[tuple[Discussion, Comment]]] = {}
    for talk in await forge.discussions(project, request.iid):
        for comment in () if talk.resolved else talk.comments:
            own = comment.system or comment.author_id == request.author_id
            if not own and comment.id not in known:
                fresh.setdefault(comment.author_id, []).append((talk, comment))
    given: list[InstructionGiven] = []
    for author, said in fresh.items():
        person = await _heard(forge, project, author)
        if person is not None:
            given.append(_instruction(person, request, said[:COMMENTS]))
    return tuple(given)


def replies(
    state: RunState, settled: Collection[str], commit: CommitSha | None
) -> tuple[Reply, ...]:
    """To each discussion whose comments the model has been told of. `settled`: keys of effects
    that are done, or failed for good."""
    newest: dict[str, int] = {}
    for followup in state.followups:
        for note in followup.given.notes if followup.taken_at_step is not None else ():
            newest[note.discussion] = max(note.id, newest.get(note.discussion, 0))
    made = (Reply(discussion=talk, note=note, commit=commit) for talk, note in newest.items())
    return tuple(reply for reply in made if reply.key(state.run) not in settled)


def reply_marker(run: RunId, note: int) -> str:
    """Invisible; tells that the comments up to this one are answered."""
    return f"<!-- journeyman-run: {run} note: {note} -->"


async def hear_review(store: Store, forge: ForgeReader, run: RunId) -> None:
    """Sets a run that ended, or waits for an approval, with its merge request still open to work
    on new comments there. One that watches looks for them itself."""
    for _ in range(TRIES):
        state = fold(await store.events(run))
        made = state.merge_request
        left = state.stop is not None or state.taken_over is not None
        gate = state.gate if state.status is RunStatus.WAITING_FOR_APPROVAL else None
        rests = state.status in ENDED or gate is not None
        if not rests or left or made is None or made.iid is None:
            return
        try:
            request = await forge.merge_request(state.request.project, made.iid)
            given = await instructions(forge, state, request) if request.state == "opened" else ()
        except ForgeRejected as error:
            log.warning("review_not_heard", extra={"run": run, "reason": str(error)})
            return
        if not given:
            return
        before = overtaken(gate, given[0].by) if gate else ()
        queued = StatusChanged(status=RunStatus.QUEUED)
        on = Write(payloads=(*before, *given, queued), wake=True)
        try:
            await store.write(run, on, actor="service", expect_seq=state.seq)
            return
        except Conflict:
            continue  # somebody else was first: what they have not taken is left


def _known(state: RunState) -> set[int]:
    return {note.id for followup in state.followups for note in followup.given.notes}


async def _heard(forge: ForgeReader, project: str, author: int) -> Person | None:
    access = await forge.access(project, author)
    if access < DEVELOPER:
        return None
    user = await forge.user(author)
    if user.bot or not user.active:
        return None
    name = " ".join(clean(user.name or user.username).split())
    return Person(
        id=f"gitlab:{author}",
        name=name,
        gitlab_id=author,
        gitlab_username=user.username,
        access=access,
    )


def _instruction(
    person: Person, request: MergeRequest, said: Sequence[tuple[Discussion, Comment]]
) -> InstructionGiven:
    count = "a comment" if len(said) == 1 else f"{len(said)} comments"
    parts = [
        f"In the review of !{request.iid}, {count}. Each is answered there once the change is "
        "pushed, or with your `answer`."
    ]
    notes: list[ReviewNote] = []
    for number, (talk, comment) in enumerate(said, 1):
        place = _place(comment)
        where = f"On {place}" if place else "On the whole"
        text = cut(clean(comment.text).strip(), CHARACTERS)
        parts.append(f"{number}. {where}:\n{text}")
        notes.append(ReviewNote(id=comment.id, discussion=talk.id, place=place))
    return InstructionGiven(text="\n\n".join(parts), by=person, notes=tuple(notes))


def _place(comment: Comment) -> str:
    path = " ".join(clean(comment.path).split())[:300]
    return f"{path}:{comment.line}" if path and comment.line else path
