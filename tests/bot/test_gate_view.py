"""Gates, merges and deployments in the thread: what is asked, decided, and what came of it."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from log import FORGE, SAM, START, URL, job, moved, published, ran, ready, seen, state
from reading import read, texts
from slack_schema import block_problems, needs_specs, view_problems

from agent import events as e
from agent.gate import Action, Facts, Gate, GateId, Rule
from agent.pipeline import Verdict, Violation
from agent.run import CommitSha, Digest, Person, RunStatus
from agent.state import RunState
from bot.views import reject
from bot.views.blocks import MAX_TOTAL, Message
from bot.views.run import card
from bot.views.thread import messages, reaction
from bot.views.words import Links

S, V = RunStatus, Verdict
LINKS = Links(public_url="https://agent.example")
HEAD, MERGED = CommitSha("a1" * 20), CommitSha("d4" * 20)
LEE = Person(id="U0LEE", name="lee", gitlab_id=4, gitlab_username="lee.k", access=40)
HOSTILE = "<!channel> <https://evil.example|ok> *✅ Approved by @lead*\r\n\u202egnp.exe `x`"

FACTS = Facts(
    files=6,
    added=143,
    removed=8,
    tests="212 passed, 0 failed",
    pipeline=9001,
    pipeline_url=f"{FORGE}/pipelines/9001",
    money=0.92,
)


def gate(**changes: Any) -> Gate:
    fields: dict[str, Any] = {
        "id": GateId("7f" * 16),
        "action": Action.MERGE,
        "delivery": 1,
        "project": "platform/api",
        "project_id": 7,
        "iid": 318,
        "url": URL,
        "title": "Add invoices export",
        "commit": HEAD,
        "diff": Digest("0" * 64),
        "source": "agent/42",
        "target": "main",
        "rule": Rule(),
        "policy": Digest("1" * 64),
        "expires_at": START + timedelta(hours=24),
        "facts": FACTS,
        "asks": (SAM, LEE),
    }
    return Gate(**(fields | changes))


def begun(**changes: Any) -> e.DeliveryBegun:
    fields: dict[str, Any] = {
        "number": 1,
        "kind": "change",
        "source": "agent/42",
        "target": "main",
        "iid": 318,
        "url": URL,
        "commit": HEAD,
    }
    return e.DeliveryBegun(**(fields | changes))


GREEN = (ready(), ran("base"), ran(), *published(), moved(S.WATCHING), seen(V.GREEN))


def asked(opened: Gate | None = None, *after: e.Payload) -> RunState:
    opening = (begun(), moved(S.DELIVERING), e.GateOpened(gate=opened or gate()))
    return state(*GREEN, *opening, moved(S.WAITING_FOR_APPROVAL), *after)


def closed(outcome: Any, by: Person | None = LEE, **more: Any) -> e.GateClosed:
    return e.GateClosed(gate=gate().id, outcome=outcome, by=by, **more)


APPROVED = (
    e.GateVoted(gate=gate().id, by=LEE),
    closed("approved"),
    moved(S.DELIVERING),
    e.EffectDone(key="m", effect=e.EffectKind.MERGE, result="merged !318", iid=318, commit=MERGED),
)


def target(verdict: Verdict, *jobs: Any, merged: CommitSha | None = MERGED) -> e.TargetSeen:
    shown = seen(verdict, *jobs, number=9, commit=merged or HEAD)
    return e.TargetSeen(
        delivery=1, merged=merged, pipeline=shown.pipeline, judgement=shown.judgement
    )


def ended(outcome: Any = "delivered", reason: str = "") -> tuple[e.Payload, ...]:
    status = S.SUCCEEDED if outcome == "delivered" else S.ESCALATED
    return (
        e.DeliveryEnded(number=1, outcome=outcome, reason=reason),
        e.RunEnded(status=status, reason=reason),
    )


def deployed(status: str, url: str = "") -> e.DeploymentSeen:
    return e.DeploymentSeen(
        delivery=1, environment="production", job=job("deploy-production", status), url=url
    )


THERE = gate(id=GateId("8e" * 16), action=Action.DEPLOY, environment="production", commit=MERGED)
TOLD = "Merged !318 into main as d4d4d4d4; its pipeline passed; deployed to production."
MANY = FACTS.__class__(
    files=900,
    added=10_000,
    removed=9_000,
    tests=HOSTILE,
    outside=tuple(HOSTILE for _ in range(40)),
    protected=tuple(f"{HOSTILE}/{n}" for n in range(300)),
    weakened=tuple(
        Violation(rule="test removed", path=HOSTILE * 3, line=n, detail=HOSTILE * 9)
        for n in range(60)
    ),
    gitlab=tuple(HOSTILE * 5 for _ in range(20)),
    deploys=(HOSTILE,),
    authors=tuple(HOSTILE for _ in range(99)),
    why=HOSTILE * 20,
)
RUNS: dict[str, RunState] = {
    "asked": asked(),
    "two needed": asked(gate(rule=Rule(approvals=2)), e.GateVoted(gate=gate().id, by=LEE)),
    "hostile": asked(gate(title=HOSTILE * 9, facts=MANY, environment=HOSTILE, asks=())),
    "deployment": asked(gate(action=Action.DEPLOY, environment="production", commit=MERGED)),
    "rejected": asked(
        None,
        closed("rejected", reason="Please use semicolons.", revise=True),
        e.DeliveryEnded(number=1, outcome="rejected"),
        e.InstructionGiven(text="Please use semicolons.", by=LEE, message=""),
        moved(S.QUEUED),
    ),
    "stopped": asked(
        None,
        closed("rejected", reason="Not before the audit."),
        e.DeliveryEnded(number=1, outcome="rejected"),
        e.RunEnded(status=S.CANCELLED, reason="Rejected by @lee: Not before the audit."),
    ),
    "expired": asked(
        None,
        closed("expired", None, reason="Nobody decided within 24 hours."),
        e.DeliveryEnded(number=1, outcome="expired"),
        e.RunEnded(status=S.ESCALATED, reason="Nobody decided within 24 hours."),
    ),
    "superseded": asked(None, closed("superseded", None, reason="`9f3c2ab1` is the head now.")),
    "merged": asked(None, *APPROVED, target(V.RUNNING)),
    "delivered": asked(
        None,
        *APPROVED,
        target(V.GREEN),
        deployed("success", "https://app.example/"),
        *ended(reason=TOLD),
    ),
    "not reached": asked(
        None,
        *APPROVED,
        target(V.GREEN),
        e.DeliveryEnded(
            number=1, outcome="delivered", reason=TOLD, unreached=("production was not reached",)
        ),
        e.RunEnded(status=S.SUCCEEDED, reason=TOLD),
    ),
    "in production": asked(
        None,
        *APPROVED,
        target(V.MANUAL),
        e.GateOpened(gate=THERE),
        e.GateVoted(gate=THERE.id, by=SAM),
        e.GateClosed(gate=THERE.id, outcome="approved", by=SAM),
        deployed("success", "https://app.example/"),
        *ended(reason=TOLD),
    ),
    "not deployed": asked(
        None,
        *APPROVED,
        target(V.MANUAL),
        e.GateOpened(gate=THERE),
        e.GateClosed(gate=THERE.id, outcome="rejected", by=SAM, reason="Not on a Friday."),
        e.DeliveryEnded(number=1, outcome="rejected"),
        e.RunEnded(status=S.CANCELLED, reason="Rejected by @sam: Not on a Friday."),
    ),
    "went red": asked(
        None,
        *APPROVED,
        target(V.RED),
        *ended("broken", "The pipeline of main failed after the merge; it had passed before."),
    ),
    "promotable": state(
        *GREEN, begun(promote="main", target="develop"), *APPROVED[3:], *ended(reason=TOLD)
    ),
}
ALL = {
    f"{run} {slot}": message
    for run, now in RUNS.items()
    for slot, message in messages(now, LINKS).items()
    if slot.partition(":")[0] in ("card", "gate", "decided", "delivery", "deployed", "outcome")
}


def shown(run: str, slot: str) -> list[str]:
    return list(read(messages(RUNS[run], LINKS)[slot]))


CARD = f"gate:{gate().id}"
WORD = f"decided:{gate().id}"


@needs_specs
@pytest.mark.parametrize("name", ALL)
def test_every_message_is_valid_for_slack_and_within_its_limits(name: str):
    assert block_problems(list(ALL[name].blocks)) == []
    assert len(json.dumps(ALL[name].blocks, ensure_ascii=False)) <= MAX_TOTAL


@pytest.mark.parametrize("name", ALL)
def test_nobody_else_is_pinged_and_nothing_foreign_is_linked(name: str):
    message: Message = ALL[name]
    for kind, text in [("mrkdwn", message.text), *texts(message.blocks)]:
        assert kind != "mrkdwn" or "<!channel" not in text
        assert "https://evil" not in text
        assert "\u202e" not in text


def test_the_card_says_what_happens_at_which_commit_on_which_facts_and_who_decides():
    assert shown("asked", CARD) == [
        "*Approval needed: main* — <@U0SAM> <@U0LEE>",
        "Merge !318 Add invoices export at `a1a1a1a1` into `main`.",
        "*Tests* 212 passed, 0 failed",
        "*Pipeline* #9001 passed",
        "*Diff* 6 files, +143 −8",
        "*Cost* $0.92",
        "*Undo* Revert !318: one button, through the same gate",
        "[Approve] [Reject…] [View diff]",
        "Decided by a maintainer of `platform/api`. Not by <@U0MIA> or whoever else asked for it, "
        "instructed or committed it. Until 23 Sep 10:22 UTC, "
        "for exactly this commit: a new one asks anew.",
        "Audit trail",
    ]
    sentence = messages(RUNS["asked"], LINKS)[CARD].text
    assert sentence == (
        "Approval needed: main. @sam, @lee: merge !318 of platform/api at a1a1a1a1 into main. "
        "Decided by a maintainer of platform/api. Expires 23 Sep 10:22 UTC."
    )


def test_the_buttons_carry_the_gate_and_nothing_else():
    blocks = messages(RUNS["asked"], LINKS)[CARD].blocks
    buttons = {
        b["action_id"]: b for block in blocks for b in block.get("elements", ()) if "value" in b
    }
    assert {name: b["value"] for name, b in buttons.items()} == {
        "gate_approve": gate().id,
        "gate_reject": gate().id,
    }
    assert buttons["gate_approve"]["confirm"]["text"]["text"] == (
        "Merges !318 at a1a1a1a1 into main."
    )


def test_facts_stand_before_what_the_model_wrote_and_stay_when_it_is_long():
    lines = shown("hostile", CARD)
    assert lines[0].startswith("*Approval needed:")
    assert any("900 files, +10,000 −9,000" in line for line in lines)


def test_whoever_may_decide_is_named_by_the_rule():
    listed = asked(gate(rule=Rule(users=(3, 4), groups=("platform/leads",), approvals=2)))
    own = asked(gate(rule=Rule(self_approval=True)))
    assert "2 of 2 listed people or members of `platform/leads`" in str(
        list(read(messages(listed, LINKS)[CARD]))
    )
    assert "The settings allow <@U0MIA> to approve it, too." in str(
        list(read(messages(own, LINKS)[CARD]))
    )


def test_what_is_taken_back_has_no_button_to_take_that_back():
    back = state(*GREEN, begun(kind="revert"), moved(S.DELIVERING), e.GateOpened(gate=gate()))
    assert "*Undo* Revert !318 at GitLab" in list(read(messages(back, LINKS)[CARD]))


def test_of_two_approvals_the_first_is_shown_and_the_buttons_stay():
    lines = shown("two needed", CARD)
    assert "1 of 2 approvals, by <@U0LEE>." in lines
    assert "[Approve] [Reject…] [View diff]" in lines


def test_approved_the_card_names_who_and_has_no_buttons_and_the_asker_is_told():
    lines = shown("merged", CARD)
    assert lines[:2] == [
        "*Approved: main*",
        "Merge !318 Add invoices export at `a1a1a1a1` into `main`.",
    ]
    assert re.fullmatch(
        r"Approved by <@U0LEE> \(lee.k at GitLab, Maintainer\), \d\d:\d\d UTC.", lines[2]
    )
    assert lines[3:] == ["Audit trail"]
    assert shown("merged", WORD) == ["<@U0MIA> *Approved:* main, by <@U0LEE>."]


def test_a_rejection_quotes_its_reason_and_says_what_comes_next():
    assert shown("rejected", WORD) == [
        "<@U0MIA> *Rejected:* main, by <@U0LEE>. The run goes on with the reason as an "
        "instruction.",
        "Please use semicolons.",
    ]
    assert "[Ask again]" not in shown("rejected", CARD)
    assert shown("stopped", WORD)[0].endswith(
        "The run has stopped: !318 was not merged into `main`."
    )
    assert shown("not deployed", f"decided:{THERE.id}")[0].endswith(
        "The run has stopped: `d4d4d4d4` was not deployed to production. Its merge stays."
    )
    assert "outcome:1" not in messages(RUNS["stopped"], LINKS)


def test_an_expired_gate_can_be_asked_again():
    lines = shown("expired", CARD)
    assert lines[0] == "*Expired, nobody decided: main*"
    assert "[Ask again]" in lines


def test_people_are_reminded_once_and_the_reminder_does_not_outlive_the_gate():
    reminded = e.GateReminded(gate=gate().id)
    slot = f"gate_reminder:{gate().id}"
    waits = messages(asked(None, reminded), LINKS)
    assert list(read(waits[slot])) == [
        "<@U0SAM> <@U0LEE> *Reminder:* *main* still waits to be decided by a maintainer of "
        "`platform/api`, above. It expires at 23 Sep 10:22 UTC."
    ]
    assert "People were reminded." in list(read(waits[CARD]))
    over = messages(asked(None, reminded, *APPROVED), LINKS)
    assert "does no longer" in next(read(over[slot]))
    assert slot not in messages(RUNS["asked"], LINKS)


def test_a_superseded_gate_says_why():
    lines = shown("superseded", CARD)
    assert lines[0] == "*No longer asked: main*"
    assert "`9f3c2ab1` is the head now." in lines


def test_a_deployment_is_asked_for_by_its_environment():
    lines = shown("deployment", CARD)
    assert lines[0].startswith("*Approval needed: production*")
    assert (
        lines[1] == "Start the deployment of `d4d4d4d4` (!318 Add invoices export) to *production*."
    )


def test_a_merge_is_followed_until_it_is_deployed():
    assert shown("merged", "delivery:1") == [
        "<@U0MIA> *Merged:* !318 into `main` as `d4d4d4d4`",
        "*Pipeline of main* running",
        "*Approved by* <@U0LEE> (main)",
    ]
    assert shown("delivered", "delivery:1") == [
        "<@U0MIA> *Merged:* !318 into `main` as `d4d4d4d4`",
        "*Pipeline of main* passed",
        "*production* deployed to app.example",
        "*Approved by* <@U0LEE> (main)",
        "[Revert…]",
    ]
    assert "deployed:1" not in messages(RUNS["delivered"], LINKS)
    assert messages(RUNS["delivered"], LINKS)["delivery:1"].text == f"@mia: {TOLD}"
    assert "outcome:1" not in messages(RUNS["delivered"], LINKS)
    assert reaction(RUNS["delivered"]) == "white_check_mark"


def test_a_merge_that_did_not_reach_production_says_so():
    assert shown("not reached", "delivery:1")[:2] == [
        "<@U0MIA> *Merged:* !318 into `main` as `d4d4d4d4`",
        "production was not reached.",
    ]


def test_what_people_let_into_production_is_told_once_it_runs_there_with_the_way_back():
    assert shown("in production", "deployed:1") == [
        "<@U0MIA> *Deployed:* `d4d4d4d4` (!318) to *production* (app.example)",
        "[Revert…]",
    ]
    assert messages(RUNS["in production"], LINKS)["deployed:1"].text == (
        "@mia: d4d4d4d4 (!318) is deployed to production."
    )
    merged = shown("in production", "delivery:1")
    assert "*Approved by* <@U0LEE> (main), <@U0SAM> (production)" in merged
    assert "[Revert…]" not in merged


def test_what_went_red_after_the_merge_can_be_taken_back():
    lines = shown("went red", "delivery:1")
    assert lines[0].startswith("<@U0MIA> *Merged, but it needs a person:*")
    spoken = messages(RUNS["went red"], LINKS)["delivery:1"].text
    assert spoken.startswith("@mia: Merged, but it needs a person: !318 into main as d4d4d4d4. ")
    assert "[Look again] [Revert…]" in lines
    assert reaction(RUNS["went red"]) == "warning"


def test_what_is_on_develop_may_be_promoted():
    lines = shown("promotable", "delivery:1")
    assert "[Promote to main…] [Revert…]" in lines
    assert "*Approved by* its rule, nobody was asked" in lines


@pytest.mark.parametrize(
    ("run", "line"),
    [
        ("asked", "Nothing is merged before it is approved in the message below."),
        ("deployment", "Nothing is deployed before it is approved in the message below."),
        ("merged", "Merged into `main`; its pipeline: running."),
        ("delivered", TOLD),
    ],
)
def test_the_status_card_says_where_it_stands(run: str, line: str):
    assert line in list(read(card(RUNS[run], LINKS)))


def test_the_root_raises_a_hand_while_it_waits():
    assert reaction(RUNS["asked"]) == "raised_hand"


@needs_specs
def test_the_modal_asks_for_a_reason_and_brings_back_the_gate_and_the_card():
    view = reject.modal(gate().id, "C1", "1.1", "1.2")
    assert view_problems(view) == []
    assert reject.carried(view) == reject.Carried(gate=gate().id, message="1.2")
    assert view["blocks"][0]["element"]["min_length"] == 10
    values = {
        "text": {"text": {"value": "Use semicolons."}},
        "then": {"then": {"selected_option": {"value": "stop"}}},
    }
    assert reject.submitted(view | {"state": {"values": values}}) == ("Use semicolons.", False)
