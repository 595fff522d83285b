"""What people write, from Slack's delivery to the service and back into the thread."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from face import Face, ask, handled, open_face, redeliver, settings_for, started

from agent.adapters.database import Database
from agent.errors import Refused, Unavailable
from agent.events import InstructionTaken, PlanMade, RunEnded, StatusChanged
from agent.plan import Plan, PlanStep
from agent.run import Request, Run, RunId, RunStatus, ThreadMessage
from playground.slack.server import SlackStandIn


async def test_a_mention_becomes_one_run_with_a_card(face: Face) -> None:
    root = face.say("@agent add an endpoint that exports invoices as CSV")

    await face.until(lambda: face.reactions(root) == ["eyes"], 1.0)
    card = (await face.until(lambda: face.ours(root)))[0]

    ((_, request),) = face.runs.of("start")
    assert request.text == "add an endpoint that exports invoices as CSV"
    assert request.project == "platform/api"
    assert request.requester.gitlab_id == 2
    assert card.text == "Run 1 on platform/api: queued. Requested by @mia."


async def test_mention_and_message_twins_in_four_deliveries_each_make_one_run(face: Face) -> None:
    root = face.say("@agent add an export")
    await face.until(lambda: face.ours(root))
    payloads = [d.payload for d in face.slack.delivery.log if "event" in d.payload]
    assert {p["event"]["type"] for p in payloads} == {"app_mention", "message"}

    again = [face.front.door.receive(json.dumps(p), _JSON) for p in payloads for _ in range(4)]
    answers = await asyncio.gather(*again)

    assert {status for status, _, _ in answers} == {200}
    assert len(face.runs.of("start")) == 1


async def test_the_card_follows_the_run_in_one_message(face: Face) -> None:
    root, run = await started(face)
    plan = Plan(steps=(PlanStep(title="Read the router"), PlanStep(title="Add the route")))

    await face.runs.add(run.id, StatusChanged(status=RunStatus.PLANNING), PlanMade(plan=plan))

    await face.until(lambda: "planning, 0 of 2 steps done" in face.ours(root)[0].text)
    assert len(face.ours(root)) == 1


async def test_a_mention_in_the_thread_of_a_run_adds_instructions(face: Face) -> None:
    root, run = await started(face)

    followup = face.say("@agent use semicolons", thread=root.ts, user="sam")
    await face.until(lambda: face.reactions(followup) == ["eyes"], 1.0)
    await face.until(lambda: face.runs.of("instruct"))
    given = (await face.runs.db.store.events(run.id))[-1]
    await face.runs.add(run.id, InstructionTaken(given=given.seq, step=3))

    await face.until(lambda: face.reactions(followup) == ["white_check_mark"])
    assert face.runs.of("instruct") == [("instruct", run.id, "use semicolons")]
    assert len(face.runs.of("start")) == 1


async def test_new_starts_another_run_in_the_same_thread(face: Face) -> None:
    root, _ = await started(face)

    face.say("@agent new fix the docs", thread=root.ts)

    await face.until(lambda: len(face.runs.of("start")) == 2)
    assert face.runs.of("start")[1][1].text == "fix the docs"


@pytest.mark.parametrize("word", ["stop", "cancel", "Abort"])
async def test_one_word_stops_the_run(face: Face, word: str) -> None:
    root, run = await started(face)

    face.say(f"@agent {word}", thread=root.ts)

    await face.until(lambda: face.reactions(root) == ["octagonal_sign"])
    assert face.runs.of("stop") == [("stop", run.id, "mention")]
    stopped = face.ours(root)[-1]
    assert stopped.text == "Run 1 was stopped by @mia."


async def test_retry_queues_an_ended_run_again(face: Face) -> None:
    root, run = await started(face)
    await face.runs.add(run.id, RunEnded(status=RunStatus.FAILED, reason="The disk was full."))
    await face.until(lambda: face.reactions(root) == ["warning"])

    face.say("@agent retry", thread=root.ts)

    await face.until(lambda: face.reactions(root) == ["eyes"])


async def test_a_run_that_has_ended_is_not_stopped_again(face: Face) -> None:
    root, run = await started(face)
    await face.runs.add(run.id, RunEnded(status=RunStatus.FAILED, reason="The disk was full."))

    face.say("@agent stop", thread=root.ts)

    await face.until(lambda: "Run 1 has already ended" in "".join(face.told()))
    assert face.runs.of("stop") == []


async def test_a_stop_that_comes_again_leaves_alone_what_was_begun_since(face: Face) -> None:
    root, run = await started(face)
    face.say("@agent stop", thread=root.ts)
    await face.until(lambda: face.runs.of("stop"))
    await handled(face)
    face.say("@agent new fix the docs", thread=root.ts)
    await face.until(lambda: len(face.runs.of("start")) == 2)
    await handled(face)

    await face.runs.db.pool.execute("UPDATE inbox SET handled_at = NULL")
    await handled(face)

    assert face.runs.of("stop") == [("stop", run.id, "mention")]
    assert any("Run 2 was asked for after you said that" in told for told in face.told())


async def test_a_stop_takes_back_what_waits_to_begin(face: Face) -> None:
    face.runs.refusal = Unavailable("GitLab does not answer.")
    root = face.say("@agent add an export")
    other = face.say("@agent fix the docs", user="sam", thread=root.ts)
    await face.until(lambda: face.told() and face.told("U0SAM"))

    face.say("@agent stop", thread=root.ts)
    await face.until(lambda: "nothing comes of it any more" in face.told()[-1])
    assert face.reactions(root) == []
    face.runs.refusal = None
    await handled(face)

    assert [request.message for _, request in face.runs.of("start")] == [other.ts]
    assert face.runs.of("stop") == []


async def test_a_stop_is_kept_for_what_begins_in_this_very_moment(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    beginning, stopped = asyncio.Event(), asyncio.Event()
    start = face.runs.start

    async def slowly(request: Request, *, alone: bool = False) -> Run:
        beginning.set()
        await stopped.wait()
        return await start(request, alone=alone)

    monkeypatch.setattr(face.runs, "start", slowly)
    root = face.say("@agent add an export")
    await beginning.wait()
    face.say("@agent stop", thread=root.ts)
    await face.until(face.told)
    stopped.set()

    await face.until(lambda: face.runs.of("stop"))
    await face.until(lambda: face.ours(root)[-1].text == "Run 1 was stopped by @mia.")


async def test_a_follow_up_cannot_move_a_run_elsewhere(face: Face) -> None:
    root, _ = await started(face)

    face.say("@agent and the docs branch=dev", thread=root.ts)
    face.say("@agent and the docs project=other/one", thread=root.ts)

    await face.until(lambda: len(face.told()) == 2)
    assert face.runs.of("instruct") == []


async def test_help_status_and_settings_are_shown_to_the_asker_only(face: Face) -> None:
    root, _ = await started(face)
    for text in ("@agent help", "@agent status", "@agent settings"):
        face.say(text, thread=root.ts)

    await face.until(lambda: len(face.told()) == 3)

    told = "\n".join(face.told())
    assert "How to work with me" in told
    assert "*Run 1: Queued* — add an export" in told
    assert "Projects: `platform/api`" in told
    assert len(face.ours(root)) == 1


async def test_an_aside_is_never_read(face: Face) -> None:
    root, _ = await started(face)

    face.say("!aside @agent what a name", thread=root.ts)
    face.say("@agent help", thread=root.ts)

    await face.until(face.told)
    assert face.runs.of("instruct") == []


async def test_only_the_asker_answers_a_question_and_needs_no_mention(face: Face) -> None:
    root, run = await started(face)
    await ask(face, run, "Comma or semicolon?", "Comma", "Semicolon")
    question = await face.until(lambda: face.ours(root)[1:])
    assert "Comma or semicolon?" in question[0].text
    await face.until(lambda: face.reactions(root) == ["raised_hand"])

    face.say("Tabs!", thread=root.ts, user="sam")
    face.say("Semicolon, please", thread=root.ts)

    await face.until(lambda: face.runs.of("answer"))
    assert face.runs.of("answer") == [("answer", run.id, "Semicolon, please")]
    await face.until(lambda: face.ours(root)[1].text.startswith("Answered by @mia"))


async def test_what_was_said_before_the_question_is_no_answer_to_it(face: Face) -> None:
    """The process ended before it had dealt with it, and by then the run asks."""
    root, run = await started(face)
    face.say("Thanks, I am looking", thread=root.ts)
    face.say("@agent and the header", thread=root.ts)
    await face.until(lambda: face.runs.of("instruct"))
    await handled(face)
    await ask(face, run, "Comma or semicolon?", "Comma", "Semicolon")
    await face.until(lambda: face.ours(root)[1:])

    await face.runs.db.pool.execute("UPDATE inbox SET handled_at = NULL")
    await handled(face)
    assert face.runs.of("answer") == []
    face.say("@agent Comma", thread=root.ts)

    await face.until(lambda: face.runs.of("answer"))
    assert face.runs.of("answer") == [("answer", run.id, "Comma")]


async def test_what_was_said_before_the_mention_reaches_the_run_as_record(face: Face) -> None:
    root = face.say("The export lacks <drafts>", user="sam")
    face.say("I saw that too", user="lee", thread=root.ts)
    face.say("!aside is it asleep?", user="lee", thread=root.ts)

    face.say("@agent please fix that", thread=root.ts)

    await face.until(lambda: face.runs.of("start"))
    assert face.runs.of("start")[0][1].context == (
        ThreadMessage(author="U0SAM", text="The export lacks <drafts>"),
        ThreadMessage(author="U0LEE", text="I saw that too"),
    )


async def test_a_refusal_of_the_service_is_told_to_the_asker_only(face: Face) -> None:
    face.runs.refusal = Refused("You can't start runs here: GitLab says you are a Guest <there>.")

    root = face.say("@agent add an export")

    await face.until(face.told)
    assert face.told() == ["You can't start runs here: GitLab says you are a Guest &lt;there&gt;."]
    assert face.ours(root) == []
    assert face.reactions(root) == []


async def test_whoever_has_no_gitlab_account_is_told_the_way(face: Face) -> None:
    face.say("@agent add an export", user="lee")

    (told,) = await face.until(lambda: face.told("U0LEE"))
    assert "I don't know your GitLab account yet" in told
    (shown,) = [e for e in face.slack.world.ephemerals.values() if e.user == "U0LEE"]
    (button,) = next(block for block in shown.blocks if block["type"] == "actions")["elements"]
    assert button["text"]["text"] == "Link your GitLab account"
    assert button["url"].startswith("https://agent.example/link/")
    assert face.runs.asked == []


async def test_guests_start_nothing(face: Face) -> None:
    world = face.slack.world
    world.users["U0SAM"] = replace(world.users["U0SAM"], is_bot=True)

    face.say("@agent add an export", user="sam")

    (told,) = await face.until(lambda: face.told("U0SAM"))
    assert told == "I take requests from people only, not from apps."


async def test_an_unknown_option_is_refused_with_the_list(face: Face) -> None:
    face.say("@agent add an export color=red")

    (told,) = await face.until(face.told)
    assert told.startswith("I don't know the option color=. There are project=, branch=")
    assert face.runs.asked == []


async def test_a_project_from_elsewhere_is_refused(face: Face) -> None:
    face.say("@agent add an export project=secret/vault")

    (told,) = await face.until(face.told)
    assert told.startswith("`secret/vault` may not be worked on from this channel; allowed here")


async def test_a_channel_without_a_rule_has_no_project(face: Face) -> None:
    face.slack.people.post("mia", "general", "@agent add an export")

    (told,) = await face.until(face.told)
    assert told.startswith("No project is set up for this channel")


async def test_our_own_defect_gets_a_number_and_no_details(face: Face) -> None:
    face.runs.refusal = ZeroDivisionError("secret detail")

    face.say("@agent add an export")

    (told,) = await face.until(face.told)
    assert told.startswith("Something broke on our side (error `")
    assert "secret" not in told


async def test_an_outage_keeps_the_message_and_tries_again(face: Face) -> None:
    face.runs.refusal = Unavailable("GitLab does not answer.")
    root = face.say("@agent add an export")
    (told,) = await face.until(face.told)
    assert told.startswith("GitLab does not answer. Your message is kept")

    face.runs.refusal = None
    for _ in range(4):  # one attempt may come while the first is still being put aside
        await asyncio.sleep(0.1)
        await redeliver(face)

    await face.until(lambda: face.ours(root))
    assert len(face.runs.of("start")) == 1


async def test_a_delivery_left_undone_by_a_crash_is_dispatched_at_the_next_start(
    slack: SlackStandIn, db: Database
) -> None:
    root = slack.people.post("mia", "platform", "@agent add an export")
    event = {
        "type": "app_mention",
        "user": "U0MIA",
        "text": root.text,
        "ts": root.ts,
        "channel": root.channel,
    }
    body = {"type": "event_callback", "team_id": slack.world.team_id, "event": event}
    await db.inbox.accept("slack", "message:left", body)

    async with open_face(slack, db) as face:
        await face.until(lambda: face.runs.of("start"))


async def test_a_request_in_a_thread_that_comes_again_is_not_said_to_a_run(face: Face) -> None:
    """Its run was made, and the process ended before the delivery was handled."""
    root = face.say("the export is wrong", user="sam")
    for text in ("@agent mend it branch=dev", "@agent new and the docs"):
        said = face.say(text, thread=root.ts)
        await face.until(lambda: said.ts in [r.message for _, r in face.runs.of("start")])  # noqa: B023 - awaited here
        await handled(face)
        await face.runs.db.pool.execute("UPDATE inbox SET handled_at = NULL")
        await handled(face)

    assert face.runs.of("instruct") == []
    assert face.told() == []
    assert len(await face.runs.db.store.runs()) == 2


async def test_where_several_projects_fit_the_asker_chooses(
    slack: SlackStandIn, db: Database
) -> None:
    channel = slack.world.channel_named("platform").id
    several = settings_for(slack, projects={}, channels={channel: ("platform/api", "platform/web")})
    async with open_face(slack, db, settings=several) as face:
        root = face.say("@agent add an export")
        (picker,) = await face.until(lambda: face.ours(root))
        assert picker.text.startswith("Which project is this for?")
        assert face.runs.asked == []

        await slack.people.click("sam", picker, "pick_project", "platform/web")
        await face.until(lambda: face.told("U0SAM"))
        assert face.runs.asked == []
        await slack.people.click("mia", picker, "pick_project", "platform/web")

        await face.until(lambda: face.runs.of("start"))
        assert face.runs.of("start")[0][1].project == "platform/web"
        await face.until(lambda: "chose `platform/web`" in face.ours(root)[0].text)
        assert await db.store.run(RunId(1))


async def test_a_cancel_that_comes_too_late_says_so_and_leaves_the_choice(
    slack: SlackStandIn, db: Database
) -> None:
    channel = slack.world.channel_named("platform").id
    several = settings_for(slack, projects={}, channels={channel: ("platform/api", "platform/web")})
    async with open_face(slack, db, settings=several) as face:
        root = face.say("@agent add an export")
        (picker,) = await face.until(lambda: face.ours(root))
        await slack.people.click("mia", picker, "pick_project", "platform/web")
        await face.until(lambda: "chose `platform/web`" in face.ours(root)[0].text)

        cancel = {"action_id": "pick_cancel", "value": root.ts, "action_ts": "1.2"}
        await _press(face, cancel)

        await face.until(lambda: any("has begun with that choice" in told for told in face.told()))
        assert "chose `platform/web`" in face.ours(root)[0].text


async def test_a_cancel_takes_back_the_choice_that_waits(slack: SlackStandIn, db: Database) -> None:
    channel = slack.world.channel_named("platform").id
    several = settings_for(slack, projects={}, channels={channel: ("platform/api", "platform/web")})
    async with open_face(slack, db, settings=several) as face:
        root = face.say("@agent add an export")
        (picker,) = await face.until(lambda: face.ours(root))
        face.runs.refusal = Unavailable("GitLab does not answer.")
        await slack.people.click("mia", picker, "pick_project", "platform/web")
        await face.until(face.told)

        await slack.people.click("mia", picker, "pick_cancel")
        await face.until(lambda: "nothing was started" in face.ours(root)[0].text)
        face.runs.refusal = None
        await handled(face)

        assert face.runs.asked == []


_JSON = {"content-type": ["application/json"]}


async def _press(face: Face, action: dict[str, str]) -> None:
    """Something else in the message in which something was pressed before."""
    pressed = next(d.payload for d in face.slack.delivery.log if "actions" in d.payload)
    body = pressed | {"actions": [pressed["actions"][0] | action]}
    await face.front.door.receive(json.dumps(body), _JSON)
