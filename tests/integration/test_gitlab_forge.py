"""The GitLab adapter and the vault against a stand-in that speaks GitLab's API and git."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import ClientSession, web

from agent.adapters import gitlab_client
from agent.adapters.git_vault import GitVaults
from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter
from agent.adapters.local_forge import LocalForge
from agent.errors import Conflict, ForgeRejected, ForgeUnavailable, NotFound, Refused
from agent.ports import Author, Project
from playground.faults import Fault, FaultMode
from playground.gitlab.records import User
from playground.gitlab.server import GitLabStandIn
from playground.gitlab.state import Seen

PATH = "group/invoices"


class Scene:
    def __init__(self, gitlab: GitLabStandIn, folder: Path) -> None:
        self.gitlab = gitlab
        self.vault = GitVaults(folder / "vaults").of(PATH)
        self.workspace = folder / "work"
        self.workspace.mkdir()
        self.mia = gitlab.state.add_user("mia")
        self.bot = gitlab.state.add_user("journeyman", bot=True)

    async def start(self, folder: Path) -> Scene:
        source = folder / "source"
        source.mkdir()
        (source / "app.py").write_text("one\n")
        project = await self.gitlab.add_project(PATH, owner=self.mia, source=source)
        self.project_record = project
        self.gitlab.state.add_member(project, self.bot, 30)
        return self

    def token(self, *scopes: str) -> str:
        return self.gitlab.state.add_token(self.bot, *scopes).secret

    async def says(self, who: User, path: str, said: dict[str, object]) -> None:
        """What a person writes at GitLab."""
        project = quote(PATH, safe="")
        headers = {"PRIVATE-TOKEN": self.gitlab.state.add_token(who, "api").secret}
        async with ClientSession(headers=headers) as session:
            url = f"{self.gitlab.url}/api/v4/projects/{project}{path}"
            async with session.post(url, json=said) as answer:
                assert answer.status == 201, await answer.text()

    @property
    def reader(self) -> GitLabReader:
        return GitLabReader(self.gitlab.url, self.token("read_api", "read_repository"))

    @property
    def writer(self) -> GitLabWriter:
        return GitLabWriter(self.gitlab.url, self.token("api", "write_repository"))


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with GitLabStandIn(tmp_path / "gitlab") as gitlab:
        yield await Scene(gitlab, tmp_path).start(tmp_path)


async def test_a_change_reaches_gitlab_over_http(scene: Scene) -> None:
    async with scene.reader as reader, scene.writer as writer:
        project = await reader.project(PATH)
        assert (project.path, project.default_branch) == (PATH, "main")
        base, branch = await scene.vault.fetch(reader.origin(project), None)
        assert branch == "main"
        await scene.vault.checkout(base, scene.workspace)
        (scene.workspace / "app.py").write_text("two\n")
        made = await scene.vault.collect(scene.workspace, base)
        author = Author(name="Journeyman", email="journeyman@example.com")
        commit = await scene.vault.commit(
            made.tree, base, "Say two", author=author, at=datetime(2026, 5, 4, tzinfo=UTC)
        )
        origin = writer.origin(project)
        await scene.vault.push(origin, commit, "agent/1", expected=None)
        assert await scene.vault.remote_head(origin, "agent/1") == commit

        opened = await writer.open_merge_request(
            PATH, source="agent/1", target="main", title="Draft: Say two", description="first"
        )
        assert opened.draft
        assert opened.author_id == await writer.me() == scene.bot.id
        await writer.update_merge_request(PATH, opened.iid, description="second")
        (found,) = await reader.merge_requests(PATH, "agent/1")
        assert (found.iid, found.description, found.sha) == (opened.iid, "second", commit)
        now = await reader.merge_request(PATH, opened.iid)
        assert now.compared.split() == [base, base, commit]
        assert await reader.merge_requests(PATH, "agent/2") == []
        with pytest.raises(Conflict):
            await writer.open_merge_request(
                PATH, source="agent/1", target="main", title="Again", description=""
            )
        await writer.note(PATH, "merge_request", opened.iid, "hello <!-- marker -->")
        assert await reader.has_note(PATH, "merge_request", opened.iid, "<!-- marker -->")
        assert not await reader.has_note(PATH, "merge_request", opened.iid, "<!-- other -->")
        linked = await reader.linked(PATH, "merge_request", opened.iid)
        assert (linked.title, linked.text) == ("Draft: Say two", "second")


async def test_what_this_service_has_made_is_listed_page_by_page(scene: Scene) -> None:
    git = scene.gitlab.forge.repository(scene.project_record).git
    head = await git("rev-parse", "main")
    names = [f"agent/{number}" for number in range(1, 151)]
    made = "".join(f"create refs/heads/{name} {head.decode().strip()}\n" for name in names)
    await git("update-ref", "--stdin", stdin=made.encode())
    await git("branch", "my/agent/1", "main")
    begun = datetime.now(UTC) - timedelta(minutes=1)
    async with scene.reader as reader, scene.writer as writer:
        assert set(await reader.branch_names(PATH, "agent/", most=500)) == set(names)
        assert len(await reader.branch_names(PATH, "agent/", most=100)) == 100
        assert await reader.branch_names(PATH, "other/", most=500) == []
        await scene.says(
            scene.mia,
            "/merge_requests",
            {"source_branch": "agent/2", "target_branch": "main", "title": "By hand"},
        )
        own = await writer.open_merge_request(
            PATH, source="agent/1", target="main", title="Draft: Say two", description=""
        )

        async def listed(since: datetime) -> list[int]:
            found = await reader.merge_requests_of(PATH, scene.bot.id, since=since, most=500)
            return [each.iid for each in found]

        assert await listed(begun) == [own.iid]
        assert await listed(datetime.now(UTC) + timedelta(minutes=1)) == []
        pages = "GET /projects/:id/repository/branches"
        scene.gitlab.faults.set(
            Fault(mode=FaultMode.FAIL, method=pages, nth=2, times=0, status=502)
        )
        with pytest.raises(ForgeUnavailable):
            await reader.branch_names(PATH, "agent/", most=500)


async def test_a_protected_branch_is_refused_in_gitlabs_words(scene: Scene) -> None:
    async with scene.writer as writer, scene.reader as reader:
        project = await reader.project(PATH)
        base, _ = await scene.vault.fetch(reader.origin(project), None)
        await scene.vault.checkout(base, scene.workspace)
        (scene.workspace / "app.py").write_text("two\n")
        made = await scene.vault.collect(scene.workspace, base)
        commit = await scene.vault.commit(
            made.tree, base, "x", author=Author(name="A", email="a@b"), at=datetime.now(UTC)
        )
        with pytest.raises(ForgeRejected, match="protected branch"):
            await scene.vault.push(writer.origin(project), commit, "main", expected=base)


async def test_access_is_read_live(scene: Scene) -> None:
    async with scene.reader as reader:
        assert await reader.access(PATH, scene.mia.id) >= 40
        assert await reader.access(PATH, scene.bot.id) == 30
        assert await reader.access(PATH, 4711) == 0
        assert await reader.username(scene.mia.id) == "mia"
        scene.project_record.members.pop(scene.bot.id)
        with pytest.raises(NotFound, match="GITLAB_READ_TOKEN"):
            await reader.project(PATH)


async def test_a_wrong_token_is_named(scene: Scene) -> None:
    async with GitLabReader(scene.gitlab.url, "glpat-wrong") as reader:
        with pytest.raises(ForgeRejected, match="GITLAB_READ_TOKEN") as refused:
            await reader.project(PATH)
    assert refused.value.status == 401
    assert "glpat-wrong" not in str(refused.value)
    async with GitLabWriter(scene.gitlab.url, scene.token("read_api")) as writer:
        with pytest.raises(ForgeRejected, match="scope api") as refused:
            await writer.open_merge_request(
                PATH, source="main", target="main", title="x", description=""
            )
    assert refused.value.status == 403


async def test_an_unknown_source_branch_has_its_status(scene: Scene) -> None:
    async with scene.writer as writer:
        with pytest.raises(ForgeRejected) as refused:
            await writer.open_merge_request(
                PATH, source="agent/9", target="main", title="x", description=""
            )
    assert refused.value.status in (400, 409)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(mode=FaultMode.FAIL, status=503),
        Fault(mode=FaultMode.RATE_LIMIT, seconds=1),
        Fault(mode=FaultMode.DROP_AFTER_APPLY),
    ],
    ids=["down", "too many", "cut"],
)
async def test_what_is_read_is_asked_for_again_in_a_moment(scene: Scene, fault: Fault) -> None:
    async with scene.reader as reader:
        scene.gitlab.faults.set(fault)
        project = await reader.project(PATH)
    assert project.path == PATH
    assert len(_asked(scene)) == 2


@pytest.mark.parametrize(
    ("fault", "retry_after", "fewest", "most"),
    [
        (Fault(mode=FaultMode.FAIL, status=503, times=0), None, 2, 4),
        (Fault(mode=FaultMode.RATE_LIMIT, seconds=7, times=0), 7, 1, 1),
        (Fault(mode=FaultMode.DROP_AFTER_APPLY, times=0), None, 2, 4),
    ],
    ids=["down", "too many", "cut"],
)
async def test_outages_are_told(
    scene: Scene, fault: Fault, retry_after: float | None, fewest: int, most: int
) -> None:
    async with scene.reader as reader:
        scene.gitlab.faults.set(fault)
        with pytest.raises(ForgeUnavailable) as outage:
            await reader.project(PATH)
        assert outage.value.retry_after == retry_after
        assert fewest <= len(_asked(scene)) <= most
        scene.gitlab.faults.clear()
        project = await reader.project(PATH)
    assert project.path == PATH


def _asked(scene: Scene) -> list[Seen]:
    return [seen for seen in scene.gitlab.state.requests if "/projects/" in seen.path]


async def test_a_gitlab_that_is_not_there(tmp_path: Path) -> None:
    async with GitLabReader("http://127.0.0.1:9", "glpat-x") as reader:
        with pytest.raises(ForgeUnavailable, match="does not answer"):
            await reader.project(PATH)


@pytest.mark.parametrize(
    ("fault", "doubt"),
    [
        (Fault(mode=FaultMode.HANG), True),
        (Fault(mode=FaultMode.DROP_AFTER_APPLY), True),
        (Fault(mode=FaultMode.FAIL, status=502), True),
        (Fault(mode=FaultMode.FAIL, status=504), True),
        (Fault(mode=FaultMode.FAIL, status=500), False),
        (Fault(mode=FaultMode.FAIL, status=503), False),
    ],
    ids=["hangs", "cut", "502", "504", "500", "503"],
)
async def test_a_change_that_gitlab_may_still_be_at_is_left_alone_until_it_cannot(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, fault: Fault, doubt: bool
) -> None:
    monkeypatch.setattr(gitlab_client, "SECONDS", 1.0)
    assert gitlab_client.LETS_GO > 60  # seconds that GitLab gives a request
    async with scene.writer as writer:
        scene.gitlab.faults.set(fault)
        with pytest.raises(ForgeUnavailable) as outage:
            await writer.create_branch(PATH, "agent/1", "main")
    scene.gitlab.faults.clear()
    assert outage.value.retry_after == (gitlab_client.LETS_GO if doubt else None)


async def test_a_change_that_was_heard_by_nobody_is_tried_again_soon() -> None:
    async with GitLabWriter("http://127.0.0.1:9", "glpat-x") as writer:
        with pytest.raises(ForgeUnavailable, match="does not answer") as outage:
            await writer.create_branch(PATH, "agent/1", "main")
    assert outage.value.retry_after is None


async def begun(scene: Scene, writer: GitLabWriter) -> asyncio.Task[str]:
    """A change that GitLab has heard of and does not answer, and whose caller was cancelled."""
    hangs = scene.gitlab.faults.set(Fault(mode=FaultMode.HANG))
    changing = asyncio.create_task(writer.create_branch(PATH, "agent/1", "main"))
    async with asyncio.timeout(30):
        while True:
            if hangs.hits:
                break
            await asyncio.sleep(0.01)
    for _ in range(3):
        changing.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
    assert not changing.done()
    return changing


async def test_who_is_cancelled_ends_only_when_the_change_has(scene: Scene) -> None:
    async with scene.writer as writer, scene.reader as reader:
        changing = await begun(scene, writer)
        scene.gitlab.faults.clear()
        with pytest.raises(asyncio.CancelledError):
            await changing
        origin = writer.origin(await reader.project(PATH))
        assert await scene.vault.remote_head(origin, "agent/1")


async def test_who_is_cancelled_still_tells_that_the_outcome_is_not_known(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else somebody else would look at once, and see nothing yet."""
    monkeypatch.setattr(gitlab_client, "SECONDS", 2.0)
    async with scene.writer as writer:
        changing = await begun(scene, writer)
        with pytest.raises(ForgeUnavailable) as doubt:
            await changing
        assert doubt.value.retry_after == gitlab_client.LETS_GO
    scene.gitlab.faults.clear()


async def served(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ask: Callable[[GitLabReader], Awaitable[object]],
) -> None:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with GitLabReader(f"http://127.0.0.1:{port}", "glpat-x") as reader:
            await ask(reader)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("[]", "application/json"),
        ("null", "application/json"),
        ('{"id": "seven"}', "application/json"),
        ("{broken", "application/json"),
        ("<html>", "text/html"),
    ],
)
async def test_nonsense_is_told_as_such(body: str, kind: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=body, content_type=kind)

    async def ask(reader: GitLabReader) -> None:
        with pytest.raises(ForgeUnavailable):
            await reader.project(PATH)

    await served(answer, ask)


async def test_the_token_follows_no_redirect(tmp_path: Path) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        raise web.HTTPFound(f"http://localhost:{request.url.port}/elsewhere")

    async def ask(reader: GitLabReader) -> None:
        with pytest.raises(ForgeRejected, match="redirect"):
            await reader.project(PATH)

    await served(answer, ask)
    assert len(seen) == 1


async def test_the_token_goes_to_the_configured_host_only() -> None:
    reader = GitLabReader("https://gitlab.example", "glpat-x")
    project = Project(
        id=1,
        path=PATH,
        default_branch="main",
        clone_url="https://evil.example/group/invoices.git",
        web_url="",
    )
    assert reader.origin(project).url == "https://gitlab.example/group/invoices.git"
    assert "glpat-x" not in repr(reader.origin(project))


async def test_a_local_repository_stands_in_for_gitlab(tmp_path: Path) -> None:
    for arguments in (["init", "-q", "-b", "trunk"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        process = await asyncio.create_subprocess_exec(
            "git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments, cwd=tmp_path
        )
        assert await process.wait() == 0
    forge = LocalForge()
    project = await forge.project(str(tmp_path))
    assert project.default_branch == "trunk"
    assert forge.origin(project).url == str(tmp_path)
    assert await forge.merge_requests(str(tmp_path), "agent/1") == ()
    assert await forge.branch_names(str(tmp_path), "tr", most=100) == ["trunk"]
    assert await forge.branch_names(str(tmp_path), "agent/", most=100) == []
    with pytest.raises(Refused):
        await forge.open_merge_request("x", source="a", target="b", title="", description="")
    with pytest.raises(NotFound):
        await forge.project(str(tmp_path / "missing"))


async def test_a_review_is_read_answered_resolved_and_handed_over(scene: Scene) -> None:
    async with scene.reader as reader, scene.writer as writer:
        project = await reader.project(PATH)
        base, _ = await scene.vault.fetch(reader.origin(project), None)
        await scene.vault.checkout(base, scene.workspace)
        (scene.workspace / "app.py").write_text("two\n")
        made = await scene.vault.collect(scene.workspace, base)
        author = Author(name="Journeyman", email="journeyman@example.com")
        commit = await scene.vault.commit(
            made.tree, base, "Say two", author=author, at=datetime(2026, 5, 4, tzinfo=UTC)
        )
        await scene.vault.push(writer.origin(project), commit, "agent/1", expected=None)
        opened = await writer.open_merge_request(
            PATH, source="agent/1", target="main", title="Draft: Say two", description=""
        )
        position = {"new_path": "app.py", "old_path": "app.py", "new_line": 1}
        talks = f"/merge_requests/{opened.iid}/discussions"
        await scene.says(scene.mia, talks, {"body": "why two?", "position": position})
        await scene.says(scene.mia, f"/merge_requests/{opened.iid}/notes", {"body": "nice"})

        first, second = await reader.discussions(PATH, opened.iid)
        (asked,) = first.comments
        assert (asked.author_id, asked.text) == (scene.mia.id, "why two?")
        assert (asked.path, asked.line, asked.system) == ("app.py", 1, False)
        assert (first.resolvable, first.resolved) == (True, False)
        assert (second.resolvable, second.comments[0].path) == (False, "")
        assert (await reader.merge_request(PATH, opened.iid)).comments == 2

        await writer.reply(PATH, opened.iid, first.id, "Done in `1234567`. <!-- mark -->")
        await writer.resolve(PATH, opened.iid, first.id)
        await writer.reply(PATH, opened.iid, second.id, "Thanks.")
        first, second = await reader.discussions(PATH, opened.iid)
        assert first.resolved
        assert first.comments[-1].author_id == scene.bot.id
        assert first.comments[-1].text.endswith("<!-- mark -->")
        assert len(second.comments) == 2
        await scene.says(scene.mia, talks, {"body": "for us only", "internal": True})
        assert len(await reader.discussions(PATH, opened.iid)) == 2

        await writer.assign(PATH, opened.iid, scene.mia.id)
        await writer.mark_ready(PATH, opened.iid)
        assert not (await reader.merge_request(PATH, opened.iid)).draft
        (record,) = scene.project_record.merge_requests.values()
        assert record.assignee_ids == [scene.mia.id]
