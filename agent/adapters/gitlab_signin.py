"""Asks GitLab who sits before a browser: OAuth 2, authorization code with PKCE."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from agent.adapters.gitlab_payloads import integer, record, text, words
from agent.errors import ForgeRejected, ForgeUnavailable, Refused
from agent.linking import Account

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

SECONDS = 10.0  #: for one request
SCOPE = "read_user"
log = logging.getLogger("journeyman.signin")


class GitLabSignIn:
    """Implements `agent.linking.SignIn`. An application without a secret is a public one."""

    def __init__(self, url: str, client_id: str, client_secret: str = "") -> None:
        self._url = url.rstrip("/")
        self._client = {"client_id": client_id}
        if client_secret:
            self._client["client_secret"] = client_secret

    def address(self, *, back: str, state: str, challenge: str) -> str:
        asked = {
            "client_id": self._client["client_id"],
            "redirect_uri": back,
            "response_type": "code",
            "scope": SCOPE,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._url}/oauth/authorize?{urlencode(asked)}"

    async def account(self, code: str, *, back: str, verifier: str) -> Account:
        """Raises `Refused` for an account that may not be linked, `ForgeUnavailable`, and
        `ForgeRejected` when GitLab takes neither code nor application."""
        return await asyncio.to_thread(self._account, code, back, verifier)

    def _account(self, code: str, back: str, verifier: str) -> Account:
        given = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": verifier,
        }
        answer = self._request("POST", "/oauth/token", data=self._client | given)
        if answer.status_code != 200:
            raise self._refusal(answer)
        token = text(self._json(answer), "access_token")
        if not token:
            raise ForgeUnavailable("GitLab gave an answer of an unexpected form.")
        try:
            return self._user(token)
        finally:
            self._revoke(token)

    def _user(self, token: str) -> Account:
        answer = self._request("GET", "/api/v4/user", token=token)
        if answer.status_code == 403:
            raise Refused(
                "GitLab does not let this account in, for example since it is blocked there. Ask "
                "an administrator of your GitLab."
            )
        if answer.status_code != 200:
            raise self._refusal(answer)
        found = self._json(answer)
        account = Account(id=integer(found, "id"), username=text(found, "username"))
        if text(found, "state") != "active":
            raise Refused(
                f"The GitLab user @{account.username} is not active. Ask an administrator of "
                "your GitLab."
            )
        if found.get("bot"):
            raise Refused(
                f"The GitLab user @{account.username} is a bot, and only people can be linked. "
                "Sign in at GitLab as yourself."
            )
        return account

    def _revoke(self, token: str) -> None:
        """Best effort: it may only read a user, ends by itself, and we keep it nowhere."""
        try:
            answer = self._request("POST", "/oauth/revoke", data=self._client | {"token": token})
        except ForgeUnavailable as error:
            log.warning("token_not_revoked", extra={"reason": str(error)})
            return
        if answer.status_code != 200:
            log.warning("token_not_revoked", extra={"status": answer.status_code})

    def _request(
        self, method: str, path: str, *, data: Mapping[str, str] | None = None, token: str = ""
    ) -> Response:
        import requests

        def auth(request: PreparedRequest) -> PreparedRequest:
            """Also keeps out what a .netrc of this machine holds for GitLab."""
            if token:
                request.headers["Authorization"] = f"Bearer {token}"
            return request

        try:
            answer = requests.request(
                method,
                f"{self._url}{path}",
                data=data,
                auth=auth,
                timeout=SECONDS,
                allow_redirects=False,  # nothing of ours must follow one
            )
        except (requests.RequestException, OSError) as error:
            raise ForgeUnavailable(f"GitLab at {self._url} does not answer.") from error
        if answer.status_code == 429 or answer.status_code >= 500:
            raise ForgeUnavailable(f"GitLab asks for patience ({answer.status_code}).")
        return answer

    def _json(self, answer: Response) -> Mapping[str, Any]:
        try:
            return record(answer.json())
        except ValueError as error:
            raise ForgeUnavailable(f"GitLab at {self._url} gave an answer that is none.") from error

    def _refusal(self, answer: Response) -> ForgeRejected:
        status = answer.status_code
        if status in (301, 302, 307, 308):
            said = f"{self._url} answers with a redirect. Set GITLAB_URL to where it leads."
            return ForgeRejected(said, status=status)
        found = self._json(answer)
        name, told = text(found, "error"), words(text(found, "error_description"))
        if name in ("invalid_client", "unauthorized_client"):
            return ForgeRejected(
                "GitLab does not know our application: an operator has to correct "
                "GITLAB_SIGNIN_ID and GITLAB_SIGNIN_SECRET.",
                status=status,
            )
        return ForgeRejected(f"GitLab says ({status}): {told or name or 'no'}.", status=status)
