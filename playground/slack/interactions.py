"""What a click on a block, or a filled field, is in Slack's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from playground.slack.blocks import elements_of

Json = dict[str, Any]
Choice = str | list[str] | Json | None
_KEPT = ("static_select", "external_select", "radio_buttons", "checkboxes", "plain_text_input")


class PersonCannot(Exception):
    """What Slack's own window would not let a person do."""


def find(blocks: Iterable[Json], action_id: str, block_id: str = "") -> tuple[Json, Json]:
    """The block and the element in it with this action id."""
    for block in blocks:
        for element in elements_of(block):
            if element["action_id"] == action_id and block_id in ("", block["block_id"]):
                return block, element
    raise PersonCannot(f"There is nothing with the action id {action_id!r}.")


def state_of(blocks: Iterable[Json], filled: Mapping[str, Json]) -> Json:
    """The state of every field: what was filled in, else what the app put there."""
    values: Json = {}
    for block in blocks:
        for element in elements_of(block):
            if element["type"] in _KEPT:
                entry = filled.get(block["block_id"], {}).get(element["action_id"])
                fields = values.setdefault(block["block_id"], {})
                fields[element["action_id"]] = entry or _initial(element)
    return values


def entry_of(element: Json, choice: Choice) -> Json:
    """The state of a field after this choice: an option's value, several of them, a text, or
    an option itself where it came from the app's suggestions."""
    kind = element["type"]
    if kind == "plain_text_input":
        return {"type": kind, "value": choice or None}
    if kind == "checkboxes":
        values = choice if isinstance(choice, list) else [choice]
        return {"type": kind, "selected_options": [_option(element, each) for each in values]}
    return {"type": kind, "selected_option": None if choice is None else _option(element, choice)}


def action_of(block: Json, element: Json, choice: Choice, action_ts: str) -> Json:
    """The entry in `actions` of a block_actions payload."""
    told: Json = {
        "type": element["type"],
        "action_id": element["action_id"],
        "block_id": block["block_id"],
        "action_ts": action_ts,
    }
    match element["type"]:
        case "button":
            kept = ("text", "value", "url", "style", "confirm")
            return told | {key: element[key] for key in kept if key in element}
        case "feedback_buttons":
            buttons = (element["positive_button"], element["negative_button"])
            chosen = next((each for each in buttons if each["value"] == choice), None)
            if chosen is None:
                raise PersonCannot(f"No feedback button has the value {choice!r}.")
            return told | {"text": chosen["text"], "value": chosen["value"]}
        case _:
            kept = {key: element[key] for key in ("placeholder", "confirm") if key in element}
            return told | kept | entry_of(element, choice)


def missing(blocks: Iterable[Json], values: Json) -> dict[str, str]:
    """What Slack's window says below the fields before it lets a person submit."""
    errors: dict[str, str] = {}
    for block in blocks:
        if block["type"] != "input":
            continue
        element = block["element"]
        entry = values[block["block_id"]][element["action_id"]]
        text = entry.get("value") or ""
        given = text or entry.get("selected_option") or entry.get("selected_options")
        if not given and not block.get("optional"):
            errors[block["block_id"]] = "Please complete this required field."
        elif text and len(text) < element.get("min_length", 0):
            errors[block["block_id"]] = f"Must be at least {element['min_length']} characters."
        elif len(text) > element.get("max_length", 3000):
            errors[block["block_id"]] = "This is too long."
    return errors


def _option(element: Json, choice: Choice) -> Json:
    if isinstance(choice, dict):
        return choice
    groups = [group["options"] for group in element.get("option_groups", ())]
    for options in (element.get("options", ()), *groups):
        for option in options:
            if option["value"] == choice:
                return option
    raise PersonCannot(f"{element['action_id']!r} has no option {choice!r}.")


def _initial(element: Json) -> Json:
    kind = element["type"]
    if kind == "plain_text_input":
        return {"type": kind, "value": element.get("initial_value")}
    if kind == "checkboxes":
        return {"type": kind, "selected_options": element.get("initial_options", [])}
    return {"type": kind, "selected_option": element.get("initial_option")}
