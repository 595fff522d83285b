"""The rest of the way in the demo: who asked promotes, others approve, and production runs it.

Whoever watches may press the buttons in the browser; after a while the people of the town do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from playground.demo_thread import NEEDS_A_PERSON, STOPPED, Thread
from playground.demo_view import mrkdwn
from playground.slack.records import Ephemeral, Message

#: for somebody at the browser, when the demo runs in a terminal
PATIENCE_SECONDS = 30.0
APPROVERS = {"main": "sam", "production": "lee"}


async def deliver(thread: Thread) -> str:
    """From what is merged into develop to what runs in production. Returns the agent's last
    reaction on the request."""
    merged = await thread.until(_button("deliver_promote"))
    assert merged is not None
    await _press(thread, "mia", merged, "deliver_promote", "Promote to main…")
    for subject, approver in APPROVERS.items():
        asked = await thread.until(lambda messages, of=subject: _asked(messages, of))
        if asked == "ended":
            return await thread.ended()
        assert isinstance(asked, Message)
        if subject == "main":
            await _press(thread, "mia", asked, "gate_approve", "Approve", ", who asked for it,")
            await _show_refusal(thread)
        await _press(thread, approver, asked, "gate_approve", "Approve")
        await thread.until(lambda messages, of=asked: not _waits(messages, of))
    return await thread.ended()


def _button(action: str) -> Callable[[list[Message]], Message | None]:
    def found(messages: list[Message]) -> Message | None:
        return next((each for each in reversed(messages) if _has(each, action)), None)

    return found


def _asked(messages: list[Message], subject: str) -> Message | str:
    for each in reversed(messages):
        if _has(each, "gate_approve") and f"needed: {subject}." in each.text:
            return each
    ended = any(messages[0].reactions.get(name) for name in (NEEDS_A_PERSON, STOPPED))
    return "ended" if ended else ""


def _waits(messages: list[Message], asked: Message) -> bool:
    return any(each.ts == asked.ts and _has(each, "gate_approve") for each in messages)


def _has(message: Message, action: str) -> bool:
    elements = (e for block in message.blocks for e in block.get("elements", ()))
    return any(element.get("action_id") == action for element in elements)


async def _press(
    thread: Thread, who: str, at: Message, action: str, label: str, remark: str = ""
) -> None:
    """Unless somebody at the browser does it first."""
    console, people = thread.console, thread.playground.slack.people
    name = thread.playground.world.user_named(who).real_name
    if console.is_terminal and action == "gate_approve" and who != "mia":
        console.print(
            f"[bold]Press Approve in the browser, as {name}[/] ({thread.playground.page.url}); "
            f"in {PATIENCE_SECONDS:.0f} s {name} does it."
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await thread.until(lambda messages: not _waits(messages, at))
                return
    console.print(f"[bold magenta]{name}[/]{remark} presses [cyan][ {label} ][/]\n")
    await people.click(who, at, action)


async def _show_refusal(thread: Thread) -> None:
    """What only the person sees who pressed."""
    world, root = thread.playground.world, thread.root
    assert root is not None

    def told(_: list[Message]) -> Ephemeral | None:
        shown = [e for e in world.ephemerals.values() if e.thread_ts == root.ts]
        return shown[-1] if shown else None

    refusal = await thread.until(told)
    assert refusal is not None
    name = world.users[refusal.user].real_name
    thread.console.print(f"  [dim]only {name} sees:[/] {mrkdwn(world, refusal.text)}\n")
