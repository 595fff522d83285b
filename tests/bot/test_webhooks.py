"""GitLab's own deliveries wake the run that watches; nobody else's do anything."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.database import Database
from agent.adapters.postgres import Connection
from agent.errors import ForgeRejected, StoreUnavailable
from agent.events import Committed
from agent.hints import Hint, HintKind, Hints
from agent.ports import Write
from agent.run import (
    CommitSha,
    Limits,
    Person,
    Request,
    Run,
    RunId,
    RunStatus,
    Thread,
    TreeSha,
)
from bot.inbox import Redelivery
from bot.web import webhooks
from bot.web.webhooks import MAX_BODY, SOURCE, add_gitlab_events, hear_again, read, verified
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
    kinds: list[HintKind] = field(default_factory=list[HintKind])
    down: bool = False
    free: asyncio.Event | None = None

    async def hear(self, hint: Hint) -> None:
        if self.free is not None:
            await self.free.wait()
        self.changed.append((hint.project, hint.branch))
        self.kinds.append(hint.kind)
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


def begins(project: str, default: str) -> str:
    """Runs of this one project begin on the branch that GitLab calls the default."""
    return default if project == PATH else ""


async def serve(ear: Ear, db: Database, secret: str) -> AsyncIterator[Ear]:
    app = web.Application()
    add_gitlab_events(secret, db.inbox, ear.hear, begins=begins)(app.router)
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
        (source / "README").write_text("checked elsewhere")
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
    assert {"pushed", "pipeline"} <= {json.loads(kind)["kind"] for kind in kinds}
    assert all(done for _, _, done in await _stored(db))


async def test_a_delivery_counts_once(ear: Ear, db: Database) -> None:
    headers = {"X_Gitlab_Token": SECRET, "Idempotency_Key": "k1"}
    assert [await ear.post(push(), **headers) for _ in range(3)] == [200] * 3
    assert ear.changed == [(PATH, "agent/1")]
    assert await _stored(db) == [("gitlab", "k1", True)]


async def test_what_says_that_it_is_old_is_a_replay_even_with_the_right_token(
    ear: Ear, db: Database
) -> None:
    headers = {"X_Gitlab_Token": SECRET, "webhook_id": "k1"}
    for moment in (int(time.time()) - 400, int(time.time()) + 400, "abc", ""):
        assert await ear.post(push(), webhook_timestamp=str(moment), **headers) == 401
    assert (ear.changed, await _stored(db)) == ([], [])
    assert await ear.post(push(), webhook_timestamp=str(int(time.time())), **headers) == 200
    assert ear.changed == [(PATH, "agent/1")]


async def test_a_forged_success_is_only_ever_a_reason_to_look(ear: Ear, db: Database) -> None:
    """Whatever it says of a pipeline, a commit or an approval: none of it is kept."""
    forged = {
        "object_kind": "pipeline",
        "object_attributes": {
            "id": 1,
            "ref": "agent/1",
            "sha": "a" * 40,
            "status": "success",
            "detailed_status": "passed",
        },
        "project": {"path_with_namespace": PATH},
        "approved": True,
    }
    keys = ["k1", "k1", "k2"]
    for key in keys:
        assert await ear.post(forged, X_Gitlab_Token=SECRET, Idempotency_Key=key) == 200
    assert ear.changed == [(PATH, "agent/1")] * 2
    kept = {row["payload"] for row in await db.pool.fetch("SELECT payload FROM inbox")}
    assert all("success" not in each and "a" * 40 not in each for each in kept)


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


def told(payload: dict[str, Any]) -> tuple[str, str, str, int] | None:
    hint = read({"project": {"path_with_namespace": PATH}, **payload})
    return (hint.kind, hint.project, hint.branch, hint.iid) if hint else None


def merge_request(action: str, **more: Any) -> dict[str, Any]:
    about = {"source_branch": "agent/1", "iid": 7, "action": action, **more.pop("about", {})}
    return {"object_kind": "merge_request", "object_attributes": about, **more}


def pipeline(status: str, **more: Any) -> dict[str, Any]:
    about = {"ref": "agent/1", "status": status}
    return {"object_kind": "pipeline", "object_attributes": about, **more}


def test_each_kind_names_its_branch() -> None:
    detached = pipeline("failed", merge_request={"source_branch": "agent/1", "iid": 7})
    detached["object_attributes"]["ref"] = "refs/merge-requests/7/head"
    sha = "a" * 40
    for payload, kind, iid in (
        (pipeline("success"), "pipeline", 0),
        (pipeline("manual"), "pipeline", 0),
        (detached, "pipeline", 7),
        (push() | {"after": sha}, "pushed", 0),
        (merge_request("close"), "closed", 7),
        (merge_request("reopen"), "reopened", 7),
        (merge_request("merge"), "merged", 7),
        (merge_request("unapproved"), "approval", 7),
        (merge_request("update", about={"oldrev": sha}), "pushed", 7),
        (merge_request("update", changes={"target_branch": {}}), "retargeted", 7),
        (
            {"object_kind": "note", "merge_request": {"source_branch": "agent/1", "iid": 7}},
            "note",
            7,
        ),
    ):
        assert told(payload) == (kind, PATH, "agent/1", iid)


@pytest.mark.parametrize("status", ["created", "pending", "running", "canceling", "scheduled"])
def test_what_settles_nothing_is_not_heard(status: str) -> None:
    """Each look that a run has for it would be missing when its pipeline ends."""
    assert told(pipeline(status)) is None
    job = {"object_kind": "build", "ref": "agent/1", "build_status": "failed"}
    assert told(job) is None
    assert told(merge_request("open")) is None
    assert told(push("main")) is None
    assert told(merge_request("update", changes={"description": {}})) is None


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


def advanced(**more: Any) -> dict[str, Any]:
    about = {"path_with_namespace": PATH, "default_branch": "main"}
    return push("main") | {"after": "a" * 40, "project": about} | more


def test_a_push_is_new_code_only_where_runs_begin() -> None:
    found = read(advanced(), begins)
    assert found == hint(PATH, "main", "advanced", "a" * 40)
    other = {"path_with_namespace": "group/other", "default_branch": "main"}
    for payload in (
        advanced(ref="refs/heads/topic"),
        advanced(ref="refs/tags/main"),
        advanced(ref="main"),
        advanced(after="0" * 40),  # the branch was deleted
        advanced(after="--upload-pack=x"),
        advanced(after=None),
        advanced(project=other),
        advanced(project={"path_with_namespace": PATH, "default_branch": ["main"]}),
        advanced(object_kind="tag_push"),
        advanced(object_kind="note", merge_request={"source_branch": "main"}),
    ):
        assert read(payload, begins) is None
    assert read(advanced(), lambda project, default: "develop") is None
    assert read(advanced(ref="refs/heads/develop"), lambda project, default: "develop")


async def test_a_push_of_new_code_is_kept_once_and_comes_again_after_a_crash(
    ear: Ear, db: Database
) -> None:
    headers = {"X_Gitlab_Token": SECRET, "webhook_id": "k1"}
    assert await ear.post(advanced(), X_Gitlab_Token="wrong", webhook_id="k1") == 401
    assert await ear.post(advanced(), **headers) == 200
    assert await ear.post(advanced(), **headers) == 200
    assert await ear.post(advanced(ref="refs/heads/topic"), X_Gitlab_Token=SECRET) == 200
    assert (ear.kinds, ear.changed) == ([HintKind.ADVANCED], [(PATH, "main")])
    assert await _stored(db) == [("gitlab", "k1", True)]
    await db.pool.execute("UPDATE inbox SET handled_at = NULL")
    hints = Hints(db.store, on_advanced=db.pushes.tell)
    (left,) = await db.inbox.unhandled(timedelta(0))
    await hear_again(db.inbox, hints.hear)(left.id, left.payload)
    told = await db.pushes.take([PATH], held=60)
    assert told is not None
    assert told.commit == "a" * 40


async def test_gitlab_s_own_push_is_heard_where_runs_begin_and_nowhere_else(
    ear: Ear, db: Database, tmp_path: Path
) -> None:
    async with GitLabStandIn(tmp_path / "gitlab") as gitlab:
        sam = gitlab.state.add_user("sam")
        source = tmp_path / "source"
        source.mkdir()
        (source / "README").write_text("one")
        project = await gitlab.add_project(PATH, owner=sam, source=source)
        project.hooks[1] = Hook(
            id=1,
            url=ear.url,
            created_at=gitlab.state.now(),
            events={"push_events": True},
            token=SECRET,
        )
        gitlab.forge.webhooks.copies = lambda event: 2
        token = gitlab.state.add_token(sam, "api").secret
        shas: list[str] = []
        async with ClientSession(headers={"PRIVATE-TOKEN": token}) as session:
            for n, branch in enumerate(("topic", "main")):
                data: dict[str, Any] = {
                    "branch": branch,
                    "commit_message": "Change",
                    "actions": [{"action": "create", "file_path": f"{n}.txt", "content": "x"}],
                }
                data |= {"start_branch": "main"} if branch == "topic" else {}
                url = f"{gitlab.url}/api/v4/projects/1/repository/commits"
                async with session.post(url, json=data) as answer:
                    assert answer.status == 201, await answer.text()
                    shas.append((await answer.json())["id"])
        await gitlab.forge.webhooks.idle()
    assert (ear.kinds, ear.changed) == ([HintKind.ADVANCED], [(PATH, "main")])
    (kept,) = await db.pool.fetch("SELECT payload FROM inbox")
    assert json.loads(kept["payload"])["head"] == shas[-1]


async def test_new_code_wakes_no_run_that_delivers_there(db: Database) -> None:
    run, told = await _watching(db), list[str]()

    async def on_advanced(project: str, commit: CommitSha) -> None:
        told.append(project)

    hints = Hints(db.store, on_advanced=on_advanced)
    assert await hints.hear(hint(PATH, "main", "advanced", "a" * 40))
    assert not await Hints(db.store).hear(hint(PATH, "main", "advanced", "a" * 40))
    assert told == [PATH]
    woken = (
        "SELECT count(*) FROM engine.pgqueuer WHERE status = 'queued' AND execute_after <= now()"
    )
    assert await db.pool.fetchval(woken) == 0
    assert (await db.store.run(run.id)).status is RunStatus.WATCHING


async def _watching(db: Database, key: str = "key") -> Run:
    request = Request(
        text="add an export",
        project=PATH,
        base_branch=None,
        requester=Person(id="U1", name="Ann"),
        thread=Thread(team="T1", channel="C1", ts="1.0"),
        message="1.0",
    )
    run, _ = await db.store.create(key, request, Limits())
    await db.pool.execute("DELETE FROM engine.pgqueuer WHERE status = 'queued'")
    mine = await db.store.claim(run.id, "w1")
    assert mine is not None
    park = Write(payloads=(), status=RunStatus.WATCHING, wake=True, wake_after=60.0)
    return await db.store.write(run.id, park, actor="worker", epoch=mine.epoch)


def hint(project: str, branch: str, kind: str = "pipeline", head: str | None = None) -> Hint:
    sha = CommitSha(head) if head else None
    return Hint(kind=HintKind(kind), project=project, branch=branch, head=sha)


async def test_only_the_run_of_that_branch_and_project_is_woken(db: Database) -> None:
    run, hints = await _watching(db), Hints(db.store)
    assert not await hints.hear(hint("group/other", run.branch))
    for branch in ("main", "agent/999", "agent/0", f"{run.branch}x", f"agent/{'9' * 40}"):
        assert not await hints.hear(hint(PATH, branch))
    assert await hints.hear(hint(PATH, f"{run.branch}-revert-2"))
    assert await hints.hear(hint(PATH.upper(), run.branch))


async def test_a_run_of_that_number_in_another_database_is_not_meant(
    db: Database, owner: Connection
) -> None:
    await owner.execute("UPDATE installation SET mark = 'a1b2'")
    run, hints = await _watching(db), Hints(db.store)
    assert run.branch == f"agent/{run.id}-a1b2"
    for branch in (f"agent/{run.id}", f"agent/{run.id}-c3d4", f"agent/{run.id}-c3d4-revert-2"):
        assert not await hints.hear(hint(PATH, branch))
    assert await hints.hear(hint(PATH, f"{run.branch}-revert-2"))
    assert await hints.hear(hint(PATH, run.branch))


async def test_a_run_is_not_woken_by_its_own_push(db: Database) -> None:
    run, hints = await _watching(db), Hints(db.store)
    ours, theirs = "a" * 40, "b" * 40
    made = Committed(commit=CommitSha(ours), tree=TreeSha("c" * 40), files=(), title="Ours")
    await db.store.write(run.id, Write(payloads=(made,)), actor="worker")
    assert not await hints.hear(hint(PATH, run.branch, "pushed", ours))
    assert await hints.hear(hint(PATH, run.branch, "pushed", theirs))


async def test_who_waits_for_an_approval_is_told_elsewhere(db: Database) -> None:
    run, told = await _watching(db), list[RunId]()

    async def on_waiting(waiting: RunId) -> None:
        told.append(waiting)

    hints = Hints(db.store, on_waiting=on_waiting)
    assert await hints.hear(hint(PATH, run.branch, "merged"))
    assert told == []
    waits = Write(payloads=(), status=RunStatus.WAITING_FOR_APPROVAL)
    await db.store.write(run.id, waits, actor="worker")
    assert await hints.hear(hint(PATH, run.branch, "merged"))
    assert told == [run.id]


async def test_the_pipeline_of_a_target_branch_wakes_who_delivers_there(db: Database) -> None:
    run, hints = await _watching(db), Hints(db.store)
    assert not await hints.hear(hint(PATH, "main"))
    delivers = Write(payloads=(), status=RunStatus.DELIVERING, wake=True, wake_after=60.0)
    await db.store.write(run.id, delivers, actor="worker")
    assert not await hints.hear(hint("group/other", "main"))
    assert await hints.hear(hint(PATH, "main"))


@pytest.mark.parametrize("error", [ForgeRejected("GitLab said no."), KeyError("iid")])
async def test_of_several_runs_one_that_breaks_or_is_refused_keeps_no_other_from_looking(
    db: Database, error: Exception
) -> None:
    runs = [await _watching(db, key) for key in ("1.0", "2.0", "3.0")]
    waits = Write(payloads=(), status=RunStatus.WAITING_FOR_APPROVAL)
    for run in runs:
        await db.store.write(run.id, waits, actor="worker")
    told: list[RunId] = []

    async def on_waiting(waiting: RunId) -> None:
        told.append(waiting)
        if len(told) == 1:
            raise error

    assert await Hints(db.store, on_waiting=on_waiting).hear(hint(PATH, "main"))
    assert sorted(told) == [run.id for run in runs]


async def test_what_was_not_finished_is_heard_again(ear: Ear, db: Database) -> None:
    ear.down = True
    assert await ear.post(push(), X_Gitlab_Token=SECRET, webhook_id="k1") == 200
    ear.down = False
    hearing = {SOURCE: hear_again(db.inbox, ear.hear)}
    again = Redelivery(deliveries=db.inbox, dispatch=hearing, left=0.0)
    serving = asyncio.create_task(again.serve())
    async with asyncio.timeout(60):
        while await _stored(db) != [("gitlab", "k1", True)]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    serving.cancel()
    assert ear.kinds == ["pushed", "pushed"]


async def test_an_outage_of_any_length_loses_no_delivery(ear: Ear, db: Database) -> None:
    ear.down = True
    for name in ("k1", "k2"):
        assert await ear.post(push(), X_Gitlab_Token=SECRET, webhook_id=name) == 200
    hearing = {SOURCE: hear_again(db.inbox, ear.hear)}
    again = Redelivery(deliveries=db.inbox, dispatch=hearing, every=0.02, left=0.0)
    serving = asyncio.create_task(again.serve())
    async with asyncio.timeout(60):
        while len(ear.kinds) < 20:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        ear.down = False
        while await _stored(db) != [("gitlab", "k1", True), ("gitlab", "k2", True)]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    serving.cancel()


async def test_gitlab_does_not_wait_for_what_takes_long_to_hear(
    ear: Ear, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "MOMENT", 0.01)
    ear.free = asyncio.Event()
    assert await ear.post(push(), X_Gitlab_Token=SECRET) == 200
    [(_, _, handled)] = await _stored(db)
    assert (ear.changed, handled) == ([], False)  # a crash now would not lose it
    ear.free.set()
    for _ in range(500):
        if (await _stored(db))[0][2]:
            break
        await asyncio.sleep(0.01)
    assert (await _stored(db))[0][2]
    assert ear.changed == [(PATH, "agent/1")]
