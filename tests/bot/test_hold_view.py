"""A hold in the thread: what it says, who is asked, and what its buttons do."""

from __future__ import annotations

import json

from face import Face, started
from log import SAM, moved, ready, state

from agent.canaries import Canaries
from agent.events import HoldLifted, HoldReminded, PushHeld, RunEnded, StatusChanged
from agent.pipeline import Violation, Weakening
from agent.run import Run, RunStatus, TreeSha
from bot.views.hold import hold
from bot.views.run import card
from bot.views.thread import messages, reaction
from bot.views.words import Links
from playground.slack.records import Message

LINKS = Links(public_url="https://agent.example")
TREE = TreeSha("b2" * 20)


def found(number: int = 1, path: str = "tests/test_a.py") -> Violation:
    return Violation(
        rule=Weakening.ASSERTION_LOOSENED,
        path=path,
        line=number,
        detail="`assert x == 3` became `assert x`",
    )


def held(*violations: Violation, own: bool = False) -> PushHeld:
    return PushHeld(tree=TREE, violations=violations or (found(),), self_accept=own)


def waiting(hold: PushHeld) -> tuple[object, ...]:
    return (moved(RunStatus.WORKING), ready(), hold, moved(RunStatus.WAITING_FOR_ANSWER))


def test_each_fact_stands_with_its_place_and_the_requester_is_told_that_another_decides():
    shown = hold(state(*waiting(held())), LINKS)
    text = json.dumps(shown.blocks, ensure_ascii=False)
    assert "tests/test_a.py:1" in text
    assert "assert x == 3" in text
    assert "but not <@U0MIA> or whoever gave it instructions" in text
    assert "maintainer has to accept 1 fact" in shown.text
    assert "hold_accept" in text


def test_where_the_settings_allow_it_the_requester_is_not_left_out():
    text = json.dumps(hold(state(*waiting(held(own=True))), LINKS).blocks)
    assert "but not" not in text


def test_of_many_facts_fifteen_are_shown_and_the_rest_is_linked():
    many = [found(number) for number in range(1, 41)]
    text = json.dumps(hold(state(*waiting(held(*many))), LINKS).blocks)
    assert "test_a.py:15" in text
    assert "test_a.py:16" not in text
    assert "25 more: <https://agent.example/runs/42|the whole list>" in text


def test_names_of_files_can_neither_ping_nor_break_out():
    nasty = found(path="a`\n<!channel> <https://evil.example|x>.py")
    text = json.dumps(hold(state(*waiting(held(nasty))), LINKS).blocks)
    assert '"type": "link"' not in text
    assert '"type": "broadcast"' not in text


def test_the_card_says_what_holds_the_run_and_the_thread_raises_a_hand():
    ci = Violation(rule=Weakening.CI_TOUCHED, path=".gitlab-ci.yml", line=0, detail="decides")
    now = state(*waiting(held(found(), found(2), ci)))
    assert "Held: assertion loosened, CI file touched" in json.dumps(card(now, LINKS).blocks)
    assert reaction(now) == "raised_hand"


def test_accepted_the_message_names_who_and_has_no_buttons():
    lifted = HoldLifted(tree=TREE, by=SAM, violations=(found(),))
    now = state(*waiting(held()), lifted, moved(RunStatus.PUBLISHING))
    text = json.dumps(hold(now, LINKS).blocks)
    assert "Accepted by <@U0SAM>" in text
    assert "hold_accept" not in text


def test_with_another_instruction_the_message_says_that_it_was_not_accepted():
    now = state(*waiting(held()), moved(RunStatus.QUEUED))
    shown = messages(now, LINKS)
    assert now.held is None
    text = json.dumps(next(m.blocks for slot, m in shown.items() if slot.startswith("hold")))
    assert "Held, and not accepted" in text
    assert "hold_accept" not in text


async def standing(face: Face) -> tuple[Message, Run, Message]:
    root, run = await started(face)
    working = StatusChanged(status=RunStatus.WORKING)
    await face.runs.add(run.id, working, held(), StatusChanged(status=RunStatus.WAITING_FOR_ANSWER))
    shown = await face.until(lambda: face.ours(root)[1:])
    return root, run, shown[0]


async def test_accept_says_which_hold_was_seen(face: Face):
    root, run, message = await standing(face)
    seq = (await face.runs.status(run.id)).held_seq

    await face.slack.people.click("sam", message, "hold_accept")

    await face.until(lambda: face.runs.of("lift") == [("lift", run.id, seq)])
    await face.until(lambda: "Accepted by" in face.ours(root)[1].text)


async def test_request_changes_sends_the_words_to_the_run(face: Face):
    _, run, message = await standing(face)
    await face.slack.people.click("sam", message, "run_changes")
    await face.until(lambda: face.slack.world.modals.get("U0SAM"))
    await face.slack.people.submit("sam", {"text": "Keep the assertion"})
    wanted = [("instruct", run.id, "Keep the assertion")]
    await face.until(lambda: face.runs.of("instruct") == wanted)


async def test_a_plain_word_in_the_thread_decides_nothing(face: Face):
    root, run, _ = await standing(face)
    face.say("accept", thread=root.ts)
    face.say("@agent status", thread=root.ts)
    await face.until(face.told)
    assert face.runs.of("lift") == []
    assert face.runs.of("answer") == []
    assert (await face.runs.status(run.id)).held is not None


async def test_no_message_carries_a_credential_of_ours(face: Face):
    secret = "glpat-0123456789abcdef"
    face.front.slack.canaries = Canaries(secrets=frozenset({secret}))
    root, run = await started(face)
    end = RunEnded(status=RunStatus.FAILED, reason=f"git said {secret}")
    await face.runs.add(run.id, end)
    await face.until(lambda: face.ours(root)[1:])
    shown = json.dumps([[m.text, m.blocks] for m in face.ours(root)], default=str)
    assert secret not in shown
    assert "withheld" in shown


def test_the_reminder_is_a_message_of_its_own_and_says_when_it_is_over():
    log = (*waiting(held()), HoldReminded(hold=4))
    now = state(*log)
    assert now.held_seq == 4
    (slot,) = [slot for slot in messages(now, LINKS) if slot.startswith("hold_reminder")]
    assert "still waits for a maintainer" in messages(now, LINKS)[slot].text
    over = messages(state(*log, moved(RunStatus.QUEUED)), LINKS)[slot]
    assert "does not wait any more" in over.text
