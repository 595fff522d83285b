"""The past of a project: fetched without files from GitLab, read in place on this machine."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from test_git_vault import ENV

from agent.adapters.git_code import git_folder
from agent.adapters.git_past import GitPast
from agent.errors import ForgeUnavailable, GitFailed
from agent.ports import Origin
from agent.run import CommitSha
from playground.gitlab.server import GitLabStandIn

PATH = "group/invoices"


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=ENV, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


async def beside(folder: Path, *arguments: str) -> str:
    """While the stand-in, in this very process, answers."""
    return await asyncio.to_thread(git, folder, *arguments)


def commit(folder: Path, files: Mapping[str, str], title: str) -> CommitSha:
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", title)
    return CommitSha(git(folder, "rev-parse", "HEAD"))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for n in range(6):
        commit(folder, {f"part{n}.py": f"n = {n}\n" * 50}, f"Add part {n}")
    return folder


def objects(folder: Path) -> set[str]:
    (repository,) = folder.glob("*.git")
    listed = "--batch-check=%(objecttype)"
    return set(git(repository, "cat-file", "--batch-all-objects", listed).split())


async def test_the_past_comes_from_gitlab_without_any_file(tmp_path: Path, work: Path):
    async with GitLabStandIn(tmp_path / "gitlab") as gitlab:
        mia = gitlab.state.add_user("mia")
        await gitlab.add_project(PATH, owner=mia)
        url = f"{gitlab.url}/{PATH}.git"
        token = gitlab.state.add_token(mia, "api", "write_repository").secret
        whole = url.replace("://", f"://oauth2:{token}@")
        await beside(work, "push", "-qf", whole, "main")

        async def origin(project: str) -> Origin:
            assert project == PATH
            return Origin(url=url, token=token)

        past = GitPast(tmp_path / "past", origin, commits=4)
        newest = CommitSha(git(work, "rev-parse", "HEAD"))
        found = await past.changes(PATH, newest)
        assert [change.title for change in found][:3] == [f"Add part {n}" for n in (5, 4, 3)]
        assert found[0].paths == ("part5.py",)
        assert len(found) <= 4
        assert "blob" not in objects(tmp_path / "past")

        newer = commit(work, {"part0.py": "n = 7\n"}, "Change part 0")
        await beside(work, "push", "-q", whole, "main")
        again = await past.changes(PATH, newer)
        assert again[0].title == "Change part 0"
        assert again[1].title == "Add part 5"
        assert "blob" not in objects(tmp_path / "past")
        (repository,) = (tmp_path / "past").glob("*.git")
        assert token not in (repository / "config").read_text()


async def test_an_origin_that_sends_files_all_the_same_is_asked_for_one_commit(
    tmp_path: Path, work: Path
):
    async with GitLabStandIn(tmp_path / "gitlab") as gitlab:
        mia = gitlab.state.add_user("mia")
        await gitlab.add_project(PATH, owner=mia)
        url = f"{gitlab.url}/{PATH}.git"
        token = gitlab.state.add_token(mia, "api", "write_repository").secret
        await beside(work, "push", "-qf", url.replace("://", f"://oauth2:{token}@"), "main")
        for kept in (tmp_path / "gitlab").rglob("HEAD"):
            if (kept.parent / "objects").exists():
                git(
                    kept.parent, f"--git-dir={kept.parent}", "config", "uploadpack.allowFilter", "0"
                )

        async def origin(project: str) -> Origin:
            return Origin(url=url, token=token)

        past = GitPast(tmp_path / "past", origin)
        newest = CommitSha(git(work, "rev-parse", "HEAD"))
        with pytest.raises(GitFailed, match="sends all files"):
            await past.changes(PATH, newest)
        assert not list((tmp_path / "past").glob("*.git"))
    again = GitPast(tmp_path / "past", origin)  # another process, and the origin is gone
    with pytest.raises(GitFailed, match="sends all files"):
        await again.changes(PATH, newest)
    (refused,) = (tmp_path / "past").glob("*.refused")
    os.utime(refused, (0, 0))
    with pytest.raises(ForgeUnavailable):
        await again.changes(PATH, newest)


@pytest.mark.parametrize("marked", [True, False])
async def test_what_a_killed_fetch_left_is_taken_away(tmp_path: Path, work: Path, marked: bool):
    async with GitLabStandIn(tmp_path / "gitlab") as gitlab:
        mia = gitlab.state.add_user("mia")
        await gitlab.add_project(PATH, owner=mia)
        url = f"{gitlab.url}/{PATH}.git"
        token = gitlab.state.add_token(mia, "api", "write_repository").secret
        whole = url.replace("://", f"://oauth2:{token}@")
        await beside(work, "push", "-qf", whole, "main")

        async def origin(project: str) -> Origin:
            return Origin(url=url, token=token)

        newest = CommitSha(git(work, "rev-parse", "HEAD"))
        await GitPast(tmp_path / "past", origin).changes(PATH, newest)
        (repository,) = (tmp_path / "past").glob("*.git")
        left = [
            repository / name
            for name in (
                *("shallow.lock", "packed-refs.lock", "config.lock", "HEAD.lock"),
                *("refs/past/newest.lock", "objects/pack/tmp_pack_x", "objects/pack/tmp_idx_x"),
            )
        ]
        for each in left:
            each.write_text("")
        if not marked:
            (repository / "without-files").unlink()
        newer = commit(work, {"part0.py": "n = 7\n"}, "Change part 0")
        await beside(work, "push", "-q", whole, "main")
        found = await GitPast(tmp_path / "past", origin).changes(PATH, newer)
        assert found[0].title == "Change part 0"
        assert not [each for each in left if each.exists()]


async def test_who_fetches_waits_for_another_process(tmp_path: Path, work: Path):
    asked = asyncio.Event()

    async def origin(project: str) -> Origin:
        asked.set()
        return Origin(url="http://127.0.0.1:9/group/project.git", token="glpat-secret")

    past = GitPast(tmp_path / "past", origin)
    with pytest.raises(ForgeUnavailable):
        await past.changes(PATH, CommitSha("a" * 40))
    (lock,) = (tmp_path / "past").glob("*.lock-file")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        asked.clear()
        waiting = asyncio.create_task(past.changes(PATH, CommitSha("a" * 40)))
        await asked.wait()
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
    with pytest.raises(ForgeUnavailable):
        await waiting


async def test_who_waits_for_another_process_can_be_stopped(tmp_path: Path):
    async def origin(project: str) -> Origin:
        return Origin(url="http://127.0.0.1:9/group/project.git", token="glpat-secret")

    past = GitPast(tmp_path / "past", origin)
    with pytest.raises(ForgeUnavailable):
        await past.changes(PATH, CommitSha("a" * 40))
    (lock,) = (tmp_path / "past").glob("*.lock-file")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        waiting = asyncio.create_task(past.landed(PATH, CommitSha("a" * 40), ()))
        await asyncio.wait({waiting}, timeout=0.3)
        async with asyncio.timeout(10):
            await asyncio.to_thread(int)  # it keeps no thread from anybody
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
    assert await past.landed(PATH, CommitSha("a" * 40), ()) == ()


async def test_a_linked_work_tree_is_read_and_one_that_leads_nowhere_is_told(
    tmp_path: Path, work: Path
):
    linked = tmp_path / "linked"
    git(work, "worktree", "add", "-q", str(linked), "HEAD~1")

    async def origin(project: str) -> Origin:
        return Origin(url=project)

    past = GitPast(tmp_path / "past", origin)
    found = await past.changes(str(linked), CommitSha(git(linked, "rev-parse", "HEAD")))
    assert [change.title for change in found] == [f"Add part {n}" for n in range(4, -1, -1)]
    assert await git_folder(linked) == work / ".git/worktrees/linked"
    (linked / ".git").write_text("gitdir: /nowhere\n")
    with pytest.raises(GitFailed, match=r"that its \.git file names cannot be opened"):
        await past.changes(str(linked), CommitSha("a" * 40))


async def test_a_repository_of_this_machine_is_read_in_place(tmp_path: Path, work: Path):
    async def origin(project: str) -> Origin:
        return Origin(url=project)

    past = GitPast(tmp_path / "past", origin)
    found = await past.changes(str(work), CommitSha(git(work, "rev-parse", "HEAD")))
    assert [change.title for change in found] == [f"Add part {n}" for n in range(5, -1, -1)]
    assert not (tmp_path / "past").exists()


async def test_nothing_of_such_a_repository_s_settings_is_carried_out(tmp_path: Path, work: Path):
    trap = tmp_path / "sprung"
    program = tmp_path / "gpg"
    program.write_text(f"#!/bin/sh\ntouch {trap}\n")
    program.chmod(0o755)
    signed = git(work, "cat-file", "commit", "HEAD").replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n -----END PGP SIGNATURE-----\n\n", 1
    )
    (tmp_path / "signed").write_text(signed + "\n")
    made = git(work, "hash-object", "-t", "commit", "-w", str(tmp_path / "signed"))
    for key, value in (("log.showSignature", "true"), ("gpg.program", str(program))):
        git(work, "config", key, value)
    git(work, "log", "-1", made)
    assert trap.exists()  # git itself falls for it
    trap.unlink()

    async def origin(project: str) -> Origin:
        return Origin(url=project)

    found = await GitPast(tmp_path / "past", origin).changes(str(work), CommitSha(made))
    assert found[0].title == "Add part 5"
    assert not trap.exists()


async def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path):
    async def origin(project: str) -> Origin:
        return Origin(url="http://127.0.0.1:9/group/project.git", token="glpat-secret")

    with pytest.raises(ForgeUnavailable):
        await GitPast(tmp_path / "past", origin).changes(PATH, CommitSha("a" * 40))
