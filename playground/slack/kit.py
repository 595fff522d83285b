"""The blocks, elements and views that the stand-in accepts, with their documented limits."""

from __future__ import annotations

from collections.abc import Mapping

from playground.slack.shapes import (
    Check,
    among,
    anything,
    array,
    at_least_one,
    boolean,
    exactly_one,
    number,
    record,
    string,
    typed,
)

VIEW_BLOCKS = 100


def text(kind: str, most: int) -> Check:
    more: dict[str, Check] = {"emoji": boolean} if kind == "plain_text" else {"verbatim": boolean}
    return record({"type": among(kind), "text": string(most, least=1)}, more)


def plain(most: int) -> Check:
    return text("plain_text", most)


def any_text(most: int) -> Check:
    kinds = {kind: text(kind, most) for kind in ("plain_text", "mrkdwn")}
    return typed(kinds, "type")


ACTION_ID = {"action_id": string(255, least=1)}
CONFIRM = record(
    {"title": plain(100), "text": any_text(300), "confirm": plain(30), "deny": plain(30)},
    {"style": among("primary", "danger")},
)


def option(text: Check) -> Check:
    fields: dict[str, Check] = {"text": text, "value": string(150, least=1)}
    return record(fields, {"description": any_text(75), "url": string(3000)})


MENU_OPTION, CHOICE = option(plain(75)), option(any_text(75))
GROUP = record({"label": plain(75), "options": array(MENU_OPTION, 100)})


def element(
    kind: str, required: Mapping[str, Check] | None = None, **optional: Check
) -> tuple[str, Check]:
    return kind, record({"type": among(kind), **(required or {})}, {**ACTION_ID, **optional})


_INPUT: dict[str, Check] = {"placeholder": plain(150), "focus_on_load": boolean}
_CHOICES: dict[str, Check] = {"options": array(CHOICE, 10)}
_IMAGE: dict[str, Check] = {
    "image_url": string(3000, least=1),
    "slack_file": at_least_one(record({}, {"id": string(), "url": string()}), "id", "url"),
}
_FEEDBACK = record({"text": plain(75), "value": string(2000)}, {"accessibility_label": string(75)})
IMAGE = exactly_one(
    record({"type": among("image"), "alt_text": string(2000)}, _IMAGE), "image_url", "slack_file"
)
ELEMENTS: dict[str, Check] = dict(
    [
        element(
            "button",
            {"text": plain(75)},
            value=string(2000),
            url=string(3000),
            style=among("primary", "danger"),
            confirm=CONFIRM,
            accessibility_label=string(75),
        ),
        element("overflow", {"options": array(MENU_OPTION, 5)}, confirm=CONFIRM),
        element(
            "static_select",
            {},
            options=array(MENU_OPTION, 100),
            option_groups=array(GROUP, 100),
            initial_option=MENU_OPTION,
            confirm=CONFIRM,
            **_INPUT,
        ),
        element(
            "external_select",
            {},
            initial_option=MENU_OPTION,
            min_query_length=number,
            confirm=CONFIRM,
            **_INPUT,
        ),
        element(
            "plain_text_input",
            {},
            initial_value=string(3000),
            multiline=boolean,
            min_length=number,
            max_length=number,
            dispatch_action_config=anything,
            **_INPUT,
        ),
        element(
            "radio_buttons",
            _CHOICES,
            initial_option=CHOICE,
            confirm=CONFIRM,
            focus_on_load=boolean,
        ),
        element(
            "checkboxes",
            _CHOICES,
            initial_options=array(CHOICE, 10),
            confirm=CONFIRM,
            focus_on_load=boolean,
        ),
        element("feedback_buttons", {"positive_button": _FEEDBACK, "negative_button": _FEEDBACK}),
    ]
)
ELEMENTS["static_select"] = exactly_one(ELEMENTS["static_select"], "options", "option_groups")


def elements(*kinds: str) -> Check:
    return typed({kind: ELEMENTS[kind] for kind in kinds}, "element")


_CLICKABLE = ("button", "overflow", "static_select", "external_select")
_CHOOSABLE = ("radio_buttons", "checkboxes")
_TYPED = ("static_select", "external_select", "plain_text_input", *_CHOOSABLE)
_RUN_KEYS = (
    *("text", "style", "url", "user_id", "channel_id", "usergroup_id", "name", "unicode"),
    *("range", "timestamp", "format", "fallback", "unsafe", "skin_tone", "value"),
)
_RUN = record({"type": string()}, {key: anything for key in _RUN_KEYS})
_RICH: dict[str, Check] = {
    kind: record(
        {"type": among(kind), "elements": anything if kind == "rich_text_list" else array(_RUN)},
        {"style": anything, "indent": number, "offset": number, "border": number}
        | {"language": string()},
    )
    for kind in ("rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote")
}
RICH_TEXT = record(
    {"type": among("rich_text"), "elements": array(typed(_RICH, "element"))},
    {"block_id": string(255)},
)
_SOURCE = record({"type": among("url"), "url": string(), "text": string()})


def block(
    kind: str, required: Mapping[str, Check] | None = None, **optional: Check
) -> tuple[str, Check]:
    fields: dict[str, Check] = {"type": among(kind), **(required or {})}
    return kind, record(fields, {"block_id": string(255, least=1), **optional})


TASK_CARD = block(
    "task_card",
    {"task_id": string(255, least=1), "title": string(least=1)},
    status=among("pending", "in_progress", "complete", "error"),
    details=RICH_TEXT,
    output=RICH_TEXT,
    sources=array(_SOURCE, least=0),
)
_SECTION = record(
    {"type": among("section")},
    {
        "block_id": string(255, least=1),
        "text": any_text(3000),
        "fields": array(any_text(2000), 10),
        "accessory": typed(
            {**{kind: ELEMENTS[kind] for kind in (*_CLICKABLE, *_CHOOSABLE)}, "image": IMAGE},
            "element",
        ),
        "expand": boolean,
    },
)
BLOCKS: dict[str, Check] = dict(
    [
        ("section", at_least_one(_SECTION, "text", "fields")),
        block("divider"),
        block("header", {"text": plain(150)}),
        block("markdown", {"text": string(12_000, least=1)}),
        block(
            "context",
            {
                "elements": array(
                    typed(
                        {"image": IMAGE, "plain_text": plain(3000), "mrkdwn": text("mrkdwn", 3000)},
                        "element",
                    ),
                    10,
                )
            },
        ),
        block("actions", {"elements": array(elements(*_CLICKABLE, *_CHOOSABLE), 25)}),
        block("context_actions", {"elements": array(elements("feedback_buttons"), 5)}),
        block(
            "input",
            {"label": plain(2000), "element": elements(*_TYPED)},
            hint=plain(2000),
            optional=boolean,
            dispatch_action=boolean,
        ),
        block("plan", {"title": string(least=1)}, tasks=array(typed(dict([TASK_CARD]), "block"))),
        TASK_CARD,
        ("rich_text", RICH_TEXT),
    ]
)
BLOCKS["image"] = exactly_one(
    block("image", {"alt_text": string(2000)}, title=plain(2000), **_IMAGE)[1],
    "image_url",
    "slack_file",
)
BLOCK = typed(BLOCKS, "block")
_VIEW: dict[str, Check] = {
    "private_metadata": string(3000),
    "callback_id": string(255),
    "external_id": string(255),
}
VIEWS = typed(
    {
        "home": record(
            {"type": among("home"), "blocks": array(BLOCK, VIEW_BLOCKS, least=0)}, _VIEW
        ),
        "modal": record(
            {"type": among("modal"), "title": plain(24), "blocks": array(BLOCK, VIEW_BLOCKS)},
            {
                **_VIEW,
                "submit": plain(24),
                "close": plain(24),
                "clear_on_close": boolean,
                "notify_on_close": boolean,
            },
        ),
    },
    "view type",
)
