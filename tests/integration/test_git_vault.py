"""The vault with real git: local origins, hostile work trees."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.adapters import git_worktree
from agent.adapters.git_command import Git
from agent.adapters.git_vault import GitVault, GitVaults
from agent.errors import (
    Conflict,
    ForgeRejected,
    ForgeUnavailable,
    GitFailed,
    NotFound,
    Refused,
)
from agent.ports import Author, Origin
from agent.run import CommitSha

AUTHOR = Author(name="Journeyman", email="journeyman@example.com")
AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{r}_{p}": "a@b" for r in ("AUTHOR", "COMMITTER") for p in ("NAME", "EMAIL")},
}


def git(folder: Path, *arguments: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=ENV, check=True, capture_output=True, input=stdin
    )
    return done.stdout.decode("utf-8", "surrogateescape").strip()


class Place:
    """An origin with one commit, a vault and a workspace."""

    def __init__(self, folder: Path) -> None:
        self.origin_path = folder / "origin"
        self.origin = Origin(url=str(self.origin_path))
        self.vaults = GitVaults(folder / "vaults")
        self.workspace = folder / "work"
        self.marker = folder / "marker"  #: a trap that springs writes it
        self.origin_path.mkdir()
        self.workspace.mkdir()
        git(self.origin_path, "init", "-q", "-b", "main")
        self.write("app.py", "print('one')\n")
        self.write("lib/util.py", "a = 1\n")

    @property
    def vault(self) -> GitVault:
        return self.vaults.of("group/project")

    def write(self, path: str, text: str) -> None:
        file = self.origin_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def save(self, message: str = "a change") -> CommitSha:
        git(self.origin_path, "add", "-A")
        git(self.origin_path, "commit", "-q", "-m", message)
        return CommitSha(git(self.origin_path, "rev-parse", "HEAD"))

    async def start(self) -> CommitSha:
        """Saved, fetched and checked out."""
        if git(self.origin_path, "status", "--porcelain"):
            self.save()
        base, _ = await self.vault.fetch(self.origin, None)
        await self.vault.checkout(base, self.workspace)
        return base


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def tree_of(place: Place, tree: str) -> str:
    (vault,) = place.vaults.folder.glob("*.git")
    return git(vault, "ls-tree", "-r", tree)


# --- the way of a change -----------------------------------------------------------------


async def test_a_change_goes_from_the_origin_to_a_branch(place: Place) -> None:
    first = place.save()
    base, branch = await place.vault.fetch(place.origin, None)
    assert (base, branch) == (first, "main")
    assert await place.vault.checkout(base, place.workspace) == []
    assert sorted(p.name for p in place.workspace.iterdir()) == ["app.py", "lib"]

    (place.workspace / "app.py").write_text("print('two')\nprint('three')\n")
    (place.workspace / "lib/util.py").rename(place.workspace / "lib/helper.py")
    (place.workspace / "data.bin").write_bytes(bytes(range(256)))
    collected = await place.vault.collect(place.workspace, base)

    seen = {(f.path, f.status, f.added, f.removed) for f in collected.files}
    assert seen == {
        ("app.py", "modified", 2, 1),
        ("lib/helper.py", "renamed", 0, 0),
        ("data.bin", "added", 0, 0),
    }
    assert "+print('two')" in collected.patch
    assert await place.vault.restore(base, collected.patch) == collected.tree

    commit = await place.vault.commit(collected.tree, base, "Say two\n", author=AUTHOR, at=AT)
    await place.vault.push(place.origin, commit, "agent/1", expected=None)
    assert await place.vault.remote_head(place.origin, "agent/1") == commit
    assert git(place.origin_path, "show", "agent/1:app.py").startswith("print('two')")
    assert git(place.origin_path, "log", "--format=%an %ae %at %s", "-1", "agent/1") == (
        f"Journeyman journeyman@example.com {int(AT.timestamp())} Say two"
    )
    assert git(place.origin_path, "log", "--oneline", "agent/1").count("\n") == 1


async def test_another_host_makes_the_same_commit(place: Place, tmp_path: Path) -> None:
    base = await place.start()
    (place.workspace / "app.py").write_text("x\n")
    collected = await place.vault.collect(place.workspace, base)
    other = GitVaults(tmp_path / "other").of("group/project")
    await other.fetch(place.origin, "main")
    assert not await other.has(CommitSha("1" * 40))
    tree = await other.restore(base, collected.patch)
    shas = [
        await vault.commit(t, base, "Say x", author=AUTHOR, at=AT)
        for vault, t in ((place.vault, collected.tree), (other, tree))
    ]
    assert shas[0] == shas[1]


async def test_a_host_of_its_own_fetches_the_base_though_its_branch_moved(
    place: Place, tmp_path: Path
) -> None:
    base = await place.start()
    (place.workspace / "app.py").write_text("x\n")
    collected = await place.vault.collect(place.workspace, base)
    place.write("app.py", "print('elsewhere')\n")
    moved = place.save()
    other = GitVaults(tmp_path / "other").of("group/project")
    assert (await other.fetch(place.origin, "main"))[0] == moved
    assert not await other.has(base)
    await other.fetch_commit(place.origin, base)
    assert await other.has(base)
    assert await other.restore(base, collected.patch) == collected.tree


async def test_a_commit_is_made_again_of_its_record_and_pushed_by_another_host(
    place: Place, tmp_path: Path
) -> None:
    base = await place.start()
    (place.workspace / "app.py").write_text("x\n")
    collected = await place.vault.collect(place.workspace, base)
    commit = await place.vault.commit(collected.tree, base, "Say “x”\n", author=AUTHOR, at=AT)
    record = await place.vault.record(commit)
    place.write("lib/util.py", "moved = 1\n")
    place.save()
    other = GitVaults(tmp_path / "other").of("group/project")
    await other.fetch_commit(place.origin, base)
    assert not await other.has(commit)
    await other.restore(base, collected.patch)
    assert await other.commit_again(record) == commit
    await other.push(place.origin, commit, "agent/1", expected=None)
    assert git(place.origin_path, "log", "-1", "--format=%s %T", "agent/1") == (
        f"Say “x” {collected.tree}"
    )


async def test_a_commit_that_the_origin_does_not_have_is_not_found(place: Place) -> None:
    await place.start()
    with pytest.raises(NotFound, match="has no commit 11111111 any more"):
        await place.vault.fetch_commit(place.origin, CommitSha("1" * 40))


async def test_an_empty_patch_restores_the_base(place: Place) -> None:
    base = await place.start()
    collected = await place.vault.collect(place.workspace, base)
    assert collected.patch == ""
    assert collected.files == ()
    assert await place.vault.restore(base, "") == collected.tree


async def test_files_are_read_and_listed_at_a_commit(place: Place) -> None:
    (place.origin_path / "AGENTS.md").symlink_to("lib/util.py")
    place.write("big.txt", "0123456789" * 100)
    base = await place.start()
    vault = place.vault
    assert await vault.read(base, "app.py") == b"print('one')\n"
    assert await vault.read(base, "AGENTS.md") == b"a = 1\n"
    assert await vault.read(base, "big.txt", limit=7) == b"0123456"
    assert await vault.read(base, "lib") is None
    assert await vault.read(base, "missing") is None
    assert await vault.list(base) == ["AGENTS.md", "app.py", "big.txt", "lib/util.py"]


async def test_the_beginning_of_a_file_that_is_much_larger(place: Place) -> None:
    place.write("big.txt", "0123456789" * 4_000_000)
    base = await place.start()
    for limit in (7, 140_000, 5 << 20) * 5:  # a pipe that is not read to its end may block
        async with asyncio.timeout(30):
            assert len(await place.vault.read(base, "big.txt", limit=limit) or b"") == limit


async def test_each_step_is_collected_anew(place: Place) -> None:
    place.write(".gitignore", "*.log\n")
    place.write("kept.log", "tracked\n")
    git(place.origin_path, "add", "-f", "kept.log")
    base = await place.start()
    collect = place.vault.collect
    work = place.workspace
    untouched = await collect(work, base)
    assert await collect(work, base) is untouched

    (work / "new.txt").write_text("1\n")
    (work / "junk.log").write_text("ignored\n")
    assert [f.path for f in (await collect(work, base)).files] == ["new.txt"]
    (work / "new.txt").write_text("2\n")
    assert "+2" in (await collect(work, base)).patch
    (work / "new.txt").unlink()
    (work / "kept.log").unlink()
    assert [f.path for f in (await collect(work, base)).files] == ["kept.log"]
    (work / "new.txt").write_text("3\n")
    assert len((await collect(work, base)).files) == 2
    (work / "new.txt").unlink()
    (work / "kept.log").write_text("tracked\n")
    assert (await collect(work, base)).tree == untouched.tree

    (work / "lib/util.py").unlink()
    (work / "lib").rmdir()
    (work / "lib").write_text("a file now\n")
    (work / "app.py").unlink()
    (work / "app.py").mkdir()
    (work / "app.py/inner.py").write_text("a folder now\n")
    collected = await collect(work, base)
    assert {f.path for f in collected.files} == {"lib", "lib/util.py", "app.py", "app.py/inner.py"}
    assert await place.vault.restore(base, collected.patch) == collected.tree
    fresh = GitVaults(place.vaults.folder).of("group/project")
    assert (await fresh.collect(work, base)).tree == collected.tree


async def test_a_commit_in_between_becomes_the_new_base(place: Place) -> None:
    base = await place.start()
    (place.workspace / "app.py").write_text("x\n")
    first = await place.vault.collect(place.workspace, base)
    commit = await place.vault.commit(first.tree, base, "x", author=AUTHOR, at=AT)
    assert (await place.vault.collect(place.workspace, commit)).patch == ""
    (place.workspace / "lib/util.py").write_text("y\n")
    second = await place.vault.collect(place.workspace, commit)
    assert [f.path for f in second.files] == ["lib/util.py"]


# --- the origin --------------------------------------------------------------------------


async def test_an_empty_repository_is_refused(place: Place) -> None:
    for branch in (None, "main"):
        with pytest.raises(Refused, match="The repository is empty"):
            await place.vault.fetch(place.origin, branch)


async def test_an_unknown_branch_is_not_found(place: Place) -> None:
    place.save()
    with pytest.raises(NotFound, match="no branch release"):
        await place.vault.fetch(place.origin, "release")


async def test_an_unknown_repository_is_not_found(place: Place) -> None:
    with pytest.raises(NotFound):
        await place.vault.fetch(Origin(url=f"{place.origin_path}-gone"), None)


@pytest.mark.parametrize("name", ["--upload-pack=x", "a b", "../x", "a..b", "x:y", "a\nb", ""])
async def test_names_that_are_no_branches_are_refused(place: Place, name: str) -> None:
    with pytest.raises(Refused, match="cannot be the name of a branch"):
        await place.vault.fetch(place.origin, name)


async def test_a_branch_that_moved_is_fetched_again(place: Place) -> None:
    first = place.save()
    assert (await place.vault.fetch(place.origin, "main"))[0] == first
    place.write("app.py", "print('moved')\n")
    second = place.save()
    assert (await place.vault.fetch(place.origin, "main"))[0] == second
    git(place.origin_path, "commit", "-q", "--amend", "-m", "rewritten")
    rewritten = git(place.origin_path, "rev-parse", "HEAD")
    assert await place.vault.fetch(place.origin, "main") == (rewritten, "main")


async def test_branches_may_change_places_with_folders(place: Place) -> None:
    place.save()
    git(place.origin_path, "branch", "topic")
    await place.vault.fetch(place.origin, "topic")
    git(place.origin_path, "branch", "-D", "topic")
    place.write("app.py", "2\n")
    second = place.save()
    git(place.origin_path, "branch", "topic/one")
    assert await place.vault.fetch(place.origin, "topic/one") == (second, "topic/one")


async def test_an_origin_that_stands_on_no_branch_gives_its_head(place: Place) -> None:
    place.save()
    git(place.origin_path, "checkout", "-q", "--detach")
    place.write("app.py", "detached\n")
    commit = place.save()
    assert await place.vault.fetch(place.origin, None) == (commit, "HEAD")


async def test_fetches_at_once_agree_and_leftovers_of_a_killed_one_do_not_stop_them(
    place: Place,
) -> None:
    place.save()
    await place.vault.fetch(place.origin, "main")
    (folder,) = place.vaults.folder.glob("*.git")
    for left in ("shallow.lock", "refs/fetched/x.lock"):
        (folder / left).write_text("")
    place.write("app.py", "2\n")
    second = place.save()
    vaults = [GitVaults(place.vaults.folder).of("group/project") for _ in range(4)]
    fetched = await asyncio.gather(*(v.fetch(place.origin, "main") for v in vaults))
    assert fetched == [(second, "main")] * 4


async def test_a_push_when_the_base_branch_has_moved_on(place: Place) -> None:
    base = await place.start()
    (place.workspace / "app.py").write_text("x\n")
    collected = await place.vault.collect(place.workspace, base)
    commit = await place.vault.commit(collected.tree, base, "x", author=AUTHOR, at=AT)
    place.write("other.py", "moved on\n")
    place.save()
    await place.vault.push(place.origin, commit, "agent/1", expected=None)
    assert git(place.origin_path, "rev-parse", "agent/1^") == base


async def test_a_branch_that_a_person_moved_is_left_alone(place: Place) -> None:
    base = await place.start()
    shas: list[CommitSha] = []
    for text in ("x\n", "y\n"):
        (place.workspace / "app.py").write_text(text)
        collected = await place.vault.collect(place.workspace, base)
        shas.append(await place.vault.commit(collected.tree, base, text, author=AUTHOR, at=AT))
    first, second = shas
    push = place.vault.push
    await push(place.origin, first, "agent/1", expected=None)
    await push(place.origin, first, "agent/1", expected=None)  # again: it stands there already
    with pytest.raises(Conflict, match="moved by somebody else"):
        await push(place.origin, second, "agent/1", expected=None)
    with pytest.raises(Conflict):
        await push(place.origin, second, "agent/1", expected=base)
    assert await place.vault.remote_head(place.origin, "agent/1") == first
    await push(place.origin, second, "agent/1", expected=first)
    assert await place.vault.remote_head(place.origin, "agent/1") == second
    assert await place.vault.remote_head(place.origin, "agent/2") is None


async def test_hooks_of_a_local_origin_stay_unused(place: Place) -> None:
    base = await place.start()
    for name in ("pre-receive", "post-receive", "update", "reference-transaction"):
        hook = place.origin_path / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {place.marker}\nexit 1\n")
        hook.chmod(0o755)
    await place.vault.push(place.origin, base, "agent/1", expected=None)
    assert not place.marker.exists()


async def test_the_server_gives_the_reason_of_a_refusal(place: Place) -> None:
    base = await place.start()
    (place.workspace / "app.py").write_text("x\n")
    collected = await place.vault.collect(place.workspace, base)
    commit = await place.vault.commit(collected.tree, base, "x", author=AUTHOR, at=AT)
    # The branch that a local origin stands on may not be moved under its owner's feet.
    with pytest.raises(ForgeRejected, match="The push to main was refused"):
        await place.vault.push(place.origin, commit, "main", expected=base)


@pytest.mark.parametrize(
    "url",
    [
        "ssh://git@gitlab.example/group/project.git",
        "git@gitlab.example:group/project.git",
        "ext::sh -c 'touch marker'",
        "http://gitlab.example/group/project.git",
        "http://localhost.evil.example/p.git",
        "file:///etc",
        "https://user:secret@gitlab.example/p.git",
    ],
)
async def test_only_https_and_loopback_and_paths_are_spoken(place: Place, url: str) -> None:
    with pytest.raises(Refused) as refused:
        await place.vault.fetch(Origin(url=url), "main")
    assert "secret" not in str(refused.value)


async def test_a_server_that_does_not_answer_is_unavailable(place: Place) -> None:
    origin = Origin(url="http://127.0.0.1:9/group/project.git", token="glpat-secret")
    with pytest.raises(ForgeUnavailable) as error:
        await place.vault.fetch(origin, "main")
    assert "glpat-secret" not in str(error.value)


async def test_the_token_is_asked_for_and_never_follows_a_redirect(place: Place) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        if b"/moved/" in head.split(b"\r\n")[0]:
            said = b"302 Found\r\nLocation: http://127.0.0.1:9/elsewhere\r\n"
        elif b"Authorization:" in head:
            said = b"403 Forbidden\r\n"
        else:
            said = b'401 Unauthorized\r\nWWW-Authenticate: Basic realm="GitLab"\r\n'
        writer.write(b"HTTP/1.1 " + said + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        origin = Origin(url=f"http://127.0.0.1:{port}/group/project.git", token="glpat-secret")
        with pytest.raises(ForgeRejected, match="Check the token") as denied:
            await place.vault.fetch(origin, "main")
        assert "glpat-secret" not in str(denied.value)
        # base64 of oauth2:glpat-secret
        assert b"Authorization: Basic b2F1dGgyOmdscGF0LXNlY3JldA==" in asked[-1]
        moved = Origin(url=f"http://127.0.0.1:{port}/moved/p.git", token="glpat-secret")
        with pytest.raises(GitFailed):
            await place.vault.fetch(moved, "main")


async def test_the_bots_environment_does_not_reach_git(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = await place.start()
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"touch {place.marker};")
    monkeypatch.setenv("GIT_TRACE", str(place.marker))
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent/index")
    (place.workspace / "app.py").write_text("x\n")
    assert (await place.vault.collect(place.workspace, base)).files
    assert not place.marker.exists()


# --- hostile work trees ------------------------------------------------------------------


async def test_a_repository_made_by_the_agent_is_never_opened(place: Place) -> None:
    place.write(".gitattributes", "*.py filter=evil diff=evil\n")
    base = await place.start()
    work = place.workspace
    git(work, "init", "-q", "-b", "main")
    for key in (
        "core.fsmonitor",
        "core.sshCommand",
        "diff.external",
        "filter.evil.clean",
        "filter.evil.process",
        "diff.evil.textconv",
        "diff.evil.command",
        "credential.helper",
        "gpg.program",
    ):
        git(work, "config", key, f"touch {place.marker}; cat")
    for name in ("pre-commit", "post-index-change", "post-checkout", "pre-push"):
        hook = work / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {place.marker}\n")
        hook.chmod(0o755)
    (work / ".git/info/attributes").parent.mkdir(exist_ok=True)
    (work / ".git/info/attributes").write_text("* filter=evil\n")
    (work / "app.py").write_text("x\n")
    collected = await place.vault.collect(work, base)
    assert [f.path for f in collected.files] == ["app.py"]
    commit = await place.vault.commit(collected.tree, base, "x", author=AUTHOR, at=AT)
    await place.vault.push(place.origin, commit, "agent/1", expected=None)
    assert not place.marker.exists()


async def test_a_git_file_that_points_elsewhere_changes_nothing(place: Place) -> None:
    base = await place.start()
    (place.workspace / ".git").write_text(f"gitdir: {place.origin_path}/.git\n")
    (place.workspace / "app.py").write_text("x\n")
    before = git(place.origin_path, "for-each-ref")
    collected = await place.vault.collect(place.workspace, base)
    assert [f.path for f in collected.files] == ["app.py"]
    assert git(place.origin_path, "for-each-ref") == before


async def test_a_nested_repository_is_left_out_with_a_note(place: Place) -> None:
    base = await place.start()
    nested = place.workspace / "vendor/thing"
    nested.mkdir(parents=True)
    git(nested, "init", "-q")
    git(nested, "config", "core.fsmonitor", f"touch {place.marker};")
    alternates = nested / ".git/objects/info/alternates"
    alternates.parent.mkdir(exist_ok=True)
    alternates.write_text(f"{place.origin_path}/.git/objects\n")
    (nested / "code.py").write_text("x\n")
    git(nested, "commit", "-q", "--allow-empty", "-m", "inner")
    (place.workspace / "app.py").write_text("x\n")
    for _ in range(2):
        collected = await place.vault.collect(place.workspace, base)
        assert [f.path for f in collected.files] == ["app.py"]
        assert collected.notes == ("Left out, a git repository of its own: vendor/thing/.",)
    place.marker.unlink(missing_ok=True)  # our own commit above ran it
    await place.vault.collect(place.workspace, base)
    assert not place.marker.exists()


async def test_links_are_kept_as_links_and_never_followed(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "util.py").write_text("a = 1\n")
    (secret / "key").write_text("the key\n")
    base = await place.start()
    work = place.workspace
    (work / "link").symlink_to(secret / "key")
    (work / "folder").symlink_to(secret)
    (work / "lib/util.py").unlink()
    (work / "lib").rmdir()
    (work / "lib").symlink_to(secret)  # lib/util.py looks unchanged through it
    collected = await place.vault.collect(work, base)
    tree = tree_of(place, collected.tree)
    assert sorted(line.split("\t")[1] for line in tree.splitlines()) == [
        "app.py",
        "folder",
        "lib",
        "link",
    ]
    assert tree.count("120000 blob") == 3
    assert "the key" not in collected.patch
    assert await place.vault.restore(base, collected.patch) == collected.tree


async def test_a_changed_file_behind_a_link_is_not_taken(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "util.py").write_text("another secret\n")
    base = await place.start()
    (place.workspace / "lib/util.py").unlink()
    (place.workspace / "lib").rmdir()
    (place.workspace / "lib").symlink_to(secret)
    collected = await place.vault.collect(place.workspace, base)
    assert "another secret" not in collected.patch
    assert "120000 blob" in tree_of(place, collected.tree)


async def test_large_files_are_left_out_with_a_note(place: Place) -> None:
    base = await place.start()
    for name in ("huge.bin", "app.py"):
        with (place.workspace / name).open("wb") as file:
            file.truncate(10 * 2**30)
    (place.workspace / "lib/util.py").write_text("x\n")
    began = time.monotonic()
    collected = await place.vault.collect(place.workspace, base)
    assert time.monotonic() - began < 20  # reading them would take far longer
    assert [f.path for f in collected.files] == ["lib/util.py"]
    assert collected.notes == ("Left out, larger than 20 MB: app.py, huge.bin.",)


async def test_a_file_that_grew_too_large_is_as_the_base_has_it(place: Place) -> None:
    base = await place.start()
    (place.workspace / "app.py").write_text("x\n")
    assert (await place.vault.collect(place.workspace, base)).files
    with (place.workspace / "app.py").open("wb") as file:
        file.truncate(2**30)
    assert (await place.vault.collect(place.workspace, base)).files == ()


async def test_too_much_in_all_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_worktree, "TOTAL_LIMIT", 3 * 2**20)
    base = await place.start()
    for number in range(4):
        (place.workspace / f"{number}.bin").write_bytes(b"x" * 2**20)
    with pytest.raises(Refused, match=r"\.gitignore"):
        await place.vault.collect(place.workspace, base)
    (place.workspace / ".gitignore").write_text("*.bin\n")
    assert [f.path for f in (await place.vault.collect(place.workspace, base)).files] == [
        ".gitignore"
    ]


async def test_a_huge_ignore_file_does_not_take_the_hosts_memory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.adapters.git_command.MEMORY", 2**30)
    base = await place.start()
    with (place.workspace / ".gitignore").open("wb") as file:
        file.truncate(64 * 2**30)
    with pytest.raises(GitFailed):
        await place.vault.collect(place.workspace, base)


async def test_pipes_and_odd_names_do_no_harm(place: Place) -> None:
    base = await place.start()
    work = place.workspace
    os.mkfifo(work / "pipe")
    (work / "app.py").unlink()
    os.mkfifo(work / "app.py")
    (work / os.fsdecode(b"caf\xe9 \n:(top).txt")).write_text("x\n")
    (work / "-x").write_text("y\n")
    (work / ".GIT").mkdir()
    (work / ".GIT/config").write_text("z\n")
    for _ in range(2):
        collected = await place.vault.collect(work, base)
        assert [(f.path, f.status) for f in collected.files] == [
            ("-x", "added"),
            ("app.py", "deleted"),
            ("caf\\xe9 \n:(top).txt", "added"),
        ]
        assert collected.notes == ("Left out, names that git refuses: .GIT/config.",)
    assert await place.vault.restore(base, collected.patch) == collected.tree


async def test_a_workspace_is_only_made_in_an_empty_folder(place: Place) -> None:
    base = await place.start()
    with pytest.raises(GitFailed, match="not empty"):
        await place.vault.checkout(base, place.workspace)


# --- unusual repositories ----------------------------------------------------------------


async def test_what_is_unusual_is_noted(place: Place) -> None:
    place.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12\n"
    place.write("model.bin", pointer.format("0" * 64))
    place.write("README", "a\n")
    place.write("readme", "b\n")
    (place.origin_path / "out").symlink_to("../../etc/passwd")
    (place.origin_path / "in").symlink_to("lib/../app.py")
    place.write(os.fsdecode(b"caf\xe9"), "x\n")
    git(place.origin_path, "add", "-A")
    entry = f"160000,{'1' * 40},vendor/sub"
    git(place.origin_path, "update-index", "--add", "--cacheinfo", entry)
    git(place.origin_path, "commit", "-q", "-m", "unusual")
    base, _ = await place.vault.fetch(place.origin, None)
    assert await place.vault.checkout(base, place.workspace) == [
        "Submodules are not fetched: vendor/sub.",
        "Git LFS files are pointers here, without their content: model.bin.",
        "Links that leave the tree: out.",
        "File names that are not UTF-8: caf\\xe9.",
        "File names that differ by case only: README, readme.",
    ]
    assert (place.workspace / "model.bin").read_text().startswith("version https://git-lfs")
    assert (await place.vault.collect(place.workspace, base)).files == ()

    (place.workspace / "model.bin").write_text("content\n")
    collected = await place.vault.collect(place.workspace, base)
    assert collected.notes == (
        "Changed, but kept by Git LFS, whose content cannot be uploaded: model.bin.",
    )

    git(place.workspace / "vendor/sub", "init", "-q")
    git(place.workspace / "vendor/sub", "commit", "-q", "--allow-empty", "-m", "inner")
    collected = await place.vault.collect(place.workspace, base)
    assert [f.path for f in collected.files] == ["model.bin"]


async def test_old_defects_of_a_history_do_not_stop_a_fetch(place: Place) -> None:
    first = place.save()
    tree = git(place.origin_path, "rev-parse", "HEAD^{tree}")
    text = (
        f"tree {tree}\nparent {first}\nauthor A <a@b> 1 +051800\ncommitter A <a@b> 1 +0000\n\nx\n"
    )
    bad = git(
        place.origin_path, "hash-object", "-t", "commit", "-w", "--stdin", "--literally",
        stdin=text.encode(),
    )  # fmt: skip
    git(place.origin_path, "update-ref", "refs/heads/main", bad)
    assert await place.vault.fetch(place.origin, None) == (bad, "main")


async def test_twenty_thousand_files(place: Place) -> None:
    stream = ["commit refs/heads/main\ncommitter a <a@b> 1 +0000\ndata 1\nx\n"]
    for number in range(20_000):
        text = f"x = {number}\n"
        stream.append(f"M 100644 inline d{number % 200}/f{number}.py\ndata {len(text)}\n{text}\n")
    git(place.origin_path, "fast-import", "--quiet", stdin="".join(stream).encode())
    base, _ = await place.vault.fetch(place.origin, None)
    assert await place.vault.checkout(base, place.workspace) == []
    assert len(await place.vault.list(base)) == 20_000
    (place.workspace / "d7/f7.py").write_text("changed\n")
    collected = await place.vault.collect(place.workspace, base)
    assert [f.path for f in collected.files] == ["d7/f7.py"]


async def test_a_stopped_fetch_leaves_no_process(place: Place, tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{tmp_path.name}.git"
        fetch = asyncio.create_task(place.vault.fetch(Origin(url=url), "main"))
        await asyncio.sleep(0.5)
        fetch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetch
    await asyncio.sleep(0.1)
    running = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not [line for line in running if url.encode() in line]


async def test_whoever_is_cancelled_again_and_again_leaves_no_git(place: Place) -> None:
    def children() -> set[str]:
        tasks = Path("/proc/self/task").glob("*/children")
        return {pid for each in tasks for pid in each.read_text().split()}

    before = children()
    waiting = ["-c", "alias.wait=!sleep 60", "wait"]
    call = asyncio.create_task(Git(place.origin_path).run(waiting))
    async with asyncio.timeout(30):
        while children() <= before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    while not call.done():
        call.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await call
    assert children() <= before


@pytest.mark.parametrize("left", [(), ("config.lock",)])
async def test_vault_whose_making_was_cut_short_is_made_anew(place: Place, left: tuple[str, ...]):
    """The first run of a project was stopped in the very moment in which its vault was made."""
    vault, commit = place.vault, place.save()
    (vault.repository / "refs" / "heads").mkdir(parents=True)
    (vault.repository / "HEAD").write_text("ref: refs/heads/main\n")
    for name in left:
        (vault.repository / name).touch()
    assert await vault.fetch(place.origin, "main") == (commit, "main")
    assert await vault.list(commit) == ["app.py", "lib/util.py"]
