"""What GitLab is to do of itself, on order: how long it thinks, and what blocks a merge."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from aiohttp import web

from playground.gitlab.records import MergeRequest
from playground.gitlab.state import Lags, State


def add_routes(app: web.Application, state: State) -> None:
    """`GET` and `PUT /control/lags` with the fields of `Lags` in seconds.

    `PUT /control/merge_status` with `{"project", "iid", "status"}` sets the
    `detailed_merge_status` of an open merge request, for what GitLab finds and the stand-in does
    not have (status checks, locked files, Jira, …); empty: none.
    """

    async def show(request: web.Request) -> web.Response:
        return web.json_response(asdict(state.lags))

    async def change(request: web.Request) -> web.Response:
        wanted = json.loads(await request.text())
        known = {each.name for each in fields(Lags)}
        if not isinstance(wanted, dict) or not set(wanted) <= known:
            return web.json_response({"error": f"Lags are {sorted(known)}."}, status=400)
        for name, seconds in wanted.items():
            setattr(state.lags, name, float(seconds))
        return await show(request)

    async def hold(request: web.Request) -> web.Response:
        wanted: dict[str, Any] = json.loads(await request.text())
        found = _merge_request(state, wanted)
        if found is None:
            return web.json_response({"error": "There is no such merge request."}, status=404)
        found.held_by = str(wanted.get("status") or "")
        return web.json_response({"iid": found.iid, "status": found.held_by})

    app.router.add_get("/control/lags", show)
    app.router.add_put("/control/lags", change)
    app.router.add_put("/control/merge_status", hold)


def _merge_request(state: State, wanted: dict[str, Any]) -> MergeRequest | None:
    project = state.project_by(str(wanted.get("project")))
    return project.merge_requests.get(int(wanted.get("iid") or 0)) if project else None
