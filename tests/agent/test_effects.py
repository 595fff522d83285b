"""Effects happen once, whatever breaks in between: real store, real git, a GitLab in memory."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from agent.adapters.database import Database
from agent.adapters.git_vault import GitVault, GitVaults
from agent.canaries import Canaries
from agent.effects import EffectExecutor
from agent.effects.executor import HANDLERS
from agent.errors import Conflict, Fenced, ForgeRejected, ForgeUnavailable, Unavailable
from agent.events import (
    CheckpointTaken,
    Committed,
    EffectDone,
    EffectFailed,
    EffectIntended,
    EffectKind,
    Payload,
    RunEnded,
    StatusChanged,
    ToolReturned,
    WorkspaceReady,
)
from agent.freeze import EVERYWHERE
from agent.grip import gripped
from agent.intents import KIND, Intent, LinkBack, PublishMergeRequest, Push
from agent.journal import digest_of
from agent.mergerequest import marker
from agent.ports import Author, Project, Write
from agent.run import (
    CommitSha,
    Digest,
    Limits,
    Linked,
    Person,
    Request,
    Run,
    RunId,
    RunStatus,
    Thread,
)
from agent.state import fold
from agent.testing import FakeForge

ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{r}_{p}": "a@b" for r in ("AUTHOR", "COMMITTER") for p in ("NAME", "EMAIL")},
}
AUTHOR = Author(name="Journeyman", email="journeyman@example.com")
AT = datetime(2026, 5, 4, tzinfo=UTC)
DOWN = ForgeUnavailable("GitLab does not answer.")
LEE = Person(id="U3", name="lee", gitlab_id=9)
LINKED = Linked(kind="issue", iid=5, url="https://gitlab.example/5", title="Export", text="")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=ENV, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


class Scene:
    """A run with one commit in the vault, about to be published."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.store = db.store
        self.folder = folder
        self.origin = folder / "origin"
        self.vaults = GitVaults(folder / "vaults")
        self.forge = FakeForge(clone_url=str(self.origin))
        self.run = RunId(0)
        self.base = CommitSha("")
        self.commit = CommitSha("")
        self.canaries = Canaries()
        self.recipes = True  #: of commits: False as in old logs

    def on_another_host(self) -> None:
        """From here on; the base branch has moved meanwhile."""
        self.vaults = GitVaults(self.folder / "other")
        (self.origin / "app.py").write_text("moved\n")
        git(self.origin, "commit", "-qam", "By somebody else")

    @property
    def vault(self) -> GitVault:
        return self.vaults.of("group/project")

    @property
    def branch(self) -> str:
        return f"agent/{self.run}"

    @property
    def executor(self) -> EffectExecutor:
        """A new one each time, as after a restart."""
        return EffectExecutor(
            store=self.store,
            vaults=self.vaults.of,
            reader=self.forge,
            writer=self.forge,
            public_url="https://agent.example",
            canaries=self.canaries,
        )

    async def start(self) -> Scene:
        self.origin.mkdir()
        git(self.origin, "init", "-q", "-b", "main")
        (self.origin / "app.py").write_text("one\n")
        git(self.origin, "add", "-A")
        git(self.origin, "commit", "-qm", "Begin")
        request = Request(
            text="export invoices /merge @all",
            project="group/project",
            base_branch=None,
            requester=Person(id="U1", name="Mia", gitlab_username="mia"),
            thread=Thread(team="T1", channel="C1", ts="1.0"),
            message="1.0",
            linked=(LINKED,),
        )
        run, _ = await self.store.create("key", request, Limits())
        self.run = run.id
        self.base, branch = await self.vault.fetch(self.forge.origin(await self.project()), None)
        ready = WorkspaceReady(base=self.base, branch=branch, files=1, seconds=0.1)
        await self.store.write(self.run, Write(payloads=(ready,)), actor="worker")
        self.commit = await self.commit_of("two\n", self.base)
        return self

    async def project(self) -> Project:
        return await self.forge.project("group/project")

    async def commit_of(self, text: str, parent: CommitSha) -> CommitSha:
        work = self.folder / f"work-{len(list(self.folder.iterdir()))}"
        work.mkdir()
        await self.vault.checkout(parent, work)
        (work / "app.py").write_text(text)
        made = await self.vault.collect(work, self.base)
        commit = await self.vault.commit(made.tree, parent, text, author=AUTHOR, at=AT)
        finish = ToolReturned(
            call=1,
            id="c1",
            tool="finish",
            arguments=json.dumps({"summary": f"Says {text}/approve"}),
            ok=True,
            summary="",
            output=Digest("0" * 64),
            seconds=0,
        )
        patch = made.patch.encode("utf-8", "surrogateescape")
        record = await self.vault.record(commit)
        bodies = Write(payloads=(), bodies=(patch, record))
        await self.store.write(self.run, bodies, actor="worker")
        taken = CheckpointTaken(tree=made.tree, patch=digest_of(patch), files=made.files)
        committed = Committed(
            commit=commit,
            tree=made.tree,
            files=made.files,
            title="Say two",
            recipe=digest_of(record) if self.recipes else None,
        )
        await self.log(finish, taken, committed)
        return commit

    async def log(self, *payloads: Payload) -> None:
        await self.store.write(self.run, Write(payloads=payloads), actor="worker")

    async def want(self, *intents: Intent) -> None:
        await self.store.write(self.run, Write(payloads=(), intents=intents), actor="worker")

    async def want_all(self) -> None:
        await self.want(
            Push(commit=self.commit),
            PublishMergeRequest(commit=self.commit),
            LinkBack(target="issue", iid=5),
        )

    async def carry_out(self) -> None:
        await self.executor.run_pending(self.run)

    async def carry_out_as_heir(self) -> None:
        async def ours() -> None:
            pass

        with gripped(ours):
            await self.carry_out()

    async def told(self) -> list[EffectIntended | EffectDone | EffectFailed]:
        kinds = (EffectIntended, EffectDone, EffectFailed)
        events = await self.store.events(self.run)
        return [e.payload for e in events if isinstance(e.payload, kinds)]

    async def failed(self) -> list[EffectFailed]:
        return [told for told in await self.told() if isinstance(told, EffectFailed)]

    async def done(self) -> list[EffectDone]:
        return [told for told in await self.told() if isinstance(told, EffectDone)]


@pytest.fixture
async def scene(db: Database, tmp_path: Path) -> Scene:
    return await Scene(db, tmp_path).start()


async def test_a_change_becomes_a_branch_a_merge_request_and_a_note(scene: Scene) -> None:
    await scene.want_all()
    await scene.carry_out()
    assert git(scene.origin, "rev-parse", scene.branch) == scene.commit
    (request,) = scene.forge.requests
    assert request.title == "Draft: Say two"
    assert (request.source_branch, request.target_branch) == (scene.branch, "main")
    assert marker(scene.run) in request.description
    (note,) = scene.forge.notes
    assert note[:2] == ("issue", 5)
    assert request.url in note[2]
    told = await scene.told()
    assert [type(t) for t in told] == [EffectIntended, EffectDone] * 3
    push, opened, noted = await scene.done()
    assert (push.effect, push.found) == (EffectKind.PUSH, False)
    assert (opened.effect, opened.iid, opened.url) == (
        EffectKind.OPEN_MERGE_REQUEST,
        1,
        request.url,
    )
    assert noted.effect is EffectKind.NOTE
    assert await scene.store.pending_intents(scene.run) == []

    await scene.carry_out()  # again: nothing is left to do
    assert len(scene.forge.requests) == len(scene.forge.notes) == 1
    assert len(await scene.told()) == 6


async def test_the_merge_request_tells_every_round_of_a_continued_run(scene: Scene) -> None:
    await scene.want_all()
    await scene.carry_out()
    await scene.log(RunEnded(status=RunStatus.SUCCEEDED), StatusChanged(status=RunStatus.QUEUED))
    before, scene.commit = scene.commit, await scene.commit_of("three\n", scene.commit)
    push = Push(commit=scene.commit, expected=before)
    await scene.want(push, PublishMergeRequest(commit=scene.commit))
    await scene.carry_out()
    (request,) = scene.forge.requests
    first, second = (request.description.find(f"Says {word}") for word in ("two", "three"))
    assert 0 <= first < second, request.description


async def test_nothing_written_by_people_or_the_model_has_an_effect(scene: Scene) -> None:
    await scene.want_all()
    await scene.carry_out()
    text = scene.forge.requests[0].description
    assert not any(line.lstrip("> ").startswith("/") for line in text.splitlines())
    assert "@all" not in text
    assert "\\/approve" in text


async def test_nothing_is_asked_of_gitlab_before_a_freeze_ends(scene: Scene) -> None:
    await scene.want_all()
    scene.forge.calls.clear()
    await scene.store.freeze("group/project", LEE, "an incident")
    for _ in range(2):
        with pytest.raises(ForgeUnavailable, match="Frozen by @lee: an incident") as held:
            await scene.carry_out()
        assert held.value.retry_after
    assert scene.forge.calls == []
    assert await scene.told() == []  # and no attempt is counted
    state = fold(await scene.store.events(scene.run))
    assert state.frozen is not None
    assert state.frozen.freeze.by == LEE

    await scene.store.unfreeze("group/project", LEE, "")
    await scene.carry_out()
    assert fold(await scene.store.events(scene.run)).frozen is None
    assert [done.effect for done in await scene.done()] == [
        EffectKind.PUSH,
        EffectKind.OPEN_MERGE_REQUEST,
        EffectKind.NOTE,
    ]


async def test_a_freeze_that_comes_while_a_push_is_prepared_holds_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.want_all()
    project = scene.forge.project

    async def then_freeze(path: str) -> Project:
        await scene.store.freeze("group/project", LEE, "")
        return await project(path)

    with monkeypatch.context() as prepared:
        prepared.setattr(scene.forge, "project", then_freeze)
        with pytest.raises(ForgeUnavailable, match="Frozen by @lee"):
            await scene.carry_out()
    assert await scene.failed() == []
    assert git(scene.origin, "branch", "--list", scene.branch) == ""
    await scene.store.unfreeze("group/project", LEE, "")
    await scene.carry_out()
    assert len(await scene.done()) == 3


async def test_a_freeze_between_two_effects_holds_the_second(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.want_all()
    settle = scene.store.settle

    async def then_freeze(*args: Any, **more: Any) -> None:
        await settle(*args, **more)
        await scene.store.freeze(EVERYWHERE, LEE, "")

    monkeypatch.setattr(scene.store, "settle", then_freeze)
    with pytest.raises(ForgeUnavailable):
        await scene.carry_out()
    assert [done.effect for done in await scene.done()] == [EffectKind.PUSH]
    assert "open_merge_request" not in scene.forge.calls


async def test_a_push_that_was_done_before_a_crash_is_found(scene: Scene) -> None:
    intent = Push(commit=scene.commit)
    await scene.want(intent)
    key = intent.key(scene.run)
    await scene.log(EffectIntended(key=key, effect=EffectKind.PUSH, subject="push"))
    origin = scene.forge.origin(await scene.project())
    await scene.vault.push(origin, scene.commit, scene.branch, expected=None)
    await scene.carry_out()
    (done,) = await scene.done()
    assert done.found
    assert len([t for t in await scene.told() if isinstance(t, EffectIntended)]) == 1


async def test_a_merge_request_whose_answer_was_lost_is_adopted(scene: Scene) -> None:
    scene.forge.faults["open_merge_request"] = [("after", DOWN)]
    await scene.want_all()
    with pytest.raises(Unavailable) as waits:
        await scene.carry_out()
    assert waits.value.retry_after == 1
    await scene.carry_out()
    assert len(scene.forge.requests) == 1
    _, opened, _ = await scene.done()
    assert (opened.found, opened.iid) == (True, 1)


@pytest.mark.parametrize("state", ["closed", "merged"])
async def test_what_was_opened_unseen_and_decided_on_is_not_opened_again(
    scene: Scene, state: str
) -> None:
    scene.forge.faults["open_merge_request"] = [("after", DOWN)]
    await scene.want_all()
    with pytest.raises(Unavailable):
        await scene.carry_out()
    scene.forge.change(1, state=state)
    await scene.carry_out()
    assert len(scene.forge.requests) == 1
    _, opened, _ = await scene.done()
    assert (opened.found, opened.iid) == (True, 1)


async def test_what_people_have_closed_before_is_not_taken_for_the_new_one(scene: Scene) -> None:
    await scene.want_all()
    await scene.carry_out()
    scene.forge.change(1, state="closed")
    before, scene.commit = scene.commit, await scene.commit_of("three\n", scene.commit)
    scene.forge.faults["open_merge_request"] = [DOWN]
    push = Push(commit=scene.commit, expected=before)
    await scene.want(push, PublishMergeRequest(commit=scene.commit))
    with pytest.raises(Unavailable):
        await scene.carry_out()
    await scene.carry_out()
    assert [request.state for request in scene.forge.requests] == ["closed", "opened"]
    assert (await scene.done())[-1].iid == 2


async def test_who_looks_for_a_freeze_for_too_long_changes_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An heir has done it by the time at which it knows that there is none."""
    await scene.want(LinkBack(target="issue", iid=5))
    heed, looks, theirs = scene.store.heed_freeze, 0, False

    async def slowly(run: RunId, **more: Any) -> object:
        nonlocal looks, theirs
        looks += 1
        found = await heed(run, **more)
        if looks == 2:  # right before the note
            await scene.carry_out_as_heir()
            theirs = True
        return found

    async def still_ours() -> None:
        if theirs:
            raise Fenced("Another process has taken this over.")

    monkeypatch.setattr(scene.store, "heed_freeze", slowly)
    with gripped(still_ours), pytest.raises(Fenced):
        await scene.carry_out()
    assert len(scene.forge.notes) == 1


async def test_a_note_whose_answer_was_lost_is_not_left_twice(scene: Scene) -> None:
    scene.forge.faults["note"] = [("after", DOWN)]
    await scene.want_all()
    with pytest.raises(Unavailable):
        await scene.carry_out()
    await scene.carry_out()
    assert len(scene.forge.notes) == 1
    assert (await scene.done())[-1].found


@pytest.mark.parametrize("looks", range(7))
async def test_a_process_that_was_replaced_changes_nothing_more(scene: Scene, looks: int) -> None:
    """It sleeps right before its change, and its heir does all of it meanwhile."""
    await scene.want_all()
    asked = 0

    async def still_ours() -> None:
        nonlocal asked
        asked += 1
        if asked > looks:
            await scene.carry_out_as_heir()
            scene.forge.calls.clear()
            raise Fenced("Another process has taken this over.")

    with gripped(still_ours):
        if looks < 6:  # before each of three effects, and again right before each of three changes
            with pytest.raises(Fenced):
                await scene.carry_out()
            assert scene.forge.calls == []
        else:
            await scene.carry_out()
    assert asked == min(looks + 1, 6)
    assert len(scene.forge.requests) == 1
    assert len(scene.forge.notes) == 1
    assert len(await scene.done()) == 3


class _Overslept:
    """A store to which the first word of this kind comes when an heir has done everything."""

    def __init__(self, scene: Scene, kind: type[Payload]) -> None:
        self._scene = scene
        self._store = scene.store
        self._kind = kind
        self._slept = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, run: RunId, write: Write, **more: Any) -> Run:
        if not self._slept and isinstance(write.payloads[0], self._kind):
            self._slept = True
            self._scene.store = self._store
            await self._scene.carry_out_as_heir()
        return await self._store.write(run, write, **more)


@pytest.mark.parametrize("kind", [EffectIntended, EffectFailed])
async def test_what_another_process_has_done_is_not_spoken_of_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, kind: type[Payload]
) -> None:
    """It would stand in the log as under way, or as tried again soon, for ever."""
    if kind is EffectFailed:
        scene.forge.faults["project"] = [ForgeUnavailable("Too many requests.")]
    await scene.want_all()
    monkeypatch.setattr(scene, "store", _Overslept(scene, kind))
    with pytest.raises(Fenced):
        await scene.carry_out()
    state = fold(await scene.store.events(scene.run))
    assert len(state.done_effects) == 3
    assert state.open_effects == ()
    assert await scene.failed() == []


async def test_a_refusal_of_what_another_process_has_done_is_none(scene: Scene) -> None:
    """GitLab refuses because it was done, by the heir, who is about to say so."""
    scene.forge.faults["project"] = [ForgeRejected("There is one already.", status=422)]
    await scene.want(Push(commit=scene.commit))

    async def not_ours() -> None:
        if not scene.forge.faults["project"]:
            raise Fenced("Another process has taken this over.")

    with gripped(not_ours), pytest.raises(Fenced):
        await scene.carry_out()
    assert await scene.failed() == []
    await scene.carry_out()
    assert len(await scene.done()) == 1


WRITES = re.compile(r"await .*((writer|merger)\.(?!me\(|origin\()\w+|vault\.push)\(")


def test_each_change_outside_is_preceded_by_a_look_whether_it_is_still_ours() -> None:
    """By the text: nothing but the beginning of a `try` or an `if` stands between."""
    folder, seen = Path(inspect.getfile(EffectExecutor)).parent, 0
    for path in sorted(folder.glob("*.py")):
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        for number, line in enumerate(lines):
            if not WRITES.search(line):
                continue
            seen += 1
            before = number - 1
            while lines[before].strip() == "try:" or lines[before].strip().startswith("if "):
                before -= 1
            assert "await context.heed(" in lines[before], f"{path.name}: {line.strip()}"
    assert seen == 16


@pytest.mark.cell("F19", "M")
async def test_gitlab_may_take_a_minute_to_see_a_branch(scene: Scene) -> None:
    lag = ForgeRejected("GitLab says (400): source branch does not exist.", status=400)
    scene.forge.faults["open_merge_request"] = [lag] * 6
    await scene.want_all()
    waited = 0.0
    for _ in range(6):
        with pytest.raises(Unavailable) as waits:
            await scene.carry_out()
        waited += waits.value.retry_after or 0
    assert waited >= 61
    assert [f.retry_in for f in await scene.failed()] == [1, 2, 4, 8, 16, 30]
    assert [(f.attempt, f.attempts) for f in await scene.failed()] == [(n, 8) for n in range(1, 7)]
    await scene.carry_out()
    assert len(scene.forge.requests) == 1
    assert len(await scene.done()) == 3


@pytest.mark.cell("F19", "M")
async def test_a_branch_that_gitlab_never_sees_ends_the_attempts(scene: Scene) -> None:
    lag = ForgeRejected("GitLab says (400): source branch does not exist.", status=400)
    scene.forge.faults["open_merge_request"] = [lag] * 20
    await scene.want(Push(commit=scene.commit), PublishMergeRequest(commit=scene.commit))
    for _ in range(7):
        with pytest.raises(Unavailable):
            await scene.carry_out()
    await scene.carry_out()
    last = (await scene.failed())[-1]
    assert last.retry_in is None
    assert "source branch" in last.problem
    assert await scene.store.pending_intents(scene.run) == []


async def test_a_defect_of_ours_is_tried_again_and_read_back(scene: Scene) -> None:
    scene.forge.faults["note"] = [("after", RuntimeError("a defect"))]
    await scene.want_all()
    with pytest.raises(Unavailable) as waits:
        await scene.carry_out()
    assert waits.value.retry_after == 1
    assert str(waits.value).startswith("Something broke on our side (error ")
    await scene.carry_out()
    assert len(scene.forge.notes) == 1
    assert (await scene.done())[-1].found


async def test_what_always_breaks_is_given_up_and_told(scene: Scene) -> None:
    scene.forge.faults["project"] = [RuntimeError("a defect")] * 9
    await scene.want(Push(commit=scene.commit))
    for _ in range(3):
        with pytest.raises(Unavailable):
            await scene.carry_out()
    await scene.carry_out()
    failed = await scene.failed()
    assert [each.retry_in for each in failed] == [1, 8, 60, None]
    assert failed[-1].problem.startswith("Something broke on our side (error ")
    assert await scene.store.pending_intents(scene.run) == []


async def test_gitlabs_own_wish_for_patience_is_kept(scene: Scene) -> None:
    scene.forge.faults["project"] = [ForgeUnavailable("Too many requests.", retry_after=42)]
    await scene.want(Push(commit=scene.commit))
    with pytest.raises(Unavailable) as waits:
        await scene.carry_out()
    assert waits.value.retry_after == 42
    (failed,) = await scene.failed()
    assert (failed.retry_in, failed.attempt, failed.attempts) == (42, 1, 38)
    await scene.carry_out()
    assert len(await scene.done()) == 1


@pytest.mark.cell("F23", "U")
async def test_a_branch_that_a_person_moved_is_not_overwritten(scene: Scene) -> None:
    git(scene.origin, "branch", scene.branch)
    await scene.want(Push(commit=scene.commit), PublishMergeRequest(commit=scene.commit))
    await scene.carry_out()
    assert git(scene.origin, "rev-parse", scene.branch) == scene.base
    push, request = await scene.failed()
    assert push.retry_in is None
    assert "Somebody else changed the branch" in push.problem
    assert "could not be pushed" in request.problem
    assert scene.forge.requests == []


async def test_a_second_commit_brings_the_same_merge_request_up_to_date(scene: Scene) -> None:
    await scene.want_all()
    await scene.carry_out()
    first = scene.forge.requests[0].description
    second = await scene.commit_of("three\n", scene.commit)
    push = Push(commit=second, expected=scene.commit)
    await scene.want(push, PublishMergeRequest(commit=second))
    await scene.carry_out()
    assert git(scene.origin, "rev-parse", scene.branch) == second
    (request,) = scene.forge.requests
    assert request.description != first
    assert (await scene.done())[-1].effect is EffectKind.UPDATE_MERGE_REQUEST
    assert scene.forge.calls.count("open_merge_request") == 1


async def test_a_merge_request_of_somebody_else_is_not_adopted(scene: Scene) -> None:
    await scene.forge.open_merge_request(
        "group/project", source=scene.branch, target="main", title="Mine", description="by hand"
    )
    await scene.want_all()
    await scene.carry_out()
    (failed,) = await scene.failed()
    assert "!1, stands for the branch" in failed.problem
    assert scene.forge.requests[0].description == "by hand"


async def test_a_merge_request_not_seen_a_moment_ago_is_found_on_conflict(scene: Scene) -> None:
    scene.forge.faults["open_merge_request"] = [Conflict("exists already", status=409)]
    await scene.want(Push(commit=scene.commit), PublishMergeRequest(commit=scene.commit))
    with pytest.raises(Unavailable):
        await scene.carry_out()
    await scene.carry_out()
    assert len(scene.forge.requests) == 1


async def test_another_host_pushes_what_it_makes_again_from_the_log(scene: Scene) -> None:
    second = await scene.commit_of("three\n", scene.commit)
    scene.on_another_host()
    await scene.want(Push(commit=scene.commit), Push(commit=second, expected=scene.commit))
    await scene.carry_out()
    assert [done.effect for done in await scene.done()] == [EffectKind.PUSH] * 2
    assert git(scene.origin, "rev-parse", scene.branch) == second
    assert git(scene.origin, "show", f"{scene.branch}:app.py") == "three"
    history = git(scene.origin, "rev-list", scene.branch).split()
    assert history == [second, scene.commit, scene.base]


async def test_what_the_log_gives_differently_is_not_pushed(scene: Scene) -> None:
    made = fold(await scene.store.events(scene.run)).commits[-1]
    record = (await scene.vault.record(made.commit)).replace(b"two", b"new")
    bodies = Write(payloads=(), bodies=(record,))
    await scene.store.write(scene.run, bodies, actor="worker")
    await scene.log(replace(made, commit=CommitSha("1" * 40), recipe=digest_of(record)))
    scene.on_another_host()
    await scene.want(Push(commit=CommitSha("1" * 40)))
    await scene.carry_out()
    (failed,) = await scene.failed()
    assert failed.problem.endswith(", not 11111111.")
    assert git(scene.origin, "branch", "--list", "agent/*") == ""


async def test_a_commit_of_an_old_log_is_pushed_from_its_own_host_only(
    db: Database, tmp_path: Path
) -> None:
    scene = Scene(db, tmp_path)
    scene.recipes = False
    await scene.start()
    scene.on_another_host()
    await scene.want(Push(commit=scene.commit))
    await scene.carry_out()
    (failed,) = await scene.failed()
    assert "is not on this machine. Its checkpoint is kept; `retry` makes it anew" in failed.problem


async def test_what_the_log_does_not_know_is_refused(scene: Scene) -> None:
    await scene.want(Push(commit=scene.base), LinkBack(target="issue", iid=6))
    await scene.carry_out()
    push, link = await scene.failed()
    assert "not one of the run's own" in push.problem
    assert "does not name #6" in link.problem
    assert scene.forge.notes == []
    assert git(scene.origin, "branch", "--list", "agent/*") == ""


@pytest.mark.parametrize("secret", ["agent-secret-two-0123", "Says-what-n0body-may"])
async def test_a_credential_that_only_this_plane_knows_is_not_pushed(
    scene: Scene, secret: str
) -> None:
    scene.commit = await scene.commit_of(f"token = {secret}\n", scene.commit)
    scene.canaries = Canaries(secrets=frozenset({secret}))
    await scene.want_all()
    await scene.carry_out()
    assert scene.forge.requests == []
    assert git(scene.origin, "branch", "--list", "agent/*") == ""
    problems = [each.problem for each in await scene.failed()]
    assert problems[0].startswith("A credential of this service is in the change.")
    assert all(secret not in problem for problem in problems)


def test_each_intent_has_a_kind_and_a_handler():
    assert set(HANDLERS) == set(KIND) == set(get_args(Intent))


class _Unsettled:
    """A store whose `settle` has a defect; unless `always`, only for what is done."""

    def __init__(self, store: Any, *, always: bool = True) -> None:
        self._store = store
        self._always = always

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def settle(self, run: RunId, key: str, payload: Payload, *, wake: bool) -> None:
        if self._always or isinstance(payload, EffectDone):
            raise RuntimeError("a defect")
        await self._store.settle(run, key, payload, wake=wake)


async def test_an_outcome_that_can_never_be_kept_is_given_up_and_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.want(Push(commit=scene.commit))
    monkeypatch.setattr(scene, "store", _Unsettled(scene.store, always=False))
    pauses: list[float | None] = []
    for _ in range(3):
        with pytest.raises(Unavailable) as waits:
            await scene.carry_out()
        pauses.append(waits.value.retry_after)
    assert pauses == [1, 8, 60]
    await scene.carry_out()
    failed = await scene.failed()
    assert [each.retry_in for each in failed] == [1, 8, 60, None]
    assert failed[-1].problem.startswith("Something broke on our side (error ")
    assert await scene.store.pending_intents(scene.run) == []


async def test_when_not_even_that_can_be_told_the_job_breaks_and_is_not_handed_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.want(Push(commit=scene.commit))
    monkeypatch.setattr(scene, "store", _Unsettled(scene.store))
    for _ in range(3):
        with pytest.raises(Unavailable):
            await scene.carry_out()
    with pytest.raises(RuntimeError, match="a defect"):  # it is held, and counted
        await scene.carry_out()
