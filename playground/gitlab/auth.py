"""Whose token is it, and what may it do."""

from __future__ import annotations

from aiohttp import web

from playground.gitlab.http import ApiError
from playground.gitlab.records import Token, User
from playground.gitlab.state import State


class Auth:
    def __init__(self, state: State) -> None:
        self.state = state
        #: CI_JOB_TOKEN -> user of the running job
        self.job_tokens: dict[str, int] = {}

    def token_of(self, secret: str) -> Token | None:
        return next((t for t in self.state.tokens.values() if t.secret == secret), None)

    def user_of(self, secret: str) -> tuple[User, frozenset[str]] | None:
        """For git: the user of a valid secret, with its scopes."""
        if secret in self.job_tokens:
            return self.state.users[self.job_tokens[secret]], frozenset({"read_repository"})
        token = self.token_of(secret)
        if token is None or token.revoked or self._expired(token):
            return None
        user = self.state.users.get(token.user_id)
        return (user, token.scopes) if user and user.state == "active" else None

    def identify(self, request: web.Request) -> tuple[User | None, frozenset[str]]:
        """Of a request to the API; raises what GitLab answers to a bad token."""
        job_token = request.headers.get("JOB-TOKEN", "")
        if job_token in self.job_tokens:
            return self.state.users[self.job_tokens[job_token]], frozenset({"read_api"})
        secret = request.headers.get("PRIVATE-TOKEN") or request.query.get("private_token")
        private = bool(secret)
        bearer = request.headers.get("Authorization", "")
        if not secret and bearer.lower().startswith("bearer "):
            secret = bearer[7:].strip()
        secret = secret or request.query.get("access_token")
        if not secret:
            return None, frozenset()
        token = self.token_of(secret)
        if token is None or (private and token.application):
            raise ApiError(401, "401 Unauthorized")
        if token.revoked:
            raise _invalid("Token was revoked. You have to re-authorize from the user.")
        if self._expired(token):
            raise _invalid("Token is expired. You can either do re-authorization or token refresh.")
        user = self.state.users.get(token.user_id)
        if user is None:
            raise ApiError(401, "401 Unauthorized")
        if user.state != "active":
            raise ApiError(403, "403 Forbidden - Your account has been blocked.")
        token.last_used_at = self.state.now()
        return self._impersonated(request, user, token.scopes)

    def _impersonated(
        self, request: web.Request, user: User, scopes: frozenset[str]
    ) -> tuple[User, frozenset[str]]:
        name = request.headers.get("Sudo") or request.query.get("sudo")
        if not name:
            return user, scopes
        if not user.admin:
            raise ApiError(403, {"error": "403 Forbidden - Must be admin to use sudo"})
        wanted = self.state.users.get(int(name)) if name.isdigit() else None
        wanted = wanted or self.state.user_by_name(name)
        if wanted is None:
            raise ApiError(404, f"404 User with ID or username '{name}' Not Found")
        return wanted, scopes

    def _expired(self, token: Token) -> bool:
        now = self.state.now()
        if token.ends_at is not None and token.ends_at <= now:
            return True
        return token.expires_at is not None and token.expires_at <= now.date()


def _invalid(why: str) -> ApiError:
    return ApiError(401, {"error": "invalid_token", "error_description": why})
