"""git over smart HTTP: who may clone and push what, and what a push sets off."""

from __future__ import annotations

from pathlib import Path

import pytest
from gitlab_scene import Scene, git

DENIED = "GitLab: You are not allowed to push code to protected branches on this project."


async def _clone(scene: Scene, secret: str, tmp_path: Path) -> Path:
    code, output = await git(tmp_path, "clone", "--quiet", scene.remote(secret), "work")
    assert code == 0, output
    return tmp_path / "work"


async def _commit(work: Path, name: str) -> None:
    (work / name).write_text(f"{name}\n")
    await git(work, "add", ".")
    await git(work, "commit", "--quiet", "-m", f"Add {name}")


async def test_a_developer_pushes_a_branch_and_everybody_sees_it(
    scene: Scene, tmp_path: Path
) -> None:
    work = await _clone(scene, scene.token("mia"), tmp_path)
    await git(work, "checkout", "--quiet", "-b", "agent/run-1")
    await _commit(work, "new.py")
    code, output = await git(work, "push", "origin", "agent/run-1")
    assert code == 0, output
    branch = await scene.do(scene.api("sam").branches.get, "agent/run-1")
    assert branch.commit["title"] == "Add new.py"
    again, output = await git(tmp_path, "ls-remote", scene.remote(scene.token("sam"), "oauth2"))
    assert again == 0
    assert "refs/heads/agent/run-1" in output


async def test_a_protected_branch_is_refused_in_gitlabs_words(scene: Scene, tmp_path: Path) -> None:
    work = await _clone(scene, scene.token("mia"), tmp_path)
    before = await scene.server.forge.repository(scene.project).branch("main")
    await _commit(work, "new.py")
    code, output = await git(work, "push", "origin", "main")
    assert code == 1
    assert f"remote: {DENIED}" in output
    assert "(pre-receive hook declined)" in output
    assert await scene.server.forge.repository(scene.project).branch("main") == before


async def test_a_maintainer_pushes_to_main_but_not_by_force(scene: Scene, tmp_path: Path) -> None:
    work = await _clone(scene, scene.token("sam"), tmp_path)
    await _commit(work, "new.py")
    assert (await git(work, "push", "origin", "main"))[0] == 0
    await git(work, "commit", "--amend", "--quiet", "-m", "Other words")
    code, output = await git(work, "push", "--force", "origin", "main")
    assert code == 1
    assert "force push code to a protected branch" in output
    code, output = await git(work, "push", "origin", ":main")
    assert code == 1


@pytest.mark.parametrize(
    ("who", "scopes", "clone", "push"),
    [
        ("mia", ["write_repository"], 0, 0),
        ("mia", ["read_repository"], 0, 128),
        ("mia", ["read_api"], 128, 128),
        ("gus", ["api"], 128, 128),
        ("stranger", ["api"], 128, 128),
    ],
)
async def test_scope_and_role_decide_on_clone_and_push(
    scene: Scene, tmp_path: Path, who: str, scopes: list[str], clone: int, push: int
) -> None:
    remote = scene.remote(scene.token(who, *scopes))
    assert (await git(tmp_path, "ls-remote", remote))[0] == clone
    work = await _clone(scene, scene.token("sam"), tmp_path)
    await _commit(work, "x")
    assert (await git(work, "push", remote, "HEAD:refs/heads/topic"))[0] == push


async def test_a_wrong_secret_is_told_apart_from_a_missing_right(
    scene: Scene, tmp_path: Path
) -> None:
    code, output = await git(tmp_path, "ls-remote", scene.remote("wrong"))
    assert code == 128
    assert "Authentication failed" in output
    revoked = scene.server.state.add_token(scene.people["sam"], "api")
    revoked.revoked = True
    assert (await git(tmp_path, "ls-remote", scene.remote(revoked.secret)))[0] == 128


async def test_a_lease_on_an_older_head_is_refused(scene: Scene, tmp_path: Path) -> None:
    work = await _clone(scene, scene.token("mia"), tmp_path)
    await git(work, "checkout", "--quiet", "-b", "topic")
    await _commit(work, "a")
    await git(work, "push", "origin", "topic")
    old = (await git(work, "rev-parse", "topic"))[1].strip()
    await scene.commit({"b": "by a person"}, "topic")
    await git(work, "commit", "--amend", "--quiet", "-m", "Again")
    lease = f"--force-with-lease=topic:{old}"
    code, output = await git(work, "push", lease, "origin", "topic")
    assert code == 1
    assert "stale info" in output or "rejected" in output


async def test_the_first_push_into_an_empty_project_makes_and_protects_the_default_branch(
    scene: Scene, tmp_path: Path
) -> None:
    sam = await scene.do(scene.client("sam").projects.create, {"name": "fresh"})
    assert sam.default_branch is None
    work = tmp_path / "work"
    await git(tmp_path, "init", "--quiet", "-b", "trunk", "work")
    await _commit(work, "a")
    remote = scene.remote(scene.token("sam")).replace("demo/app", "sam/fresh")
    assert (await git(work, "push", remote, "trunk"))[0] == 0
    project = await scene.do(scene.client("sam").projects.get, "sam/fresh")
    assert project.default_branch == "trunk"
    assert [p.name for p in await scene.do(project.protectedbranches.list)] == ["trunk"]


async def test_a_large_push_streams_through(scene: Scene, tmp_path: Path) -> None:
    work = await _clone(scene, scene.token("mia"), tmp_path)
    await git(work, "checkout", "--quiet", "-b", "big")
    (work / "big.bin").write_bytes(__import__("random").Random(1).randbytes(3 << 20))
    await git(work, "add", ".")
    await git(work, "commit", "--quiet", "-m", "Big")
    code, output = await git(work, "push", "origin", "big")
    assert code == 0, output
    code, output = await git(tmp_path, "clone", "--quiet", "-b", "big", work.as_uri(), "again")
    assert code == 0, output


async def test_who_has_much_of_it_is_given_the_rest(scene: Scene, tmp_path: Path) -> None:
    """git packs a request of more than a thousand bytes."""
    work = await _clone(scene, scene.token("mia"), tmp_path)
    for number in range(200):
        await git(work, "commit", "--quiet", "--allow-empty", "-m", f"Mine {number}")
    other = tmp_path / "other"
    assert (await git(tmp_path, "clone", "--quiet", scene.remote(scene.token("sam")), "other"))[
        0
    ] == 0
    await _commit(other, "new.py")
    assert (await git(other, "push", "origin", "main"))[0] == 0
    code, output = await git(work, "fetch", "origin", "main")
    assert code == 0, output
    assert (await git(work, "cat-file", "-e", "FETCH_HEAD:new.py"))[0] == 0
