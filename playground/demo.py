"""One request, shown in the terminal as it goes through the thread."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.rule import Rule
from rich.text import Text

from playground import seed
from playground.demo_view import card, edited, message, pipelines, plain
from playground.gitlab.records import MergeRequest
from playground.slack.records import Message
from playground.town import Playground

LIMIT_SECONDS = 600.0
CARD_SECONDS = 5.0  #: for the last edit of the card, once the run has ended
PROJECT = f"{seed.GROUP}/invoices"
_DONE, _NEEDS_A_PERSON, _STOPPED = "white_check_mark", "warning", "octagonal_sign"
_ENDS = ("done", "needs a person", "failed", "stopped")


async def show(playground: Playground) -> int:
    """Posts the request and follows its thread. Returns the exit code."""
    console = Console(highlight=False)
    console.print(Text(playground.model_line, style="bold"), soft_wrap=True)
    console.print(f"The same in the browser: {playground.page.url}\n")
    thread = Thread(playground, console)
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            outcome = await thread.follow(seed.REQUEST)
    except TimeoutError:
        outcome = "time"
    request = _merge_request(playground, thread.root)
    problem = _problem(outcome, request)
    if problem:
        console.print(f"\n[bold red]{problem}[/]")
        console.print(f"The log of the service: {playground.service.log}")
    elif request:
        await _summary(playground, request, console)
    console.print(f"\nThe page: {playground.page.url}")
    return 1 if problem else 0


@dataclass
class Thread:
    """What has been shown of one thread: the agent's first message is the status card."""

    playground: Playground
    console: Console

    def __post_init__(self) -> None:
        self._said: dict[str, str] = {}
        self._card: Message | None = None
        self.root: Message | None = None

    async def follow(self, request: str) -> str:
        """Until the run ends. Returns the agent's last reaction on the request."""
        world = self.playground.world
        changed, outcome, patience = asyncio.Event(), "", 0.0
        loop = asyncio.get_running_loop()
        end = world.subscribe(lambda _: changed.set())
        failed = asyncio.create_task(self.playground.service.ended())
        failed.add_done_callback(lambda _: changed.set())
        root = self.root = self.playground.slack.people.post("mia", "billing", request)
        live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        try:
            with live or nullcontext():
                while True:
                    changed.clear()
                    messages = world.thread(root.channel, root.ts)
                    for each in messages:
                        self._show(each, live)
                    outcome = outcome or self._outcome(messages)
                    if outcome and (self._card_is_final() or loop.time() > patience):
                        return outcome
                    if not outcome:
                        patience = loop.time() + CARD_SECONDS
                    if failed.done():
                        failed.result()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            await changed.wait()
                    await asyncio.sleep(0.1)
        finally:
            end()
            failed.cancel()

    def _outcome(self, messages: list[Message]) -> str:
        agent = self.playground.world.app.bot_user
        for name in (_DONE, _NEEDS_A_PERSON, _STOPPED):
            # the last word comes after the mark on the request, as a message of its own
            if agent in messages[0].reactions.get(name, ()) and len(messages) > 2:
                return name
        return ""

    def _card_is_final(self) -> bool:
        """Its last edit comes after the mark on the request."""
        return bool(self._card and any(f": {end}" in self._card.text for end in _ENDS))

    def _show(self, item: Message, live: Live | None) -> None:
        """A new message is printed; the status card stays below and changes in place."""
        world = self.playground.world
        agents = item.user == world.app.bot_user
        if agents and (self._card is None or self._card.ts == item.ts):
            before, self._card = self._card, item
            if live is not None:
                live.update(card(world, item), refresh=True)
            elif before is None or plain(before) != plain(item):
                for line in plain(item):
                    if self._said.get(line) is None:
                        self._said[line] = line
                        self.console.print(f"  {line}", markup=False, soft_wrap=True)
        elif item.ts not in self._said:
            self._said[item.ts] = item.text
            self.console.print(message(world, item))
        elif self._said[item.ts] != item.text:
            self._said[item.ts] = item.text
            self.console.print(edited(item))


def _problem(outcome: str, request: MergeRequest | None) -> str:
    if outcome == "time":
        return f"The run did not end within {LIMIT_SECONDS / 60:.0f} minutes."
    if outcome != _DONE:
        return "The run ended without a merge request; the thread above says why."
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
