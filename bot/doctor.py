"""`journeyman doctor`: is everything there, and if not, what mends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from functools import partial

from agent.errors import JourneymanError, NotFound
from agent.ports import Check, Message
from agent.run import DEVELOPER, MAINTAINER
from bot.build import make_model, make_sandbox
from bot.gate_check import gate_checks
from bot.settings import Settings, load

Checks = Sequence[Check]

ALL = ("front", "worker", "effects")


async def run(roles: Collection[str] = ALL) -> int:
    """What a process of these roles needs. Prints a line a check; 0 when all is well, else 1."""
    settings = load()
    given = _given(settings, roles)
    settings = settings.only(roles)
    parts: tuple[tuple[str, Collection[str], Callable[[Settings], Awaitable[Checks]]], ...] = (
        ("Settings", ALL, _settings),
        ("Credentials", ALL, given),
        ("Database", ALL, _database),
        ("Sandbox", ("worker",), _sandbox),
        ("Slack", ("front",), _slack),
        ("GitLab", ALL, partial(_gitlab, roles=roles)),
        ("Model", ("worker",), _model),
    )
    well = True
    for name, whose, part in parts:
        if not set(whose) & set(roles):
            continue
        try:
            checks = await part(settings)
        except JourneymanError as error:
            checks = [Check(name=name, ok=False, detail=str(error))]
        for check in checks:
            well = well and check.ok
            print(f"{'ok' if check.ok else 'FAILED':<7} {check.name}: {check.detail}", flush=True)
            if check.remedy:
                print(f"        {check.remedy}")
    print("All is well." if well else "Not everything is well: see FAILED above.")
    return 0 if well else 1


def _given(settings: Settings, roles: Collection[str]) -> Callable[[Settings], Awaitable[Checks]]:
    surplus = settings.surplus(roles)

    async def given(_: Settings) -> Checks:
        if not surplus:
            return ()
        remedy = f"Take it from the environment of {', '.join(roles)}: it is not used there."
        return [Check(name="Credentials", ok=True, detail=", ".join(surplus), remedy=remedy)]

    return given


async def _settings(settings: Settings) -> Checks:
    file = str(settings.config) if settings.config else "no journeyman.toml"
    projects = settings.listed_projects
    checks = [Check(name="Settings", ok=True, detail=f"{file}; state in {settings.home}")]
    remedy = "" if projects else "Nobody can start anything: see docs/connect.md, 3."
    detail = f"{len(projects)} projects"
    checks.append(Check(name="Projects", ok=not remedy, detail=detail, remedy=remedy))
    checks.append(_sign_in(settings))
    if settings.failpoints:
        detail = f"JOURNEYMAN_FAILPOINTS is set: {settings.failpoints}"
        remedy = "The service would die or fail on purpose, which is for tests only: remove it."
        checks.append(Check(name="Failpoints", ok=False, detail=detail, remedy=remedy))
    return checks


def _sign_in(settings: Settings) -> Check:
    """Whether people can link their GitLab accounts; only a browser can try the rest."""
    name, url = "Linking people", settings.public_url.rstrip("/")
    if not url:
        remedy = "Without it nobody can link a GitLab account: docs/connect.md, 3."
        detail = "JOURNEYMAN_PUBLIC_URL is not set"
        return Check(name=name, ok=False, detail=detail, remedy=remedy)
    if not settings.gitlab_signin_id:
        remedy = (
            f"Create an application at GitLab: redirect URI {url}/link/done, scope read_user "
            "(docs/connect.md, 2)."
        )
        return Check(name=name, ok=False, detail="GITLAB_SIGNIN_ID is not set", remedy=remedy)
    kind = "a secret" if settings.gitlab_signin_secret else "no secret: it may not be confidential"
    detail = f"the application at GitLab has to name {url}/link/done; it has {kind}"
    return Check(name=name, ok=True, detail=detail)


async def _database(settings: Settings) -> Checks:
    from agent.adapters.database import open_database

    async with open_database(home=settings.home, url=settings.database_url) as database:
        version = str(await database.pool.fetchval("SHOW server_version"))
        vector = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
        pgvector = await database.pool.fetchval(vector)
    where = "DATABASE_URL" if settings.database_url else "our own"
    detail = f"PostgreSQL {version} ({where}), pgvector {pgvector}, schema up to date"
    return [Check(name="Database", ok=True, detail=detail)]


async def _sandbox(settings: Settings) -> Checks:
    checks = await make_sandbox(settings).check()
    failed = [check for check in checks if not check.ok]
    if failed:
        return failed
    return [Check(name="Sandbox", ok=True, detail=f"{len(checks)} promises hold on this host")]


async def _slack(settings: Settings) -> Checks:
    from bot.slack_check import slack_checks

    if not settings.slack_bot_token:
        remedy = "Create a Slack app from slack-manifest.json: docs/connect.md, 1."
        return [Check(name="Slack", ok=False, detail="SLACK_BOT_TOKEN is not set", remedy=remedy)]
    return await slack_checks(settings)


async def _gitlab(settings: Settings, roles: Collection[str] = ALL) -> Checks:
    from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter

    if not settings.gitlab_url:
        return [
            Check(
                name="GitLab",
                ok=False,
                detail="GITLAB_URL is not set",
                remedy="See docs/connect.md, 2.",
            )
        ]
    async with AsyncExitStack() as stack:
        read = settings.gitlab_read_token or settings.gitlab_token
        reader = await stack.enter_async_context(GitLabReader(settings.gitlab_url, read))
        writer = await stack.enter_async_context(
            GitLabWriter(settings.gitlab_url, settings.gitlab_token)
        )
        checks: list[Check] = []
        if {"front", "worker"} & set(roles):
            checks.append(await _scopes("GitLab read token", reader, {"read_api", "api"}, {"api"}))
        me = None
        if "effects" in roles:
            checks.append(await _scopes("GitLab write token", writer, {"api"}, set[str]()))
            me = await writer.me() if checks[-1].ok else None
        merging = me
        if settings.gitlab_merge_token:
            merger = await stack.enter_async_context(
                GitLabWriter(
                    settings.gitlab_url,
                    settings.gitlab_merge_token,
                    token_name="GITLAB_MERGE_TOKEN",
                )
            )
            checks.append(await _scopes("GitLab merge token", merger, {"api"}, set[str]()))
            merging = await merger.me() if checks[-1].ok else None
        for path in settings.listed_projects:
            if "effects" in roles:
                checks.append(await _project(reader, path, me))
            checks += await gate_checks(reader, settings.project(path), merging=merging)
    return checks


async def _scopes(name: str, forge: object, one_of: set[str], too_much: set[str]) -> Check:
    from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter

    assert isinstance(forge, GitLabReader | GitLabWriter)
    try:
        scopes = set(await forge.scopes())
    except NotFound:
        return Check(name=name, ok=True, detail="works; this GitLab does not tell its scopes")
    except JourneymanError as error:
        return Check(name=name, ok=False, detail=str(error))
    detail = f"scopes {', '.join(sorted(scopes))}"
    if not scopes & one_of:
        remedy = f"Make a token with the scope {' or '.join(sorted(one_of))}."
        return Check(name=name, ok=False, detail=detail, remedy=remedy)
    if scopes & too_much:
        remedy = "It may write, which a reader should not: read_api and read_repository suffice."
        return Check(name=name, ok=True, detail=detail, remedy=remedy)
    return Check(name=name, ok=True, detail=detail)


async def _project(reader: object, path: str, writer: int | None) -> Check:
    from agent.adapters.gitlab_forge import GitLabReader

    assert isinstance(reader, GitLabReader)
    try:
        project = await reader.project(path)
        access = await reader.access(path, writer) if writer is not None else 0
    except JourneymanError as error:
        return Check(name=f"Project {path}", ok=False, detail=str(error))
    branch = project.default_branch or "no branch yet"
    detail = f"default branch {branch}; the write token's access level is {access}"
    if access < DEVELOPER:
        remedy = "Give the write token's user the role Developer in this project."
        return Check(name=f"Project {path}", ok=False, detail=detail, remedy=remedy)
    if access >= MAINTAINER:
        remedy = "Developer is enough: a Maintainer may push to protected branches."
        return Check(name=f"Project {path}", ok=True, detail=detail, remedy=remedy)
    return Check(name=f"Project {path}", ok=True, detail=detail)


async def _model(settings: Settings) -> Checks:
    if not settings.model:
        remedy = "Name a model in JOURNEYMAN_MODEL, and give OPENAI_API_KEY."
        return [Check(name="Model", ok=False, detail="JOURNEYMAN_MODEL is not set", remedy=remedy)]
    said: list[str] = []
    async with make_model(settings) as model:
        for name in dict.fromkeys((settings.model, settings.model_plan, settings.model_repair)):
            if name:
                ready = [Message(role="user", content="Answer with: ready")]
                answer = await model.complete(ready, [], model=name)
                price = "price set" if name in settings.prices else "price not set: costs show as 0"
                said.append(f"{answer.model} answered in {answer.usage.seconds:.1f} s; {price}")
    return [Check(name="Model", ok=True, detail=". ".join(said))]
