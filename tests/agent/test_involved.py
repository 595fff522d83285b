"""Whoever has a part in a change is known again, by whatever account."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.events import InstructionGiven, Payload, QuestionAnswered, RunAccepted, RunEvent
from agent.involved import Involved, involved
from agent.run import Limits, Person, Request, RunId, Thread

MIA = Person(id="U0MIA", name="mia", gitlab_id=7)
LEE = Person(id="U0LEE", name="lee", gitlab_id=8)
SAM = Person(id="U0SAM", name="sam", gitlab_id=9)
KIM = Person(id="U0KIM", name="kim")


def log(*payloads: Payload) -> Involved:
    request = Request(
        text="x",
        project="g/p",
        base_branch=None,
        requester=MIA,
        thread=Thread(team="T", channel="C", ts="1.0"),
        message="1.0",
    )
    facts: tuple[Payload, ...] = (RunAccepted(request=request, limits=Limits()), *payloads)
    at = datetime(2030, 1, 1, tzinfo=UTC)
    return involved(
        RunEvent(run=RunId(1), seq=seq, at=at, actor="x", payload=payload, hash="")
        for seq, payload in enumerate(facts, 1)
    )


def test_the_one_who_asked_is_known_by_either_account():
    people = log()
    assert people.includes(MIA) == "You asked for this change yourself."
    assert people.includes(Person(id="U0NEW", name="mia", gitlab_id=7))
    assert people.includes(Person(id="U0MIA", name="mia"))
    assert people.includes(LEE) is None


@pytest.mark.parametrize(
    "given",
    [
        InstructionGiven(text="faster", by=LEE, message="2.0"),
        QuestionAnswered(text="the second", by=LEE),
    ],
)
def test_whoever_instructed_is_part_of_it_for_ever(given: Payload):
    people = log(given, InstructionGiven(text="and cleaner", by=MIA, message="3.0"))
    assert "instructions" in (people.includes(LEE) or "")
    assert people.includes(Person(id="gitlab:8", name="lee", gitlab_id=8))
    assert people.includes(SAM) is None


def test_two_people_without_accounts_at_gitlab_are_not_the_same():
    people = log(InstructionGiven(text="faster", by=KIM, message="2.0"))
    assert people.includes(Person(id="U0PAT", name="pat")) is None
    assert people.includes(KIM)


def test_who_links_another_account_is_still_known_by_the_first():
    again = Person(id="U0LEE", name="lee", gitlab_id=9)
    people = log(
        InstructionGiven(text="faster", by=LEE, message="2.0"),
        InstructionGiven(text="and smaller", by=again, message="3.0"),
    )
    assert people.includes(Person(id="U0NEW", name="lee2", gitlab_id=8))
    assert people.includes(Person(id="U0NEW", name="lee2", gitlab_id=9))
