"""The `front` role: Slack, the pages, the webhooks, and the clock that both are looked after by."""

from __future__ import annotations

from datetime import timedelta

from agent.adapters.system_clock import SystemClock
from agent.gatekeeper import Gatekeeper
from agent.hints import Hints
from agent.operators import OperatorService
from agent.pace import Turns
from agent.review import hear_review
from agent.run import CommitSha, RunId
from agent.service import RunService
from bot.build import make_sign_in, night_schedules
from bot.cards import places
from bot.digest import Digests, digest_channels, weekly_channels
from bot.front import Front, open_front
from bot.once import Once
from bot.roles.health import check_forge, check_slack
from bot.roles.opening import Opening
from bot.schedule import Looks, Schedule
from bot.web.link import add_link_pages
from bot.web.site import make_site
from bot.web.slack_events import add_slack_events
from bot.web.webhooks import SOURCE as GITLAB
from bot.web.webhooks import Begins, add_gitlab_events, hear_again
from bot.weekly import Weekly

#: Slack repeats a delivery for minutes; the log of a run keeps what came of it.
KEPT_DELIVERIES = timedelta(days=30)


async def open_front_role(opening: Opening) -> None:
    database, reader = opening.database, opening.reader
    gatekeeper = Gatekeeper(
        store=database.store,
        forge=reader,
        projects=opening.project,
        clock=SystemClock(),
        cards=places(database.store, database.threads),
    )
    comments = Turns(look=lambda run: hear_review(database.store, reader, run), clock=SystemClock())

    async def advanced(path: str, commit: CommitSha) -> None:
        if project := _listed(opening, path):
            await database.pushes.tell(project, commit)

    gates = Looks()

    async def hinted(run: RunId) -> None:
        gates.soon(run)
        await gatekeeper.hinted(run)

    hints = Hints(
        database.store,
        on_waiting=hinted,
        on_note=comments.ask,
        on_advanced=advanced,
    )
    front = await opening.stack.enter_async_context(
        open_front(
            opening.settings,
            store=database.store,
            deliveries=database.inbox,
            threads=database.threads,
            accounts=database.people,
            sign_in=make_sign_in(opening.settings),
            runs=RunService(store=database.store, forge=reader, projects=opening.project),
            operating=OperatorService(
                store=database.store,
                forge=reader,
                projects=opening.project,
                operators=opening.settings.operators,
            ),
            clock=SystemClock(),
            gates=gatekeeper,
            diary=database.nights,
            book=database.digests,
            again={GITLAB: hear_again(database.inbox, hints.hear)},
            rounds=database.rounds,
        )
    )
    opening.go(front.serve(), "front")
    opening.go(_schedule(opening, gatekeeper, gates, front).serve(), "schedule")
    await _open_pages(opening, hints, front)


def _begins(opening: Opening) -> Begins:
    def branch(path: str, default: str) -> str:
        project = opening.project(_listed(opening, path))
        return (project.base_branch or default) if project else ""

    return branch


def _listed(opening: Opening, path: str) -> str:
    """A project as the settings spell it; empty for one that they do not name."""
    listed = opening.settings.listed_projects
    return next((each for each in listed if each.lower() == path.lower()), "")


def _schedule(opening: Opening, gatekeeper: Gatekeeper, gates: Looks, front: Front) -> Schedule:
    settings, database = opening.settings, opening.database
    digests = Digests(
        owner=opening.name,
        team=front.identity.team,
        channels=digest_channels(settings),
        diary=database.nights,
        book=database.digests,
        store=database.store,
        slack=front.slack,
    )
    weekly = Weekly(
        once=Once(
            owner=opening.name,
            team=front.identity.team,
            book=database.digests,
            slack=front.slack,
        ),
        channels=weekly_channels(settings),
        logs=database.outcomes,
    )
    return Schedule(
        store=database.store,
        waits=database.waits,
        gates=gates,
        clock=SystemClock(),
        prune=lambda: database.inbox.prune(KEPT_DELIVERIES),
        look_after=gatekeeper.look_after,
        diary=database.nights,
        nights=night_schedules(settings),
        tells=(digests.tick, weekly.tick),
    )


async def _open_pages(opening: Opening, hints: Hints, front: Front) -> None:
    settings, database = opening.settings, opening.database
    by_http = not settings.slack_app_token
    routes = [
        add_gitlab_events(
            settings.gitlab_webhook_secret, database.inbox, hints.hear, begins=_begins(opening)
        ),
        add_link_pages(front.linking),
    ]
    if by_http:
        routes.append(add_slack_events(settings.slack_signing_secret, front.door.receive))
    check_forge(opening, "gitlab", opening.reader)
    check_slack(opening, front.unreached)
    site = make_site(
        database.store, add_routes=routes, public_url=settings.public_url, health=opening.health
    )
    await opening.listen(site)
    how = "signed HTTP at /slack/events" if by_http else "Socket Mode"
    opening.told.append(f"Slack as @{front.identity.name} by {how}")
    opening.told.append(f"pages on http://{settings.address[0]}:{opening.port}")
