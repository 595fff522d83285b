"""The page in a real browser: blocks, clicks, keyboard, and text that must stay text."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from page_scene import BROWSER, Scene, merge_request, scene
from playwright.async_api import Browser, Page, async_playwright, expect

from playground import seed
from playground.gitlab import merging
from playground.slack.records import Ephemeral, Session, View

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def stage(tmp_path: Path) -> AsyncGenerator[Scene]:
    async with scene(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(**BROWSER)
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="module")
async def tab(stage: Scene, browser: Browser) -> AsyncGenerator[Page]:
    problems: list[str] = []
    page = await browser.new_page(viewport={"width": 1600, "height": 900})
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: said.type == "error" and problems.append(said.text))
    await page.goto(stage.page.url)
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    yield page
    await page.context.close()
    assert problems == []


def section(text: str, **more: object) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


def plan(*statuses: str, version: int = 1) -> dict[str, object]:
    done = statuses.count("complete")
    return {
        "type": "plan",
        "block_id": f"run:1:v{version}:plan",
        "title": f"Plan — {done} of {len(statuses)} done",
        "tasks": [
            {"type": "task_card", "task_id": str(n), "title": f"Step {n}", "status": status}
            for n, status in enumerate(statuses, 1)
        ],
    }


async def test_a_request_is_typed_with_completion_and_sent_with_enter(stage: Scene, tab: Page):
    box = tab.get_by_label("Message", exact=True)
    await box.press_sequentially("@ag")
    await expect(tab.get_by_role("option")).to_have_count(1)
    await box.press("Tab")
    await expect(box).to_have_value("@agent ")
    await box.press_sequentially("do it")
    await box.press("Enter")
    await expect(box).to_have_value("")
    await expect(tab.get_by_role("article")).to_contain_text("@agent do it")
    [message] = stage.world.messages.values()
    assert message.text == "<@U0JOURNEYMAN> do it"


async def test_the_thread_opens_by_itself_and_the_card_changes_in_place(stage: Scene, tab: Page):
    await tab.get_by_label("Message", exact=True).fill("@agent do it")
    await tab.keyboard.press("Enter")
    await expect(tab.get_by_role("article")).to_have_count(1)
    [root] = stage.world.messages.values()
    card = stage.says(plan("in_progress", "pending"), thread_ts=root.ts)
    thread = tab.get_by_role("region", name="Thread")
    await expect(thread.get_by_text("Plan — 0 of 2 done")).to_be_visible()
    fold = thread.locator("summary")
    await fold.focus()
    await fold.evaluate("node => { node.mark = 'kept' }")
    stage.world.put(
        replace(card, blocks=(plan("complete", "in_progress", version=2),), edited_ts="1.0")
    )
    await expect(thread.get_by_text("Plan — 1 of 2 done")).to_be_visible()
    await expect(thread.get_by_text("(edited)")).to_be_visible()
    assert await fold.evaluate("node => node.mark") == "kept"
    await expect(fold).to_be_focused()
    await expect(thread.locator(".task.complete")).to_have_text(re.compile("Step 1"))


async def test_the_native_stop_is_there_while_the_agent_works(stage: Scene, tab: Page):
    root = stage.slack.people.post("mia", "billing", "@agent do it")
    stage.says(section("On it"), thread_ts=root.ts)
    await tab.get_by_role("button", name="1 reply").click()
    stop = tab.get_by_role("button", name="Stop")
    await expect(stop).to_have_count(0)
    session = Session(channel=stage.billing, thread_ts=root.ts, status="processing", title="x")
    stage.world.put_session(session)
    await stop.click()
    await stage.slack.delivery.settled()
    assert [each for each in stage.slack.delivery.log if each.name == "agent_session_stopped"]
    stage.world.put_session(replace(session, status="active"))
    await expect(stop).to_have_count(0)


async def test_text_of_others_stays_text(stage: Scene, tab: Page):
    evil = '<img src=x onerror="document.title=1">'
    escaped = "&lt;img src=x onerror=1&gt;"
    stage.says(
        section(f"{escaped} <javascript:alert(1)|click me> *bold `{escaped}`*"),
        {"type": "markdown", "text": f"{evil} [go](javascript:alert(1)) **fine**"},
        {
            "type": "rich_text",
            "elements": [
                {
                    "type": "rich_text_section",
                    "elements": [
                        {"type": "text", "text": evil},
                        {"type": "link", "url": "javascript:alert(1)", "text": "run"},
                    ],
                }
            ],
        },
    )
    article = tab.get_by_role("article")
    await expect(article).to_contain_text('onerror="document.title=1"')
    await expect(article.locator("img")).to_have_count(0)
    await expect(article.get_by_role("link")).to_have_count(0)
    await expect(article.locator("strong").last).to_have_text("fine")
    assert await tab.title() == "Journeyman playground"


async def test_a_button_asks_first_and_a_menu_is_walked_by_keyboard(stage: Scene, tab: Page):
    confirm = {key: plain(key) for key in ("title", "text", "confirm", "deny")}
    approve = {
        "type": "button", "action_id": "approve", "value": "g7", "style": "primary",
        "text": plain("Approve"), "confirm": confirm,
    }  # fmt: skip
    menu = {
        "type": "overflow", "action_id": "menu",
        "options": [{"text": plain(name), "value": name} for name in ("one", "two")],
    }  # fmt: skip
    stage.says(section("*Card*", accessory=menu), {"type": "actions", "elements": [approve]})
    await tab.get_by_role("button", name="Approve").click()
    await tab.get_by_role("button", name="deny").click()
    assert stage.app.interactions == []
    await tab.get_by_role("button", name="Approve").click()
    async with tab.expect_response("**/api/act"):
        await tab.get_by_role("dialog").get_by_role("button", name="confirm").click()
    await tab.get_by_role("button", name="More actions").press("Enter")
    await expect(tab.get_by_role("menuitem", name="one")).to_be_focused()
    await tab.keyboard.press("Escape")
    await expect(tab.get_by_role("button", name="More actions")).to_be_focused()
    await tab.keyboard.press("Enter")
    await tab.keyboard.press("ArrowDown")
    async with tab.expect_response("**/api/act"):
        await tab.keyboard.press("Enter")
    assert [each["actions"][0]["action_id"] for each in stage.app.interactions] == [
        "approve",
        "menu",
    ]
    assert stage.app.interactions[1]["actions"][0]["selected_option"]["value"] == "two"


async def test_a_modal_keeps_what_was_typed_until_it_is_accepted(stage: Scene, tab: Page):
    world = stage.world
    choice = {"type": "radio_buttons", "action_id": "choice", "options": [
        {"text": plain(name), "value": name} for name in ("revise", "stop")]}  # fmt: skip
    body = {
        "type": "modal", "title": plain("Reject"), "submit": plain("Send"), "blocks": [
            {"type": "alert", "block_id": "a", "level": "warning", "text": plain("Too late?")},
            {"type": "input", "block_id": "reason", "label": plain("Reason"), "element": {
                "type": "plain_text_input", "action_id": "text", "min_length": 5,
                "multiline": True, "focus_on_load": True}},
            {"type": "input", "block_id": "next", "label": plain("Then"), "element": choice},
        ],
    }  # fmt: skip
    world.modals["U0MIA"] = ["V1"]
    world.put_view(View(id="V1", user="U0MIA", hash="1", body=body, root="V1"))
    dialog = tab.get_by_role("dialog", name="Reject")
    await expect(dialog.get_by_label("Reason")).to_be_focused()
    await tab.keyboard.type("no")
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog.get_by_text("Please enter at least 5 characters.")).to_be_visible()
    await expect(dialog.get_by_text("Please complete this field.")).to_be_visible()
    await dialog.get_by_label("Reason").fill("not like this")
    await dialog.get_by_label("stop").check()
    stage.app.answers["view_submission"] = {
        "response_action": "errors", "errors": {"reason": "Name the file."}}  # fmt: skip
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog.get_by_text("Name the file.")).to_be_visible()
    await expect(dialog.get_by_label("Reason")).to_have_value("not like this")
    stage.app.answers.clear()
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog).to_have_count(0)
    values = stage.app.interactions[-1]["view"]["state"]["values"]
    assert values["reason"]["text"]["value"] == "not like this"
    assert values["next"]["choice"]["selected_option"]["value"] == "stop"


async def test_every_block_is_drawn(stage: Scene, tab: Page):
    stage.says(
        {"type": "header", "text": plain("Digest")},
        section("at <!date^0^{date_num}|then> by <@U0SAM> :white_check_mark: ~old~ _new_"),
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "*Tests*\n3 passed"}]},
        {"type": "divider"},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "12 min"}]},
        {"type": "markdown", "text": "| a | b |\n|--|--:|\n| 1 | 2 |\n\n1. one\n2. two"},
        {
            "type": "context_actions",
            "elements": [
                {
                    "type": "feedback_buttons",
                    "action_id": "f",
                    "positive_button": {"text": plain("Good"), "value": "good"},
                    "negative_button": {"text": plain("Bad"), "value": "bad"},
                }
            ],
        },
    )
    article = tab.get_by_role("article")
    await expect(article.get_by_role("heading", name="Digest")).to_be_visible()
    await expect(article.get_by_text("@sam")).to_be_visible()
    await expect(article.get_by_role("cell", name="2")).to_be_visible()
    await expect(article.get_by_role("listitem")).to_have_count(2)
    await expect(article.get_by_text(re.compile(r"19(69|70)"))).to_be_visible()
    await expect(article.locator(".unknown")).to_have_count(0)
    await article.get_by_role("button", name="Bad").click()
    await expect(article.get_by_role("button", name="Bad")).to_have_attribute(
        "aria-pressed", "true"
    )
    assert stage.app.interactions[0]["actions"][0]["value"] == "bad"


async def test_switching_the_person_changes_what_is_seen(stage: Scene, tab: Page):
    stage.slack.people.post("mia", "billing", "for all")
    world = stage.world
    world.put_ephemeral(
        Ephemeral(channel=stage.billing, ts=world.new_ts(), user="U0MIA", text="psst")
    )
    await expect(tab.get_by_text("Only visible to you")).to_be_visible()
    await tab.get_by_role("button", name="You act as Mia Berg").click()
    await tab.get_by_role("menuitem", name="Sam Keller").click()
    await expect(tab.get_by_role("button", name="You act as Sam Keller")).to_be_visible()
    await expect(tab.get_by_text("psst")).to_have_count(0)
    await expect(tab.get_by_text("for all")).to_be_visible()
    article = tab.get_by_role("article")
    await article.hover()
    await article.get_by_role("button", name="Add a reaction").click()
    await tab.get_by_role("menuitem", name="eyes").click()
    await expect(article.get_by_role("button", name="eyes, sam")).to_be_visible()


async def test_unread_channels_are_marked_and_show_where_to_go_on(stage: Scene, tab: Page):
    stage.slack.people.post("sam", "platform", "old")
    channel = tab.get_by_role("navigation").get_by_role("button", name="platform")
    await expect(channel.get_by_label("1 unread")).to_be_visible()
    await channel.click()
    await expect(channel.get_by_label("unread")).to_have_count(0)
    await tab.get_by_role("navigation").get_by_role("button", name="random").click()
    stage.slack.people.post("sam", "platform", "fresh")
    await expect(channel.get_by_label("1 unread")).to_be_visible()
    await channel.click()
    line = tab.get_by_role("separator")
    await expect(line).to_have_text("New")
    await expect(line.locator("xpath=following-sibling::article")).to_have_text(re.compile("fresh"))


DEPLOYS = """
ship:
  script: ["true"]
  environment: {name: production, url: "https://app.example"}
  when: manual
  only: [main]
"""


async def test_a_merge_and_a_deployment_are_followed_to_production(
    stage: Scene, tab: Page, tmp_path: Path
):
    project, mr = await merge_request(stage, tmp_path, DEPLOYS)
    forge = tab.get_by_role("region", name="Merge request")
    await expect(forge.get_by_text("open", exact=True)).to_be_visible()
    await forge.get_by_role("tab", name="Environments").click()
    await expect(forge.get_by_text("No environments.")).to_be_visible()
    sam = seed.account(stage.forge.state, "sam")
    await merging.merge(stage.forge, project, mr, sam, sha=mr.sha)
    await expect(forge.get_by_text("merged", exact=True)).to_be_visible()
    production = forge.get_by_role("region", name="Environment production")
    await expect(production.get_by_text("waiting to be run")).to_be_visible()
    await forge.get_by_role("tab", name="Overview").click()
    assert mr.merge_commit_sha is not None
    short = mr.merge_commit_sha[:8]
    await expect(forge.get_by_text(f"Merged by Sam into main as {short}")).to_be_visible()
    await forge.get_by_role("tab", name="Environments").click()
    await production.get_by_role("button", name="Job ship").click()
    (job,) = project.pipelines[1].jobs
    status, told_mia = await stage.act("play_job", project="demo/app", job=job.id)
    assert (status, job.status) == (409, "manual")
    assert "protected" in told_mia["error"]
    await tab.get_by_role("button", name="You act as Mia Berg").click()
    await tab.get_by_role("menuitem", name="Sam Keller").click()
    await expect(tab.get_by_role("button", name="You act as Sam Keller")).to_be_visible()
    async with tab.expect_response("**/api/act") as told:
        await forge.get_by_role("button", name="Run").click()
    assert (await told.value).status == 200
    await forge.get_by_role("tab", name="Environments").click()
    await expect(production.get_by_text("passed")).to_be_visible()
    await expect(production).to_contain_text(re.compile(rf"{short}.*by Sam", re.DOTALL))
    mr.state, mr.closed_by = "closed", sam.id
    mr.merged_by = None
    stage.forge.state.publish("merge_request", project, 1)
    await forge.get_by_role("tab", name="Overview").click()
    await expect(forge.get_by_text("Closed by Sam without a merge")).to_be_visible()
