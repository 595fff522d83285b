"""May somebody do this to a project? GitLab's word of this very moment decides."""

from __future__ import annotations

from dataclasses import replace

from agent.errors import NotFound, NotLinked, Refused
from agent.ports import ForgeReader
from agent.run import DEVELOPER, MAINTAINER, Person

ROLES = {0: "no member", 5: "a member with minimal access", 10: "a Guest", 15: "a Planner"} | {
    20: "a Reporter", 30: "a Developer", 40: "a Maintainer", 50: "an Owner",
}  # fmt: skip


async def checked(
    forge: ForgeReader, project: str, by: Person, deed: str, needed: int = DEVELOPER
) -> Person:
    """The person with the access of this moment. Raises `Refused`."""
    if by.gitlab_id is None:
        raise NotLinked(
            f"You can't {deed} `{project}`: I don't know your GitLab account. Link it with "
            "`@agent settings`."
        )
    try:
        access = await forge.access(project, by.gitlab_id)
    except NotFound as error:
        raise Refused(f"You can't {deed} `{project}`: GitLab shows me no such project.") from error
    if access < needed:
        wanted = "Maintainer" if needed == MAINTAINER else "Developer"
        role = ROLES.get(access, f"at level {access}")
        raise Refused(
            f"You can't {deed} `{project}`: GitLab says you are {role} there, {wanted} is "
            "needed. Ask a maintainer of the project."
        )
    return replace(by, access=access)
