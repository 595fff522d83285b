"""GitLab's own deliveries wake the run that watches; nobody else's do anything."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.database import Database
from agent.errors import StoreUnavailable
from agent.hints import Hints
from agent.ports import Write
from agent.run import Limits, Person, Request, Run, RunStatus, Thread
from bot.web.webhooks import MAX_BODY, add_gitlab_events, read, verified
from playground.gitlab.records import DEVELOPER, Hook
from playground.gitlab.server import GitLabStandIn

SECRET = "hook-secret"
SIGNING = "whsec_" + base64.b64encode(b"signing-secret-of-32-bytes-or-so").decode()
PATH = "group/invoices"


@dataclass(kw_only=True)
class Ear:
    """The page under test on a server of its own."""

    url: str = ""
    changed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    down: bool = False

    async def hear(self, project: str, branch: str) -> None:
        self.changed.append((project, branch))
        if self.down:
            raise StoreUnavailable("PostgreSQL does not answer.")

    async def post(self, payload: Any, **headers: str) -> int:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            ClientSession() as session,
            session.post(self.url, data=io.BytesIO(body), headers=named) as answer,
        ):
            return answer.status


async def serve(ear: Ear, db: Database, secret: str) -> AsyncIterator[Ear]:
    app = web.Application()
    add_gitlab_events(secret, db.inbox, ear.hear)(app.router)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ear.url = f"http://127.0.0.1:{runner.addresses[0][1]}/gitlab/events"
    yield ear
    await runner.cleanup()


@pytest.fixture
async def ear(db: Database) -> AsyncIterator[Ear]:
    async for served in serve(Ear(), db, SECRET):
        yield served


@pytest.fixture
async def signed(db: Database) -> AsyncIterator[Ear]:
    async for served in serve(Ear(), db, SIGNING):
        yield served


def push(branch: str = "agent/1") -> dict[str, Any]:
    ref = f"refs/heads/{branch}"
    return {"object_kind": "push", "ref": ref, "project": {"path_with_namespace": PATH}}


def sign(secret: str, key: str, moment: str, body: bytes) -> str:
    digest = hmac.new(
        base64.b64decode(secret.removeprefix("whsec_")),
        f"{key}.{moment}.".encode() + body,
        hashlib.sha256,
    ).digest()
    return "v1," + base64.b64encode(digest).decode()


async def _stored(db: Database) -> list[tuple[str, str, bool]]:
    rows = await db.pool.fetch("SELECT source, key, handled_at FROM inbox ORDER BY id")
    return [(row["source"], row["key"], row["handled_at"] is not None) for row in rows]


@pytest.mark.parametrize("style", ["token", "signature"])
async def test_a_real_pipeline_is_heard_of_in_both_styles(
    ear: Ear, signed: Ear, db: Database, tmp_path: Path, style: str
) -> None:
    heard = ear if style == "token" else signed
    async with GitLabStandIn(tmp_path / "gitlab") as gitlab:
        sam = gitlab.state.add_user("sam")
        source = tmp_path / "source"
        source.mkdir()
        (source / ".gitlab-ci.yml").write_text("check: {script: ['true']}")
        project = await gitlab.add_project(PATH, owner=sam, source=source)
        gitlab.state.add_member(project, sam, DEVELOPER)
        events = ("push_events", "pipeline_events", "job_events", "merge_requests_events")
        project.hooks[1] = Hook(
            id=1,
            url=heard.url,
            created_at=gitlab.state.now(),
            events=dict.fromkeys(events, True),
            token=SECRET if style == "token" else "",
            signing_token=SIGNING if style == "signature" else "",
        )
        token = gitlab.state.add_token(sam, "api").secret
        api = f"{gitlab.url}/api/v4/projects/1"
        async with ClientSession(headers={"PRIVATE-TOKEN": token}) as session:
            data = {"branch": "agent/1", "ref": "main"}
            async with session.post(f"{api}/repository/branches", json=data) as answer:
                sha = (await answer.json())["commit"]["id"]
            state = {"state": "failed", "name": "ci/elsewhere", "ref": "agent/1"}
            async with session.post(f"{api}/statuses/{sha}", json=state) as answer:
                assert answer.status == 201
        await gitlab.forge.webhooks.idle()
    assert set(heard.changed) == {(PATH, "agent/1")}
    assert {entry["response_status"] for entry in project.hooks[1].log} == {"200"}
    kinds = {row["payload"] for row in await db.pool.fetch("SELECT payload FROM inbox")}
    assert {"push", "pipeline"} <= {json.loads(kind)["kind"] for kind in kinds}
    assert all(done for _, _, done in await _stored(db))


async def test_a_delivery_counts_once(ear: Ear, db: Database) -> None:
    headers = {"X_Gitlab_Token": SECRET, "Idempotency_Key": "k1"}
    assert [await ear.post(push(), **headers) for _ in range(3)] == [200] * 3
    assert ear.changed == [(PATH, "agent/1")]
    assert await _stored(db) == [("gitlab", "k1", True)]


async def test_what_is_forged_stale_or_altered_is_refused(signed: Ear, db: Database) -> None:
    body, now = json.dumps(push()).encode(), int(time.time())

    async def sent(key: str, moment: int, signature: str, body: bytes = body) -> int:
        return await signed.post(
            body, webhook_id=key, webhook_timestamp=str(moment), webhook_signature=signature
        )

    good = sign(SIGNING, "k1", str(now), body)
    other = "whsec_" + base64.b64encode(b"another").decode()
    assert await sent("k1", now, sign(other, "k1", str(now), body)) == 401
    assert await sent("k2", now, good) == 401
    assert await sent("k1", now + 1, good) == 401
    assert await sent("k1", now, good, body + b" ") == 401
    assert await sent("k1", now, good.removeprefix("v1,")) == 401
    for old in (now - 400, now + 400):
        assert await sent("k1", old, sign(SIGNING, "k1", str(old), body)) == 401
    assert await signed.post(body, X_Gitlab_Token="") == 401
    assert await signed.post(body, X_Gitlab_Token="wrong") == 401
    assert await signed.post(body) == 401
    assert (signed.changed, await _stored(db)) == ([], [])
    assert await sent("k1", now, f"v1,bm8= {good}") == 200
    assert await sent("k1", now, good) == 200  # replayed in time: known already
    assert signed.changed == [(PATH, "agent/1")]


async def test_without_a_secret_there_is_no_such_page(db: Database) -> None:
    async for ear in serve(Ear(), db, ""):
        assert await ear.post(push(), X_Gitlab_Token="") == 404
        assert ear.changed == []


async def test_what_concerns_no_run_and_what_is_no_delivery(ear: Ear, db: Database) -> None:
    proof = {"X_Gitlab_Token": SECRET}
    assert await ear.post(push("main"), **proof) == 200
    assert await ear.post({"object_kind": "note", "project": {}}, **proof) == 200
    assert await ear.post(b"[" * 100_000, **proof) == 400
    assert await ear.post(b"\xff", **proof) == 400
    assert await ear.post(b" " * (MAX_BODY + 1), **proof) == 413
    assert (ear.changed, await _stored(db)) == ([], [])


async def test_a_hint_that_is_lost_fails_no_delivery(ear: Ear, db: Database) -> None:
    ear.down = True
    assert await ear.post(push(), X_Gitlab_Token=SECRET, webhook_id="k1") == 200
    assert await _stored(db) == [("gitlab", "k1", False)]


def test_each_kind_names_its_branch() -> None:
    project = {"path_with_namespace": PATH}
    pipeline = {"object_kind": "pipeline", "project": project}
    detached = {"ref": "refs/merge-requests/3/head", "status": "failed"}
    payloads = [
        pipeline | {"object_attributes": {"ref": "agent/1"}},
        pipeline | {"object_attributes": detached, "merge_request": {"source_branch": "agent/1"}},
        {"object_kind": "build", "ref": "agent/1", "build_status": "failed", "project": project},
        {
            "object_kind": "merge_request",
            "object_attributes": {"source_branch": "agent/1"},
            "project": project,
        },
        push(),
    ]
    for payload in payloads:
        happened = read(payload)
        assert happened is not None
        assert (happened.project, happened.branch) == (PATH, "agent/1")
    begun = {"object_kind": "build", "ref": "agent/1", "build_status": "running"}
    assert read(begun | {"project": project}) is None


@given(
    st.binary(max_size=60),
    st.dictionaries(
        st.sampled_from(["X-Gitlab-Token", "webhook-id", "webhook-timestamp", "webhook-signature"]),
        st.text(max_size=40),
    ),
)
def test_no_proof_that_was_guessed_is_accepted(body: bytes, headers: dict[str, str]) -> None:
    assert not verified(SECRET, body, headers, now=1_790_000_000.0)
    assert not verified("", body, headers, now=1_790_000_000.0)


async def _watching(db: Database) -> Run:
    request = Request(
        text="add an export",
        project=PATH,
        base_branch=None,
        requester=Person(id="U1", name="Ann"),
        thread=Thread(team="T1", channel="C1", ts="1.0"),
        message="1.0",
    )
    run, _ = await db.store.create("key", request, Limits())
    await db.pool.execute("DELETE FROM engine.pgqueuer WHERE status = 'queued'")
    mine = await db.store.claim(run.id, "w1")
    assert mine is not None
    park = Write(payloads=(), status=RunStatus.WATCHING, wake=True, wake_after=60.0)
    return await db.store.write(run.id, park, actor="worker", epoch=mine.epoch)


async def test_only_the_run_of_that_branch_and_project_is_woken(db: Database) -> None:
    run, hints = await _watching(db), Hints(db.store)
    assert not await hints.changed("group/other", run.branch)
    for branch in ("main", "agent/999", "agent/0", f"{run.branch}x", f"agent/{'9' * 40}"):
        assert not await hints.changed(PATH, branch)
    assert await hints.changed(PATH.upper(), run.branch)
