"""What people press in a thread."""

from __future__ import annotations

import json

import pytest
from face import Face, ask, handled, started

from agent.events import (
    EffectDone,
    EffectKind,
    InstructionGiven,
    PlanMade,
    RunEnded,
    StatusChanged,
)
from agent.plan import Plan, PlanStep
from agent.run import Run, RunStatus
from playground.slack.records import Message, View


async def modal(face: Face, user: str = "U0MIA") -> View:
    ids = await face.until(lambda: face.slack.world.modals.get(user))
    return face.slack.world.views[ids[-1]]


async def ended(face: Face, status: RunStatus) -> tuple[Message, Run, Message]:
    """A thread whose run has ended, and the message that says so."""
    root, run = await started(face)
    await face.runs.add(run.id, RunEnded(status=status, reason="The tests still fail."))
    outcome = await face.until(lambda: face.ours(root)[1:])
    return root, run, outcome[0]


async def test_the_menu_stops_a_run_after_a_confirmation(face: Face) -> None:
    root, run = await started(face)
    await face.slack.people.click("mia", face.ours(root)[0], "run_menu", f"stop:{run.id}")
    await modal(face)
    assert face.runs.of("stop") == []

    await face.slack.people.submit("mia")

    await face.until(lambda: face.runs.of("stop") == [("stop", run.id, "menu")])
    await face.until(lambda: face.reactions(root) == ["octagonal_sign"])


async def test_the_menu_adds_instructions(face: Face) -> None:
    root, run = await started(face)
    await face.slack.people.click("mia", face.ours(root)[0], "run_menu", f"follow_up:{run.id}")
    await modal(face)

    await face.slack.people.submit("mia", {"text": "Use semicolons"})

    await face.until(lambda: face.runs.of("instruct") == [("instruct", run.id, "Use semicolons")])


async def test_a_hint_continues_a_run_that_needs_a_person(face: Face) -> None:
    _, run, outcome = await ended(face, RunStatus.ESCALATED)
    await face.slack.people.click("mia", outcome, "run_hint")

    await modal(face)
    await face.slack.people.submit("mia", {"text": "Install libpq first"})

    await face.until(lambda: face.runs.of("instruct"))
    assert face.runs.of("instruct")[0] == ("instruct", run.id, "Install libpq first")


async def test_a_form_that_comes_again_is_known_by_its_key(face: Face) -> None:
    """Its front died before it could say that it was done with it."""
    _, run, outcome = await ended(face, RunStatus.ESCALATED)
    await face.slack.people.click("mia", outcome, "run_hint")
    await modal(face)
    await face.slack.people.submit("mia", {"text": "Install libpq first"})
    await face.until(lambda: face.runs.of("instruct"))

    await handled(face)
    await face.runs.db.pool.execute("UPDATE inbox SET handled_at = NULL WHERE key LIKE 'view:%'")
    await handled(face)

    assert len(face.runs.of("instruct")) == 2
    log = await face.runs.db.store.events(run.id)
    first, again = [e.payload.message for e in log if isinstance(e.payload, InstructionGiven)]
    assert first == again != ""


async def test_a_person_takes_a_run_over_and_stops_it(face: Face) -> None:
    root, run = await started(face)
    made = EffectDone(key="k", effect=EffectKind.OPEN_MERGE_REQUEST, result="!7", iid=7)
    needs = RunEnded(status=RunStatus.ESCALATED, reason="The tests still fail.")
    await face.runs.add(run.id, made, needs)

    def told(words: str) -> list[Message]:
        return [m for m in face.ours(root) if words in json.dumps(m.blocks)]

    (message,) = await face.until(lambda: told("run_take_over"))
    await face.slack.people.click("mia", message, "run_stop")
    await face.until(lambda: face.runs.of("stop") == [("stop", run.id, "stop button")])
    await face.slack.people.click("sam", message, "run_take_over")
    await face.until(lambda: face.runs.of("take_over") == [("take_over", run.id, "U0SAM")])
    await face.until(lambda: told("Taken over by <@U0SAM>"))
    await face.until(lambda: told("run_take_over") == [])


async def test_the_native_stop_stops_the_run(face: Face) -> None:
    root, run = await started(face)
    await face.until(lambda: face.slack.world.sessions.get((root.channel, root.ts)))

    face.slack.people.stop("mia", "platform", root.ts)

    await face.until(lambda: face.runs.of("stop") == [("stop", run.id, "stop button")])
    session = face.slack.world.sessions
    await face.until(lambda: session[root.channel, root.ts].status == "active")


async def test_try_again_queues_the_run(face: Face) -> None:
    root, run, outcome = await ended(face, RunStatus.FAILED)

    await face.slack.people.click("mia", outcome, "run_retry")

    await face.until(lambda: face.runs.of("retry") == [("retry", run.id)])
    await face.until(lambda: face.reactions(root) == ["eyes"])


async def test_a_choice_answers_the_question_and_takes_the_buttons_away(face: Face) -> None:
    root, run = await started(face)
    await ask(face, run, "Comma or semicolon?", "Comma", "Semicolon")
    question = (await face.until(lambda: face.ours(root)[1:]))[0]

    await face.slack.people.click("mia", question, "run_answer_1")

    await face.until(lambda: face.runs.of("answer") == [("answer", run.id, "Semicolon")])
    answered = await face.until(
        lambda: [m for m in face.ours(root) if m.text.startswith("Answered by @mia")]
    )
    assert "actions" not in {block["type"] for block in answered[0].blocks}


async def test_an_answer_that_comes_too_late_is_told_so(face: Face) -> None:
    root, run = await started(face)
    await ask(face, run, "Comma or semicolon?", "Comma", "Semicolon")
    question = (await face.until(lambda: face.ours(root)[1:]))[0]
    await face.slack.people.click("mia", question, "run_answer_0")
    await face.until(lambda: face.runs.of("answer"))
    pressed = next(d.payload for d in face.slack.delivery.log if "actions" in d.payload)
    late = pressed | {"actions": [pressed["actions"][0] | {"action_ts": "1.2"}]}

    await face.front.door.receive(json.dumps(late), {"content-type": ["application/json"]})

    await face.until(lambda: any("has been answered already" in told for told in face.told()))
    assert len(face.runs.of("answer")) == 1


async def test_feedback_is_thanked_for_and_logged(
    face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    _, run, outcome = await ended(face, RunStatus.SUCCEEDED)
    caplog.set_level("INFO", logger="journeyman.listeners")

    await face.slack.people.click("mia", outcome, "run_feedback", f"good:{run.id}")

    await face.until(lambda: face.told() == ["Thank you, that is noted."])
    (record,) = [r for r in caplog.records if r.message == "feedback"]
    assert (record.run, record.verdict) == (str(run.id), "good")  # type: ignore[attr-defined]


async def test_somebody_without_an_account_stops_nothing(face: Face) -> None:
    root, run = await started(face)

    await face.slack.people.click("lee", face.ours(root)[0], "run_menu", f"stop:{run.id}")
    await modal(face, "U0LEE")
    await face.slack.people.submit("lee")

    (told,) = await face.until(lambda: face.told("U0LEE"))
    assert told.startswith("I don't know your GitLab account")
    assert face.runs.of("stop") == []


async def test_an_approved_plan_says_by_whom_and_loses_its_buttons(face: Face) -> None:
    root, run = await started(face, "@agent plan=only add an export")
    plan = Plan(steps=(PlanStep(title="Read the router"),))
    planning, ended = StatusChanged(status=RunStatus.PLANNING), RunEnded(status=RunStatus.SUCCEEDED)
    await face.runs.add(run.id, planning, PlanMade(plan=plan), ended)
    shown = (await face.until(lambda: face.ours(root)[1:]))[0]

    await face.slack.people.click("sam", shown, "plan_approve")

    await face.until(lambda: face.runs.of("approve_plan") == [("approve_plan", run.id)])
    await face.until(lambda: "was approved by @sam" in face.ours(root)[1].text)
    assert "actions" not in {block["type"] for block in face.ours(root)[1].blocks}


async def test_a_message_that_comes_again_keeps_the_sign_of_the_end(face: Face) -> None:
    root, run = await started(face)
    await handled(face)
    await face.runs.add(run.id, RunEnded(status=RunStatus.SUCCEEDED))
    await face.until(lambda: face.reactions(root) == ["white_check_mark"])

    await face.runs.db.pool.execute("UPDATE inbox SET handled_at = NULL")
    await handled(face)

    assert face.reactions(root) == ["white_check_mark"]
