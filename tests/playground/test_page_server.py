"""The page's own server: what it tells whom, and what it does for whom."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from page_scene import Scene, scene

from playground.slack.records import Ephemeral, File, View

BUTTON = {
    "type": "actions",
    "elements": [
        {
            "type": "button",
            "action_id": "go",
            "value": "7",
            "text": {"type": "plain_text", "text": "Go"},
        }
    ],
}
MODAL = {
    "type": "modal",
    "title": {"type": "plain_text", "text": "Why"},
    "submit": {"type": "plain_text", "text": "Send"},
    "blocks": [
        {
            "type": "input",
            "block_id": "reason",
            "label": {"type": "plain_text", "text": "Reason"},
            "element": {"type": "plain_text_input", "action_id": "text", "min_length": 3},
        }
    ],
}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncGenerator[Scene]:
    async with scene(tmp_path) as made:
        yield made


async def test_the_page_is_whole_and_takes_nothing_from_elsewhere(stage: Scene):
    async with stage.http.get(stage.page.url) as answer:
        text = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in text.replace("http-equiv", "")
    static = Path(__file__).parents[2] / "playground" / "page" / "static"
    for file in static.rglob("*.js"):
        assert "innerHTML" not in file.read_text(), file
        assert len(file.read_text().splitlines()) <= 250, file


async def test_another_site_can_neither_read_nor_act(stage: Scene):
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        async with stage.http.get(f"{stage.page.url}api/events", headers=headers) as answer:
            assert answer.status == 403
    body = {"do": "post", "user": "U0MIA", "channel": stage.billing, "text": "hello"}
    headers = {"Origin": "https://evil.example"}
    async with stage.http.post(f"{stage.page.url}api/act", json=body, headers=headers) as answer:
        assert answer.status == 403
    async with stage.http.post(f"{stage.page.url}api/act", data=str(body)) as answer:
        assert answer.status == 415
    assert not stage.world.messages


async def test_a_message_arrives_on_every_page_and_an_edit_replaces_it(stage: Scene):
    async with stage.stream("U0MIA") as mia, stage.stream("U0SAM") as sam:
        for stream in (mia, sam):
            snapshot = await stream.next()
            assert snapshot["model"] == "Nobody answers."
            assert not snapshot["messages"]
        status, posted = await stage.act("post", channel=stage.billing, text="@agent hi <b>")
        assert status == 200
        for stream in (mia, sam):
            told = await stream.next()
            assert told["message"]["text"] == "<@U0JOURNEYMAN> hi &lt;b&gt;"
        message = stage.world.messages[stage.billing, posted["ts"]]
        stage.slack.people.edit(message, "changed")
        told = await sam.next()
        assert told["message"]["ts"] == posted["ts"]
        assert told["message"]["edited"]


async def test_what_only_one_person_may_see_goes_to_that_person(stage: Scene):
    world = stage.world
    seen = Ephemeral(channel=stage.billing, ts=world.new_ts(), user="U0MIA", text="only you")
    async with stage.stream("U0SAM") as sam:
        await sam.next()
        world.put_ephemeral(seen)
        stage.slack.people.post("mia", "billing", "for all")
        assert (await sam.next())["message"]["text"] == "for all"
    async with stage.stream("U0MIA") as mia:
        texts = [each["text"] for each in (await mia.next())["messages"]]
        assert sorted(texts) == ["for all", "only you"]
    status, _ = await stage.act(
        "block_action", user="U0SAM", channel=seen.channel, ts=seen.ts, action_id="go"
    )
    assert status == 409


async def test_a_click_reaches_the_app_as_slack_sends_it(stage: Scene):
    message = stage.says(BUTTON)
    place = {"channel": message.channel, "ts": message.ts}
    status, _ = await stage.act("block_action", **place, block_id="b0", action_id="go")
    assert status == 200
    [payload] = stage.app.interactions
    assert payload["user"]["id"] == "U0MIA"
    assert payload["actions"][0]["value"] == "7"
    status, told = await stage.act("block_action", **place, block_id="b0", action_id="gone")
    assert status == 409
    assert "gone" in told["error"]


async def test_an_app_that_does_not_answer_is_told_in_a_sentence(stage: Scene):
    message = stage.says(BUTTON)
    stage.slack.delivery.request_url = "http://127.0.0.1:9/nobody"
    status, told = await stage.act(
        "block_action", channel=message.channel, ts=message.ts, action_id="go"
    )
    assert status == 409
    assert told["error"].startswith("The agent did not answer")


async def test_a_modal_is_submitted_with_its_values_and_shows_the_apps_errors(stage: Scene):
    world = stage.world
    world.modals["U0MIA"] = ["V1"]
    world.put_view(View(id="V1", user="U0MIA", hash="1", body=MODAL, root="V1"))
    stage.app.answers["view_submission"] = {
        "response_action": "errors",
        "errors": {"reason": "Say more."},
    }
    values = {"reason": {"text": "because"}}
    _, told = await stage.act("submit_view", view="V1", values=values)
    assert told["errors"] == {"reason": "Say more."}
    assert world.modals["U0MIA"] == ["V1"]
    stage.app.answers.clear()
    async with stage.stream() as mia:
        assert [each["id"] for each in (await mia.next())["modals"]] == ["V1"]
        _, told = await stage.act("submit_view", view="V1", values=values)
        assert told["errors"] == {}
        closed = await mia.next(lambda _, data: data.get("kind") == "modals" and not data["modals"])
        assert closed["modals"] == []
    state = stage.app.interactions[-1]["view"]["state"]["values"]
    assert state["reason"]["text"]["value"] == "because"


async def test_a_file_is_a_download_unless_it_is_a_picture(stage: Scene):
    html = File(id="F1", name="x.html", title="", user="", created=0, mimetype="text/html")
    stage.world.put_file(html)
    async with stage.http.get(f"{stage.page.url}api/file?id=F1") as answer:
        assert answer.content_type == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == "attachment"
    async with stage.http.get(f"{stage.page.url}api/file?id=F2") as answer:
        assert answer.status == 404


async def test_incomplete_requests_are_refused(stage: Scene):
    for details in ({}, {"channel": stage.billing}, {"channel": 7, "text": {}}):
        status, told = await stage.act("post", **details)
        assert status in (400, 404), details
        assert told["error"]
    status, _ = await stage.act("dance")
    assert status in (400, 404)
