"""Who pressed: may this person decide?"""

from __future__ import annotations

from agent.access import ROLES, checked
from agent.checks.case import Case
from agent.errors import JourneymanError, Refused
from agent.involved import involved as all_involved
from agent.involved import same_person
from agent.run import DEVELOPER, MAINTAINER


async def linked(case: Case) -> str | None:
    if case.by.gitlab_id is not None:
        return None
    return (
        "You can't decide this: I don't know your GitLab account. Link it, or ask an operator "
        "to, and press again."
    )


async def account(case: Case) -> str | None:
    user = await case.forge.user(_id(case))
    if user.bot:
        return f"You can't decide this: @{user.username} is a bot at GitLab."
    if user.external:
        return f"You can't decide this: @{user.username} is an external user at GitLab."
    if not user.active:
        return f"You can't decide this: @{user.username} is not an active user at GitLab."
    return None


async def access(case: Case) -> str | None:
    gate, user = case.gate.gate, _id(case)
    rule = gate.rule
    access = await case.forge.access(gate.project, user)
    named = bool(rule.users or rule.groups)
    needed = DEVELOPER if named else max(rule.access, DEVELOPER)
    if access < needed:
        wanted = {DEVELOPER: "a Developer", MAINTAINER: "a Maintainer"}.get(needed, ROLES[50])
        role = ROLES.get(access, f"at level {access}")
        return (
            f"You can't decide about `{gate.subject}` of `{gate.project}`: GitLab says you are "
            f"{role} there, and whoever decides must be {wanted}."
        )
    if not named or user in rule.users:
        return None
    for group in rule.groups:
        if await case.forge.group_access(group, user):
            return None
    groups = ", ".join(f"`{group}`" for group in rule.groups)
    whom = f"members of {groups}" if groups else "the people whom its rule names"
    return f"You can't decide about `{gate.subject}` of `{gate.project}`: only {whom} can."


async def involved(case: Case) -> str | None:
    gate = case.gate.gate
    if gate.rule.self_approval:
        return None
    if part := all_involved(case.events).includes(case.by):
        return f"You can't decide this. {part} Somebody else has to."
    begun = next((d.begun for d in case.state.deliveries if d.number == gate.delivery), None)
    if begun is None:
        return "I do not know who asked for this, so nobody can decide it. Ask again."
    if begun.by and same_person(begun.by, case.by):
        return f"You can't decide this. You asked for this {begun.kind} yourself."
    user = await case.forge.user(_id(case))
    names = {name.casefold() for name in (user.name, user.username) if name}
    emails = {email.casefold() for email in user.emails}
    for commit in await case.forge.commits(gate.project, gate.iid):
        # a name proves nothing, and so only ever denies
        if names & {name.casefold() for name in commit.names} or emails & {
            email.casefold() for email in commit.emails
        }:
            return (
                f"You can't decide this. The commit {commit.sha[:8]} in it is yours, so somebody "
                "else has to."
            )
        if {user.username.casefold(), case.by.id.casefold()} & {
            asker.casefold() for asker in commit.askers
        }:
            return (
                f"You can't decide this. The commit {commit.sha[:8]} in it was made on your "
                "request, so somebody else has to."
            )
    return None


async def once(case: Case) -> str | None:
    if not any(same_person(voter, case.by) for voter in case.gate.votes):
        return None
    have, need = len(case.gate.votes), case.gate.gate.rule.approvals
    return f"You have approved this already ({have} of {need}); somebody else has to, too."


async def instruct(case: Case) -> str | None:
    """A rejection with feedback tells the agent what to do: it takes what telling it does."""
    try:
        await checked(case.forge, case.gate.gate.project, case.by, "instruct runs on")
    except Refused as refusal:
        return str(refusal)
    return None


def _id(case: Case) -> int:
    if case.by.gitlab_id is None:
        raise JourneymanError("Your GitLab account is not known.")
    return case.by.gitlab_id
