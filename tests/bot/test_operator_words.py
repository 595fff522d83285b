"""Freeze, unfreeze and stop all in the thread: mia maintains the project, sam is an operator."""

from __future__ import annotations

from face import Face, handled, open_face, settings_for, started

from agent.adapters.database import Database
from agent.events import StatusChanged
from agent.run import RunStatus
from playground.faults import Fault, FaultMode
from playground.slack.records import Message
from playground.slack.server import SlackStandIn


async def answer(face: Face, root: Message) -> str:
    """What stands in the thread last, blocks included."""
    message = (await face.until(lambda: face.ours(root)))[-1]
    return f"{message.text} {message.blocks}"


async def refused(face: Face, words: str, user: str) -> None:
    await face.until(lambda: words in "".join(face.told(user)))


async def record(face: Face) -> list[tuple[str, str, bool]]:
    """Deed, scope, and whether it was done."""
    rows = await face.runs.db.pool.fetch(
        "SELECT deed, scope, refused FROM operator_events ORDER BY id"
    )
    return [(row["deed"], row["scope"], not row["refused"]) for row in rows]


async def test_everybody_sees_who_froze_what_and_why(face: Face) -> None:
    root = face.say("@agent freeze *the* release is <!channel> red")
    told = await answer(face, root)
    assert told.startswith("platform/api frozen by @mia.")
    assert "unfreeze project=platform/api" in told
    assert "<!channel>" not in told

    face.say("@agent status", user="sam")
    await face.until(lambda: face.told("U0SAM"))
    [status] = face.told("U0SAM")
    assert "*Frozen:* `platform/api`, by <@U0MIA> since " in status
    assert "the" in status
    assert "Nothing is running here." in status

    again = face.say("@agent unfreeze")
    assert "*Unfrozen:* `platform/api`, by <@U0MIA>." in await answer(face, again)
    once_more = face.say("@agent unfreeze")
    assert "There was no freeze of platform/api itself." in await answer(face, once_more)
    assert [deed for deed, _, done in await record(face) if done] == [
        "freeze",
        "unfreeze",
        "unfreeze",
    ]


async def test_what_still_holds_is_told(face: Face) -> None:
    await answer(face, face.say("@agent freeze everywhere an incident", user="sam"))
    other = face.say("@agent freeze")
    await answer(face, other)
    face.say("@agent unfreeze")
    await face.until(lambda: len(face.slack.world.messages) == 6)
    told = str(list(face.slack.world.messages.values())[-1].blocks)
    assert "This still holds" in told
    assert "everything, by <@U0SAM>" in told


async def test_who_may_not_is_told_alone_and_recorded(face: Face) -> None:
    root = face.say("@agent freeze", user="sam")
    await refused(face, "you are a Developer there, Maintainer is needed", "U0SAM")
    face.say("@agent stop all everywhere")
    await refused(face, "only operators can", "U0MIA")
    face.say("@agent freeze", user="lee")
    await refused(face, "I don't know your GitLab account", "U0LEE")
    assert face.ours(root) == []
    assert await record(face) == [
        ("freeze", "platform/api", False),
        ("stop_all", "", False),
        ("freeze", "platform/api", False),
    ]


async def test_stop_all_answers_once_with_every_run(face: Face) -> None:
    one, first = await started(face)
    two = face.say("@agent and another", user="sam")
    await face.until(lambda: face.ours(two))
    root = face.say("@agent stop all")
    told = await answer(face, root)
    assert told.startswith("2 runs of platform/api stopped by @mia.")
    for run in (first.id, first.id + 1):
        assert f"<https://agent.example/runs/{run}|run {run}>" in told
    for asked in (one, two):
        await face.until(lambda asked=asked: "was stopped by @mia" in face.ours(asked)[-1].text)
    empty = face.say("@agent stop all")
    assert "No run of platform/api is open" in await answer(face, empty)


async def test_a_frozen_run_says_so_on_its_card(face: Face) -> None:
    root, run = await started(face)
    await face.runs.add(run.id, StatusChanged(status=RunStatus.WORKING))
    face.say("@agent freeze it is red")
    await face.until(lambda: len(face.slack.world.messages) == 4)
    await face.runs.db.store.heed_freeze(run.id, epoch=run.epoch)
    await face.until(lambda: "frozen" in face.ours(root)[0].text)
    assert "Frozen by @mia: it is red" in str(face.ours(root)[0].blocks)

    face.say("@agent status", thread=root.ts)
    await face.until(lambda: face.told())
    assert "*Run 1: Frozen*" in face.told()[0]
    assert "*Frozen:* `platform/api`" in face.told()[0]


async def test_where_several_projects_may_be_meant_it_asks_which(
    slack: SlackStandIn, db: Database
) -> None:
    channel = slack.world.channel_named("platform").id
    several = {channel: ("platform/api", "platform/web")}
    settings = settings_for(slack, projects={}, channels=several)
    async with open_face(slack, db, settings=settings) as face:
        root = face.say("@agent freeze it is red")
        [picker] = await face.until(lambda: face.ours(root))
        assert "Which project is this for?" in picker.text
        assert await db.store.freezes() == []
        await face.slack.people.click("mia", picker, "pick_project", "platform/web")
        await face.until(lambda: len(face.ours(root)) == 2)
        [freeze] = await db.store.freezes()
        assert (freeze.scope, freeze.reason) == ("platform/web", "it is red")
        assert await db.store.runs() == []

        named = face.say("@agent unfreeze project=platform/web")
        assert "*Unfrozen:* `platform/web`" in await answer(face, named)


async def again(face: Face) -> None:
    """The front dies after all that was done, before it could mark what it was told."""
    await handled(face)
    await face.runs.db.pool.execute("UPDATE inbox SET handled_at = NULL")
    await handled(face)


async def test_an_answer_stands_once_though_slack_never_confirmed_it_and_the_word_came_again(
    face: Face,
) -> None:
    roots = [face.say("@agent freeze")]
    await answer(face, roots[0])
    face.slack.faults.set(Fault(mode=FaultMode.DROP_AFTER_APPLY, method="chat.postMessage"))
    roots.append(face.say("@agent unfreeze"))
    await answer(face, roots[1])
    await again(face)
    assert [len(face.ours(root)) for root in roots] == [1, 1]


async def test_who_died_before_the_answer_has_ended_the_freeze_all_the_same(face: Face) -> None:
    await answer(face, face.say("@agent freeze"))
    root = face.say("@agent unfreeze")
    first = (await face.until(lambda: face.ours(root)))[0]
    face.slack.workspace.delete(first)  # as if it had never been posted
    await again(face)
    [told] = face.ours(root)
    assert told.text == first.text == "platform/api unfrozen by @mia."


async def test_a_picker_stands_once_though_the_message_came_again(
    slack: SlackStandIn, db: Database
) -> None:
    channel = slack.world.channel_named("platform").id
    several = {channel: ("platform/api", "platform/web")}
    async with open_face(
        slack, db, settings=settings_for(slack, projects={}, channels=several)
    ) as face:
        slack.faults.set(Fault(mode=FaultMode.DROP_AFTER_APPLY, method="chat.postMessage"))
        root = face.say("@agent add an export")
        await answer(face, root)
        await again(face)
        assert len(face.ours(root)) == 1
