"""The instance as an OAuth 2 provider, as an application and a browser meet it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiohttp import ClientSession, CookieJar
from gitlab_scene import Scene

from playground.gitlab.oauth import s256
from playground.gitlab.oauth_records import Application

BACK = "https://agent.example/link/done"
VERIFIER = "a-verifier-of-at-least-forty-three-characters-000"


@dataclass(kw_only=True)
class Browser:
    scene: Scene
    http: ClientSession
    application: Application

    def asking(self, **changes: str) -> dict[str, str]:
        params = {
            "client_id": self.application.id,
            "redirect_uri": BACK,
            "response_type": "code",
            "state": "st",
            "scope": "read_user",
            "code_challenge": s256(VERIFIER),
            "code_challenge_method": "S256",
        }
        return {k: v for k, v in (params | changes).items() if v}

    async def sign_in(self, name: str) -> int:
        url = f"{self.scene.server.url}/users/sign_in"
        async with self.http.post(url, data={"username": name}, allow_redirects=False) as answer:
            return answer.status

    async def page(self, **changes: str) -> tuple[int, str]:
        url = f"{self.scene.server.url}/oauth/authorize"
        async with self.http.get(url, params=self.asking(**changes)) as answer:
            return answer.status, await answer.text()

    async def authorize(self, method: str = "post", **changes: str) -> dict[str, str]:
        """What GitLab sends back to the application."""
        _, page = await self.page(**changes)
        fields = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.split("</form>")[0])
        form = {name: unescape(value) for name, value in fields} | {"_method": method}
        url = f"{self.scene.server.url}/oauth/authorize"
        async with self.http.post(url, data=form, allow_redirects=False) as answer:
            assert answer.status == 302
            address = answer.headers["Location"]
        assert address.startswith(f"{BACK}?")
        return dict(parse_qsl(urlsplit(address).query))

    async def token(self, code: str, **changes: str) -> tuple[int, dict[str, Any]]:
        params = {
            "grant_type": "authorization_code",
            "client_id": self.application.id,
            "client_secret": self.application.secret,
            "code": code,
            "redirect_uri": BACK,
            "code_verifier": VERIFIER,
        } | changes
        return await self.post("/oauth/token", {k: v for k, v in params.items() if v})

    async def post(self, path: str, params: dict[str, str]) -> tuple[int, dict[str, Any]]:
        async with self.http.post(f"{self.scene.server.url}{path}", data=params) as answer:
            return answer.status, await answer.json()

    async def who(self, token: str, header: str = "Authorization") -> tuple[int, dict[str, Any]]:
        value = f"Bearer {token}" if header == "Authorization" else token
        url = f"{self.scene.server.url}/api/v4/user"
        async with self.http.get(url, headers={header: value}) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def browser(scene: Scene) -> AsyncIterator[Browser]:
    application = scene.server.state.oauth.register("Agent", BACK, "read_user")
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as http:
        yield Browser(scene=scene, http=http, application=application)


async def test_a_code_becomes_a_token_that_tells_who_authorized(browser: Browser) -> None:
    await browser.sign_in("mia")
    _, page = await browser.page()
    assert "Agent is requesting access" in page
    assert "@mia" in page

    back = await browser.authorize()
    status, body = await browser.token(back["code"])

    assert back["state"] == "st"
    assert status == 200
    assert (body["token_type"], body["scope"], body["expires_in"]) == ("Bearer", "read_user", 7200)
    status, user = await browser.who(body["access_token"])
    assert (status, user["username"]) == (200, "mia")
    assert (await browser.who(body["access_token"], "PRIVATE-TOKEN"))[0] == 401

    params = {"client_id": browser.application.id, "token": body["access_token"]}
    status, refused = await browser.post("/oauth/revoke", params)
    assert (status, refused["error"]) == (403, "unauthorized_client")
    params["client_secret"] = browser.application.secret
    assert await browser.post("/oauth/revoke", params) == (200, {})
    assert (await browser.who(body["access_token"]))[0] == 401


async def test_a_browser_that_is_not_signed_in_is_asked_to(browser: Browser) -> None:
    _, page = await browser.page()
    assert "Sign in to GitLab" in page
    browser.scene.people["mia"].state = "blocked"
    assert await browser.sign_in("mia") == 401


async def test_a_person_can_decline(browser: Browser) -> None:
    await browser.sign_in("mia")
    back = await browser.authorize("delete")
    assert (back["error"], back["state"]) == ("access_denied", "st")
    assert "code" not in back


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"client_id": "other"}, "unknown client"),
        ({"redirect_uri": f"{BACK}/more"}, "The redirect URI included is not valid"),
        ({"redirect_uri": f"{BACK}?x=1"}, "The redirect URI included is not valid"),
        ({"scope": "api"}, "The requested scope is invalid"),
        ({"response_type": "token"}, "does not support this response type"),
        ({"code_challenge_method": "plain"}, "must be S256"),
    ],
)
async def test_a_wrong_wish_is_shown_and_sent_nowhere(
    browser: Browser, changes: dict[str, str], told: str
) -> None:
    await browser.sign_in("mia")
    status, page = await browser.page(**changes)
    assert status in (400, 401)
    assert told in page


async def test_nobody_authorizes_by_a_form_of_another_site(browser: Browser) -> None:
    await browser.sign_in("mia")
    url = f"{browser.scene.server.url}/oauth/authorize"
    async with browser.http.post(url, data=browser.asking(), allow_redirects=False) as answer:
        assert answer.status == 422


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "another-verifier-of-forty-three-characters-000"}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"redirect_uri": f"{BACK}/"}, "invalid_grant"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_secret": ""}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_what_does_not_fit_the_code_gets_no_token(
    browser: Browser, changes: dict[str, str], error: str
) -> None:
    await browser.sign_in("mia")
    back = await browser.authorize()
    status, body = await browser.token(back["code"], **changes)
    assert (status in (400, 401), body["error"]) == (True, error)
    assert "access_token" not in body


async def test_a_code_works_once_and_for_a_while(browser: Browser) -> None:
    await browser.sign_in("mia")
    code = (await browser.authorize())["code"]
    assert (await browser.token(code))[0] == 200
    status, body = await browser.token(code)
    assert (status, body["error"]) == (400, "invalid_grant")

    late = (await browser.authorize())["code"]
    grants = browser.scene.server.state.oauth.grants
    grants[late] = replace(grants[late], created_at=grants[late].created_at - timedelta(minutes=11))
    assert (await browser.token(late))[1]["error"] == "invalid_grant"


async def test_a_public_application_has_its_challenge_instead_of_a_secret(
    browser: Browser,
) -> None:
    browser.application.confidential = False
    await browser.sign_in("mia")
    status, _ = await browser.page(code_challenge="", code_challenge_method="")
    assert status == 400
    code = (await browser.authorize())["code"]
    assert (await browser.token(code, client_secret=""))[0] == 200
