"""Whom a gate mentions: people of the chat who may decide it. A courtesy, and no right."""

from __future__ import annotations

from agent.errors import JourneymanError
from agent.gate import Rule
from agent.involved import involved, same_person
from agent.ports import Member
from agent.run import DEVELOPER, Person
from agent.work import Hold, Lookout

SHOWN = 5
TRIED = 30  #: members who are looked up in the chat


async def approvers(
    work: Hold, lookout: Lookout, rule: Rule, by: Person | None
) -> tuple[Person, ...]:
    """At most five, without those who have a part in the change; `by` pressed the button for it.
    Nobody where GitLab or the database does not tell: the card says in words who may decide."""
    if lookout.holder is None:
        return ()
    request, part = work.state.request, involved(work.journal.events)
    found: list[Person] = []
    try:
        members = await lookout.forge.project_members(request.project)
        for member in [each for each in members if _may(rule, each)][:TRIED]:
            slack = await lookout.holder(request.thread.team, member.id)
            if slack is None:
                continue
            person = Person(
                id=slack,
                name=member.username,
                gitlab_id=member.id,
                gitlab_username=member.username,
                access=member.access,
            )
            own = part.includes(person) or (by and same_person(person, by))
            if rule.self_approval or not own:
                found.append(person)
    except JourneymanError:
        return ()
    return tuple(found[:SHOWN])


def _may(rule: Rule, member: Member) -> bool:
    """Members of groups are not looked up: the card names the group."""
    if rule.users or rule.groups:
        return member.id in rule.users and member.access >= DEVELOPER
    return member.access >= max(rule.access, DEVELOPER)
