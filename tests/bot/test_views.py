"""What people read: each message is valid for Slack, reads well, and can ping nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log import (
    FILES,
    MIA,
    SAM,
    again,
    answered,
    happened,
    job,
    moved,
    plan,
    published,
    ran,
    ready,
    request,
    seen,
    state,
    tool,
    triaged,
)
from reading import plain, read, texts
from slack_schema import block_problems, needs_specs, view_problems

from agent import events as e
from agent.pipeline import Blame, Verdict
from agent.run import CommitSha, Digest, RunStatus, TreeSha
from agent.state import RunState
from bot.progress import Progress
from bot.views import blocks as b
from bot.views import talk
from bot.views import text as t
from bot.views.blocks import MAX_BLOCKS, MAX_SECTION, MAX_TOTAL, Message
from bot.views.run import card
from bot.views.thread import messages, reaction
from bot.views.words import Links

LINKS = Links(public_url="https://agent.example")
S = RunStatus
HOSTILE = (
    "<!channel> <!here> @everyone <@U1> <!subteam^S1> <https://evil.example|https://gitlab.example>"
    " &lt;!channel&gt; https://evil.example/?leak=1 mailto:a@evil.example \u202egnp.exe\u202c"
    " *✅ Approved by @lead, merged*\r\n```\n> quote"
)

CHECKPOINT = e.CheckpointTaken(tree=TreeSha("b2" * 20), patch=Digest("0" * 64), files=FILES)
WORKING = (moved(S.PLANNING), ready(), plan(0), answered(), moved(S.WORKING))
PUSHED = (
    *WORKING,
    plan(3),
    ran("base", passed=205),
    ran(),
    e.ToolReturned(
        call=2,
        id="2",
        tool="finish",
        arguments='{"summary": "Adds an export."}',
        ok=True,
        summary="finished",
        output=Digest("0" * 64),
        seconds=0,
    ),
    moved(S.PUBLISHING),
    *published(),
    moved(S.WATCHING),
)
V = Verdict
LINT = job("lint", "failed")
RED = (seen(V.RED, LINT, job("unit")),)
LOG_OF_LINT = "$ python3 tools/style.py\ntests/test_export.py:41: line too long (103 > 100)"
OURS = triaged(Blame.OURS, LINT, "The change broke it.", LOG_OF_LINT)
FIX = e.FixStarted(attempt=1, attempts=3, pipeline=7, jobs=("lint",))
RUNS: dict[str, RunState] = {
    "queued": state(moved(S.PLANNING), moved(S.QUEUED, "Run 41 works on it. You are next.")),
    "planning": state(moved(S.PLANNING)),
    "working": state(*WORKING, plan(1), tool("pytest -q: exit 1 in 2.1 s")),
    "stopping": state(*WORKING, e.StopAsked(by=SAM, how="mention")),
    "waiting for the model": state(
        *WORKING,
        e.ModelFailed(
            call=2,
            problem="The model provider is not answering (503).",
            attempt=2,
            attempts=5,
            retry_in=120,
        ),
    ),
    "waiting for GitLab": state(
        *WORKING,
        e.EffectFailed(
            key="k",
            effect=e.EffectKind.PUSH,
            problem="GitLab is not answering (502).",
            retry_in=120,
            attempt=1,
            attempts=5,
        ),
    ),
    "following": state(
        *WORKING,
        e.InstructionGiven(text="use semicolons", by=SAM, message="1.2"),
        e.InstructionTaken(given=7, step=12),
        e.InstructionGiven(text="and quotes", by=SAM, message="1.3"),
    ),
    "repairing": state(
        *WORKING,
        moved(S.TESTING),
        ran("base"),
        ran(failing=["a::b"]),
        e.HealStarted(attempt=1, attempts=3, failing=("a::b",)),
        moved(S.WORKING),
    ),
    "question": state(
        *WORKING,
        e.QuestionAsked(question="Comma or semicolon?", choices=("Comma", "Semicolon")),
        moved(S.WAITING_FOR_ANSWER),
    ),
    "answered": state(
        *WORKING,
        e.QuestionAsked(question="Comma or semicolon?", choices=("Comma", "Semicolon")),
        moved(S.WAITING_FOR_ANSWER),
        e.QuestionAnswered(text="Semicolon", by=MIA),
        moved(S.WORKING),
    ),
    "done": state(
        *WORKING,
        plan(3),
        ran("base", passed=205),
        ran(),
        *published(),
        e.RunEnded(status=S.SUCCEEDED, summary="Adds `GET /invoices/export`.\n- drafts stay in"),
    ),
    "answer": state(
        moved(S.PLANNING),
        ready(),
        answered(),
        e.RunEnded(status=S.SUCCEEDED, answer="Drafts have no number (`store.py:12`)."),
        asked=request("why does the export skip drafts?"),
    ),
    "plan only": state(
        moved(S.PLANNING),
        ready(),
        plan(-1),
        e.RunEnded(status=S.SUCCEEDED, answer="1. Read the router"),
        asked=request(plan_only=True),
    ),
    "plan approved": state(
        moved(S.PLANNING),
        ready(),
        plan(-1),
        e.RunEnded(status=S.SUCCEEDED, answer="1. Read the router"),
        e.InstructionGiven(text="The plan is approved.", by=SAM, approves=True),
        moved(S.QUEUED),
        moved(S.WORKING),
        e.InstructionTaken(given=6, step=2),
        plan(0, "Something else by now"),
        asked=request(plan_only=True),
    ),
    "plan changed": state(
        plan(-1),
        e.RunEnded(status=S.SUCCEEDED, answer="1. Read the router"),
        e.InstructionGiven(text="Without the test", by=SAM),
        moved(S.QUEUED),
        asked=request(plan_only=True),
    ),
    "nothing changed": state(
        *WORKING, e.RunEnded(status=S.SUCCEEDED, summary="It is there already.")
    ),
    "nothing more": state(
        *PUSHED,
        e.RunEnded(status=S.SUCCEEDED),
        e.InstructionGiven(text="and the tests?", by=SAM),
        moved(S.QUEUED),
        e.RunEnded(status=S.SUCCEEDED, summary="They are there."),
    ),
    "second round": state(
        *PUSHED,
        e.RunEnded(status=S.SUCCEEDED),
        e.InstructionGiven(text="and drafts", by=SAM),
        moved(S.QUEUED),
        moved(S.WORKING),
        *again(),
        e.RunEnded(status=S.SUCCEEDED, summary="Drafts, too."),
    ),
    "escalated": state(
        *WORKING,
        ran("base"),
        ran(failing=["a::b"]),
        CHECKPOINT,
        e.RunEnded(
            status=S.ESCALATED,
            reason="The tests still fail after 3 repairs.",
            escalation=e.Escalation(
                reason="The tests still fail after 3 repairs.",
                attempts=(
                    e.Attempt(
                        number=1,
                        failing=("a::b",),
                        tried="registered the route",
                        tree=TreeSha("b2" * 20),
                    ),
                ),
                likely_cause="The image lacks the `reporting` schema.",
                not_tried="changing .gitlab-ci.yml",
            ),
        ),
    ),
    "failed": state(moved(S.PLANNING), e.RunEnded(status=S.FAILED, reason="…", error_id="7f3a")),
    "stopped": state(
        *WORKING,
        *published()[:2],
        e.StopAsked(by=MIA, how="mention"),
        e.RunEnded(status=S.CANCELLED),
    ),
    "awaited": state(*PUSHED, seen(V.AWAITED)),
    "watching": state(
        *PUSHED,
        seen(
            V.RUNNING,
            job("lint", "failed"),
            job("unit", "running"),
            job("build"),
            job("buildkite/e2e", "pending", external=True, url="https://gitlab.example/b/1"),
        ),
    ),
    "manual": state(
        *PUSHED,
        seen(V.MANUAL, job("deploy", "manual"), sentence="Pipeline #7 waits for `deploy`."),
    ),
    "fixing": state(*PUSHED, *RED, OURS, FIX, moved(S.WORKING)),
    "not ours": state(
        *PUSHED,
        *RED,
        triaged(Blame.BASE, LINT, "`lint` is red on main, too."),
        e.RunEnded(status=S.SUCCEEDED, reason="Pipeline #7 failed, as on main."),
    ),
    "passed again": state(
        *PUSHED,
        *RED,
        triaged(Blame.FLAKY, LINT, "It is run once more."),
        seen(V.GREEN, job("lint")),
        e.RunEnded(status=S.SUCCEEDED, summary="Adds an export."),
    ),
    "pushed": state(
        *PUSHED,
        *RED,
        OURS,
        FIX,
        moved(S.WORKING),
        *again(),
        moved(S.WATCHING),
        seen(V.RUNNING, job("lint", "running"), number=8, commit="c3" * 20),
    ),
    "still red": state(
        *PUSHED,
        *RED,
        OURS,
        FIX,
        moved(S.WORKING),
        *again(),
        moved(S.WATCHING),
        seen(V.RED, LINT, number=8, commit="c3" * 20),
    ),
    "fixed": state(
        *PUSHED,
        *RED,
        OURS,
        FIX,
        moved(S.WORKING),
        *again(),
        moved(S.WATCHING),
        seen(V.GREEN, job("lint"), number=8, commit="c3" * 20),
        e.RunEnded(status=S.SUCCEEDED, summary="Adds an export."),
    ),
    "green": state(
        *PUSHED, seen(V.GREEN, job("lint")), e.RunEnded(status=S.SUCCEEDED, summary="Adds it.")
    ),
    "absent": state(
        *PUSHED,
        seen(V.ABSENT, sentence="No pipeline came for a1a1a1a1 within 2 minutes."),
        e.RunEnded(status=S.SUCCEEDED, reason="No pipeline came for a1a1a1a1 within 2 minutes."),
    ),
    "not fixed": state(
        *PUSHED,
        *RED,
        OURS,
        FIX,
        moved(S.WORKING),
        *again(),
        moved(S.WATCHING),
        seen(V.RED, LINT, number=8, commit="c3" * 20),
        triaged(Blame.OURS, LINT, "The change broke it.", number=8),
        e.RunEnded(
            status=S.ESCALATED,
            reason="The pipeline is still red after 1 attempt.",
            escalation=e.Escalation(
                reason="The pipeline is still red after 1 attempt.",
                attempts=(
                    e.Attempt(
                        number=1,
                        failing=("lint",),
                        tried="split the line | <!channel>",
                        tree=TreeSha("c3" * 20),
                    ),
                ),
                likely_cause="The rule is older than the code.",
                not_tried="changing .gitlab-ci.yml",
            ),
        ),
    ),
    "hostile pipeline": state(
        *PUSHED,
        seen(
            V.RED,
            *[
                job(HOSTILE, "failed", external=True, url="javascript:alert(1)//<!channel>")
                for _ in range(30)
            ],
            sentence=HOSTILE,
        ),
        triaged(Blame.OURS, job(HOSTILE, "failed"), HOSTILE, HOSTILE * 90),
        triaged(Blame.UNREADABLE, job(HOSTILE, "failed"), HOSTILE, HOSTILE * 90),
        FIX,
        moved(S.WORKING),
        e.RunEnded(
            status=S.ESCALATED,
            reason=HOSTILE,
            escalation=e.Escalation(
                reason=HOSTILE,
                attempts=tuple(
                    e.Attempt(number=n, failing=(HOSTILE,) * 9, tried=HOSTILE * 9)
                    for n in range(20)
                ),
            ),
        ),
    ),
    "hostile": state(
        moved(S.PLANNING),
        ready(),
        plan(1, *[HOSTILE] * 60),
        tool(HOSTILE),
        e.InstructionGiven(text=HOSTILE, by=SAM, message="1.2"),
        e.QuestionAsked(question=HOSTILE * 50, choices=(HOSTILE,) * 4),
        moved(S.WAITING_FOR_ANSWER),
        asked=request(HOSTILE),
    ),
    "hostile end": state(
        *WORKING,
        plan(3, *[HOSTILE] * 60),
        *published(),
        ran(failing=[HOSTILE] * 30),
        e.RunEnded(status=S.SUCCEEDED, summary=HOSTILE * 100),
        asked=request(HOSTILE),
    ),
    "hostile answer": state(
        moved(S.PLANNING), e.RunEnded(status=S.SUCCEEDED, answer=HOSTILE * 200)
    ),
    "hostile escalation": state(
        *WORKING,
        e.RunEnded(
            status=S.ESCALATED,
            reason=HOSTILE,
            escalation=e.Escalation(
                reason=HOSTILE,
                attempts=tuple(
                    e.Attempt(number=n, failing=(HOSTILE,) * 9, tried=HOSTILE) for n in range(20)
                ),
                likely_cause=HOSTILE * 9,
            ),
        ),
    ),
}


def everything() -> Iterator[tuple[str, Message]]:
    for name, run in RUNS.items():
        for slot, message in messages(run, LINKS).items():
            yield f"{name} {slot}", message
    yield "picker", talk.picker("1.1", "U0MIA", [f"a/b{n}" for n in range(150)], HOSTILE)
    yield "picked", talk.picked("1.1", "<@U0MIA> chose `a/b`.")
    yield "help", talk.help_text()


ALL = dict(everything())


@needs_specs
@pytest.mark.parametrize("name", ALL)
def test_every_message_is_valid_for_slack(name: str) -> None:
    assert block_problems(list(ALL[name].blocks)) == []


@pytest.mark.parametrize("name", ALL)
def test_every_message_keeps_to_the_limits(name: str) -> None:
    message = ALL[name]
    assert len(message.blocks) <= MAX_BLOCKS
    assert len(json.dumps(message.blocks, ensure_ascii=False)) <= MAX_TOTAL
    assert all(len(text) <= MAX_SECTION for _, text in texts(message.blocks))
    assert message.text.rstrip().endswith((".", "?", "…", "!")) or "hostile" in name
    assert len({block["block_id"] for block in message.blocks}) == len(message.blocks)


@pytest.mark.parametrize("name", ALL)
def test_no_message_pings_or_links_for_anybody_else(name: str) -> None:
    for kind, text in [("mrkdwn", ALL[name].text), *texts(ALL[name].blocks)]:
        if kind == "mrkdwn":
            ours = re.sub(
                r"<@U0(?:MIA|SAM)>|<!date\^[^<>]*>|<https://(?:agent|gitlab)\.example/"
                r"[^<>|]*\|[^<>|]*>",
                "",
                text,
            )
            assert "<" not in ours
        assert "https://evil" not in text
        assert "mailto:" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize("name", [n for n in ALL if "card" in n])
def test_each_edit_has_new_block_ids(name: str) -> None:
    run = RUNS[name.rpartition(" ")[0]]
    assert all(b["block_id"].startswith(f"run:42:v{run.seq}:") for b in ALL[name].blocks)


def test_a_version_alone_is_no_reason_to_edit() -> None:
    one = b.message("run:42", 7, "Hm.", {"head": b.section("*Hm*")})
    two = b.message("run:42", 8, "Hm.", {"head": b.section("*Hm*")})
    assert one.rendering == two.rendering
    assert one != two


@pytest.mark.parametrize(
    ("name", "lines"),
    {
        "working card": [
            "*Run 42 · Working* — add endpoint for invoices export",
            "`platform/api` from `main`, for <@U0MIA>",
            "Last: pytest -q: exit 1 in 2.1 s",
            "Plan — 1 of 3 done",
            "complete: Read the router (3 files changed)",
            "in_progress: Add the route",
            "pending: Test it",
            "4 min · 1 step · 184k tokens, $0.92 of $5.00 · updated 10:25 UTC",
        ],
        "waiting for the model card": [
            "*Run 42 · Working* — add endpoint for invoices export",
            "`platform/api` from `main`, for <@U0MIA>",
            "The model provider is not answering (503). Retrying in 2 min, 3 of 5. "
            "Nothing is lost.",
            "Plan — 0 of 3 done",
            "in_progress: Read the router",
            "pending: Add the route",
            "pending: Test it",
            "3 min · 1 step · 184k tokens, $0.92 of $5.00 · updated 10:25 UTC",
        ],
        "waiting for GitLab card": [
            "*Run 42 · Working* — add endpoint for invoices export",
            "`platform/api` from `main`, for <@U0MIA>",
            "GitLab is not answering (502). Retrying in 2 min, 2 of 5. Nothing is lost.",
            "Plan — 0 of 3 done",
            "in_progress: Read the router",
            "pending: Add the route",
            "pending: Test it",
            "3 min · 1 step · 184k tokens, $0.92 of $5.00 · updated 10:25 UTC",
        ],
        "question question:7": [
            "<@U0MIA> *I have a question before I go on:*",
            "Comma or semicolon?",
            "[Comma] [Semicolon]",
            "Press a button, or reply in this thread; no mention is needed. The run waits and "
            "uses nothing.",
        ],
        "answered question:7": [
            "*Question answered*",
            "Comma or semicolon?",
            "<@U0MIA> answered: “Semicolon”",
        ],
        "done result:1": [
            "<@U0MIA> *Done:* draft merge request !318 — Add invoices export",
            "Adds GET /invoices/export.",
            "- drafts stay in",
            "*Tests after* 212 passed, 0 failed",
            "*Tests before* 205 passed, 0 failed",
            "*Diff* 2 files, +143 −8",
            "*Time and cost* 6 min · 1 step · 184k tokens, $0.92 of $5.00",
            "[View diff] [Request changes…]",
            "Written by a language model (gpt-5.2). The tests were run by me, not by the model. "
            "Please read the diff before you merge.",
        ],
        "awaited result:1": [
            "<@U0MIA> *Opened* draft merge request !318 — Add invoices export",
            "Adds an export.",
            "*Tests after* 212 passed, 0 failed",
            "*Tests before* 205 passed, 0 failed",
            "*Pipeline* not there yet",
            "*Diff* 2 files, +143 −8",
            "[View diff] [Request changes…]",
            "Written by a language model (gpt-5.2). The tests were run by me, not by the model. "
            "Please read the diff before you merge.",
        ],
        "fixing pipeline:7": [
            "*Pipeline failed* — Pipeline #7 of `a1a1a1a1`",
            "Red: lint",
            "$ python3 tools/style.py",
            "tests/test_export.py:41: line too long (103 > 100)",
            "Fix attempt 1 of 3 has started.",
            "[Stop fixing]",
        ],
        "not ours pipeline:7": [
            "*Pipeline failed* — Pipeline #7 of `a1a1a1a1`",
            "Red: lint",
            "`lint` is red on main, too.",
        ],
        "pushed pipeline:7": [
            "*Pipeline failed* — Pipeline #7 of `a1a1a1a1`",
            "Red: lint",
            "$ python3 tools/style.py",
            "tests/test_export.py:41: line too long (103 > 100)",
            "Fix attempt 1 of 3 has been pushed; its pipeline is watched.",
        ],
        "still red pipeline:7": [
            "*Pipeline failed* — Pipeline #7 of `a1a1a1a1`",
            "Red: lint",
            "$ python3 tools/style.py",
            "tests/test_export.py:41: line too long (103 > 100)",
            "Fix attempt 1 of 3 did not make it pass.",
        ],
        "fixed pipeline:7": [
            "*Pipeline failed, fixed in `c3c3c3c3`* — Pipeline #7 of `a1a1a1a1`",
            "Red: lint",
        ],
        "fixed passed:1": [
            "<@U0MIA> *Pipeline passed* for !318 at `c3c3c3c3`, after 1 fix.",
        ],
        "passed again pipeline:7": [
            "*Pipeline failed, passed when it ran again* — Pipeline #7 of `a1a1a1a1`",
            "Red: lint",
        ],
        "manual waits:7": [
            "<@U0MIA> *The pipeline waits for a person.* Pipeline #7 waits for `deploy`.",
        ],
        "not fixed outcome:1": [
            "*Needs a person* — <@U0MIA>",
            "The pipeline is still red after 1 attempt.",
            "The draft merge request !318 and its branch are kept. Nothing was merged.",
            "Tests: 212 passed, 0 failed",
            "| Attempt | Commit | Failing job | Tried |",
            "|---|---|---|---|",
            "| 1 | c3c3c3c3 | lint | split the line / ‹!channel› |",
            "Most likely cause: The rule is older than the code.",
            "Not tried: changing .gitlab-ci.yml",
            "[Try again with a hint…] [I'll take over] [Stop] [View merge request]",
            "12 min · 1 step · 184k tokens, $0.92 of $5.00",
            "Timeline of the run",
        ],
        "stopped outcome:1": [
            "*Stopped by <@U0MIA> at step 1.* The branch `agent/42` is kept with 1 commit.",
            "[Resume]",
            "Timeline of the run",
        ],
        "failed outcome:1": [
            "<@U0MIA> *Failed.* Something broke on our side (error `7f3a`).",
            "Nothing had been changed yet.",
            "[Try again]",
            "Timeline of the run",
        ],
        "escalated outcome:1": [
            "*Needs a person* — <@U0MIA>",
            "The tests still fail after 3 repairs.",
            "The changes so far (2 files) are kept with the run. Nothing was merged.",
            "Tests: 212 passed, 1 failed",
            "What was tried",
            "- Attempt 1 (not committed, tree b2b2b2b2): registered the route. "
            "Still failing: a::b.",
            "Most likely cause: The image lacks the reporting schema.",
            "Not tried: changing .gitlab-ci.yml",
            "[Try again with a hint…]",
            "4 min · 1 step · 184k tokens, $0.92 of $5.00",
            "Timeline of the run",
        ],
        "plan only outcome:1": [
            "<@U0MIA> *Plan* — add endpoint for invoices export",
            "- Read the router",
            "- Add the route",
            "- Test it",
            "Assumes: Drafts stay inside.",
            "Likely to touch: `api/invoices.py`, `tests/test_export.py`",
            "Nothing has been changed yet.",
            "[Approve plan] [Change…]",
        ],
        "plan approved outcome:1": [
            "<@U0MIA> *Plan* — add endpoint for invoices export",
            "- Read the router",
            "- Add the route",
            "- Test it",
            "Assumes: Drafts stay inside.",
            "Likely to touch: `api/invoices.py`, `tests/test_export.py`",
            "Approved by <@U0SAM>.",
        ],
        "plan changed outcome:1": [
            "<@U0MIA> *Plan* — add endpoint for invoices export",
            "- Read the router",
            "- Add the route",
            "- Test it",
            "Assumes: Drafts stay inside.",
            "Likely to touch: `api/invoices.py`, `tests/test_export.py`",
            "Set going with changes by <@U0SAM>.",
        ],
        "plan approved card": [
            "*Run 42 · Working* — add endpoint for invoices export",
            "`platform/api` from `main`, for <@U0MIA>",
            "Plan — 0 of 1 done",
            "in_progress: Something else by now",
            "Plan approved by <@U0SAM>, picked up at step 2",
            "2 min · updated 10:26 UTC",
        ],
        "nothing changed outcome:1": [
            "<@U0MIA> *Done:* nothing had to be changed — add endpoint for invoices export",
            "It is there already.",
            "*Time and cost* 3 min · 1 step · 184k tokens, $0.92 of $5.00",
            "Written by a language model (gpt-5.2).",
        ],
        "nothing more outcome:2": [
            "<@U0MIA> *Done:* nothing more had to be changed on draft merge request !318",
            "They are there.",
            "*Time and cost* 1 min · 1 step · 184k tokens, $0.92 of $5.00",
            "Written by a language model (gpt-5.2).",
        ],
        "second round result:2": [
            "<@U0MIA> *Updated:* draft merge request !318 — Add invoices export",
            "Drafts, too.",
            "*Tests after* 212 passed, 0 failed",
            "*Tests before* 205 passed, 0 failed",
            "*Diff* 2 files, +143 −8",
            "*Time and cost* 3 min · 1 step · 184k tokens, $0.92 of $5.00",
            "[View diff] [Request changes…]",
            "Written by a language model (gpt-5.2). The tests were run by me, not by the model. "
            "Please read the diff before you merge.",
        ],
    }.items(),
)
def test_it_reads_like_this(name: str, lines: list[str]) -> None:
    assert list(read(ALL[name])) == lines


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("working", "eyes"),
        ("question", "raised_hand"),
        ("plan only", "raised_hand"),
        ("done", "white_check_mark"),
        ("escalated", "warning"),
        ("failed", "warning"),
        ("stopped", "octagonal_sign"),
    ],
)
def test_the_root_says_how_it_stands(name: str, sign: str) -> None:
    assert reaction(RUNS[name]) == sign


@needs_specs
def test_modals_are_valid() -> None:
    ask = b.input_modal("run_text", "42 C1 1.1", "Try again with a hint", "Send", "What?")
    sure = b.confirm_modal("stop_run", "42 C1 1.1", "Stop run 42?", "Stop run", "Kept.")
    assert view_problems(ask) == []
    assert view_problems(sure) == []


@pytest.mark.parametrize(
    ("name", "line"),
    {
        "awaited": "Waiting for the pipeline of `a1a1a1a1`.",
        "watching": "Pipeline #7 of `a1a1a1a1`: `lint` failed, `unit`, buildkite/e2e running, "
        "1 of 4 passed.",
        "manual": "Pipeline #7 waits for `deploy`.",
        "fixing": "Last: finished",
        "green": "Draft merge request !318: 2 files, +143 −8. Pipeline passed.",
        "absent": "Draft merge request !318: 2 files, +143 −8. No pipeline came for a1a1a1a1 "
        "within 2 minutes.",
    }.items(),
)
def test_the_card_says_what_the_pipeline_does(name: str, line: str) -> None:
    assert list(read(ALL[f"{name} card"]))[2] == line


def test_a_pipeline_that_passes_at_once_is_no_message_of_its_own() -> None:
    assert list(messages(RUNS["green"], LINKS)) == ["card", "result:1"]


def test_the_status_of_a_run_tells_its_pipeline() -> None:
    said = plain(talk.status(RUNS["fixing"], LINKS))
    assert "Pipeline: failed in `lint`; fix attempt 1 of 3." in said
    assert "Pipeline" not in talk.status(RUNS["working"], LINKS)


def test_a_check_of_another_system_is_linked_only_where_it_is_an_address() -> None:
    assert "<https://gitlab.example/b/1|buildkite/e2e>" in json.dumps(ALL["watching card"].blocks)
    assert "javascript:alert(1)//" not in json.dumps(ALL["hostile pipeline pipeline:7"].blocks)


def test_a_plan_cites_the_code_that_it_was_grounded_in(capsys: pytest.CaptureFixture[str]) -> None:
    places = tuple(e.RetrievedPlace(path=f"part{n}.py", start=3, end=9) for n in range(5))
    found = e.CodeRetrieved(
        purpose="plan",
        query=Digest("a" * 64),
        commit=CommitSha("b" * 40),
        state="ready",
        places=places,
    )
    told = "Grounded in `part0.py:3-9`, `part1.py:3-9`, `part2.py:3-9` and 2 more places"
    assert told in str(messages(state(moved(S.PLANNING), ready(), found, plan(0)), LINKS))
    end = e.RunEnded(status=S.SUCCEEDED, answer="1. Read the router")
    asked = request(plan_only=True)
    assert told in str(messages(state(ready(), found, plan(-1), end, asked=asked), LINKS))
    assert told in str(card(state(ready(), found, plan(0), e.RunEnded(status=S.FAILED)), LINKS))
    shell = Progress()
    for each in happened(ready(), found, plan(0), plan(1)):
        shell.show(each)
    assert capsys.readouterr().out.count(f"  {told.replace('`', '')}\n") == 1
    assert "Grounded" not in str(messages(state(moved(S.PLANNING), ready(), plan(0)), LINKS))


def test_old_failures_are_told_as_such() -> None:
    run = state(*WORKING, ran("base", ["a::b"]), ran("change", ["a::b"]))
    (card,) = messages(run, LINKS).values()
    assert "212 passed, 1 failed (each of them failed before, too)" in json.dumps(card.blocks)


@settings(max_examples=200)
@given(st.text(alphabet="<>!@#&|*_`~ \n\r\u202e\u200bachnel:/.w-0123456789ht", max_size=80))
def test_no_text_becomes_markup(said: str) -> None:
    escaped = t.escape(said)
    assert "<" not in escaped
    assert ">" not in escaped
    assert "://" not in escaped
    assert "`" not in t.code(said)[1:-1]
    assert all(kind == "text" for kind in kinds(t.rich(said)))


@settings(max_examples=100)
@given(st.text(max_size=4000), st.integers(1, 400))
def test_whatever_is_said_fits(said: str, count: int) -> None:
    run = state(
        *WORKING,
        plan(1, *[said] * min(count, 30)),
        CHECKPOINT,
        e.RunEnded(status=S.ESCALATED, reason=said * count),
        asked=request(said),
    )
    for message in messages(run, LINKS).values():
        assert len(json.dumps(message.blocks, ensure_ascii=False)) <= MAX_TOTAL
        assert len(message.text) <= MAX_SECTION


def kinds(elements: list[dict[str, Any]]) -> Iterator[str]:
    for element in elements:
        for inner in element["elements"]:
            yield from kinds([inner]) if "elements" in inner else [inner["type"]]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "0 s"), (59.4, "59 s"), (90, "2 min"), (3600, "1 h"), (5400, "1 h 30 min")],
)
def test_durations_are_short(seconds: float, told: str) -> None:
    assert t.duration(seconds) == told


def test_the_tests_of_the_base_do_not_hide_those_of_the_change() -> None:
    base, during = ran("base", passed=16), ran("during", ["a::b"], passed=15)

    only_base = messages(state(moved(S.WORKING), base), LINKS)["card"]
    later = messages(state(moved(S.WORKING), during, base), LINKS)["card"]

    assert "Tests before any change: 16 passed, 0 failed" in only_base.rendering
    assert "Tests: 15 passed, 1 failed" in later.rendering


def test_the_result_tells_what_was_repaired_on_the_way() -> None:
    heal = e.HealStarted(attempt=1, attempts=3, failing=("tests/test_a.py::test_b",))
    repaired = state(*WORKING, heal, ran(), e.RunEnded(status=S.SUCCEEDED, summary="Done."))

    told = messages(repaired, LINKS)["outcome:1"].rendering

    assert (
        "My first version failed tests (`tests/test_a.py::test_b`); repaired in 1 attempt." in told
    )
