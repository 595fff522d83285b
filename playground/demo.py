"""One request, shown in the terminal as it goes through the thread."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.rule import Rule
from rich.text import Text

from playground import seed
from playground.demo_view import card, message, plain
from playground.slack.records import Message
from playground.town import Playground

LIMIT_SECONDS = 600.0
_DONE, _NEEDS_A_PERSON, _STOPPED = "white_check_mark", "warning", "octagonal_sign"


async def show(playground: Playground) -> int:
    """Posts the request and follows its thread. Returns the exit code."""
    console = Console(highlight=False)
    console.print(Text(playground.model_line, style="bold"))
    console.print(f"The same in the browser: {playground.page.url}\n")
    thread = Thread(playground, console)
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            outcome = await thread.follow(seed.REQUEST)
    except TimeoutError:
        outcome = "time"
    problem = _problem(playground, outcome)
    if problem:
        console.print(f"\n[bold red]{problem}[/]")
        console.print(f"The log of the service: {playground.service.log}")
    else:
        await _summary(playground, console)
    if sys.stdout.isatty():
        console.print(f"\nGo on in the browser: {playground.page.url} (Ctrl-C stops)")
        await playground.service.ended()
    return 1 if problem else 0


@dataclass
class Thread:
    """What has been shown of one thread."""

    playground: Playground
    console: Console

    def __post_init__(self) -> None:
        self._said: dict[str, str] = {}
        self._card: Message | None = None

    async def follow(self, request: str) -> str:
        """Until the run ends. Returns the agent's last reaction on the request."""
        world = self.playground.world
        changed = asyncio.Event()
        end = world.subscribe(lambda _: changed.set())
        failed = asyncio.create_task(self.playground.service.ended())
        failed.add_done_callback(lambda _: changed.set())
        root = self.playground.slack.people.post("mia", "billing", request)
        live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        try:
            with live or nullcontext():
                while True:
                    changed.clear()
                    messages = world.thread(root.channel, root.ts)
                    for each in messages:
                        self._show(each, live)
                    outcome = self._outcome(messages)
                    if outcome:
                        return outcome
                    if failed.done():
                        failed.result()
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

    def _show(self, item: Message, live: Live | None) -> None:
        """A new message is printed; the status card stays below and changes in place."""
        world = self.playground.world
        is_card = any(block["type"] == "plan" for block in item.blocks) or item.ts == self._card_ts
        if is_card and (self._card is None or self._card.ts == item.ts):
            before, self._card = self._card, item
            if live is not None:
                live.update(card(world, item), refresh=True)
            elif before is None or plain(before) != plain(item):
                for line in plain(item):
                    if self._said.get(line) is None:
                        self._said[line] = line
                        self.console.print(f"  {line}", markup=False)
        elif item.ts not in self._said:
            self._said[item.ts] = item.text
            self.console.print(message(world, item))

    @property
    def _card_ts(self) -> str:
        return self._card.ts if self._card else ""


def _problem(playground: Playground, outcome: str) -> str:
    if outcome == "time":
        return f"The run did not end within {LIMIT_SECONDS / 60:.0f} minutes."
    if outcome != _DONE:
        return "The run ended without a merge request; the thread above says why."
    if not _merge_requests(playground):
        return "The run ended, but GitLab has no merge request of it."
    return ""


def _merge_requests(playground: Playground):
    project = playground.gitlab.state.project_by(f"{seed.GROUP}/invoices")
    return list(project.merge_requests.values()) if project else []


async def _summary(playground: Playground, console: Console) -> None:
    newest = max(_merge_requests(playground), key=lambda each: each.created_at)
    project = playground.page.forge.project(f"{seed.GROUP}/invoices")
    shown = await playground.page.forge.merge_request(project, newest)
    console.print(Rule("merge request", style="dim"))
    console.print(Text(shown["title"], style="bold"))
    console.print(shown["web_url"])
    stat = shown["stat"]
    for file in await playground.page.forge.files(shown["project"], shown["iid"]):
        console.print(
            f"  {file['new_path']}  [green]+{file['additions']}[/] [red]−{file['deletions']}[/]"
        )
    console.print(f"  {stat['files']} files, +{stat['additions']} −{stat['deletions']}\n")
    console.print(Markdown(shown["description"]))
