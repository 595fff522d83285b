"""What stands between a merge request and production, as GitLab answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
import gitlab as python_gitlab
import pytest
from gitlab_scene import HeldClock, Scene

from playground.faults import Fault, FaultMode
from playground.gitlab.instant import InstantRunner
from playground.gitlab.records import Grant, ProtectedEnvironment

CONFIG = """
stages: [check, deploy]
unit: {stage: check, script: ["true"]}
ship:
  stage: deploy
  script: ["true"]
  environment: {name: production, url: "https://app.example"}
  when: manual
  only: [main]
"""


def refused(status: int) -> Any:
    return pytest.raises(python_gitlab.GitlabError, match=str(status))


@pytest.fixture
async def road(scene: Scene) -> Scene:
    """`demo/app` with a configuration, whose jobs end at once."""
    scene.server.forge.pipelines.runner = InstantRunner()
    await scene.commit({".gitlab-ci.yml": CONFIG})
    await scene.pipeline()
    return scene


async def call(scene: Scene, who: str, verb: str, path: str, **more: Any) -> Any:
    work = getattr(scene.client(who), f"http_{verb}")
    return await scene.do(work, f"/projects/1/{path}", **({"post_data": more} if more else {}))


async def merge(scene: Scene, iid: int, who: str = "sam", **more: Any) -> Any:
    return await call(scene, who, "put", f"merge_requests/{iid}/merge", **more)


async def status(scene: Scene, iid: int) -> str:
    return (await scene.do(scene.api("mia").mergerequests.get, iid)).detailed_merge_status


async def merged(scene: Scene) -> str:
    """A change on main whose pipeline is done; its commit."""
    mr = await scene.merge_request()
    done = await merge(scene, mr.iid, sha=mr.sha)
    await scene.pipeline(await newest(scene, "main"))
    return done["merge_commit_sha"]


async def newest(scene: Scene, ref: str) -> Any:
    await scene.until(lambda: any(p.ref == ref for p in scene.project.pipelines.values()))
    return [p for p in scene.project.pipelines.values() if p.ref == ref][-1]


# --- merging


async def test_a_guest_a_developer_and_a_stranger_are_refused_each_in_its_way(road: Scene) -> None:
    mr = await road.merge_request()
    for who, code in (("gus", 403), ("mia", 401), ("stranger", 404)):
        with refused(code):
            await merge(road, mr.iid, who, sha=mr.sha)
    assert await status(road, mr.iid) == "mergeable"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"only_allow_merge_if_pipeline_succeeds": True}, "ci_must_pass"),
        ({"approvals_before_merge": 1}, "not_approved"),
        ({"only_allow_merge_if_all_discussions_are_resolved": True}, "discussions_not_resolved"),
    ],
)
async def test_what_the_project_demands_keeps_it_from_being_merged(
    road: Scene, settings: dict[str, Any], expected: str
) -> None:
    road.server.faults.set(Fault(mode=FaultMode.JOB_FAILS, method="job:topic:*"))
    mr = await road.merge_request()
    await road.pipeline()
    talk = await road.do(mr.discussions.create, {"body": "Why?"})
    road.project.settings |= settings
    assert await status(road, mr.iid) == expected
    with refused(405):
        await merge(road, mr.iid, sha=mr.sha)
    if expected == "not_approved":
        state = await call(road, "mia", "get", f"merge_requests/{mr.iid}/approval_state")
        assert [rule["approvals_required"] for rule in state["rules"]] == [1]
        asked = await call(road, "mia", "get", f"merge_requests/{mr.iid}/approvals")
        assert (asked["approvals_left"], asked["approved"]) == (1, False)
        asked = await call(road, "sam", "post", f"merge_requests/{mr.iid}/approve", sha=mr.sha)
        assert (asked["approvals_left"], asked["approved"]) == (0, True)
    elif expected == "discussions_not_resolved":
        talk.resolved = True
        await road.do(talk.save)
    else:
        (line,) = [p for p in road.project.pipelines.values() if p.ref == "topic"]
        await road.do((await road.do(road.api("mia").pipelines.get, line.id)).retry)
        await road.until(lambda: line.status == "success")
    assert await status(road, mr.iid) == "mergeable"
    assert (await merge(road, mr.iid, sha=mr.sha))["state"] == "merged"


async def test_a_draft_is_undone_by_its_title(road: Scene) -> None:
    mr = await road.merge_request(title="Draft: A change")
    with refused(405):
        await merge(road, mr.iid, sha=mr.sha)
    mr.title = "A change"
    await road.do(mr.save)
    assert (mr.draft, mr.detailed_merge_status) == (False, "mergeable")
    mr.assignee_id = road.people["sam"].id
    await road.do(mr.save)
    assert mr.assignee["username"] == "sam"
    done = await merge(road, mr.iid, sha=mr.sha, squash=True)
    assert done["merge_user"]["username"] == done["merged_by"]["username"] == "sam"
    assert done["sha"] == mr.sha
    assert done["diff_refs"]["head_sha"] == mr.sha
    main = await road.do(road.api("mia").branches.get, "main")
    assert main.commit["id"] == done["merge_commit_sha"]
    assert main.commit["parent_ids"][1] == done["squash_commit_sha"]


async def test_gitlab_thinks_after_a_push_for_as_long_as_it_is_told(
    road: Scene, clock: HeldClock
) -> None:
    async with aiohttp.ClientSession() as http:
        url = f"{road.server.url}/control/lags"
        async with http.put(url, json={"merge_check": 30, "approvals": 30}) as answer:
            assert (await answer.json())["merge_check"] == 30
        async with http.put(url, json={"patience": 1}) as answer:
            assert answer.status == 400
        mr = await road.merge_request()
        seen: list[str] = []
        for seconds in (0, 9, 1, 19, 1, 29, 1):
            clock.seconds += seconds
            seen.append(await status(road, mr.iid))
        assert seen == [
            *("preparing", "preparing"),
            *("checking", "checking"),
            *("approvals_syncing", "approvals_syncing"),
            "mergeable",
        ]
        held = {"project": "demo/app", "iid": mr.iid, "status": "status_checks_must_pass"}
        async with http.put(f"{road.server.url}/control/merge_status", json=held) as answer:
            assert answer.status == 200
    assert await status(road, mr.iid) == "status_checks_must_pass"
    with refused(405):
        await merge(road, mr.iid, sha=mr.sha)


async def test_a_merge_train_answers_now_and_merges_later(road: Scene, clock: HeldClock) -> None:
    road.project.settings |= {"merge_pipelines_enabled": True, "merge_trains_enabled": True}
    road.server.state.lags.train = 30
    mr = await road.merge_request()
    await road.pipeline()
    with refused(409):
        await merge(road, mr.iid, sha="0" * 40)
    waiting = await merge(road, mr.iid, sha=mr.sha)
    assert (waiting["state"], waiting["merge_when_pipeline_succeeds"]) == ("opened", True)
    (car,) = await road.do(road.api("mia").merge_trains.list, scope="active")
    assert (car.merge_request["iid"], car.target_branch) == (mr.iid, "main")
    clock.seconds += 30
    await road.until(lambda: road.project.merge_train[mr.iid].status == "merged")
    assert road.project.merge_requests[mr.iid].state == "merged"
    car = await call(road, "mia", "get", f"merge_trains/merge_requests/{mr.iid}")
    assert car["status"] == "merged"
    assert await call(road, "mia", "get", "merge_trains/main?scope=active") == []


async def test_who_is_no_longer_mergeable_leaves_the_train(road: Scene, clock: HeldClock) -> None:
    road.project.settings |= {"merge_pipelines_enabled": True, "merge_trains_enabled": True}
    road.server.state.lags.train = 30
    mr = await road.merge_request()
    await road.pipeline()
    await merge(road, mr.iid, sha=mr.sha)
    await road.commit({"late.txt": "slipped in\n"}, "topic")
    clock.seconds += 30
    await road.until(lambda: not road.project.merge_train)
    found = await road.do(road.api("mia").mergerequests.get, mr.iid)
    assert (found.state, found.merge_when_pipeline_succeeds) == ("opened", False)
    assert "SHA does not match" in found.merge_error


async def test_of_two_merges_at_once_one_is_refused(road: Scene) -> None:
    mr = await road.merge_request()
    before = await road.do(road.api("mia").commits.list, ref_name="main", first_parent=True)
    both = (merge(road, mr.iid, sha=mr.sha) for _ in range(2))
    done = await asyncio.gather(*both, return_exceptions=True)
    failed = [each for each in done if isinstance(each, python_gitlab.GitlabError)]
    assert [each.response_code for each in failed] == [405]
    after = await road.do(road.api("mia").commits.list, ref_name="main", first_parent=True)
    assert len(after) == len(before) + 1


# --- undoing


async def test_a_merge_is_undone_on_a_branch_of_its_own(road: Scene) -> None:
    commit = await merged(road)
    sam = road.api("sam")
    await road.do(sam.branches.create, {"branch": "undo", "ref": commit})
    path = f"repository/commits/{commit}/revert"
    assert await call(road, "sam", "post", path, branch="undo", dry_run=True) == {
        "dry_run": "success"
    }
    assert (await road.do(sam.branches.get, "undo")).commit["id"] == commit
    made = await call(road, "sam", "post", path, branch="undo")
    assert made["message"] == "Revert \"Merge branch 'topic' into 'main'\"\n\n" + (
        "This reverts merge request !1"
    )
    for branch, why in (("undo", "empty"), ("none", "does not exist")):
        with refused(400) as refusal:
            await call(road, "sam", "post", path, branch=branch)
        assert why in str(refusal.value.response_body)
    await road.commit({"topic.txt": "changed since\n"}, "late")
    with refused(400) as refusal:
        await call(road, "sam", "post", path, branch="late")
    assert b"conflict" in refusal.value.response_body
    data = {"source_branch": "undo", "target_branch": "main", "title": "Undo"}
    undo = await road.do(road.api("mia").mergerequests.create, data)
    assert [c.id for c in await road.do(undo.commits)] == [made["id"]]
    raw = await call(road, "mia", "get", f"merge_requests/{undo.iid}/raw_diffs")
    assert "\n-new\n" in raw.text


# --- deploying


async def test_a_deployment_job_waits_for_a_person_and_runs_once(road: Scene) -> None:
    commit = await merged(road)
    line = await newest(road, "main")
    assert (line.sha, line.status) == (commit, "success")  # the job by hand may be left out
    jobs = await road.do((await road.do(road.api("mia").pipelines.get, line.id)).jobs.list)
    (ship,) = [job for job in jobs if job.name == "ship"]
    assert (ship.status, ship.allow_failure) == ("manual", True)
    play = f"jobs/{ship.id}/play"
    with refused(403):  # who may not merge into the branch may not deploy from it
        await call(road, "mia", "post", play)
    *_, waiting = await _deployments(road)
    assert (waiting["status"], waiting["sha"]) == ("created", commit)
    await call(road, "sam", "post", play)
    with refused(400) as refusal:
        await call(road, "sam", "post", play)
    assert "Unplayable" in str(refusal.value)
    await road.until(lambda: all(job.status == "success" for job in line.jobs))
    *_, done = await _deployments(road)
    assert (done["status"], done["deployable"]["id"]) == ("success", ship.id)
    assert done["user"]["username"] == "sam"
    (place,) = await road.do(road.api("mia").environments.list, name="production")
    place = await road.do(road.api("mia").environments.get, place.id)
    assert place.last_deployment["sha"] == commit
    assert place.external_url == "https://app.example"
    assert await _deployments(road, updated_after="2199-01-01T00:00:00Z") == []
    with refused(400):
        await _deployments(road, order_by="colour")


async def _deployments(scene: Scene, **more: str) -> Sequence[Any]:
    query = "&".join(f"{k}={v}" for k, v in {"environment": "production", **more}.items())
    return await call(scene, "mia", "get", f"deployments?{query}")


async def test_a_deployment_that_needs_approvals_cannot_be_played_before(road: Scene) -> None:
    state = road.server.state
    lee = state.add_user("lee")
    state.add_member(road.project, lee, 40)
    road.people = {**road.people, "lee": lee}
    road.project.protected_environments["production"] = ProtectedEnvironment(
        name="production", deploy=[Grant(id=99, access_level=40)], required_approvals=1
    )
    await merged(road)
    *_, waiting = await _deployments(road)
    assert waiting["status"] == "blocked"
    play = f"jobs/{waiting['deployable']['id']}/play"
    with refused(400):
        await call(road, "lee", "post", play)
    path = f"deployments/{waiting['id']}/approval"
    with refused(403):
        await call(road, "mia", "post", path, status="approved")
    with refused(400):  # by who triggered it
        await call(road, "sam", "post", path, status="approved")
    await call(road, "lee", "post", path, status="approved", comment="Go")
    await call(road, "lee", "post", play)
    await road.until(lambda: road.project.deployments[waiting["id"]].status == "success")


async def test_a_job_that_must_be_run_keeps_the_pipeline_waiting(road: Scene) -> None:
    strict = CONFIG.replace("when: manual\n  only: [main]", "rules: [{when: manual}]")
    await road.commit({".gitlab-ci.yml": strict})
    line = await road.pipeline(await newest(road, "main"))
    assert line.status == "manual"
    (ship,) = [job for job in line.jobs if job.name == "ship"]
    await call(road, "sam", "post", f"jobs/{ship.id}/play")
    await road.until(lambda: line.status == "success")


# --- faults


async def test_a_lost_answer_hides_a_merge_and_a_deployment_that_were_done(road: Scene) -> None:
    for method in ("PUT */merge", "POST */play"):
        road.server.faults.set(Fault(mode=FaultMode.DROP_AFTER_APPLY, method=method))
    mr = await road.merge_request()
    with pytest.raises(Exception, match=r"[Cc]onnection"):
        await merge(road, mr.iid, sha=mr.sha)
    assert (await road.do(road.api("mia").mergerequests.get, mr.iid)).state == "merged"
    line = await road.pipeline(await newest(road, "main"))
    (ship,) = [job for job in line.jobs if job.name == "ship"]
    with pytest.raises(Exception, match=r"[Cc]onnection"):
        await call(road, "sam", "post", f"jobs/{ship.id}/play")
    await road.until(lambda: ship.status == "success")
    assert [each.hits for each in road.server.faults.entries] == [1, 1]


async def test_main_goes_red_after_the_merge_and_a_deployment_fails(road: Scene) -> None:
    faults = road.server.faults
    unit = faults.set(Fault(mode=FaultMode.JOB_FAILS, method="job:main:unit"))
    faults.set(Fault(mode=FaultMode.JOB_WAITS, method="job:main:unit", seconds=0.2))
    mr = await road.merge_request()
    await merge(road, mr.iid, sha=mr.sha)
    line = await newest(road, "main")
    await road.until(lambda: line.status == "running")
    await road.until(lambda: line.status == "failed")
    assert [(j.name, j.status, j.failure_reason) for j in line.jobs] == [
        ("unit", "failed", "script_failure"),
        ("ship", "skipped", None),
    ]
    assert unit.hits == 1
    more = {"error": "runner_system_failure"}
    faults.set(Fault(mode=FaultMode.JOB_FAILS, method="job:main:ship", **more))
    await road.do((await road.do(road.api("sam").pipelines.get, line.id)).retry)
    ship = line.jobs[-1]
    await road.until(lambda: ship.status == "manual")
    await call(road, "sam", "post", f"jobs/{ship.id}/play")
    await road.until(lambda: ship.status == "failed")
    *_, deployment = await _deployments(road)
    assert deployment["status"] == "failed"
    assert deployment["deployable"]["failure_reason"] == "runner_system_failure"
    assert line.status == "success"  # with a warning


async def test_a_stale_read_shows_the_merge_request_as_it_was(road: Scene) -> None:
    mr = await road.merge_request()
    mia, path = road.client("mia"), f"/projects/1/merge_requests/{mr.iid}"
    road.server.faults.set(
        Fault(mode=FaultMode.STALE_READS, method="GET */:iid", nth=2, seconds=30)
    )
    assert (await road.do(mia.http_get, path))["state"] == "opened"
    await merge(road, mr.iid, sha=mr.sha)
    assert (await road.do(mia.http_get, path))["state"] == "opened"
    assert (await road.do(mia.http_get, path))["state"] == "merged"
