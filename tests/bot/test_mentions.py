"""What people write, from Slack's delivery to the service and back into the thread."""

from __future__ import annotations

from face import Face

from agent.events import StatusChanged
from agent.run import RunStatus


async def test_a_mention_becomes_one_run_with_a_card(face: Face) -> None:
    root = face.say("@agent add an endpoint that exports invoices as CSV")

    await face.until(lambda: face.reactions(root) == ["eyes"], 1.0)
    card = (await face.until(lambda: face.ours(root)))[0]

    (_, request), = face.runs.of("start")
    assert request.text == "add an endpoint that exports invoices as CSV"
    assert request.project == "platform/api"
    assert request.requester.gitlab_id == 2
    assert card.text == "Run 1 on platform/api: queued. Requested by @mia."


async def test_the_card_follows_the_run(face: Face) -> None:
    root = face.say("@agent add an export")
    await face.until(lambda: face.ours(root))
    run = (await face.runs.db.store.runs())[0]

    await face.runs.add(run.id, StatusChanged(status=RunStatus.PLANNING))

    await face.until(lambda: "planning" in face.ours(root)[0].text)
    assert len(face.ours(root)) == 1
