"""Block Kit in a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from playground.slack.records import Message
from playground.slack.world import World

Json = dict[str, Any]

_MARKS = {"pending": "○", "in_progress": "◐", "complete": "●", "error": "✗"}
_STYLES = {"pending": "dim", "in_progress": "bold cyan", "complete": "green", "error": "red"}
_TOKEN = re.compile(r"<([^<>]+)>")
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}


def card(world: World, item: Message) -> RenderableType:
    """The status card, framed."""
    return Panel(Group(*_blocks(world, item)), border_style="cyan", padding=(0, 1))


def message(world: World, item: Message) -> RenderableType:
    """Who, when and what."""
    user = world.users[item.user]
    at = datetime.fromtimestamp(float(item.ts), UTC).astimezone()
    head = Text.assemble((user.real_name, "bold magenta" if user.is_bot else "bold"), " ")
    head.append(f"{at:%H:%M:%S}", style="dim")
    return Group(head, Padding(Group(*_blocks(world, item)), (0, 0, 1, 2)))


def edited(item: Message) -> RenderableType:
    """What a message that stands further up says by now."""
    return Padding(Text(f"✎ {item.text}", style="italic"), (0, 0, 1, 2))


def pipelines(listed: Iterable[Json]) -> RenderableType:
    """Those of a merge request, oldest first, each with its jobs."""
    lines: list[RenderableType] = []
    for each in sorted(listed, key=lambda one: one["id"]):
        style = {"success": "green", "failed": "red"}.get(each["status"], "")
        line = Text(f"  Pipeline #{each['id']} {_result(each)}", style)
        jobs = (f"{job['name']} {_result(job)}" for job in each["jobs"])
        line.append(f"  {', '.join(jobs)}", style="dim")
        lines.append(line)
    return Group(*lines)


def _result(of: Json) -> str:
    return "passed" if of["status"] == "success" else of["status"]


def plain(world: World, item: Message) -> list[str]:
    """The card as lines, for a log: its sentence, every step with its state and result, test
    results, and the code that the plan rests on."""
    lines = [item.text]
    for block in item.blocks:
        if block["type"] == "context":
            texts = (each.get("text", "") for each in block["elements"])
            told = [text for text in texts if text.startswith(("Tests: ", "Grounded in "))]
            lines += [mrkdwn(world, text) for text in told]
        for task in block.get("tasks", ()):
            if task["status"] != "pending":
                output = _rich_text(task["output"]) if "output" in task else ""
                told = f"{_MARKS[task['status']]} {task['title']}"
                lines.append(f"{told}: {output}" if output else told)
    return lines


def _blocks(world: World, item: Message) -> Iterator[RenderableType]:
    if not item.blocks:
        yield Text(mrkdwn(world, item.text))
    for block in item.blocks:
        match block["type"]:
            case "section":
                texts = [block["text"]] if "text" in block else []
                for text in texts:
                    yield Text(mrkdwn(world, text["text"]))
                for field in block.get("fields", ()):
                    name, _, value = mrkdwn(world, field["text"]).partition("\n")
                    yield Text.assemble((f"{name:<13} ", "dim"), value.replace("\n", ", "))
            case "header":
                yield Text(block["text"]["text"], style="bold")
            case "markdown":
                yield Markdown(block["text"])
            case "context":
                told = (each.get("text") or each.get("alt_text", "") for each in block["elements"])
                yield Text(mrkdwn(world, " · ".join(told)), style="dim")
            case "plan":
                yield Text(_title(block["title"]), style="bold")
                yield from map(_task, block.get("tasks", ()))
            case "actions":
                labels = (_title(each["text"]) for each in block["elements"] if "text" in each)
                yield Text("  ".join(f"[ {label} ]" for label in labels), style="cyan")
            case "image":
                yield Text(f"▦ {block['alt_text']}", style="italic dim")
            case "rich_text":
                yield Text(_rich_text(block, world))
            case _:
                continue


def _task(task: Json) -> RenderableType:
    line = Text.assemble(
        (f"{_MARKS[task['status']]} ", _STYLES[task["status"]]),
        (task["title"], "dim" if task["status"] == "pending" else ""),
    )
    if "output" in task:
        line.append(f"  {_rich_text(task['output'])}", style="dim")
    return line


def _title(text: str | Json) -> str:
    return text if isinstance(text, str) else text["text"]


def _rich_text(block: Json, world: World | None = None) -> str:
    def leaves(elements: Iterable[Json]) -> Iterator[str]:
        for each in elements:
            if "elements" in each:
                yield "".join(leaves(each["elements"]))
            elif each["type"] == "user":
                yield f"@{_name(world, each['user_id'])}"
            else:
                yield each.get("text") or each.get("url", "")

    return "\n".join(leaves(block["elements"]))


def _name(world: World | None, user: str) -> str:
    known = world.users.get(user) if world else None
    return known.name if known else user


def mrkdwn(world: World, text: str) -> str:
    """Slack's markup as plain text."""

    def token(found: re.Match[str]) -> str:
        body, _, label = found[1].partition("|")
        if body.startswith("@"):
            return f"@{_name(world, body[1:])}"
        if body.startswith("!date^"):
            return label
        return label or body.lstrip("#!")

    text = _TOKEN.sub(token, text)
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return re.sub(r"(?<!\w)[*](\S[^*\n]*)[*](?!\w)", r"\1", text)
