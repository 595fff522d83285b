"""Routes on the raw path, parameters from everywhere, GitLab's pages and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import web

from playground.gitlab.errors import ApiError as ApiError
from playground.gitlab.errors import not_found as not_found
from playground.gitlab.params import truth
from playground.gitlab.records import REPORTER, Group, Project, User
from playground.gitlab.state import State

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

#: username of who asked, on every request with a valid token
ACTOR: web.RequestKey[str] = web.RequestKey("actor", str)
#: on every push, what it has changed: (old, new, ref)
PUSHED: web.RequestKey[tuple[tuple[str, str, str], ...]] = web.RequestKey("pushed", tuple)
Handler = Callable[["Call"], Awaitable[Any]]


@dataclass(frozen=True)
class Reply:
    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


def json_response(
    body: Any, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=json.dumps(body).encode(),
        status=status,
        headers=headers,
        content_type="application/json",
    )


@dataclass(frozen=True)
class Many:
    """A list of which only the asked page is rendered."""

    items: Sequence[Any]
    view: Callable[[Any], Any]


@dataclass(frozen=True)
class Route:
    method: str
    name: str  #: the path with `:name` for what varies
    pattern: re.Pattern[str]
    handler: Handler
    access: int | None  #: level in the project or group; None: seeing it is enough
    scopes: frozenset[str]
    anonymous: bool
    admin: bool


class Routes:
    """Collects handlers; `{name}` is one raw path segment, `{name*}` the rest."""

    def __init__(self) -> None:
        self.all: list[Route] = []

    def add(
        self,
        method: str,
        path: str,
        access: int | None = None,
        *,
        scopes: Sequence[str] = (),
        anonymous: bool | None = None,
        admin: bool = False,
    ) -> Callable[[Handler], Handler]:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))
        pattern = re.sub(r"\\\{(\w+)\\\*\\\}", r"(?P<\1>.*)", pattern)
        read = method in ("GET", "HEAD")
        allowed = {"api", *(("read_api",) if read else ()), *scopes}

        def register(handler: Handler) -> Handler:
            self.all.append(
                Route(
                    method=method,
                    name=re.sub(r"\{(\w+)\*?\}", r":\1", path),
                    pattern=re.compile(pattern),
                    handler=handler,
                    access=access,
                    scopes=frozenset(allowed),
                    anonymous=read if anonymous is None else anonymous,
                    admin=admin,
                )
            )
            return handler

        return register

    def get(self, path: str, access: int | None = None, **more: Any) -> Any:
        return self.add("GET", path, access, **more)

    def post(self, path: str, access: int | None = None, **more: Any) -> Any:
        return self.add("POST", path, access, **more)

    def put(self, path: str, access: int | None = None, **more: Any) -> Any:
        return self.add("PUT", path, access, **more)

    def delete(self, path: str, access: int | None = None, **more: Any) -> Any:
        return self.add("DELETE", path, access, **more)

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]] | bool:
        """The route and its raw segments unquoted; else whether the path itself exists."""
        known = False
        wanted = "GET" if method == "HEAD" else method
        for route in self.all:
            if found := route.pattern.fullmatch(path):
                known = True
                if route.method == wanted:
                    return route, {k: unquote(v) for k, v in found.groupdict().items()}
        return known


@dataclass(kw_only=True)
class Call:
    """One request to the API, with everything that a handler may ask of it."""

    forge: Forge
    request: web.Request
    actor: User | None
    scopes: frozenset[str]
    path: dict[str, str]
    params: dict[str, Any]
    route: Route

    @property
    def state(self) -> State:
        return self.forge.state

    @property
    def user(self) -> User:
        if self.actor is None:
            raise ApiError(401, "401 Unauthorized")
        return self.actor

    @property
    def project(self) -> Project:
        """The project of the path, if this token may know of it and do this to it."""
        project = self.state.project_by(self.path["id"])
        if project is None and self.route.method == "GET":
            self._lead_on()
        if project is None or not self.state.visible(project, self.actor):
            raise not_found("Project")
        self._check(self.state.access(project, self.actor), project.visibility)
        return project

    def _lead_on(self) -> None:
        """From a path that a project had before, where it may be seen."""
        former = self.path["id"].lower()
        for project in self.state.projects.values():
            if former in project.former_paths and self.state.visible(project, self.actor):
                rest = self.request.raw_path.partition("/projects/")[2].partition("/")
                there = f"{self.forge.url}/api/v4/projects/{project.id}{rest[1]}{rest[2]}"
                text = f"This resource has been moved permanently to {there}"
                raise web.HTTPMovedPermanently(
                    there, text=json.dumps({"message": text}), content_type="application/json"
                )

    @property
    def group(self) -> Group:
        group = self.state.group_by(self.path["id"])
        member = group and self.actor and self.state.group_members(group).get(self.actor.id)
        level = 50 if self.actor and self.actor.admin else member.access_level if member else 0
        if group is None or (group.visibility == "private" and not level):
            raise not_found("Group")
        self._check(level, group.visibility)
        return group

    def _check(self, level: int, visibility: str) -> None:
        needed = self.route.access
        if needed is None:
            return
        reading = self.route.method == "GET" and needed <= REPORTER
        if level < needed and not (reading and visibility != "private"):
            raise (
                ApiError(403, "403 Forbidden") if self.actor else ApiError(401, "401 Unauthorized")
            )

    # --- parameters

    def need(self, *names: str) -> None:
        missing = [name for name in names if self.params.get(name) in (None, "")]
        if missing:
            raise ApiError(400, {"error": ", ".join(f"{name} is missing" for name in missing)})

    def text(self, name: str, default: str = "") -> str:
        value = self.params.get(name)
        return default if value is None else str(value)

    def number(self, name: str, default: int | None = None) -> int | None:
        value = self.params.get(name)
        if value is None or value == "":
            return default
        try:
            return int(value)
        except (TypeError, ValueError):
            raise ApiError(400, {"error": f"{name} is invalid"}) from None

    def flag(self, name: str, default: bool = False) -> bool:
        return truth(self.params.get(name), default)

    def items(self, name: str) -> list[Any]:
        """A list, however it was sent: `a[]=1`, `a=1,2` or JSON."""
        value = self.params.get(name)
        if value is None or value == "":
            return []
        if isinstance(value, dict):
            return list(value.values())
        if isinstance(value, (list, tuple)):
            return [item for item in value if item not in ("", None)]
        return [part.strip() for part in str(value).split(",") if part.strip()]

    def numbers(self, name: str) -> list[int]:
        return [int(item) for item in self.items(name) if str(item) not in ("", "0")]

    def segment(self, name: str) -> int:
        if not self.path[name].isdigit():
            raise ApiError(400, {"error": f"{name} is invalid"})
        return int(self.path[name])
