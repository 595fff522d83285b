"""The workspace as a minefield: what was put there must not fool the host."""

from __future__ import annotations

import itertools
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import files as module
from agent.errors import ToolFailed
from agent.files import WorkspaceFiles

SECRET = b"outside-secret"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_bytes(SECRET)
    return folder


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Path:
    root = tmp_path / "tree"
    (root / "src").mkdir(parents=True)
    (root / "ok.txt").write_text("hello")
    (root / "src" / "app.py").write_text("app")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("git")
    (root / "inside-link").symlink_to("ok.txt")
    (root / "folder-link").symlink_to("src")
    (root / "link").symlink_to(outside / "secret.txt")
    (root / "relative-link").symlink_to("../outside/secret.txt")
    (root / "chain").symlink_to("link")
    (root / "outside-link").symlink_to(outside)
    (root / "environ").symlink_to("/proc/self/environ")
    (root / "magic").symlink_to(f"/proc/self/root{outside}/secret.txt")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    os.link(outside / "secret.txt", root / "hard-link")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(root / "socket"))
    (root / "sparse").touch()
    os.truncate(root / "sparse", 1 << 40)
    return root


@pytest.fixture(params=["openat2", "old kernel"])
def files(
    request: pytest.FixtureRequest, root: Path, monkeypatch: pytest.MonkeyPatch
) -> WorkspaceFiles:
    if request.param == "old kernel":
        monkeypatch.setattr(module, "_OPENAT2", 9999)  # no such call: ENOSYS, as before Linux 5.6
    return WorkspaceFiles(root)


def test_reads_and_bounds(files: WorkspaceFiles):
    assert files.read("ok.txt", 100) == b"hello"
    assert files.read("./src/../src/app.py", 2) == b"ap"
    assert len(files.read("sparse", 1_500_000)) == 1_500_000


def test_links_that_stay_inside_are_read(root: Path):
    files = WorkspaceFiles(root)
    assert files.read("inside-link", 100) == b"hello"
    assert files.read("folder-link/app.py", 100) == b"app"


@pytest.mark.parametrize(
    "path",
    [
        *("link", "relative-link", "chain", "outside-link/secret.txt", "environ", "magic", "loop"),
        *("pipe", "socket", "hard-link", "src", "missing", "ok.txt/x", "../outside/secret.txt"),
        *("src/../../outside/secret.txt", "/etc/passwd", "ok.txt\0", "\ud800", ".git/config"),
        *("src/.GIT/config", "x" * 5000, "."),
    ],
)
def test_traps_are_refused_with_a_sentence(files: WorkspaceFiles, path: str):
    with pytest.raises(ToolFailed) as refused:
        files.read(path, 1000)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("missing.py", "missing.py does not exist in the workspace."),
        ("/etc/passwd", "is an absolute path; give it relative"),
        ("../x", "is outside the workspace"),
        ("link", "leads out of the workspace"),
        ("src", "is a folder"),
        (".git/config", "belongs to git itself"),
    ],
)
def test_the_sentence_tells_what_is_wrong(root: Path, path: str, says: str):
    with pytest.raises(ToolFailed, match=says):
        WorkspaceFiles(root).read(path, 10)


def test_exists(files: WorkspaceFiles):
    assert [files.exists(path) for path in ("ok.txt", "src", ".")] == [True] * 3
    assert not any(files.exists(path) for path in ("link", "pipe", "missing", ".git", "../outside"))


def test_listing(files: WorkspaceFiles):
    names = files.listing()
    assert {"src/", "ok.txt"} <= set(names)
    assert ".git/" not in names
    assert files.listing("src") == ["app.py"]
    with pytest.raises(ToolFailed):
        files.listing("outside-link")


def test_writes_new_files_with_their_folders(files: WorkspaceFiles, root: Path):
    files.write("a/b/c.sh", b"#!", executable=True)
    assert (root / "a/b/c.sh").read_bytes() == b"#!"
    assert stat.S_IMODE((root / "a/b/c.sh").stat().st_mode) == 0o755
    assert os.listdir(root / "a/b") == ["c.sh"]  # noqa: PTH208


def test_an_old_file_keeps_its_mode(files: WorkspaceFiles, root: Path):
    (root / "ok.txt").chmod(0o750)
    files.write("ok.txt", b"new")
    assert stat.S_IMODE((root / "ok.txt").stat().st_mode) == 0o750
    files.write("ok.txt", b"new", executable=False)
    assert stat.S_IMODE((root / "ok.txt").stat().st_mode) == 0o640


def test_a_write_does_not_change_what_has_another_name(
    files: WorkspaceFiles, root: Path, outside: Path
):
    files.write("hard-link", b"new")
    assert (root / "hard-link").read_bytes() == b"new"
    assert (outside / "secret.txt").read_bytes() == SECRET


@pytest.mark.parametrize(
    "path",
    [
        *("link", "inside-link", "outside-link/new", "folder-link/new", "loop/new", "pipe", "src"),
        *("../new", "/tmp/new", ".git/hooks/pre-commit", "ok.txt/new", "a\0b", "."),
    ],
)
def test_writing_through_a_trap_is_refused(
    files: WorkspaceFiles, root: Path, outside: Path, path: str
):
    with pytest.raises(ToolFailed):
        files.write(path, b"x")
    assert os.listdir(outside) == ["secret.txt"]  # noqa: PTH208
    assert (root / "ok.txt").read_text() == "hello"
    assert not [name for name in os.listdir(root) if name.endswith(".tmp")]  # noqa: PTH208


def test_removing(files: WorkspaceFiles, root: Path, outside: Path):
    files.remove("ok.txt")
    files.remove("link")
    assert not (root / "ok.txt").exists()
    assert (outside / "secret.txt").exists()
    for path in ("missing", "src", "outside-link/secret.txt", ".git/config"):
        with pytest.raises(ToolFailed):
            files.remove(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_writes_belongs_to_the_owner_of_the_tree(files: WorkspaceFiles, root: Path):
    os.chown(root, 4321, 4321)
    files.write("new/file.py", b"x")
    assert (root / "new").stat().st_uid == 4321
    assert (root / "new/file.py").stat().st_gid == 4321


def test_a_folder_that_turns_into_a_link_meanwhile(
    files: WorkspaceFiles, root: Path, outside: Path
):
    """The race that checking a path before opening it loses."""
    real, evil, name = root / "real", root / "evil", root / "flip"
    real.mkdir()
    (real / "secret.txt").write_text("inside")
    evil.symlink_to(outside)
    stop = threading.Event()

    def flip() -> None:
        for count in itertools.count():
            for source in (real, evil):
                if stop.is_set():
                    return
                try:
                    source.rename(name)
                except OSError:  # a write made a folder of that name just now
                    name.rename(root / f"made-{count}-{source.name}")
                    continue
                name.rename(source)

    def attempt(action: Callable[[], object]) -> object:
        try:
            return action()
        except ToolFailed:
            return None

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        read = [attempt(lambda: files.read("flip/secret.txt", 100)) for _ in range(4000)]
        for number in range(1000):
            attempt(lambda n=number: files.write(f"flip/new{n % 5}", b"x"))  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
    assert SECRET not in read
    assert set(read) <= {b"inside", None}
    assert os.listdir(outside) == ["secret.txt"]  # noqa: PTH208
