"""What the stand-in takes as Block Kit, and what it refuses as Slack does."""

from __future__ import annotations

from typing import Any

import pytest
from slack_schema import block_problems as described_problems
from slack_schema import needs_specs
from slack_schema import view_problems as described_view_problems
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from playground.slack.blocks import block_problems, view_problems

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def section(text: str = "hello", **more: Any) -> Json:
    return {"type": "section", "text": mrkdwn(text), **more}


def button(action_id: str = "go", **more: Any) -> Json:
    return {"type": "button", "action_id": action_id, "text": plain("Go"), **more}


def actions(*elements: Json) -> Json:
    return {"type": "actions", "elements": list(elements)}


def option(value: str, text: str = "Option") -> Json:
    return {"text": plain(text), "value": value}


RICH = {
    "type": "rich_text",
    "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "done"}]}],
}
TASK = {"type": "task_card", "task_id": "1", "title": "Read", "status": "complete", "output": RICH}
CONFIRM = {
    "title": plain("Sure?"),
    "text": plain("It deploys."),
    "confirm": plain("Yes"),
    "deny": plain("No"),
}
INPUT = {"type": "plain_text_input", "action_id": "text", "multiline": True, "min_length": 3}
EVERY_KIND: list[Json] = [
    section("*Run 42*", block_id="head", accessory={
        "type": "overflow", "action_id": "menu", "options": [option("stop:42", "Stop")]
    }),
    {"type": "section", "fields": [mrkdwn("*Tests*\n3 passed"), mrkdwn("*Diff*\n+1")]},
    {"type": "plan", "title": "Plan", "tasks": [TASK, {**TASK, "task_id": "2"}]},
    {"type": "header", "text": plain("Digest")},
    {"type": "markdown", "text": "| a | b |\n|---|---|\n| 1 | 2 |"},
    {"type": "divider"},
    {"type": "image", "image_url": "https://example.test/a.png", "alt_text": "A chart"},
    {"type": "image", "slack_file": {"id": "F1"}, "alt_text": "A chart", "title": plain("Lint")},
    {"type": "context", "elements": [mrkdwn("12 min"), plain("x")]},
    actions(
        button(style="primary", value="g7", confirm=CONFIRM, accessibility_label="Go now"),
        button("diff", url="https://example.test/diff"),
        {"type": "static_select", "action_id": "pick", "options": [option("a"), option("b")]},
        {"type": "external_select", "action_id": "find", "min_query_length": 1},
        {"type": "radio_buttons", "action_id": "one", "options": [option("a")]},
        {"type": "checkboxes", "action_id": "many", "options": [option("a")]},
    ),
    {"type": "input", "label": plain("Why?"), "element": INPUT, "optional": True},
    {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": "feedback",
                "positive_button": {"text": plain("Good"), "value": "good"},
                "negative_button": {"text": plain("Bad"), "value": "bad"},
            }
        ],
    },
    RICH,
]  # fmt: skip
MODAL = {
    "type": "modal",
    "callback_id": "reject",
    "title": plain("Reject"),
    "submit": plain("Reject"),
    "close": plain("Cancel"),
    "private_metadata": "g7",
    "blocks": [{"type": "input", "label": plain("Why?"), "element": INPUT}],
}
TOO_MUCH: list[tuple[str, list[Json], str]] = [
    ("blocks", [{"type": "divider"}] * 51, "no more than 50 items"),
    ("section", [section("x" * 3001)], "less than 3001 characters [json-pointer:/blocks/0/text"),
    ("empty section", [{"type": "section"}], "must provide one of: text, fields"),
    ("fields", [{"type": "section", "fields": [mrkdwn("x")] * 11}], "no more than 10"),
    ("field", [{"type": "section", "fields": [mrkdwn("x" * 2001)]}], "2001"),
    ("header", [{"type": "header", "text": plain("x" * 151)}], "151"),
    ("header in mrkdwn", [{"type": "header", "text": mrkdwn("x")}], "must be one of: plain_text"),
    ("actions", [actions(*(button(f"{at}") for at in range(26)))], "no more than 25"),
    ("context", [{"type": "context", "elements": [mrkdwn("x")] * 11}], "no more than 10"),
    ("markdown", [{"type": "markdown", "text": "x" * 12_001}], "12001"),
    ("alt text", [{"type": "image", "image_url": "https://a", "alt_text": "x" * 2001}], "2001"),
    ("image", [{"type": "image", "alt_text": "x"}], "exactly one of: image_url, slack_file"),
    ("button text", [actions({**button(), "text": plain("x" * 76)})], "76"),
    ("button value", [actions(button(value="x" * 2001))], "2001"),
    ("button style", [actions(button(style="green"))], "must be one of: primary, danger"),
    ("mrkdwn button", [actions({**button(), "text": mrkdwn("x")})], "plain_text"),
    ("block id twice", [section(block_id="a"), section(block_id="a")], "`block_id` a already"),
    ("action id twice", [actions(button(), button())], "`action_id` go already"),
    ("block type", [{"type": "carpet"}], "unsupported block: carpet"),
    ("element type", [actions({"type": "lever"})], "unsupported element: lever"),
    ("key", [section(colour="red")], "invalid additional property: colour"),
    ("overflow", [section(accessory={"type": "overflow", "options": [option("a")] * 6})], "5"),
    ("task status", [{"type": "plan", "title": "x", "tasks": [{**TASK, "status": "x"}]}], "status"),
    ("not a list of blocks", ["text"], "unsupported block: text"),
]  # fmt: skip


def test_every_kind_of_block_that_the_thread_uses_is_taken() -> None:
    assert block_problems(EVERY_KIND) == []
    assert view_problems(MODAL) == []
    assert view_problems({"type": "home", "blocks": EVERY_KIND}) == []


@needs_specs
def test_what_is_taken_here_is_right_by_slacks_own_descriptions() -> None:
    assert described_problems(EVERY_KIND) == []
    assert described_view_problems(MODAL) == []


@pytest.mark.parametrize(
    ("blocks", "said"),
    [pytest.param(blocks, said, id=name) for name, blocks, said in TOO_MUCH],
)
def test_what_slack_refuses_is_refused_with_its_place(blocks: list[Json], said: str) -> None:
    assert any(said in problem for problem in block_problems(blocks)), block_problems(blocks)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": plain("x" * 25)}, "/view/title/text"),
        ({"submit": None}, "/view/submit"),
        ({"private_metadata": "x" * 3001}, "/view/private_metadata"),
        ({"blocks": [{"type": "divider"}] * 101}, "no more than 100"),
        ({"type": "drawer"}, "unsupported view type: drawer"),
        ({"colour": "red"}, "invalid additional property"),
    ],
)
def test_a_view_that_slack_refuses_is_refused(change: Json, said: str) -> None:
    assert any(said in problem for problem in view_problems({**MODAL, **change}))


def test_a_view_with_fields_needs_a_submit_button() -> None:
    view = {key: each for key, each in MODAL.items() if key != "submit"}
    assert "`submit` is required" in view_problems(view)[0]


async def test_the_api_names_what_is_wrong_with_blocks(client: AsyncWebClient) -> None:
    with pytest.raises(SlackApiError) as invalid:
        await client.chat_postMessage(
            channel="#platform", text="x", blocks=[{"type": "section", "text": plain("")}]
        )
    with pytest.raises(SlackApiError) as no_json:
        await client.chat_postMessage(channel="#platform", text="x", blocks="not json")

    assert invalid.value.response["error"] == "invalid_blocks"
    assert invalid.value.response["response_metadata"]["messages"] == [
        "[ERROR] must be more than 0 characters [json-pointer:/blocks/0/text/text]"
    ]
    assert no_json.value.response["error"] == "invalid_blocks_format"


async def test_all_blocks_together_have_a_limit_of_their_own(client: AsyncWebClient) -> None:
    fits = [section("x" * 2640) for _ in range(5)]
    await client.chat_postMessage(channel="#platform", text="x", blocks=fits)
    with pytest.raises(SlackApiError) as failed:
        await client.chat_postMessage(channel="#platform", text="x", blocks=[*fits, section("x")])

    assert failed.value.response["error"] == "msg_blocks_too_long"
