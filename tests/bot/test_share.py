"""What the agent was given in a night, and what came of it, in a line of the digest."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from log import moved, published, ran, state
from reading import read

from agent import events as e
from agent.maintenance.diary import Entry
from agent.maintenance.morning import Morning, morning
from agent.maintenance.night import Errand, Finding, LeftOut, Task, TaskReport, Update
from agent.run import RunId, RunStatus
from bot.views.digest import digest

UNTIL = datetime(2026, 9, 22, 7, 30, tzinfo=UTC)
OLD = Finding(tool="ruff", rule="F841", path="a.py", line=1, message="m", fingerprint="a1")
ERRAND = Errand(
    kind="findings", title="Mend 1 lint finding in 1 file", text="Mend it.", run=RunId(42)
)


def of(*errands: Errand, **more: Any) -> Morning:
    """A night with nothing new in it but this."""
    report = TaskReport(task=Task.LINT, status="done", findings=(OLD,))
    entries = [
        Entry(id=number, project="platform/api", task=Task.LINT, fire_at=at, ended_at=at, report=r)
        for number, (at, r) in enumerate(
            (
                (UNTIL - timedelta(days=2), report),
                (
                    UNTIL - timedelta(hours=5),
                    TaskReport(
                        task=Task.LINT, status="done", findings=(OLD,), errands=errands, **more
                    ),
                ),
            ),
            1,
        )
    ]
    since = UNTIL - timedelta(days=1)
    return morning(date(2026, 9, 22), UTC, entries, since=since, until=UNTIL)


def ended(status: RunStatus, reason: str = "", answer: str = "") -> e.RunEnded:
    return e.RunEnded(status=status, reason=reason, answer=answer)


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ((moved(RunStatus.WORKING),), "still at work"),
        ((moved(RunStatus.PUBLISHING), ran(), *published()), "!318"),
        (
            (ended(RunStatus.ESCALATED, "It asked, and at night nobody answers: <!channel>?"),),
            "gave up: It asked, and at night nobody answers: &lt;!channel&gt;?",
        ),
        ((ended(RunStatus.FAILED, "The model is down."),), "gave up: The model is down."),
        (
            (ended(RunStatus.SUCCEEDED, answer="It is right as it is."),),
            "nothing was changed: It is right as it is.",
        ),
    ],
)
def test_what_came_of_the_agent_s_share_is_one_line(facts: tuple[e.Payload, ...], line: str):
    message = digest(of(ERRAND), {RunId(42): state(*facts)})
    assert message is not None
    assert f"• The agent: Mend 1 lint finding in 1 file: {line}" in list(read(message))


def test_its_merge_request_can_be_reviewed():
    facts = (moved(RunStatus.PUBLISHING), ran(), *published())
    message = digest(of(ERRAND), {RunId(42): state(*facts)})
    assert message is not None
    assert any("[Review !318]" in line for line in read(message))


def test_without_a_model_it_is_said_once_there_is_other_news():
    assert digest(of(not_given="No model is configured."), {}) is None
    fixed = of(not_given="No model is configured.", fixed=(OLD,))
    message = digest(fixed, {})
    assert message is not None
    assert "• No model is configured." in list(read(message))


GADGET = Update(
    ecosystem="npm",
    package="gadget",
    current="1.0.0",
    target="2.0.0",
    level="major",
    direct=True,
    manifest="package.json",
)
REPAIR = Errand(
    kind="repair",
    title="Update gadget to 2.0.0 and repair the code for it",
    text="Repair it.",
    about=(GADGET.offer,),
    run=RunId(42),
)
LEFT = LeftOut(update=GADGET, reason="With it, tests fail.")


def test_an_update_that_the_agent_repairs_the_code_for_is_not_left_out():
    facts = (moved(RunStatus.PUBLISHING), ran(), *published())
    message = digest(of(REPAIR, left_out=(LEFT,)), {RunId(42): state(*facts)})
    assert message is not None
    lines = list(read(message))
    assert "• The agent: Update gadget to 2.0.0 and repair the code for it: !318" in lines
    assert not [line for line in lines if "is left out" in line]


def test_an_update_that_it_could_not_repair_the_code_for_is_left_out_and_says_why():
    gave_up = ended(RunStatus.ESCALATED, "After 3 attempts tests still fail.")
    message = digest(of(REPAIR, left_out=(LEFT,)), {RunId(42): state(gave_up)})
    assert message is not None
    told = "\n".join(read(message))
    assert "repair the code for it: gave up: After 3 attempts tests still fail." in told
    assert "is left out: With it, tests fail." in told
