"""What the terminal shows of a thread."""

from __future__ import annotations

import io

from rich.console import Console

from playground import seed
from playground.demo_view import card, edited, message, mrkdwn, pipelines, plain
from playground.service import ROOT
from playground.slack.records import Message
from playground.slack.world import World

WORLD: World = seed.make_world(ROOT / "slack-manifest.json")


def posted(*blocks: dict[str, object], text: str = "text") -> Message:
    return Message(channel="C1", ts="1790000000.0", user="U0JOURNEYMAN", text=text, blocks=blocks)


def printed(thing: object) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(thing)
    return console.export_text()


def test_markup_becomes_plain_text():
    text = "*Run 1* for <@U0MIA>: <http://x/1|!1> &amp; `a*b` <!date^1^{time}|10:42>"
    assert mrkdwn(WORLD, text) == "Run 1 for @mia: !1 & `a*b` 10:42"


def test_the_card_shows_each_step_with_its_state():
    output = {
        "type": "rich_text",
        "elements": [
            {"type": "rich_text_section", "elements": [{"type": "text", "text": "16 passed"}]}
        ],
    }
    tasks = [
        {"task_id": "1", "title": "Read", "status": "complete"},
        {"task_id": "2", "title": "Test", "status": "in_progress", "output": output},
        {"task_id": "3", "title": "Publish", "status": "pending"},
    ]
    told = ("Tests: 16 passed", "Grounded in `a&amp;b.py:1-3`", "Follow-up from <@U0MIA>")
    notes = {"type": "context", "elements": [{"type": "mrkdwn", "text": each} for each in told]}
    item = posted({"type": "plan", "title": "Plan", "tasks": tasks}, notes, text="Run 1: testing.")
    text = printed(card(WORLD, item))
    assert "● Read" in text
    assert "◐ Test  16 passed" in text
    assert "○ Publish" in text
    assert plain(WORLD, item) == [
        *("Run 1: testing.", "● Read", "◐ Test: 16 passed"),
        *("Tests: 16 passed", "Grounded in `a&b.py:1-3`"),
    ]


def test_a_message_shows_who_what_and_the_choices():
    button = {"type": "button", "text": {"type": "plain_text", "text": "View diff"}}
    item = posted(
        {"type": "section", "text": {"type": "mrkdwn", "text": "<@U0MIA> *Done*"}},
        {"type": "markdown", "text": "It **works**."},
        {"type": "actions", "elements": [button]},
    )
    text = printed(message(WORLD, item))
    assert text.startswith("Journeyman")
    assert "@mia Done" in text
    assert "It works." in text
    assert "[ View diff ]" in text


def test_each_pipeline_of_a_merge_request_is_a_line_with_its_jobs():
    red = {
        "id": 1,
        "status": "failed",
        "jobs": [{"name": "lint", "status": "failed"}, {"name": "unit", "status": "success"}],
    }
    green = {"id": 2, "status": "success", "jobs": [{"name": "lint", "status": "success"}]}
    lines = [line.strip() for line in printed(pipelines([green, red])).splitlines()]
    assert lines == [
        "Pipeline #1 failed  lint failed, unit passed",
        "Pipeline #2 passed  lint passed",
    ]


def test_an_edited_message_is_told_by_its_sentence():
    item = posted(text="Run 1: the pipeline failed, fixed in a1b2c3d: lint.")
    assert printed(edited(item)).strip() == "✎ Run 1: the pipeline failed, fixed in a1b2c3d: lint."
