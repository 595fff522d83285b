"""Merge requests: opened once, read while GitLab still thinks, merged only as asked."""

from __future__ import annotations

import asyncio
from typing import Any

import gitlab as python_gitlab
import pytest
from gitlab_scene import HeldClock, Scene

from playground.gitlab.quick_actions import extract


def _refused(status: int) -> Any:
    return pytest.raises(python_gitlab.GitlabError, match=str(status))


async def _merge(scene: Scene, iid: int, who: str = "sam", **more: Any) -> Any:
    path = f"/projects/1/merge_requests/{iid}/merge"
    return await scene.do(scene.client(who).http_put, path, post_data=more)


async def test_from_branch_to_main(scene: Scene) -> None:
    mr = await scene.merge_request(title="Add a file", description="Closes #1")
    issue = await scene.do(scene.api("gus").issues.create, {"title": "Missing"})
    assert mr.web_url == f"{scene.server.url}/demo/app/-/merge_requests/1"
    assert mr.detailed_merge_status == "mergeable"
    assert mr.author["username"] == "mia"
    changes = await scene.do(mr.changes)
    assert [c["new_path"] for c in changes["changes"]] == ["topic.txt"]
    assert changes["changes"][0]["diff"] == "@@ -0,0 +1 @@\n+new\n"
    assert [c.title for c in await scene.do(mr.commits)] == ["Change files"]
    merged = await _merge(scene, 1, sha=mr.sha)
    assert merged["state"] == "merged"
    head = await scene.do(scene.api("sam").branches.get, "main")
    assert head.commit["id"] == merged["merge_commit_sha"]
    assert head.commit["parent_ids"][1] == mr.sha
    assert (await scene.do(scene.api("gus").issues.get, issue.iid)).state == "closed"
    with _refused(404):  # the source branch went with it
        await scene.do(scene.client("sam").http_get, "/projects/1/repository/branches/topic")


async def test_one_branch_has_one_open_merge_request(scene: Scene) -> None:
    await scene.merge_request()
    with _refused(409) as refusal:
        await scene.do(
            scene.api("mia").mergerequests.create,
            {"source_branch": "topic", "target_branch": "main", "title": "Again"},
        )
    assert "Another open merge request already exists for this source branch: !1" in str(
        refusal.value
    )
    found = await scene.do(scene.api("mia").mergerequests.list, source_branch="topic")
    assert [mr.iid for mr in found] == [1]
    await scene.commit({"two.txt": "new\n"}, "two")
    data = {"source_branch": "two", "target_branch": "main", "title": "Two at once"}
    both = (scene.do(scene.api("mia").mergerequests.create, data) for _ in range(2))
    done = await asyncio.gather(*both, return_exceptions=True)
    assert [getattr(each, "response_code", 201) for each in done].count(409) == 1


async def test_a_fresh_branch_is_unknown_for_a_while(scene: Scene, clock: HeldClock) -> None:
    scene.server.state.lags.branch = 30
    with _refused(400) as refusal:
        await scene.merge_request()
    assert "source_branch" in str(refusal.value)
    clock.seconds += 30
    data = {"source_branch": "topic", "target_branch": "main", "title": "Now"}
    assert (await scene.do(scene.api("mia").mergerequests.create, data)).iid == 1


async def test_the_state_of_mergeability_settles_after_a_while(
    scene: Scene, clock: HeldClock
) -> None:
    scene.server.state.lags.merge_check = 30
    mr = await scene.merge_request()
    assert mr.detailed_merge_status == "preparing"
    with _refused(405):
        await _merge(scene, 1, sha=mr.sha)
    clock.seconds += 15
    api = scene.api("mia")
    assert (await scene.do(api.mergerequests.get, 1)).detailed_merge_status == "checking"
    clock.seconds += 15
    assert (await scene.do(api.mergerequests.get, 1)).detailed_merge_status == "mergeable"


async def test_a_merge_needs_the_right_commit(scene: Scene) -> None:
    mr = await scene.merge_request()
    await scene.commit({"late.txt": "slipped in\n"}, "topic")
    with _refused(409) as refusal:
        await _merge(scene, 1, sha=mr.sha)
    assert "SHA does not match HEAD of source branch" in str(refusal.value)
    scene.project.settings["require_sha_for_merge"] = True
    with _refused(400) as refusal:
        await _merge(scene, 1)
    assert "SHA must be provided" in str(refusal.value)
    new = await scene.do(scene.api("mia").mergerequests.get, 1)
    assert (await _merge(scene, 1, sha=new.sha))["state"] == "merged"
    with _refused(405):
        await _merge(scene, 1, sha=new.sha)


async def test_each_obstacle_has_its_status(scene: Scene) -> None:
    draft = await scene.merge_request(title="Draft: not yet")
    assert (draft.draft, draft.detailed_merge_status) == (True, "draft_status")
    with _refused(405):
        await _merge(scene, draft.iid, sha=draft.sha)
    with _refused(401):  # developers may not merge into main
        await _merge(scene, draft.iid, "mia", sha=draft.sha)
    rival = await scene.merge_request("rival")
    await scene.commit({"rival.txt": "other\n"})
    found = await scene.do(scene.api("mia").mergerequests.get, rival.iid)
    assert (found.detailed_merge_status, found.has_conflicts) == ("conflict", True)
    with _refused(422):
        await _merge(scene, rival.iid, sha=rival.sha)


async def test_approvals_fall_with_new_commits(scene: Scene) -> None:
    mr = await scene.merge_request()
    approvals = f"/projects/1/merge_requests/{mr.iid}"
    sam = scene.client("sam")
    answer = await scene.do(sam.http_post, f"{approvals}/approve", post_data={"sha": mr.sha})
    assert [a["user"]["username"] for a in answer["approved_by"]] == ["sam"]
    with _refused(409):
        await scene.do(
            scene.client("mia").http_post, f"{approvals}/approve", post_data={"sha": "0" * 40}
        )
    await scene.commit({"more.txt": "x"}, "topic")
    assert (await scene.do(sam.http_get, f"{approvals}/approvals"))["approved_by"] == []


async def test_squash_and_fast_forward(scene: Scene) -> None:
    scene.project.settings["merge_method"] = "ff"
    mr = await scene.merge_request()
    await scene.commit({"main.txt": "x"})
    found = await scene.do(scene.api("mia").mergerequests.get, mr.iid)
    assert found.detailed_merge_status == "need_rebase"
    await scene.do(found.rebase)
    found = await scene.do(scene.api("mia").mergerequests.get, mr.iid)
    assert found.detailed_merge_status == "mergeable"
    assert found.sha != mr.sha
    merged = await _merge(scene, mr.iid, sha=found.sha, squash=True)
    log = await scene.do(scene.api("mia").commits.list, ref_name="main")
    assert log[0].id == merged["squash_commit_sha"]
    assert len(log[0].parent_ids) == 1


async def test_threads_resolve_and_notes_are_edited_by_their_author(scene: Scene) -> None:
    mr = await scene.merge_request()
    talk = await scene.do(mr.discussions.create, {"body": "Why?"})
    await scene.do(talk.notes.create, {"body": "Because."})
    talk = await scene.do(mr.discussions.get, talk.id)
    assert [note["body"] for note in talk.attributes["notes"]] == ["Why?", "Because."]
    talk.resolved = True
    await scene.do(talk.save)
    notes = await scene.do(mr.notes.list)
    assert all(note.resolved for note in notes)
    other = scene.client("gus")
    with _refused(403):
        path = f"/projects/1/merge_requests/1/notes/{notes[0].id}"
        await scene.do(other.http_put, path, post_data={"body": "forged"})


# --- quick actions


async def test_a_comment_of_commands_acts_as_its_poster(scene: Scene) -> None:
    mr = await scene.merge_request(title="Draft: work")
    await scene.do(mr.notes.create, {"body": 'Done.\n/ready\n/label ~fine ~"two words"'})
    found = await scene.do(scene.api("mia").mergerequests.get, 1)
    assert (found.title, found.labels) == ("work", ["fine", "two words"])
    assert [note.body for note in await scene.do(mr.notes.list)] == ["Done."]
    await scene.do(
        scene.client("mia").http_post,
        "/projects/1/merge_requests/1/notes",
        post_data={"body": "/merge"},
    )
    found = await scene.do(scene.api("mia").mergerequests.get, 1)
    assert found.state == "opened"  # mia may not merge into main, so neither may her comment
    await scene.do(
        scene.client("sam").http_post,
        "/projects/1/merge_requests/1/notes",
        post_data={"body": "harmless\n\r/merge"},
    )
    found = await scene.do(scene.api("mia").mergerequests.get, 1)
    assert (found.state, found.merged_by["username"]) == ("merged", "sam")


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("/merge", [("merge", "")]),
        ("a\n/approve \nb", [("approve", "")]),
        ("a\r/close", [("close", "")]),
        ("\r\n/title New words", [("title", "New words")]),
        (" /merge", []),
        ("see /merge", []),
        ("/unknown", []),
        ("```\n/merge\n```", []),
        ("<!--\n/merge\n-->", []),
        ("> /merge", []),
    ],
)
def test_commands_stand_at_the_start_of_a_line(text: str, commands: list[tuple[str, str]]) -> None:
    assert extract(text)[1] == commands


# --- what else moves a merge request


async def test_a_push_of_its_commits_to_the_target_merges_it(scene: Scene) -> None:
    mr = await scene.merge_request()
    repository = scene.server.forge.repository(scene.project)
    old = await repository.branch("main")
    assert old is not None
    await repository.update_ref("refs/heads/main", mr.sha, old)
    change = (old, mr.sha, "refs/heads/main")
    await scene.server.forge.pushed(scene.project, scene.people["sam"], [change])
    found = await scene.do(scene.api("mia").mergerequests.get, 1)
    assert found.state == "merged"
    assert found.diff_refs["base_sha"] == old


async def test_closing_and_reopening(scene: Scene) -> None:
    mr = await scene.merge_request()
    mr.state_event = "close"
    await scene.do(mr.save)
    assert (mr.state, mr.closed_by["username"]) == ("closed", "mia")
    mr.state_event = "reopen"
    await scene.do(mr.save)
    assert mr.state == "opened"


async def test_a_revert_undoes_a_merge(scene: Scene) -> None:
    mr = await scene.merge_request()
    merged = await _merge(scene, mr.iid, sha=mr.sha)
    commit = await scene.do(scene.api("sam").commits.get, merged["merge_commit_sha"])
    await scene.do(scene.api("sam").branches.create, {"branch": "undo", "ref": "main"})
    await scene.do(commit.revert, branch="undo")
    compared = await scene.do(scene.api("sam").repository_compare, "main", "undo")
    assert [d["deleted_file"] for d in compared["diffs"]] == [True]


async def test_a_deleted_branch_leaves_its_commits_and_nothing_to_merge(scene: Scene) -> None:
    mr = await scene.merge_request()
    await scene.do(scene.api("mia").branches.delete, "topic")
    found = await scene.do(scene.api("mia").mergerequests.get, mr.iid)
    assert (found.sha, found.detailed_merge_status) == (mr.sha, "commits_status")
    with _refused(405):
        await _merge(scene, mr.iid, sha=mr.sha)
    assert len(await scene.do(found.commits)) == 1


async def test_a_fork_proposes_to_its_origin(scene: Scene) -> None:
    scene.server.state.add_member(scene.project, scene.people["stranger"], 20)
    fork = await scene.do(scene.client("stranger").http_post, "/projects/1/fork")
    mine = scene.client("stranger").projects
    project = await scene.do(mine.get, fork["path_with_namespace"])
    await scene.do(
        project.commits.create,
        {
            "branch": "idea",
            "start_branch": "main",
            "commit_message": "Idea",
            "actions": [{"action": "create", "file_path": "i", "content": "i"}],
        },
    )
    mr = await scene.do(
        project.mergerequests.create,
        {
            "source_branch": "idea",
            "target_branch": "main",
            "title": "Idea",
            "target_project_id": scene.project.id,
        },
    )
    assert mr.web_url.endswith("/demo/app/-/merge_requests/1")
    more = {"branch": "idea", "commit_message": "More"}
    action = {"action": "create", "file_path": "j", "content": "j"}
    commit = await scene.do(project.commits.create, {**more, "actions": [action]})
    with _refused(409):
        await _merge(scene, 1, sha=mr.sha)
    assert (await _merge(scene, 1, sha=commit.id))["state"] == "merged"


async def test_issues_that_it_closes_are_told_to_who_may_see_them(scene: Scene) -> None:
    project = scene.api("mia")
    for title, hidden in (("Open to all", False), ("Hidden", True)):
        await scene.do(project.issues.create, {"title": title, "confidential": hidden})
    made = await scene.merge_request(description="Closes #1, closes #2")

    async def told(name: str) -> list[str]:
        seen = scene.api(name).mergerequests.get
        found = await scene.do(lambda: seen(made.iid, lazy=True).closes_issues(get_all=True))
        return [issue.title for issue in found]

    assert await told("mia") == ["Open to all", "Hidden"]
    assert await told("gus") == ["Open to all"]
