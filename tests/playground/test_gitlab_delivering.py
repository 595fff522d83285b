"""Merging, reverting and deploying, and what is read for it, against the stand-in for GitLab."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from gitlab_scene import Scene

from agent.adapters import gitlab_changes
from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter
from agent.difference import read_patch
from agent.errors import Conflict, ForgeRejected, ForgeUnavailable, NotFound
from agent.gate import EnvironmentRule, TargetRule
from agent.ports import MergeRequest
from agent.run import CommitSha
from bot import doctor
from bot.build import make_canaries
from bot.gate_check import gate_checks
from bot.settings import ProjectEntry, Settings
from playground.faults import Fault, FaultMode
from playground.gitlab.server import GitLabStandIn

PATH = "group/invoices"
CI = """
test: {script: ["true"]}
ship:
  stage: deploy
  script: ["true"]
  when: manual
  environment: {name: production, url: "https://shop.example"}
"""


class Here:
    """A project with a bot that may merge, and a way to make commits as a person."""

    def __init__(self, gitlab: GitLabStandIn, reader: GitLabReader, writer: GitLabWriter) -> None:
        self.gitlab = gitlab
        self.state = gitlab.state
        self.reader = reader
        self.writer = writer

    @property
    def project(self) -> Any:
        return next(iter(self.state.projects.values()))

    async def commit(self, branch: str, files: dict[str, str], *, start: str = "main") -> str:
        def act() -> str:
            mia = self.client("mia").projects.get(PATH, lazy=True)
            tree = {entry["path"] for entry in mia.repository_tree(ref=start, get_all=True)}
            data: dict[str, Any] = {
                "branch": branch,
                "commit_message": f"Change {branch}",
                "actions": [
                    {"action": "update" if p in tree else "create", "file_path": p, "content": text}
                    for p, text in files.items()
                ],
            }
            if branch != start:
                data["start_branch"] = start
            return mia.commits.create(data).id

        return await asyncio.to_thread(act)

    def client(self, name: str) -> Any:
        import gitlab

        user = self.state.user_by_name(name)
        assert user is not None
        return gitlab.Gitlab(
            self.gitlab.url, private_token=self.state.add_token(user, "api").secret
        )

    async def request(self, title: str = "A change", *, branch: str = "topic") -> MergeRequest:
        await self.commit(branch, {"app.py": "two\n"})
        made = await self.writer.open_merge_request(
            PATH, source=branch, target="main", title=title, description=""
        )
        return await self.reader.merge_request(PATH, made.iid)

    async def head(self, branch: str) -> str | None:
        return await self.gitlab.forge.repository(self.project).branch(branch)


@pytest.fixture
async def here(gitlab: GitLabStandIn, tmp_path: Path) -> AsyncIterator[Here]:
    async with AsyncExitStack() as stack:
        mia = gitlab.state.add_user("mia")
        bot = gitlab.state.add_user("journeyman", bot=True)
        source = tmp_path / "source"
        source.mkdir()
        (source / "app.py").write_text("one\n")
        project = await gitlab.add_project(PATH, owner=mia, source=source)
        gitlab.state.add_member(project, bot, 40)

        def token(*scopes: str) -> str:
            return gitlab.state.add_token(bot, *scopes).secret

        reader = await stack.enter_async_context(
            GitLabReader(gitlab.url, token("read_api", "read_repository"))
        )
        writer = await stack.enter_async_context(
            GitLabWriter(gitlab.url, token("api"), token_name="GITLAB_MERGE_TOKEN")
        )
        yield Here(gitlab, reader, writer)


async def test_a_merge_at_exactly_the_head_that_was_shown(here: Here) -> None:
    request = await here.request("Draft: [Draft] (draft) A change")
    assert request.draft
    assert request.sha
    assert (request.detailed_status, request.merged, request.merged_by) == (
        "draft_status",
        None,
        None,
    )
    assert request.project_id == here.project.id
    with pytest.raises(ForgeRejected) as early:
        await here.writer.merge(PATH, request.iid, request.sha)
    assert early.value.status == 405

    await here.writer.mark_ready(PATH, request.iid)
    ready = await here.reader.merge_request(PATH, request.iid)
    assert (ready.title, ready.draft, ready.detailed_status) == ("A change", False, "mergeable")
    await here.writer.mark_ready(PATH, request.iid)

    later = await here.commit("topic", {"app.py": "three\n"}, start="topic")
    with pytest.raises(Conflict) as moved:
        await here.writer.merge(PATH, request.iid, request.sha)
    assert moved.value.status == 409
    assert await here.head("main") != later

    merged = await here.writer.merge(PATH, request.iid, CommitSha(later))
    assert (merged.state, merged.merged_by) == ("merged", await here.writer.me())
    assert merged.merged == await here.head("main") != later
    assert await here.head("topic") == later, "the source branch is kept"


@pytest.mark.parametrize(
    ("settings", "squash"), [({"merge_method": "ff"}, False), ({}, True), ({}, False)]
)
async def test_what_the_target_got(here: Here, settings: dict[str, str], squash: bool) -> None:
    here.project.settings.update(settings)
    request = await here.request()
    here.project.merge_requests[request.iid].squash = squash
    assert request.sha
    await here.writer.merge(PATH, request.iid, request.sha)

    merged = await here.reader.merge_request(PATH, request.iid)
    assert merged.merged == await here.head("main")
    (listed,) = await here.reader.merge_requests(PATH, "topic")
    assert listed.merged == merged.merged


async def test_gitlabs_refusals_keep_their_number(here: Here) -> None:
    request = await here.request()
    assert request.sha
    await here.commit("main", {"app.py": "other\n"})
    with pytest.raises(ForgeRejected) as conflict:
        await here.writer.merge(PATH, request.iid, request.sha)
    assert conflict.value.status == 422
    with pytest.raises(NotFound):
        await here.writer.merge(PATH, 77, request.sha)
    for status in (400, 406):
        here.gitlab.faults.set(Fault(mode=FaultMode.FAIL, method="PUT */merge", status=status))
        with pytest.raises(ForgeRejected) as refused:
            await here.writer.merge(PATH, request.iid, request.sha)
        assert refused.value.status == status


async def test_who_may_not_merge_is_told_so_and_not_that_the_token_is_wrong(here: Here) -> None:
    request = await here.request()
    assert request.sha
    here.state.protect(here.project, "main", push=0, merge=0)
    with pytest.raises(ForgeRejected, match="user of GITLAB_MERGE_TOKEN merge") as refused:
        await here.writer.merge(PATH, request.iid, request.sha)
    assert refused.value.status == 401
    assert "revoked" not in str(refused.value)


async def test_a_merge_whose_answer_is_lost_is_read_back(here: Here) -> None:
    request = await here.request()
    assert request.sha
    here.gitlab.faults.set(Fault(mode=FaultMode.DROP_AFTER_APPLY, method="PUT */merge"))
    with pytest.raises(ForgeUnavailable):
        await here.writer.merge(PATH, request.iid, request.sha)
    found = await here.reader.merge_request(PATH, request.iid)
    assert (found.state, found.merged) == ("merged", await here.head("main"))
    here.gitlab.faults.set(Fault(mode=FaultMode.FAIL, method="PUT */merge", status=500))
    with pytest.raises(ForgeUnavailable):
        await here.writer.merge(PATH, request.iid, request.sha)


async def test_a_revert_has_a_branch_of_its_own(here: Here) -> None:
    request = await here.request()
    assert request.sha
    merged = (await here.writer.merge(PATH, request.iid, request.sha)).merged
    assert merged
    start = await here.writer.create_branch(PATH, "revert/1", "main")
    assert start == merged
    with pytest.raises(Conflict):
        await here.writer.create_branch(PATH, "revert/1", "main")
    with pytest.raises(ForgeRejected) as unknown:
        await here.writer.create_branch(PATH, "revert/2", "nowhere")
    assert not isinstance(unknown.value, Conflict)
    reverted = await here.writer.revert(PATH, request.sha, "revert/1")
    assert await here.head("revert/1") == reverted
    with pytest.raises(ForgeRejected) as empty:
        await here.writer.revert(PATH, request.sha, "revert/1")
    assert empty.value.status == 400


async def test_the_difference_is_the_same_in_one_piece_and_by_file(here: Here) -> None:
    files = {"app.py": "two\n", "new/ä b.txt": "one\ntwo\n", "last.txt": "no newline"}
    await here.commit("topic", files)
    made = await here.writer.open_merge_request(
        PATH, source="topic", target="main", title="x", description=""
    )
    whole = await here.reader.difference(PATH, made.iid)
    assert whole == await here.reader.difference(PATH, made.iid)

    here.gitlab.faults.set(Fault(mode=FaultMode.FAIL, method="GET */raw_diffs", status=404))
    by_file = await here.reader.difference(PATH, made.iid)

    def told(patch: bytes) -> list[tuple[str, bool, int, int]]:
        diffs = read_patch(patch.decode())
        return sorted((d.path, d.old is None, len(d.added), len(d.removed)) for d in diffs)

    assert told(whole) == told(by_file)
    assert [each[0] for each in told(whole)] == ["app.py", "last.txt", "new/ä b.txt"]
    await here.commit("topic", {"app.py": "three\n"}, start="topic")
    assert await here.reader.difference(PATH, made.iid) != whole
    with pytest.raises(NotFound):
        await here.reader.difference(PATH, 77)


async def test_a_difference_that_is_not_whole_is_refused(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await here.request()
    monkeypatch.setattr(gitlab_changes, "MOST", 20)
    with pytest.raises(ForgeRejected, match="larger than"):
        await here.reader.difference(PATH, request.iid)

    monkeypatch.setattr(gitlab_changes, "MOST", 20_000)
    monkeypatch.setattr(gitlab_changes, "LINES", 2)
    with pytest.raises(ForgeRejected, match="more than 2 lines"):
        await here.reader.difference(PATH, request.iid)

    async def answer(asked: web.Request) -> web.Response:
        if asked.path.endswith("raw_diffs"):
            raise web.HTTPNotFound
        return web.json_response([{"new_path": "big.txt", "too_large": True, "diff": ""}])

    async def ask(reader: GitLabReader) -> None:
        with pytest.raises(ForgeRejected, match=r"whole difference of big\.txt"):
            await reader.difference(PATH, 1)

    await served(answer, ask)


async def test_a_commit_tells_on_whose_request_it_was_made(here: Here) -> None:
    async def answer(asked: web.Request) -> web.Response:
        told = "Mend it\n\nRequested-by: Mia (of (us) mia)\nRequested-by: Ada L. (ada)\n"
        return web.json_response([{"id": "a" * 40, "title": "Mend it", "message": told}])

    async def ask(reader: GitLabReader) -> None:
        (commit,) = await reader.commits(PATH, 1)
        assert commit.askers == {"ada"}

    await served(answer, ask)


async def test_commits_name_everybody_who_is_in_them(here: Here) -> None:
    request = await here.request()
    (commit,) = await here.reader.commits(PATH, request.iid)
    mia = here.state.user_by_name("mia")
    assert mia
    assert (commit.sha, commit.title) == (request.sha, "Change topic")
    assert (commit.names, commit.emails) == ({mia.name}, {mia.email.lower()})
    person = await here.reader.user(mia.id)
    assert (person.username, person.active, person.bot) == ("mia", True, False)
    assert f"{mia.id}-mia@users.noreply.127.0.0.1" in person.emails
    robot = here.state.add_user("project_7_bot_ab12", bot=True)
    assert (await here.reader.user(robot.id)).bot
    mia.state = "blocked"
    assert not (await here.reader.user(mia.id)).active
    with pytest.raises(NotFound):
        await here.reader.user(4711)


async def test_access_in_a_group_is_inherited(here: Here) -> None:
    top = here.state.add_group("platform")
    here.state.add_group("ops", parent=top)
    sue = here.state.add_user("sue")
    bot = here.state.user_by_name("journeyman")
    assert bot
    here.state.add_member(top, sue, 40)
    here.state.add_member(top, bot, 10)
    assert await here.reader.group_access("platform/ops", sue.id) == 40
    assert await here.reader.group_access("platform/ops", 4711) == 0
    assert await here.reader.group_access("platform/none", sue.id) == 0


async def test_gitlabs_own_rules_are_sentences(here: Here) -> None:
    request = await here.request()
    here.project.protected_branches.clear()
    assert (await here.reader.merge_rules(PATH, request.iid, "main")).sentences == ()
    here.state.protect(here.project, "ma*", push=40, merge=40)
    here.state.protect(here.project, "release/*", push=40, merge=30)
    here.project.settings |= {
        "only_allow_merge_if_pipeline_succeeds": True,
        "only_allow_merge_if_all_discussions_are_resolved": True,
    }
    assert (await here.reader.merge_rules(PATH, request.iid, "main")).sentences == (
        "GitLab lets only Maintainers merge into main.",
        "GitLab merges only what its pipeline has passed.",
        "GitLab merges only when all discussions are resolved.",
    )
    here.gitlab.faults.set(
        Fault(mode=FaultMode.FAIL, method="GET */protected_branches", status=403)
    )
    rules = await here.reader.merge_rules(PATH, request.iid, "main")
    assert rules.sentences[0] == "GitLab protects main."
    here.gitlab.faults.set(
        Fault(mode=FaultMode.FAIL, method="GET */protected_branches", status=500, times=0)
    )
    with pytest.raises(ForgeUnavailable):
        await here.reader.merge_rules(PATH, request.iid, "main")


async def test_where_gitlab_is_weaker_than_a_rule(here: Here) -> None:
    await here.commit("develop", {"a.txt": "1\n"})
    await here.commit("open", {"a.txt": "1\n"})
    here.state.protect(here.project, "main", push=0, merge=40)
    here.state.protect(here.project, "develop", push=30, merge=30)
    branches = ("main", "develop", "open", "gone")
    entry = ProjectEntry(
        path=PATH,
        targets=tuple(TargetRule(branch=each) for each in branches),
        environments=(EnvironmentRule(name="moon", jobs=("fly",)),),
    )

    main, develop, unprotected, gone, moon = await gate_checks(here.reader, entry)
    assert (main.ok, main.remedy, main.detail) == (True, "", "needs 1 approval")
    assert "Developers may push to develop directly" in develop.remedy
    assert "does not protect open" in unprotected.remedy
    assert (gone.ok, gone.detail) == (False, "there is no such branch")
    assert (moon.ok, moon.detail) == (False, "GitLab has no such environment")
    here.state.protect(here.project, "main", push=0, merge=30)
    main, *_ = await gate_checks(here.reader, entry)
    assert "Developers may merge into main themselves" in main.remedy
    mine, stranger = await here.writer.me(), here.state.add_user("sue").id
    assert (await gate_checks(here.reader, entry, merging=mine))[0].ok
    assert not (await gate_checks(here.reader, entry, merging=stranger))[0].ok
    assert await gate_checks(here.reader, ProjectEntry(path=PATH), merging=stranger) == []


async def test_doctor_tries_the_credential_that_merges(here: Here) -> None:
    bot = here.state.user_by_name("journeyman")
    assert bot

    def token(*scopes: str) -> str:
        return here.state.add_token(bot, *scopes).secret

    settings = Settings(
        gitlab_url=here.gitlab.url,
        gitlab_token=token("api"),
        gitlab_read_token=token("read_api", "read_repository"),
        gitlab_merge_token=token("read_api"),
        projects={PATH: ProjectEntry(path=PATH, targets=(TargetRule(branch="main"),))},
    )
    checks = {each.name: each for each in await doctor._gitlab(settings)}
    assert not checks["GitLab merge token"].ok
    assert checks[f"Branch main of {PATH}"].ok
    assert f"Merging in {PATH}" not in checks

    settings = replace(settings, gitlab_merge_token=token("api"))
    checks = {each.name: each for each in await doctor._gitlab(settings)}
    assert checks["GitLab merge token"].ok
    assert checks[f"Merging in {PATH}"].ok
    assert settings.gitlab_merge_token in settings.secrets
    assert settings.gitlab_merge_token in make_canaries(settings).secrets


async def test_approvals_that_gitlab_asks_for_are_counted() -> None:
    async def answer(asked: web.Request) -> web.Response:
        if asked.path.endswith("/approvals"):
            return web.json_response({"approvals_required": 2, "approvals_left": 1})
        raise web.HTTPNotFound

    async def ask(reader: GitLabReader) -> None:
        rules = await reader.merge_rules(PATH, 1, "main")
        assert rules.approvals_left == 1
        assert rules.sentences == ("GitLab asks for 2 approvals of its own; 1 is missing.",)

    await served(answer, ask)


async def test_a_manual_job_deploys(ci: Scene) -> None:
    commit = CommitSha((await ci.commit({".gitlab-ci.yml": CI})).id)
    line = await ci.pipeline()
    async with (
        GitLabReader(ci.server.url, ci.token("mia", "read_api")) as reader,
        GitLabWriter(ci.server.url, ci.token("sam")) as writer,
    ):
        (seen,) = await reader.pipelines("demo/app", sha=commit)
        ship = next(job for job in seen.jobs if job.name == "ship")
        assert ship.status == "manual"
        played = await writer.play_job("demo/app", ship.id)
        assert played.id == ship.id
        assert played.status != "manual"
        await ci.until(lambda: next(j for j in line.jobs if j.id == ship.id).status == "success")

        made = await reader.deployment("demo/app", "production", commit)
        assert made
        assert (made.environment, made.commit, made.job) == ("production", commit, ship.id)
        assert (made.status, made.url) == ("success", "https://shop.example")
        assert await reader.deployment("demo/app", "production", CommitSha("0" * 40)) is None
        assert await reader.deployment("demo/app", "staging", commit) is None
        with pytest.raises(ForgeRejected) as again:
            await writer.play_job("demo/app", ship.id)
        assert again.value.status == 400


async def test_a_protected_environment_has_sentences(here: Here) -> None:
    def protect() -> None:
        here.client("mia").http_post(
            f"/projects/{here.project.id}/protected_environments",
            post_data={
                "name": "eu/live",
                "deploy_access_levels": [{"access_level": 40}],
                "required_approval_count": 1,
            },
        )

    await asyncio.to_thread(protect)
    assert (await here.reader.deploy_rules(PATH, "eu/live")).sentences == (
        "GitLab lets only Maintainers deploy to eu/live.",
        "GitLab asks for 1 approval of its own before it deploys to eu/live.",
    )
    assert (await here.reader.deploy_rules(PATH, "staging")).sentences == ()


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
        async with GitLabReader(f"http://127.0.0.1:{runner.addresses[0][1]}", "glpat-x") as reader:
            await ask(reader)
    finally:
        await runner.cleanup()
