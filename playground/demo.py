"""One request, shown in the terminal as it goes through the thread."""

from __future__ import annotations

import asyncio

from rich.console import Console
from rich.markdown import Markdown
from rich.rule import Rule
from rich.text import Text

from playground import seed
from playground.demo_delivery import deliver
from playground.demo_thread import DONE, Thread
from playground.demo_view import pipelines
from playground.gitlab.records import MergeRequest
from playground.slack.records import Message
from playground.town import Playground

LIMIT_SECONDS = 600.0
PROJECT = f"{seed.GROUP}/invoices"


async def show(playground: Playground) -> int:
    """Posts the request and follows its thread. Returns the exit code."""
    console = Console(highlight=False)
    console.print(Text(playground.model_line, style="bold"), soft_wrap=True)
    console.print(f"The same in the browser: {playground.page.url}\n")
    thread = Thread(playground, console)
    request: MergeRequest | None = None
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await seed.begin_anew(playground.gitlab)
            outcome = await thread.follow(seed.REQUEST)
            request = _merge_request(playground, thread.root)
            if outcome == DONE and request:
                await _summary(playground, request, console)
                outcome = await deliver(thread)
    except TimeoutError:
        outcome = "time"
    problem = _problem(outcome, request)
    if problem:
        console.print(f"\n[bold red]{problem}[/]")
        console.print(f"The log of the service: {playground.service.log}")
    else:
        console.print(f"\n[bold green]{_deployed(playground)}[/]")
    console.print(f"\nThe page: {playground.page.url}")
    return 1 if problem else 0


def _problem(outcome: str, request: MergeRequest | None) -> str:
    if outcome == "time":
        return f"The run did not end within {LIMIT_SECONDS / 60:.0f} minutes."
    if outcome != DONE:
        return "The run did not come to production; the thread above says why."
    if request is None:
        return "The run ended, but GitLab has no merge request of it."
    return ""


def _merge_request(playground: Playground, root: Message | None) -> MergeRequest | None:
    """The one that was opened since the request."""
    project = playground.page.forge.project(PROJECT)
    since = float(root.ts) if root else 0.0
    found = [
        each for each in project.merge_requests.values() if each.created_at.timestamp() > since
    ]
    return found[-1] if found else None


def _deployed(playground: Playground) -> str:
    project = playground.page.forge.project(PROJECT)
    place = next(each for each in project.environments.values() if each.name == "production")
    made = [d for d in project.deployments.values() if d.environment_id == place.id]
    newest = made[-1]
    return f"production runs {newest.sha[:8]} ({newest.status}), {place.external_url}"


async def _summary(playground: Playground, request: MergeRequest, console: Console) -> None:
    forge = playground.page.forge
    shown = await forge.merge_request(forge.project(PROJECT), request)
    console.print(Rule("merge request", style="dim"))
    console.print(Text(shown["title"], style="bold"))
    console.print(shown["web_url"], soft_wrap=True)
    for file in await forge.files(PROJECT, request.iid):
        console.print(
            f"  {file['new_path']}  [green]+{file['additions']}[/] [red]−{file['deletions']}[/]"
        )
    stat = shown["stat"]
    console.print(f"  {stat['files']} files, +{stat['additions']} −{stat['deletions']}")
    console.print(pipelines(shown["pipelines"]))
    console.print()
    console.print(Markdown(shown["description"]))
