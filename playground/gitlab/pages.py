"""What a browser gets at a `web_url`: the object as the API shows it, and health checks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

PLACES = {
    "merge_requests": "merge_requests",
    "issues": "issues",
    "pipelines": "pipelines",
    "jobs": "jobs",
    "commit": "repository/commits",
    "environments": "environments",
}


async def serve(forge: Forge, request: web.Request) -> web.StreamResponse:
    path = request.path.rstrip("/")
    if re.fullmatch(r"/-/(health|readiness|liveness)", path):
        return web.Response(text="GitLab OK")
    found = re.fullmatch(r"/(.+?)(?:/-/(\w+)/(\w+))?", path)
    project = forge.state.project_by(found[1]) if found else None
    if found is None or project is None or (found[2] and found[2] not in PLACES):
        return web.Response(status=404, text="404 Not Found\n")
    target = f"/api/v4/projects/{project.id}"
    if found[2]:
        target += f"/{PLACES[found[2]]}/{found[3]}"
    raise web.HTTPFound(target)
