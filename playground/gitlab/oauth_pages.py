"""What a browser sees of the instance: signing in, and authorizing an application."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

from playground.gitlab import oauth
from playground.gitlab.records import User

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

COOKIE = "_gitlab_session"
SIGN_IN, SIGN_OUT, AUTHORIZE = "/users/sign_in", "/users/sign_out", "/oauth/authorize"
_SECURE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:460px;margin:10vh auto;padding:0 16px;"
    "color:#28272d;background:#fff}h1{font-size:22px}button{font:inherit;padding:6px 14px;"
    "margin:4px 4px 4px 0;border:1px solid #bfbfc3;border-radius:4px;background:#fff;"
    "cursor:pointer}.go{background:#1f75cb;border-color:#1f75cb;color:#fff}.soft{color:#626168}"
)

Page = Callable[["Forge", web.Request], Awaitable[web.StreamResponse]]


def page_of(request: web.Request) -> Page | None:
    return _PAGES.get((request.method, request.path))


# --- signing in: a stand-in for passwords is to say who one is


async def sign_in_form(forge: Forge, request: web.Request) -> web.StreamResponse:
    people = [u for u in forge.state.users.values() if not u.bot]
    buttons = "".join(
        f'<button name="username" value="{escape(each.username)}">'
        f"@{escape(each.username)} · {escape(each.name)}</button><br>"
        for each in people
    )
    back = escape(request.query.get("back", ""))
    form = (
        '<h1>Sign in to GitLab</h1><p class="soft">This GitLab stands in for yours and asks for '
        f'no password.</p><form method="post"><input type="hidden" name="back" value="{back}">'
        f"{buttons}</form>"
    )
    return _page("Sign in", form)


async def sign_in(forge: Forge, request: web.Request) -> web.StreamResponse:
    form = await request.post()
    user = forge.state.user_by_name(str(form.get("username", "")))
    if user is None or user.bot:
        return _page("Sign in", "<p>Invalid login or password.</p>", 401)
    if user.state != "active":
        return _page(
            "Sign in",
            "<p>Your account has been blocked. Please contact your GitLab administrator if you "
            "think this is an error.</p>",
            401,
        )
    session = secrets.token_hex(16)
    forge.state.oauth.sessions[session] = user.id
    back = str(form.get("back", ""))
    home = not back.startswith("/") or back.startswith("//")
    answer = web.Response(status=302, headers={"Location": "/users/sign_in" if home else back})
    answer.set_cookie(COOKIE, session, httponly=True, samesite="Lax", path="/")
    return answer


async def sign_out(forge: Forge, request: web.Request) -> web.StreamResponse:
    form = await request.post()
    forge.state.oauth.sessions.pop(request.cookies.get(COOKIE, ""), None)
    raise web.HTTPFound(f"{SIGN_IN}?{urlencode({'back': str(form.get('back', ''))})}")


def _signed_in(forge: Forge, request: web.Request) -> User | None:
    number = forge.state.oauth.sessions.get(request.cookies.get(COOKIE, ""))
    user = forge.state.users.get(number) if number is not None else None
    return user if user and user.state == "active" else None


# --- authorizing


async def authorize_form(forge: Forge, request: web.Request) -> web.StreamResponse:
    user = _signed_in(forge, request)
    if user is None:
        raise web.HTTPFound(_sign_in_address(request))
    params = dict(request.query)
    try:
        wish = oauth.asked(forge.state, params)
    except oauth.OAuthError as error:
        return _refused(error)
    carried = params | {"authenticity_token": _form_token(request)}
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in carried.items()
    )
    name, scopes = escape(wish.application.name), ", ".join(sorted(wish.scopes))
    body = (
        f"<h1>{name} is requesting access to your account on GitLab</h1>"
        f"<p>You are signed in as <b>{escape(user.name)}</b> @{escape(user.username)}.</p>"
        f"<p>It may: {escape(scopes)}.</p>"
        f'<form method="post">{hidden}'
        '<button class="go" name="_method" value="post">Authorize</button>'
        '<button name="_method" value="delete">Cancel</button></form>'
        f'<form method="post" action="{SIGN_OUT}">'
        f'<input type="hidden" name="back" value="{escape(request.path_qs)}">'
        "<button>Sign in as somebody else</button></form>"
    )
    return _page("Authorize", body)


async def authorize(forge: Forge, request: web.Request) -> web.StreamResponse:
    user = _signed_in(forge, request)
    if user is None:
        raise web.HTTPFound(SIGN_IN)
    params: dict[str, Any] = dict((await request.post()).items())
    if not secrets.compare_digest(
        str(params.get("authenticity_token", "")).encode(), _form_token(request).encode()
    ):
        return _page("Error", "<p>The change you requested was rejected.</p>", 422)
    try:
        wish = oauth.asked(forge.state, params)
    except oauth.OAuthError as error:
        return _refused(error)
    if params.get("_method") == "delete":
        raise web.HTTPFound(wish.denied())
    raise web.HTTPFound(oauth.grant(forge.state, wish, user))


async def _token(forge: Forge, request: web.Request) -> web.StreamResponse:
    return await oauth.token(forge.state, request)


async def _revoke(forge: Forge, request: web.Request) -> web.StreamResponse:
    return await oauth.revoke(forge.state, request)


def _form_token(request: web.Request) -> str:
    return hashlib.sha256(f"form {request.cookies.get(COOKIE, '')}".encode()).hexdigest()


def _sign_in_address(request: web.Request) -> str:
    return f"{SIGN_IN}?{urlencode({'back': request.path_qs})}"


def _refused(error: oauth.OAuthError) -> web.Response:
    return _page(
        "Error", f"<h1>An error has occurred</h1><p>{escape(str(error))}</p>", error.status
    )


def _page(title: str, body: str, status: int = 200) -> web.Response:
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title} · GitLab</title>'
        f"<style>{_STYLE}</style><body>{body}</body></html>"
    )
    return web.Response(text=text, status=status, content_type="text/html", headers=_SECURE)


_PAGES: dict[tuple[str, str], Page] = {
    ("GET", SIGN_IN): sign_in_form,
    ("POST", SIGN_IN): sign_in,
    ("POST", SIGN_OUT): sign_out,
    ("GET", AUTHORIZE): authorize_form,
    ("POST", AUTHORIZE): authorize,
    ("POST", "/oauth/token"): _token,
    ("POST", "/oauth/revoke"): _revoke,
}
