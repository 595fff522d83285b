"""OAuth 2: the authorization code with PKCE, as GitLab gives it (through doorkeeper)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from aiohttp import BasicAuth, web

from playground.gitlab.http import json_response
from playground.gitlab.oauth_records import Application, Grant
from playground.gitlab.records import User
from playground.gitlab.state import State

CODE_LIVES = timedelta(minutes=10)
TOKEN_LIVES = timedelta(hours=2)

_SAYS = {
    "invalid_client": "Client authentication failed due to unknown client, no client "
    "authentication included, or unsupported authentication method.",
    "invalid_grant": "The provided authorization grant is invalid, expired, revoked, does not "
    "match the redirection URI used in the authorization request, or was issued to another "
    "client.",
    "invalid_redirect_uri": "The redirect URI included is not valid.",
    "invalid_scope": "The requested scope is invalid, unknown, or malformed.",
    "invalid_code_challenge_method": "The code challenge method must be S256.",
    "unsupported_response_type": "The authorization server does not support this response type.",
    "unsupported_grant_type": "The authorization grant type is not supported by the "
    "authorization server.",
    "unauthorized_client": "You are not authorized to revoke this token",
    "access_denied": "The resource owner or authorization server denied the request.",
}


class OAuthError(Exception):
    def __init__(self, name: str, status: int = 400, *, missing: str = "") -> None:
        said = f"Missing required parameter: {missing}." if missing else _SAYS[name]
        super().__init__(said)
        self.name, self.status = name, status


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an application wants from the person before the browser."""

    application: Application
    redirect_uri: str
    state: str
    scopes: frozenset[str]
    challenge: str

    def answer(self, **more: str) -> str:
        joint = "&" if "?" in self.redirect_uri else "?"
        told = more | ({"state": self.state} if self.state else {})
        return f"{self.redirect_uri}{joint}{urlencode(told)}"

    def denied(self) -> str:
        return self.answer(error="access_denied", error_description=_SAYS["access_denied"])


def asked(state: State, params: dict[str, Any]) -> Asked:
    """Checks a request to authorize. Raises OAuthError, which GitLab shows on a page: before the
    redirect URI is known to be good, nobody is sent there."""

    def said(name: str) -> str:
        return str(params.get(name, ""))

    if not said("client_id"):
        raise OAuthError("invalid_request", missing="client_id")
    application = state.oauth.applications.get(said("client_id"))
    if application is None:
        raise OAuthError("invalid_client", 401)
    if said("redirect_uri") not in application.redirect_uris:
        raise OAuthError("invalid_redirect_uri")
    if not said("response_type"):
        raise OAuthError("invalid_request", missing="response_type")
    if said("response_type") != "code":
        raise OAuthError("unsupported_response_type")
    scopes = frozenset(said("scope").split()) or application.scopes
    if scopes - application.scopes:
        raise OAuthError("invalid_scope")
    challenge = said("code_challenge")
    if challenge and said("code_challenge_method") != "S256":
        raise OAuthError("invalid_code_challenge_method")
    if not challenge and not application.confidential:
        raise OAuthError("invalid_request", missing="code_challenge")
    return Asked(
        application=application,
        redirect_uri=said("redirect_uri"),
        state=said("state"),
        scopes=scopes,
        challenge=challenge,
    )


def grant(state: State, wish: Asked, user: User) -> str:
    """Where the browser goes, with a fresh code."""
    code = secrets.token_hex(32)
    state.oauth.grants[code] = Grant(
        code=code,
        application=wish.application.id,
        user_id=user.id,
        redirect_uri=wish.redirect_uri,
        scopes=wish.scopes,
        challenge=wish.challenge,
        created_at=state.now(),
    )
    return wish.answer(code=code)


async def token(state: State, request: web.Request) -> web.Response:
    """POST /oauth/token."""
    return await _answered(request, lambda params: _token(state, request, params))


async def revoke(state: State, request: web.Request) -> web.Response:
    """POST /oauth/revoke."""
    return await _answered(request, lambda params: _revoke(state, request, params))


async def _answered(request: web.Request, act: Any) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    try:
        return json_response(act(await _params(request)), 200, headers)
    except OAuthError as error:
        body = {"error": error.name, "error_description": str(error)}
        told = f'Bearer realm="Doorkeeper", error="{error.name}", error_description="{error}"'
        return json_response(body, error.status, headers | {"WWW-Authenticate": told})


def _token(state: State, request: web.Request, params: dict[str, Any]) -> dict[str, Any]:
    if params.get("grant_type") != "authorization_code":
        if not params.get("grant_type"):
            raise OAuthError("invalid_request", missing="grant_type")
        raise OAuthError("unsupported_grant_type")
    application = _client(state, request, params)
    for name in ("code", "redirect_uri"):
        if not params.get(name):
            raise OAuthError("invalid_request", missing=name)
    given = state.oauth.grants.get(str(params["code"]))
    if (
        given is None
        or given.used
        or given.application != application.id
        or given.redirect_uri != params["redirect_uri"]
        or state.now() - given.created_at > CODE_LIVES
    ):
        raise OAuthError("invalid_grant")
    if given.challenge:
        verifier = str(params.get("code_verifier", ""))
        if not verifier:
            raise OAuthError("invalid_request", missing="code_verifier")
        if not hmac.compare_digest(s256(verifier), given.challenge):
            raise OAuthError("invalid_grant")
    given.used = True
    made = state.add_token(
        state.users[given.user_id],
        *sorted(given.scopes),
        name=application.name,
        secret=secrets.token_hex(32),
    )
    made.application, made.ends_at = application.id, state.now() + TOKEN_LIVES
    return {
        "access_token": made.secret,
        "token_type": "Bearer",
        "expires_in": int(TOKEN_LIVES.total_seconds()),
        "refresh_token": secrets.token_hex(32),
        "scope": " ".join(sorted(given.scopes)),
        "created_at": int(made.created_at.timestamp()),
    }


def _revoke(state: State, request: web.Request, params: dict[str, Any]) -> dict[str, Any]:
    """An unknown token is as good as revoked."""
    application = _client(state, request, params, otherwise="unauthorized_client")
    secret = str(params.get("token", ""))
    found = next((each for each in state.tokens.values() if each.secret == secret), None)
    if found is not None:
        if found.application != application.id:
            raise OAuthError("unauthorized_client", 403)
        found.revoked = True
    return {}


def _client(
    state: State, request: web.Request, params: dict[str, Any], *, otherwise: str = "invalid_client"
) -> Application:
    """The application that asks; a public one has no secret to show."""
    name, secret = str(params.get("client_id", "")), str(params.get("client_secret", ""))
    if basic := request.headers.get("Authorization", ""):
        try:
            given = BasicAuth.decode(basic, encoding="utf-8")
        except ValueError:
            raise OAuthError("invalid_client", 401) from None
        name, secret = given.login, given.password
    application = state.oauth.applications.get(name)
    good = application is not None and (
        hmac.compare_digest(secret.encode(), application.secret.encode())
        if secret or application.confidential
        else True
    )
    if application is None or not good:
        raise OAuthError(otherwise, 401 if otherwise == "invalid_client" else 403)
    return application


def s256(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def _params(request: web.Request) -> dict[str, Any]:
    """Of the body only: GitLab refuses secrets in the query of a POST since they are logged."""
    if request.content_type == "application/json":
        try:
            sent = json.loads(await request.text())
        except ValueError:
            return {}
        return sent if isinstance(sent, dict) else {}
    return dict((await request.post()).items())
