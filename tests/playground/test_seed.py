"""The playground's world: who may do what on the sample project, and how it reaches production."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gitlab as python_gitlab
import pytest
from gitlab_scene import Scene

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from bot.projectfile import read
from playground import seed
from playground.gitlab.records import Job, Pipeline
from playground.gitlab.server import GitLabStandIn
from playground.service import ROOT

PATH = "demo/invoices"


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Scene]:
    """The seeded GitLab; its jobs run for real, but find no packages."""
    folder = Path(tempfile.mkdtemp(prefix="journeyman-ci-"))
    folder.chmod(0o711)
    async with GitLabStandIn(tmp_path / "gitlab", sandbox=BubblewrapSandbox(folder)) as gitlab:
        await seed.seed_gitlab(gitlab)
        project = gitlab.state.project_by(PATH)
        assert project is not None
        people = {each.username: each for each in gitlab.state.users.values()}
        yield Scene(server=gitlab, project=project, people=people, folder=tmp_path)
    shutil.rmtree(folder)


def api(town: Scene, who: str) -> Any:
    return town.client(who).projects.get(PATH, lazy=True)


async def change(town: Scene, branch: str, onto: str) -> Any:
    """A merge request of a branch at `onto`, by mia, in which the tests need no packages."""
    config = (seed.SAMPLE / ".gitlab-ci.yml").read_text()
    config = config.replace("python3 -m pytest -q --junitxml=report.xml", "python3 -m unittest -h")
    action = {"action": "update", "file_path": ".gitlab-ci.yml", "content": config}
    data = {"branch": branch, "start_branch": onto, "commit_message": "Test", "actions": [action]}
    await town.do(api(town, "mia").commits.create, data)
    data = {"source_branch": branch, "target_branch": onto, "title": "Test"}
    return await town.do(api(town, "mia").mergerequests.create, data)


async def line_of(town: Scene, ref: str, sha: str) -> Pipeline:
    lines = town.project.pipelines.values()
    await town.until(lambda: any((p.ref, p.sha) == (ref, sha) for p in lines))
    return await town.pipeline(next(p for p in lines if (p.ref, p.sha) == (ref, sha)), 60)


def job_of(line: Pipeline, name: str) -> Job:
    return next(job for job in line.jobs if job.name == name)


async def deployed(town: Scene, job: Job) -> str:
    found = await town.do(api(town, "mia").jobs.get, job.id)
    return (await town.do(found.artifact, "deployed.txt")).decode().strip()


async def test_who_may_merge_and_push(town: Scene) -> None:
    rights = {
        who: (
            town.server.state.may_merge(town.project, user, "develop"),
            town.server.state.may_merge(town.project, user, "main"),
        )
        for who, user in town.people.items()
    }
    assert rights == {
        "mia": (True, False),
        "sam": (True, True),
        "lee": (True, True),
        "noor": (False, False),
        "journeyman": (True, True),
    }
    for branch in ("develop", "main"):
        data = {"branch": branch, "commit_message": "x", "actions": []}
        data["actions"] = [{"action": "create", "file_path": "x", "content": "x"}]
        with pytest.raises(python_gitlab.GitlabCreateError, match="not allowed to push"):
            await town.do(api(town, "journeyman").commits.create, data)
    person = await town.do(town.client("journeyman").users.get, town.people["sam"].id)
    assert (person.state, person.bot, person.public_email) == ("active", False, "sam@example.com")


async def test_develop_is_on_staging_at_once_and_main_in_production_by_hand(town: Scene) -> None:
    mr = await change(town, "one", "develop")
    await town.do(api(town, "journeyman").mergerequests.get(mr.iid, lazy=True).merge, sha=mr.sha)
    commit = await town.server.forge.repository(town.project).branch("develop")
    assert commit is not None
    line = await line_of(town, "develop", commit)
    assert {job.name: job.status for job in line.jobs} == {
        "lint": "success",
        "unit": "success",
        "deploy-staging": "success",
    }
    assert await deployed(town, job_of(line, "deploy-staging")) == commit

    data = {"source_branch": "develop", "target_branch": "main", "title": "Promote"}
    up = await town.do(api(town, "journeyman").mergerequests.create, data)
    merge = api(town, "mia").mergerequests.get(up.iid, lazy=True).merge
    with pytest.raises(python_gitlab.GitlabError, match="401"):
        await town.do(merge, sha=up.sha)
    await town.do(api(town, "sam").mergerequests.get(up.iid, lazy=True).merge, sha=up.sha)
    commit = await town.server.forge.repository(town.project).branch("main")
    assert commit is not None
    line = await line_of(town, "main", commit)
    ship = job_of(line, "deploy-production")
    assert (line.status, ship.status) == ("success", "manual")
    for who in ("mia", "noor"):
        with pytest.raises(python_gitlab.GitlabError, match="403"):
            await town.do(api(town, who).jobs.get(ship.id, lazy=True).play)
    await town.do(api(town, "journeyman").jobs.get(ship.id, lazy=True).play)
    await town.until(lambda: ship.status == "success")
    assert await deployed(town, ship) == commit
    places = await town.do(api(town, "mia").environments.list)
    assert {each.name: each.external_url for each in places} == seed.PLACES


async def test_the_settings_name_the_branch_for_requests(town: Scene) -> None:
    await seed.add_project(town.server, "own", seed.SAMPLE)
    world = seed.make_world(ROOT / "slack-manifest.json")
    file = town.folder / "journeyman.toml"
    projects = {"billing": PATH, "platform": "demo/own"}
    file.write_text(seed.settings_file(world, town.server.state, projects))
    told = read(file, given={"model": "gpt"})
    # where several are allowed and none is the channel's own, people pick
    everywhere = world.channel_named("random").id
    assert dict(told["channels"]) == {
        "direct": (PATH, "demo/own"),
        everywhere: (PATH, "demo/own"),
    }
    known = told["projects"]
    assert {path: entry.default_branch for path, entry in known.items()} == {
        PATH: "develop",
        "demo/own": None,
    }


async def test_the_demo_begins_anew_where_its_last_change_has_been_merged(town: Scene):
    repository = town.server.forge.repository(town.project)
    first = {branch: await repository.branch(branch) for branch in ("main", seed.DEVELOP)}
    request = await change(town, "agent/1", seed.DEVELOP)
    await town.until(lambda: town.project.merge_requests[request.iid].sha is not None)
    moved = await repository.branch("agent/1")
    assert moved is not None
    await repository.update_ref(f"refs/heads/{seed.DEVELOP}", moved, first[seed.DEVELOP] or "")
    await seed.begin_anew(town.server)
    assert {branch: await repository.branch(branch) for branch in first} == first
