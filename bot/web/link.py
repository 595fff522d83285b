"""/link: the way of a browser from Slack to GitLab and back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from agent.errors import JourneymanError, Refused, Unavailable
from bot.linking import Linking
from bot.web.pages import Pages

log = logging.getLogger("journeyman.web")

COOKIE = "journeyman_link"
SECONDS = 900
_AGAIN = "Nothing was linked. Ask for a new link in Slack with `@agent settings` in a while."
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


def add_link_pages(linking: Linking) -> Callable[[web.UrlDispatcher], None]:
    door = _Door(linking=linking, pages=Pages())

    def add(routes: web.UrlDispatcher) -> None:
        # a HEAD, which some programs send to look at a link, must not use it up
        routes.add_get("/link/done", door.guarded(door.done), allow_head=False)
        routes.add_post("/link/done", door.guarded(door.confirm))
        routes.add_get(r"/link/{token:[\w-]{1,200}}", door.guarded(door.begin), allow_head=False)

    return add


@dataclass(frozen=True, kw_only=True)
class _Door:
    linking: Linking
    pages: Pages

    async def begin(self, request: web.Request) -> web.Response:
        browser, address = await self.linking.begin(request.match_info["token"])
        answer = web.Response(status=302, headers={"Location": address})
        answer.set_cookie(
            COOKIE,
            browser,
            max_age=SECONDS,
            path="/link",
            httponly=True,
            samesite="Lax",  # not Strict: it has to come along from GitLab's redirect
            secure=self.linking.public_url.startswith("https://"),
        )
        return answer

    async def done(self, request: web.Request) -> web.Response:
        proof = await self.linking.prove(
            request.cookies.get(COOKIE, ""),
            state=request.query.get("state", ""),
            code=request.query.get("code", "")[:1000],
        )
        return _html(self.pages.link(proof))

    async def confirm(self, request: web.Request) -> web.Response:
        form = await request.post()
        browser, given = request.cookies.get(COOKIE, ""), str(form.get("form", ""))
        if form.get("answer") != "yes":
            await self.linking.decline(browser, given)
            said = "Nothing was linked. If you did not ask for this link yourself, tell whoever "
            page = self.pages.told("Not linked", f"{said}sent it to you, and your operator.")
        else:
            proof = await self.linking.confirm(browser, given)
            page = self.pages.told(
                "Linked",
                f"The Slack user {proof.member.name} (@{proof.member.handle}) is linked to the "
                f"GitLab user @{proof.account.username}. Go back to Slack and say again what you "
                "need; this page can be closed.",
            )
        answer = _html(page)
        answer.del_cookie(COOKIE, path="/link")
        return answer

    def guarded(self, handler: Handler) -> Handler:
        async def guard(request: web.Request) -> web.StreamResponse:
            try:
                answer = await handler(request)
            except Refused as error:
                answer = _html(self.pages.told("Not linked", str(error)), 403)
            except Unavailable as error:
                log.warning("link_waits", extra={"reason": str(error)})
                answer = _html(self.pages.told("Not linked", f"{error} {_AGAIN}"), 503)
            except JourneymanError as error:
                log.warning("link_refused", extra={"reason": str(error)})
                answer = _html(self.pages.told("Not linked", f"{error} {_AGAIN}"), 502)
            answer.headers["Content-Security-Policy"] = _POLICY
            return answer

        return guard


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html")
