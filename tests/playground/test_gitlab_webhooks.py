"""Deliveries: signed both ways, given up after failures, and faults on order."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
import gitlab as python_gitlab
import pytest
import requests
from aiohttp import web
from gitlab_scene import Scene

from playground.gitlab.records import Hook


@dataclass
class Ear:
    """A web server that hears hooks and answers as it is told."""

    url: str = ""
    status: int = 200
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def hear(self, request: web.Request) -> web.Response:
        self.heard.append((dict(request.headers), await request.read()))
        return web.Response(status=self.status)

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.heard]


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    ear = Ear()
    app = web.Application()
    app.router.add_post("/hook", ear.hear)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    ear.url = f"http://{host}:{port}/hook"
    yield ear
    await runner.cleanup()


async def _hook(scene: Scene, ear: Ear, **more: Any) -> Hook:
    data = {"url": ear.url, "merge_requests_events": True, "note_events": True, **more}
    made = await scene.do(scene.api("sam").hooks.create, data)
    return scene.project.hooks[made.id]


async def test_both_kinds_of_token_and_a_key_that_stays(scene: Scene, ear: Ear) -> None:
    hook = await _hook(scene, ear, token="plain", signing_token="signing")
    await scene.commit({"a": "b"})
    await scene.server.forge.webhooks.idle()
    headers, body = ear.heard[0]
    assert headers["X-Gitlab-Event"] == "Push Hook"
    assert headers["X-Gitlab-Token"] == "plain"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(b"signing", signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["Idempotency-Key"] == headers["webhook-id"]
    push = json.loads(body)
    assert (push["ref"], push["commits"][0]["added"]) == ("refs/heads/main", ["a"])
    path = f"/projects/1/hooks/{hook.id}/events/{hook.log[0]['id']}/resend"
    await scene.do(scene.client("sam").http_post, path)
    assert ear.heard[1][0]["webhook-id"] == headers["webhook-id"]


async def test_who_did_what_to_a_merge_request(scene: Scene, ear: Ear) -> None:
    await _hook(scene, ear, push_events=False)
    mr = await scene.merge_request()
    await scene.do(mr.notes.create, {"body": "Look"})
    await scene.commit({"more": "x"}, "topic")
    sha = scene.project.merge_requests[1].sha
    path = "/projects/1/merge_requests/1"
    await scene.do(scene.client("sam").http_post, f"{path}/approve")
    await scene.do(scene.client("sam").http_put, f"{path}/merge", post_data={"sha": sha})
    await scene.server.forge.webhooks.idle()
    told = [
        (body["object_attributes"].get("action"), body["object_kind"], body["user"]["username"])
        for body in ear.bodies()
    ]
    assert told == [
        ("open", "merge_request", "mia"),
        ("create", "note", "mia"),
        ("update", "merge_request", "sam"),
        ("approved", "merge_request", "sam"),
        ("merge", "merge_request", "sam"),
    ]


async def test_a_failing_hook_is_paused_and_in_the_end_disabled(scene: Scene, ear: Ear) -> None:
    ear.status = 500
    hook = await _hook(scene, ear)
    for number in range(5):
        await scene.commit({"a": str(number)})
        await scene.server.forge.webhooks.idle()
    assert len(ear.heard) == 4
    shown = await scene.do(scene.api("sam").hooks.get, hook.id)
    assert shown.alert_status == "temporarily_disabled"
    assert hook.disabled_until is not None
    first = hook.disabled_until - scene.server.state.now()
    assert timedelta(seconds=50) < first <= timedelta(minutes=1)
    hook.disabled_until = scene.server.state.now()
    await scene.commit({"a": "again"})
    await scene.server.forge.webhooks.idle()
    assert hook.disabled_until - scene.server.state.now() > timedelta(seconds=100)
    hook.failures, hook.disabled_until = 39, None
    await scene.commit({"a": "last"})
    await scene.server.forge.webhooks.idle()
    shown = await scene.do(scene.api("sam").hooks.get, hook.id)
    assert shown.alert_status == "disabled"


async def test_a_good_answer_forgives(scene: Scene, ear: Ear) -> None:
    hook = await _hook(scene, ear)
    ear.status = 503
    await scene.commit({"a": "1"})
    await scene.server.forge.webhooks.idle()
    assert hook.failures == 1
    ear.status = 204
    await scene.commit({"a": "2"})
    await scene.server.forge.webhooks.idle()
    assert hook.failures == 0


async def test_pipelines_and_jobs_are_told(ci: Scene, ear: Ear) -> None:
    await _hook(
        ci, ear, push_events=False, pipeline_events=True, job_events=True, deployment_events=True
    )
    config = "ship: {script: ['true'], environment: staging}\n"
    await ci.commit({".gitlab-ci.yml": config})
    await ci.pipeline()
    await ci.server.forge.webhooks.idle()
    kinds = [body["object_kind"] for body in ear.bodies()]
    assert {"pipeline", "build", "deployment"} == set(kinds)
    last = [body for body in ear.bodies() if body["object_kind"] == "pipeline"][-1]
    assert last["object_attributes"]["status"] == "success"
    assert last["builds"][0]["name"] == "ship"
    deployments = [b["status"] for b in ear.bodies() if b["object_kind"] == "deployment"]
    assert deployments == ["running", "success"]


# --- faults


async def _fault(scene: Scene, **fault: Any) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(scene.server.url + "/control/faults", json=fault) as answer,
    ):
        assert answer.status == 201, await answer.text()


async def test_an_applied_request_whose_answer_is_lost(scene: Scene) -> None:
    await scene.commit({"topic.txt": "x"}, "topic")
    call = "POST /projects/:id/merge_requests"
    await _fault(scene, mode="drop_after_apply", method=call)
    data = {"source_branch": "topic", "target_branch": "main", "title": "x"}
    with pytest.raises(requests.ConnectionError):
        await scene.do(scene.api("mia").mergerequests.create, data)
    assert list(scene.project.merge_requests) == [1]
    with pytest.raises(python_gitlab.GitlabCreateError, match="!1"):
        await scene.do(scene.api("mia").mergerequests.create, data)


async def test_refused_and_slowed_requests(scene: Scene) -> None:
    branches = "GET /projects/:id/repository/branches"
    await _fault(scene, mode="fail", method=branches, status=502)
    with pytest.raises(python_gitlab.GitlabListError, match="502"):
        await scene.do(scene.api("mia").branches.list)
    assert await scene.do(scene.api("mia").branches.list)
    await _fault(scene, mode="429", method=branches, seconds=1)
    answer = await scene.do(
        requests.get,
        scene.server.url + "/api/v4/projects/1/repository/branches",
        headers={"PRIVATE-TOKEN": scene.token("mia")},
        timeout=5,
    )
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


async def test_stale_reads_show_what_was(scene: Scene) -> None:
    await _fault(scene, mode="stale_reads", method="GET *", nth=2, times=1, seconds=60)
    api = scene.api("mia")
    before = await scene.do(api.branches.get, "main")
    await scene.commit({"a": "b"})
    stale = await scene.do(api.branches.get, "main")
    assert stale.commit["id"] == before.commit["id"]
    assert (await scene.do(api.branches.get, "main")).commit["id"] != before.commit["id"]


async def test_a_push_of_git_can_be_refused_too(scene: Scene) -> None:
    await _fault(scene, mode="fail", method="GET info/refs", status=503)
    url = scene.server.url + "/demo/app.git/info/refs?service=git-upload-pack"
    answer = await scene.do(requests.get, url, auth=("x", scene.token("mia")), timeout=5)
    assert answer.status_code == 503
    answer = await scene.do(requests.get, url, auth=("x", scene.token("mia")), timeout=5)
    assert answer.status_code == 200


async def test_a_delivery_goes_out_twice(scene: Scene, ear: Ear) -> None:
    await _hook(scene, ear)
    await _fault(scene, mode="duplicate", method="hook:Push Hook")
    await scene.commit({"a": "b"})
    async with asyncio.timeout(5):
        await scene.server.forge.webhooks.idle()
    assert [body["object_kind"] for body in ear.bodies()] == ["push", "push"]
    keys = {headers["webhook-id"] for headers, _ in ear.heard}
    assert len(keys) == 1
