"""Who and what there is in a fresh playground."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from playground.gitlab import environments
from playground.gitlab.git_repo import ZERO
from playground.gitlab.oauth_records import Application
from playground.gitlab.records import (
    DEVELOPER,
    GUEST,
    MAINTAINER,
    Grant,
    Hook,
    Project,
    ProtectedEnvironment,
    Token,
)
from playground.gitlab.records import User as Account
from playground.gitlab.state import State
from playground.slack.records import User
from playground.slack.world import World, new_world

if TYPE_CHECKING:
    from playground.gitlab.server import GitLabStandIn

HERE = Path(__file__).parent
SAMPLE = HERE / "projects" / "invoices"
GROUP = "demo"
DEVELOP = "develop"  #: where requests go in the sample project; main is what is in production
PLACES = {
    "staging": "https://staging.invoices.example",
    "production": "https://invoices.example",
}
HOOK = "/gitlab/events"
#: What is green merges itself into develop; into main and into production people let it.
RULES = """
[projects.{project}.targets.develop]
approvals = 0
max_files = 20
max_lines = 600
promote = "main"

[projects.{project}.targets.main]
approvals = 1
access = "maintainer"

[projects.{project}.environments.staging]
jobs = ["deploy-staging"]
approvals = 0

[projects.{project}.environments.production]
jobs = ["deploy-production"]
approvals = 1
access = "maintainer"
"""
#: Projects of the demo of the night, in channels of their names, and where they are told of.
NIGHTLY = tuple(HERE / "projects" / name for name in ("newsletter", "labels"))
MORNING = "nightly"
NIGHTS = """
[projects.{project}.maintenance]
schedule = "0 {hour} * * *"
digest = {digest}
digest_at = "{hour:02}:30"
agent_money = 0
"""
AGENT = "Journeyman"
REQUEST = "@agent add an endpoint that exports invoices as CSV"
SUGGESTIONS = (
    "add an endpoint that exports invoices as CSV",
    "why does the export skip drafts?",
    "make it better",
)


@dataclass(frozen=True, kw_only=True)
class Someone:
    name: str
    real_name: str
    access: int
    title: str


PEOPLE = (
    Someone(name="mia", real_name="Mia Berg", access=DEVELOPER, title="Developer"),
    Someone(name="sam", real_name="Sam Keller", access=MAINTAINER, title="Maintainer"),
    Someone(name="lee", real_name="Lee Osei", access=MAINTAINER, title="Maintainer"),
    Someone(name="noor", real_name="Noor Haddad", access=GUEST, title="Guest in GitLab"),
)
TITLES = {each.name: each.title for each in PEOPLE}
PURPOSES = {
    "billing": f"Invoices and payments. The agent works on {GROUP}/invoices here.",
    "platform": "No project is bound to this channel.",
    "random": "Anything else.",
}


def make_world(manifest: Path) -> World:
    """The workspace, with the manifest's app in every channel."""
    world = new_world(json.loads(manifest.read_text(encoding="utf-8")))
    world.team_name = "Playground"
    app = world.users[world.app.bot_user]
    world.users.clear()
    world.channels.clear()
    world.add_user(replace(app, real_name="Journeyman"))
    for each in PEOPLE:
        world.add_user(
            User(
                id=f"U0{each.name.upper()}",
                name=each.name,
                real_name=each.real_name,
                email=f"{each.name}@playground.example",
            )
        )
    for name in PURPOSES:
        world.add_channel(name, *world.users)
    for each in PEOPLE:
        world.direct_message(world.user_named(each.name).id)
    return world


async def seed_gitlab(gitlab: GitLabStandIn) -> None:
    """Accounts, the agent's two tokens and the sample project with its branches."""
    state = gitlab.state
    accounts = {each.name: state.add_user(each.name, name=each.real_name) for each in PEOPLE}
    for person in accounts.values():
        person.profile["public_email"] = person.email
    agent = state.add_user("journeyman", name="Journeyman", bot=True)
    state.add_token(agent, "api", name="write")
    state.add_token(agent, "read_api", "read_repository", name="read")
    project = await add_project(gitlab, "invoices", SAMPLE, accounts, agent)
    await add_develop(gitlab, project)
    for name, url in PLACES.items():
        environments.ensure(gitlab.forge, project, name, url)
    project.protected_environments["production"] = ProtectedEnvironment(
        name="production",
        deploy=[
            Grant(id=state.next_id("grant"), access_level=MAINTAINER),
            Grant(id=state.next_id("grant"), user_id=agent.id),
        ],
    )


async def begin_anew(gitlab: GitLabStandIn) -> None:
    """Puts the sample project's branches back to its first commit: what the demo has brought to
    production once would be in the way of its next time."""
    project = gitlab.state.project_by(f"{GROUP}/invoices")
    assert project is not None
    repository = gitlab.forge.repository(project)
    for branch in (project.default_branch, DEVELOP):
        head = await repository.branch(branch)
        assert head is not None
        first = (await repository.log("--max-parents=0", head, "--"))[-1].id
        if head != first:
            await repository.update_ref(f"refs/heads/{branch}", first, head)
            project.pushed_at[branch] = float("-inf")


async def add_develop(gitlab: GitLabStandIn, project: Project) -> None:
    """A branch at the default one's head, into which developers merge and nobody pushes."""
    repository = gitlab.forge.repository(project)
    head = await repository.branch(project.default_branch)
    assert head is not None
    await repository.update_ref(f"refs/heads/{DEVELOP}", head, ZERO)
    project.pushed_at[DEVELOP] = float("-inf")
    gitlab.state.protect(project, DEVELOP, push=0, merge=DEVELOPER)


async def add_project(
    gitlab: GitLabStandIn,
    name: str,
    source: Path,
    accounts: Mapping[str, Account] | None = None,
    agent: Account | None = None,
) -> Project:
    """Into the default branch maintainers merge, and the agent, who is a developer."""
    state = gitlab.state
    accounts = accounts or {each.name: account(state, each.name) for each in PEOPLE}
    project = await gitlab.add_project(f"{GROUP}/{name}", owner=accounts["sam"], source=source)
    for each in PEOPLE:
        state.add_member(project, accounts[each.name], each.access)
    agent = agent or account(state, "journeyman")
    state.add_member(project, agent, DEVELOPER)
    for rule in state.protection(project, project.default_branch):
        rule.merge.append(Grant(id=state.next_id("grant"), user_id=agent.id))
    return project


def add_hook(state: State, path: str, url: str, secret: str) -> None:
    """The project tells the agent of its pipelines; a hook of an earlier start is brought up to
    date."""
    project = state.project_by(path)
    assert project is not None, path
    hook = next((each for each in project.hooks.values() if each.url.endswith(HOOK)), None)
    if hook is None:
        hook = Hook(id=state.next_id("hook"), url="", created_at=state.now(), events={})
        project.hooks[hook.id] = hook
    hook.url, hook.token = url.rstrip("/") + HOOK, secret
    hook.failures, hook.disabled, hook.disabled_until = 0, False, None
    kinds = ("push_events", "pipeline_events", "merge_requests_events", "note_events")
    hook.events |= dict.fromkeys(kinds, True)


def application(state: State, url: str) -> Application:
    """By which the agent asks GitLab who somebody is; `url` is the agent's."""
    back = f"{url.rstrip('/')}/link/done"
    for known in state.oauth.applications.values():
        if known.name == AGENT:
            known.redirect_uris = (back,)
            return known
    return state.oauth.register(AGENT, back, "read_user")


def account(state: State, name: str) -> Account:
    found = state.user_by_name(name)
    assert found is not None, name
    return found


def token(state: State, name: str) -> Token:
    return next(each for each in state.tokens.values() if each.name == name)


def slug(path: Path) -> str:
    """A project's name for GitLab and for its channel."""
    return re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-")[:40] or "project"


def settings_file(
    world: World, state: State, projects: Mapping[str, str], nightly: Collection[str] = ()
) -> str:
    """journeyman.toml for this playground. `projects`: channel name -> project path. `nightly`:
    paths of those that have nights."""
    every = json.dumps(sorted(projects.values()))
    lines = [
        "# Written by the playground at every start.",
        f"[channels]\ndirect = {every}",
        f"{world.channel_named('random').id} = {every}  # shows the picker",
    ]
    for channel, path in projects.items():
        ids = json.dumps([world.channel_named(channel).id])
        lines.append(f"[projects.{json.dumps(path)}]\nchannels = {ids}")
        project = state.project_by(path)
        if project is not None and DEVELOP in project.protected_branches:
            lines.append(f"default_branch = {json.dumps(DEVELOP)}")
            lines.append(RULES.format(project=json.dumps(path)))
        if path in nightly:
            lines.append(
                NIGHTS.format(
                    project=json.dumps(path),
                    hour=(datetime.now(UTC).hour + 12) % 24,  # not in the middle of the demo
                    digest=json.dumps(world.channel_named(MORNING).id),
                )
            )
    return "\n".join(lines) + "\n"
