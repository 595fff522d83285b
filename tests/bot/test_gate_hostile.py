"""Names and addresses that somebody has chosen so that a card should say something else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import test_gate_view as view
from log import job
from reading import texts
from slack_schema import block_problems, needs_specs

from agent.gate import Facts
from agent.pipeline import Verdict
from bot.views.blocks import MAX_TOTAL, Message
from bot.views.thread import messages

FAKE = "*✅ Approved by @lead* <!channel> <https://evil.example|Approve>\r\n\u202e\u2066gnp`"
URL = "https://evil.example|main> <!channel> <https://evil.example/\u202e"
HUGE = "Everything is green. " * 4000
FACTS = Facts(files=1, added=1, removed=0, tests="1 passed", pipeline=5, pipeline_url=URL)
CARDS = {
    "title": view.gate(title=FAKE),
    "huge title": view.gate(title=HUGE),
    "branches": view.gate(source=f"agent/{FAKE}", target=FAKE),
    "huge branch": view.gate(target=HUGE),
    "address": view.gate(url=URL, facts=FACTS),
    "paths": view.gate(facts=Facts(files=1, added=1, removed=0, protected=(FAKE, HUGE))),
    "authors": view.gate(facts=Facts(files=1, added=1, removed=0, authors=(FAKE, HUGE))),
    "outside jobs": view.gate(facts=Facts(files=1, added=1, removed=0, outside=(FAKE, HUGE))),
    "environment": view.gate(environment=FAKE, action=view.Action.DEPLOY),
    "huge environment": view.gate(environment=HUGE, action=view.Action.DEPLOY),
}
AFTER = {
    "job names": (view.target(Verdict.RED, job(FAKE, "failed"), job(HUGE, "failed")),),
    "environment url": (view.target(Verdict.GREEN), view.deployed("success", URL)),
    "no url at all": (view.target(Verdict.GREEN), view.deployed("success", "javascript:alert(1)")),
}


def shown(name: str) -> dict[str, Message]:
    if name in CARDS:
        return messages(view.asked(CARDS[name]), view.LINKS)
    state = view.asked(None, *view.APPROVED, *AFTER[name], *view.ended())
    return messages(state, view.LINKS)


def elements(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for each in node.values():
            yield from elements(each)
    elif isinstance(node, list | tuple):
        for each in node:
            yield from elements(each)


@pytest.mark.parametrize("name", [*CARDS, *AFTER])
def test_a_chosen_name_adds_no_mention_link_button_or_line(name: str):
    for message in shown(name).values():
        for kind, text in [("mrkdwn", message.text), *texts(message.blocks)]:
            assert "\u202e" not in text
            assert "\u2066" not in text
            if kind == "mrkdwn":
                assert "<!channel" not in text
                assert "|Approve>" not in text
                assert "\r" not in text
        for each in elements(message.blocks):
            if each.get("type") == "button":
                known = ("gate_", "deliver_", "view_", "run_")
                assert each["action_id"].startswith(known)
            assert not str(each.get("url", "")).startswith("javascript")


@pytest.mark.parametrize("name", CARDS)
def test_the_facts_stand_before_and_beside_whatever_was_chosen(name: str):
    gate = CARDS[name]
    message = shown(name)[f"gate:{gate.id}"]
    told = json.dumps(message.blocks, ensure_ascii=False)
    assert gate.commit[:8] in told
    assert "+1 −0" in told or "+143 −8" in told
    first = message.blocks[0]["text"]["text"]
    assert first.startswith("*Approval needed: ")
    buttons = [e for e in elements(message.blocks) if e.get("type") == "button"]
    values = [e["value"] for e in buttons if "value" in e]
    assert values == [gate.id, gate.id]
    assert len(told) <= MAX_TOTAL


@needs_specs
@pytest.mark.parametrize("name", [*CARDS, *AFTER])
def test_slack_takes_every_card(name: str):
    for message in shown(name).values():
        assert block_problems(list(message.blocks)) == []
