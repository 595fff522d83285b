"""Linking a GitLab account: from the button in Slack through a browser, and what may go wrong."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from face import Face, open_face, settings_for
from playwright.async_api import async_playwright, expect

from agent.adapters.database import Database
from agent.adapters.postgres import Connection
from agent.linking import Account
from bot.web.link import COOKIE, add_link_pages
from bot.web.site import make_site
from playground.browser import Browser, Page
from playground.faults import Fault, FaultMode
from playground.gitlab.server import GitLabStandIn
from playground.links import address_in
from playground.slack.records import Ephemeral
from playground.slack.server import SlackStandIn

LINK = "Both are me"
SECRET = "gloas-7f3a9c2b41d8e6f0"


@dataclass(kw_only=True)
class Scene:
    face: Face
    gitlab: GitLabStandIn
    db: Database
    stack: AsyncExitStack

    async def browser(self) -> Browser:
        return await self.stack.enter_async_context(Browser())

    def shown(self, user: str) -> Ephemeral | None:
        found = [e for e in self.face.slack.world.ephemerals.values() if e.user == user]
        return found[-1] if found and found[-1].blocks else None

    async def address(self, user: str = "lee", text: str = "@agent add an export") -> str:
        """What the button leads to that somebody without a link is shown."""
        person = self.face.slack.world.user_named(user).id
        before = self.shown(person)
        self.face.say(text, user=user)
        await self.face.until(lambda: self.shown(person) is not before)
        shown = self.shown(person)
        assert shown
        return address_in(shown)

    async def asked(self, browser: Browser, address: str, username: str = "lee") -> Page:
        """GitLab asks whether the agent may know who this is."""
        page = await browser.open(address)
        if "Sign in to GitLab" in page.text:
            page = await browser.press(page, f"@{username}")
        assert "is requesting access" in page.text
        return page

    async def proven(self, browser: Browser, address: str, username: str = "lee") -> Page:
        """Signed in at GitLab and come back."""
        return await browser.press(await self.asked(browser, address, username), "Authorize")

    async def links(self) -> dict[str, int]:
        rows = await self.db.pool.fetch("SELECT slack_user, gitlab_id FROM people")
        return {row["slack_user"]: row["gitlab_id"] for row in rows}

    def tokens(self) -> list[bool]:
        """Of the application, whether each is revoked."""
        return [t.revoked for t in self.gitlab.state.tokens.values() if t.application]


@pytest.fixture
async def scene(slack: SlackStandIn, db: Database, tmp_path: Path) -> AsyncIterator[Scene]:
    """Mia and Sam are linked, Lee is not."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with GitLabStandIn(tmp_path / "gitlab") as gitlab, AsyncExitStack() as stack:
        for name in ("root", "mia", "sam", "lee", "eve"):  # ids from 1, as in `face.PEOPLE`
            gitlab.state.add_user(name, name=name.title())
        application = gitlab.state.oauth.register("Journeyman", f"{url}/link/done", "read_user")
        application.secret = SECRET
        settings = settings_for(
            slack,
            public_url=f"{url}/",
            gitlab_url=gitlab.url,
            gitlab_signin_id=application.id,
            gitlab_signin_secret=application.secret,
        )
        async with open_face(slack, db, settings=settings) as face:
            site = make_site(db.store, add_routes=[add_link_pages(face.front.linking)])
            runner = web.AppRunner(site, access_log=None)
            await runner.setup()
            await web.SockSite(runner, listening).start()
            yield Scene(face=face, gitlab=gitlab, db=db, stack=stack)
            await stack.aclose()
            await runner.cleanup()


BEFORE = {"U0MIA": 2, "U0SAM": 3}


async def test_a_person_links_their_account_and_says_again_what_they_need(scene: Scene) -> None:
    browser = await scene.browser()

    page = await scene.proven(browser, await scene.address())

    assert page.status == 200
    assert "lee</strong> (@lee, U0LEE, workspace" in page.text
    assert "GitLab user <strong>@lee</strong>" in page.text
    assert await scene.links() == BEFORE
    assert scene.tokens() == [True]

    page = await browser.press(page, LINK)

    assert "Go back to Slack" in page.text
    assert await scene.links() == BEFORE | {"U0LEE": 4}
    told = await scene.face.until(lambda: [t for t in scene.face.told("U0LEE") if "now." in t])
    assert "You are linked to the GitLab user `@lee` now. Please say again" in told[0]
    assert scene.face.runs.asked == []

    scene.face.say("@agent add an export", user="lee")
    await scene.face.until(lambda: scene.face.runs.asked)
    request = scene.face.runs.asked[0][1]
    assert (request.requester.id, request.requester.gitlab_id) == ("U0LEE", 4)
    assert request.requester.gitlab_username == "lee"


async def test_the_pages_can_neither_be_framed_nor_leak_where_they_are(scene: Scene) -> None:
    browser = await scene.browser()
    address = await scene.address()
    async with browser.http.get(address, allow_redirects=False) as answer:
        cookie = answer.headers["Set-Cookie"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        away = answer.headers["Location"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "Path=/link", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "code_challenge_method=S256" in away
    assert "scope=read_user" in away
    assert SECRET not in away

    page = await browser.press(await browser.open(away), "@lee")
    form, (name, value) = page.form_with("Authorize")
    target = f"{scene.gitlab.url}/oauth/authorize"
    async with browser.http.post(target, data=form.fields | {name: value}) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "@lee, U0LEE" in await answer.text()
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy
    assert "script-src" not in policy


async def test_what_the_database_keeps_opens_nothing(scene: Scene) -> None:
    browser = await scene.browser()
    address = await scene.address()
    await scene.asked(browser, address)

    kept = str([dict(row) for row in await scene.db.pool.fetch("SELECT * FROM link_requests")])

    secrets = [address.rpartition("/")[2], *(c.value for c in browser.http.cookie_jar)]
    assert len(secrets) == 3
    assert not [secret for secret in secrets if secret in kept]


async def test_a_link_opens_once(scene: Scene) -> None:
    address = await scene.address()
    first, second = await scene.browser(), await scene.browser()
    async with first.http.head(address) as answer:  # some programs look at links before people do
        assert answer.status == 405
    page = await scene.asked(first, address)

    for browser in (second, first):
        again = await browser.open(address)
        assert again.status == 403
        assert "This link is no longer good" in again.text

    page = await first.press(page, "Authorize")  # who opened it first can go on
    await first.press(page, LINK)
    assert await scene.links() == BEFORE | {"U0LEE": 4}


async def test_an_answer_of_gitlab_works_in_one_browser_once(scene: Scene) -> None:
    browser, foreign = await scene.browser(), await scene.browser()
    page = await scene.asked(browser, await scene.address())
    form, (name, value) = page.form_with("Authorize")
    target = f"{scene.gitlab.url}/oauth/authorize"
    data = form.fields | {name: value}
    async with browser.http.post(target, data=data, allow_redirects=False) as answer:
        back = answer.headers["Location"]

    elsewhere = await foreign.open(back)
    assert elsewhere.status == 403
    assert "This browser did not open the link" in elsewhere.text
    assert (await browser.open(back.replace("state=", "state=0"))).status == 403
    page = await browser.open(back)
    assert "Link these two accounts?" in page.text
    again = await browser.open(back)
    assert again.status == 403
    assert "no longer good" in again.text
    assert scene.tokens() == [True]

    await browser.press(page, LINK)
    assert await scene.links() == BEFORE | {"U0LEE": 4}
    used = await browser.press(page, LINK)
    assert used.status == 403


async def test_somebody_elses_link_shows_for_whom_it_was_made(scene: Scene) -> None:
    """Lee sends the own link to Eve, who is signed in at GitLab, and would act as her."""
    eve = await scene.browser()

    page = await scene.proven(eve, await scene.address("lee"), "eve")
    assert "lee</strong> (@lee, U0LEE" in page.text
    assert "GitLab user <strong>@eve</strong>" in page.text
    refused = await eve.press(page, "No")

    assert "Nothing was linked" in refused.text
    assert await scene.links() == BEFORE
    assert (await eve.press(page, LINK)).status == 403
    assert await scene.links() == BEFORE


async def test_another_site_or_browser_cannot_confirm(scene: Scene) -> None:
    browser, foreign = await scene.browser(), await scene.browser()
    page = await scene.proven(browser, await scene.address())
    await scene.asked(foreign, await scene.address("lee"), "eve")
    form, _ = page.form_with(LINK)
    sent: tuple[tuple[Browser, dict[str, str]], ...] = (
        (browser, {"answer": "yes"}),
        (browser, {"answer": "yes", "form": "0" * 64}),
        (browser, {"answer": "yes", "form": "\ud800ü".encode("utf-8", "replace").decode()}),
        (foreign, {"answer": "yes"} | form.fields),
        (await scene.browser(), {"answer": "yes"} | form.fields),
        (await scene.browser(), {"answer": "no"} | form.fields),
    )
    for each, data in sent:
        async with each.http.post(page.url.with_query(None), data=data) as answer:
            assert answer.status == 403
    assert await scene.links() == BEFORE
    assert (await browser.press(page, LINK)).status == 200


async def test_of_two_confirmations_one_counts(scene: Scene) -> None:
    browser = await scene.browser()
    page = await scene.proven(browser, await scene.address())
    done = await asyncio.gather(*(browser.press(page, LINK) for _ in range(4)))
    assert sorted(each.status for each in done) == [200, 403, 403, 403]
    assert await scene.links() == BEFORE | {"U0LEE": 4}


async def test_only_a_yes_links(scene: Scene) -> None:
    browser = await scene.browser()
    page = await scene.proven(browser, await scene.address())
    form, _ = page.form_with(LINK)
    async with browser.http.post(page.url.with_query(None), data=form.fields) as answer:
        assert "Nothing was linked" in await answer.text()
    assert await scene.links() == BEFORE


@pytest.mark.parametrize("step", ["open", "come back", "confirm"])
async def test_time_runs_out_at_each_step(scene: Scene, owner: Connection, step: str) -> None:
    browser, address = await scene.browser(), await scene.address()
    page: Page | None = None
    if step == "come back":
        page = await scene.asked(browser, address)
    elif step == "confirm":
        page = await scene.proven(browser, address)
    await owner.execute("UPDATE link_requests SET expires_at = now() - interval '1 second'")

    label = "Authorize" if step == "come back" else LINK
    late = await browser.press(page, label) if page else await browser.open(address)

    assert late.status == 403
    assert "for ten minutes" in late.text
    assert await scene.links() == BEFORE


async def test_who_declines_at_gitlab_is_not_linked(scene: Scene) -> None:
    browser = await scene.browser()
    page = await browser.press(await scene.asked(browser, await scene.address()), "Cancel")
    assert page.status == 403
    assert "GitLab was not allowed to say who you are" in page.text
    assert scene.tokens() == []


async def test_gitlab_sends_nobody_to_an_address_that_is_not_ours(scene: Scene) -> None:
    (application,) = scene.gitlab.state.oauth.applications.values()
    application.redirect_uris = ("https://elsewhere.example/link/done",)
    browser = await scene.browser()
    page = await browser.press(await browser.open(await scene.address()), "@lee")
    assert "The redirect URI included is not valid" in page.text


async def _other_verifier(scene: Scene) -> None:
    for grant in scene.gitlab.state.oauth.grants.values():
        grant.challenge = "x" * 43


async def _other_secret(scene: Scene) -> None:
    (application,) = scene.gitlab.state.oauth.applications.values()
    application.secret = "changed"


async def _blocked(scene: Scene) -> None:
    scene.gitlab.state.users[4].state = "blocked"


async def _bot(scene: Scene) -> None:
    scene.gitlab.state.users[4].bot = True


async def _guest(scene: Scene) -> None:
    world = scene.face.slack.world
    world.users["U0LEE"] = replace(world.users["U0LEE"], is_restricted=True)


def _failing(call: str, **more: Any) -> Any:
    async def happen(scene: Scene) -> None:
        scene.gitlab.faults.set(Fault(mode=FaultMode.FAIL, method=call, times=0, **more))

    return happen


async def _cut(scene: Scene) -> None:
    cut = Fault(mode=FaultMode.DROP_AFTER_APPLY, method="POST /oauth/token", times=0)
    scene.gitlab.faults.set(cut)


@pytest.mark.parametrize(
    ("happens", "status", "told"),
    [
        (_other_verifier, 502, "The provided authorization grant is invalid"),
        (_other_secret, 502, "an operator has to correct GITLAB_SIGNIN_ID"),
        (_blocked, 403, "GitLab does not let this account in, for example since it is blocked"),
        (_bot, 403, "@lee is a bot, and only people can be linked"),
        (_guest, 403, "Guests of this workspace"),
        (_failing("POST /oauth/token", status=503), 503, "GitLab asks for patience (503)"),
        (_failing("GET /user", status=502), 503, "Ask for a new link in Slack"),
        (_cut, 503, "does not answer"),
    ],
)
async def test_what_goes_wrong_on_the_way_back_links_nobody(
    scene: Scene, happens: Any, status: int, told: str
) -> None:
    browser = await scene.browser()
    page = await scene.asked(browser, await scene.address())
    form, (name, value) = page.form_with("Authorize")
    target = f"{scene.gitlab.url}/oauth/authorize"
    data = form.fields | {name: value}
    async with browser.http.post(target, data=data, allow_redirects=False) as answer:
        back = answer.headers["Location"]
    await happens(scene)

    page = await browser.open(back)

    assert (page.status, told in page.text) == (status, True), page.text
    assert "Not linked" in page.text
    assert await scene.links() == BEFORE
    assert all(scene.tokens()) or happens is _cut


async def test_a_token_that_cannot_be_revoked_stops_nobody(scene: Scene) -> None:
    scene.gitlab.faults.set(Fault(mode=FaultMode.FAIL, method="POST /oauth/revoke"))
    browser = await scene.browser()
    page = await scene.proven(browser, await scene.address())
    await browser.press(page, LINK)
    assert await scene.links() == BEFORE | {"U0LEE": 4}


async def test_whoever_became_a_guest_meanwhile_is_not_linked(scene: Scene) -> None:
    browser = await scene.browser()
    page = await scene.proven(browser, await scene.address())
    await _guest(scene)
    assert (await browser.press(page, LINK)).status == 403
    assert await scene.links() == BEFORE


async def test_people_of_the_same_name_are_different_people(scene: Scene) -> None:
    """Lee takes Mia's name; her link stays hers, and the page tells them apart."""
    world = scene.face.slack.world
    for user in ("U0MIA", "U0LEE"):
        world.users[user] = replace(world.users[user], display_name="Mia", real_name="Mia Berg")
    browser = await scene.browser()

    page = await scene.proven(browser, await scene.address())

    assert scene.face.runs.asked == []
    assert "Mia</strong> (@lee, U0LEE" in page.text


async def test_the_account_of_another_is_not_taken_over(scene: Scene) -> None:
    browser = await scene.browser()
    page = await scene.proven(browser, await scene.address(), "mia")
    assert page.status == 403
    assert "is linked to the Slack user mia (@mia) already" in page.text
    assert await scene.links() == BEFORE


async def test_an_account_moves_on_from_a_deactivated_slack_user(scene: Scene) -> None:
    world = scene.face.slack.world
    world.users["U0MIA"] = replace(world.users["U0MIA"], deleted=True)
    browser = await scene.browser()
    page = await scene.proven(browser, await scene.address(), "mia")
    await browser.press(page, LINK)
    assert await scene.links() == {"U0SAM": 3, "U0LEE": 2}


async def test_two_who_prove_the_same_account_do_not_both_get_it(scene: Scene) -> None:
    world = scene.face.slack.world
    await scene.db.people.unlink(world.team_id, "U0SAM")
    one, other = await scene.browser(), await scene.browser()
    pages = [
        await scene.proven(one, await scene.address("lee"), "eve"),
        await scene.proven(other, await scene.address("sam"), "eve"),
    ]
    done = await asyncio.gather(one.press(pages[0], LINK), other.press(pages[1], LINK))
    assert sorted(each.status for each in done) == [200, 403]
    assert sorted((await scene.links()).values()) == [2, 5]


async def test_settings_tell_how_one_is_linked_and_undo_it(scene: Scene) -> None:
    face, world = scene.face, scene.face.slack.world
    await scene.db.people.link(world.team_id, "U0MIA", Account(id=2, username="mia"))
    root = face.say("@agent settings")
    shown = await face.until(lambda: scene.shown("U0MIA"))
    assert "You are linked to the GitLab user `@mia`" in shown.text
    assert face.ours(root) == []

    await face.slack.people.click("mia", shown, "unlink_account")

    await face.until(lambda: any("is unlinked" in each for each in face.told("U0MIA")))
    assert await scene.links() == {"U0SAM": 3}
    face.say("@agent add an export")
    shown = await face.until(
        lambda: (s := scene.shown("U0MIA")) and "don't know your" in s.text and s
    )
    assert face.runs.asked == []

    browser = await scene.browser()
    page = await scene.proven(browser, address_in(shown), "mia")
    await browser.press(page, LINK)
    assert await scene.links() == BEFORE


@pytest.mark.browser
async def test_a_real_browser_goes_all_the_way(scene: Scene) -> None:
    """Its rules for cookies, forms and policies are stricter than those of our own."""
    address = await scene.address()
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        tab = await chromium.new_page()
        problems: list[str] = []
        tab.on("console", lambda said: problems.append(said.text))
        await tab.goto(address)
        for label in ("@lee", "Authorize", "Both are me"):
            await tab.get_by_role("button", name=label).click()
        await expect(tab.get_by_role("heading", name="Linked")).to_be_visible()
        await chromium.close()
    assert problems == []
    assert await scene.links() == BEFORE | {"U0LEE": 4}
