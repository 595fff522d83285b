"""Messages as somebody reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bot.views.blocks import Message


def texts(node: Any) -> Iterator[tuple[str, str]]:
    """Kind and text of everything that is shown."""
    if isinstance(node, dict):
        if isinstance(node.get("text"), str):
            yield node["type"], node["text"]
        for key in ("title",):
            if isinstance(node.get(key), str):
                yield "plain", node[key]
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from texts(value)


def read(message: Message) -> Iterator[str]:
    """The message as somebody reads it aloud."""
    for block in message.blocks:
        match block["type"]:
            case "section":
                shown = [block["text"]] if "text" in block else []
                for part in shown:
                    yield from plain(part["text"]).split("\n")
                for part in block.get("fields", []):
                    yield " ".join(plain(part["text"]).split())
            case "context":
                yield from (plain(part["text"]) for part in block["elements"])
            case "rich_text":
                yield from _rich(block["elements"])
            case "plan":
                yield block["title"]
                for task in block["tasks"]:
                    note = "".join(_rich(task["output"]["elements"])) if "output" in task else ""
                    yield f"{task['status']}: {task['title']}" + (f" ({note})" if note else "")
            case "markdown":
                yield from block["text"].split("\n")
            case "actions":
                shown = [o for each in block["elements"] for o in each.get("options", [each])]
                yield " ".join(f"[{each['text']['text']}]" for each in shown)
            case _:
                pass


def plain(mrkdwn: str) -> str:
    return re.sub(r"<[^<>@|]*\|([^<>]*)>", r"\1", mrkdwn)


def _rich(elements: list[dict[str, Any]]) -> Iterator[str]:
    for element in elements:
        if element["type"] == "rich_text_list":
            for item in element["elements"]:
                yield "- " + "".join(span["text"] for span in item["elements"])
        else:
            yield from "".join(span["text"] for span in element["elements"]).split("\n")
