"""What Slack says of the Block Kit in messages and views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from playground.slack.kit import BLOCK, ELEMENTS, VIEWS
from playground.slack.shapes import array

Json = dict[str, Any]
MESSAGE_BLOCKS = 50
MESSAGE_CHARACTERS = 13_200  #: of all blocks together; found by others, not documented


def block_problems(blocks: Any, pointer: str = "/blocks") -> list[str]:
    """What is wrong with a message's blocks, in Slack's words."""
    problems: list[str] = []
    array(BLOCK, MESSAGE_BLOCKS, least=0)(blocks, pointer, problems)
    return problems or list(_repeated(blocks, pointer))


def view_problems(view: Any) -> list[str]:
    problems: list[str] = []
    VIEWS(view, "/view", problems)
    if problems:
        return problems
    if view["type"] == "modal" and "submit" not in view:
        problems += [
            "[ERROR] `submit` is required when an input block is in the view [json-pointer:/view]"
            for each in view["blocks"]
            if each["type"] == "input"
        ][:1]
    return problems + list(_repeated(view["blocks"], "/view/blocks"))


def _repeated(blocks: list[Json], pointer: str) -> Iterator[str]:
    seen: set[str] = set()
    for at, each in enumerate(blocks):
        if (id := each.get("block_id")) in seen and id is not None:
            yield f"[ERROR] `block_id` {id} already exists [json-pointer:{pointer}/{at}/block_id]"
        seen.add(id or "")
        actions = [element["action_id"] for element in elements_of(each) if "action_id" in element]
        if repeated := {id for id in actions if actions.count(id) > 1}:
            where = f"{pointer}/{at}"
            yield f"[ERROR] `action_id` {repeated.pop()} already exists [json-pointer:{where}]"


def elements_of(block: Json) -> list[Json]:
    """The interactive elements of a block."""
    inside = [*block.get("elements", ()), block.get("accessory"), block.get("element")]
    return [each for each in inside if isinstance(each, dict) and each.get("type") in ELEMENTS]


def characters(blocks: Iterable[Json]) -> int:
    """The length of everything that a reader sees."""

    def count(value: Any) -> int:
        if isinstance(value, dict):
            own = sum(len(value[key]) for key in _READ if isinstance(value.get(key), str))
            return own + sum(count(each) for each in value.values())
        return sum(count(each) for each in value) if isinstance(value, list) else 0

    return sum(count(each) for each in blocks)


_READ = ("text", "title", "alt_text")


def with_ids(blocks: list[Json]) -> tuple[Json, ...]:
    """The blocks with the ids that Slack gives where the app gave none."""
    taken = {each.get("block_id") for each in blocks}
    fresh = (f"b{number:04d}" for number in range(1, 10_000) if f"b{number:04d}" not in taken)

    def named(element: Json, at: int) -> Json:
        known = element.get("type") in ELEMENTS and "action_id" not in element
        return {**element, "action_id": f"a{at:03d}"} if known else element

    def complete(each: Json) -> Json:
        done = {**each, "block_id": each.get("block_id") or next(fresh)}
        if each["type"] in ("actions", "context_actions"):
            done["elements"] = [named(item, at) for at, item in enumerate(each["elements"])]
        for key in ("accessory", "element"):
            if key in each:
                done[key] = named(each[key], 0)
        return done

    return tuple(complete(each) for each in blocks)
