"""What the instance remembers as an OAuth 2 provider."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(kw_only=True)
class Application:
    """As somebody registers it under *Applications*."""

    id: str
    secret: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: frozenset[str]
    confidential: bool = True


@dataclass(kw_only=True)
class Grant:
    """A code that was given to a browser, and works once."""

    code: str
    application: str
    user_id: int
    redirect_uri: str
    scopes: frozenset[str]
    challenge: str  #: S256; empty: without PKCE
    created_at: datetime
    used: bool = False


@dataclass(kw_only=True)
class Provider:
    applications: dict[str, Application] = field(default_factory=dict[str, Application])
    grants: dict[str, Grant] = field(default_factory=dict[str, Grant])
    sessions: dict[str, int] = field(default_factory=dict[str, int])  #: of browsers -> user

    def register(
        self, name: str, redirect_uri: str, *scopes: str, confidential: bool = True
    ) -> Application:
        application = Application(
            id=secrets.token_hex(32),
            secret=f"gloas-{secrets.token_hex(32)}",
            name=name,
            redirect_uris=(redirect_uri,),
            scopes=frozenset(scopes or ("read_user",)),
            confidential=confidential,
        )
        self.applications[application.id] = application
        return application
