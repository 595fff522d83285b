"""Tapes fit the sample project: what they cite and edit stands there."""

import json
import re

import pytest

from playground.model.tapes import FOLDER, Tape, load_tapes

PROJECT = FOLDER.parent / "projects" / "invoices"


def test_each_request_is_on_one_tape():
    asks = [tape.ask for tape in load_tapes()]
    assert len(asks) == len(set(asks)) >= 5


@pytest.mark.parametrize("tape", load_tapes(), ids=lambda tape: tape.ask)
def test_a_tape_holds_replies_only_and_ends_by_finishing(tape: Tape):
    names = [call["name"] for reply in tape.replies for call in reply["tool_calls"]]
    assert names[-1] == "finish"
    assert all(set(reply) == {"content", "tool_calls"} for reply in tape.replies)


def test_the_places_that_an_answer_cites_say_what_it_says():
    answer = json.dumps([tape.replies for tape in load_tapes() if tape.ask.startswith("why")])
    cited = re.findall(r"([\w/.]+\.(?:py|md)):(\d+)", answer)
    assert len(cited) == 3
    for path, line in cited:
        text = (PROJECT / path).read_text().splitlines()[int(line) - 1]
        assert "draft" in text.lower(), f"{path}:{line} is {text!r}"
