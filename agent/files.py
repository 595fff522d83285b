"""The host's own access to the files of a workspace, where every name may be a trap.

What runs in the sandbox can put links, pipes and endless files into the tree and change them at
any moment. So the kernel itself keeps each step below the root (`openat2`), and only regular
files with a single name are read or replaced.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import stat
import struct
from collections.abc import Generator
from pathlib import Path, PurePosixPath

from agent.errors import ToolFailed

_OPENAT2 = 437  # the same on every architecture
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_TRIES = 100
_CHUNK = 1024 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_SAFE = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_SENTENCES = {
    errno.ENOENT: "{path} does not exist in the workspace.",
    errno.ENOTDIR: "{path} does not exist: a part of its path is a file, not a folder.",
    errno.EXDEV: "{path} leads out of the workspace; only files below it can be used.",
    errno.ELOOP: "{path} goes through a symbolic link, which is not followed here; use the"
    " real path.",
    errno.EISDIR: "{path} is a folder, not a file.",
    errno.ENXIO: "{path} is a pipe or a socket, not a regular file.",
    errno.EACCES: "{path} is not readable.",
    errno.ENAMETOOLONG: "The path is too long.",
    errno.EEXIST: "{path} exists already as something else.",
    errno.ENOTEMPTY: "{path} is a folder that is not empty.",
}


class WorkspaceFiles:
    """Paths are relative to `root`, with `/` between parts. Raises `ToolFailed`, in a sentence
    that tells the model what is wrong. Links are followed for reading while they stay inside,
    and never for writing. The inside of `.git` is refused."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str, limit: int) -> bytes:
        """At most `limit` bytes of a regular file."""
        with self._opened(path, os.O_RDONLY) as fd:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                kind = "a folder" if stat.S_ISDIR(facts.st_mode) else "no regular file"
                raise ToolFailed(f"{path} is {kind}; only regular files can be read.")
            if facts.st_nlink != 1:
                raise ToolFailed(f"{path} has a second name (hard link) and is not read.")
            parts: list[bytes] = []
            while limit > 0 and (data := os.read(fd, min(limit, _CHUNK))):
                parts.append(data)
                limit -= len(data)
            return b"".join(parts)

    def exists(self, path: str) -> bool:
        """Whether there is a regular file or a folder, links inside followed."""
        try:
            with self._opened(path, os.O_PATH) as fd:
                mode = os.fstat(fd).st_mode
                return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        except ToolFailed:
            return False

    def listing(self, path: str = ".") -> list[str]:
        """Sorted names in a folder; those of folders end in `/`, `.git` is left out."""
        with self._opened(path, _FOLDER) as fd, os.scandir(fd) as entries:
            return sorted(
                entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")
                for entry in entries
                if entry.name.lower() != ".git"
            )

    def write(self, path: str, data: bytes, executable: bool | None = None) -> None:
        """Replaces or makes a file at once or not at all, with its parents. The mode of an old
        file stays unless `executable` says otherwise."""
        parts = self._parts(path)
        with self._parent(parts, create=True) as (folder, owner):
            mode = self._replaceable(path, folder, parts[-1])
            if mode is None:
                mode = 0o644
            if executable is not None:
                mode = mode | 0o111 if executable else mode & ~0o111
            temporary = f".{secrets.token_hex(8)}.tmp"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with _told(path):
                fd = os.open(temporary, flags, 0o600, dir_fd=folder)
                try:
                    with open(fd, "wb") as file:
                        file.write(data)
                        file.flush()
                        os.fchmod(fd, mode)
                        if os.geteuid() == 0:
                            os.fchown(fd, *owner)
                    os.rename(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
                except BaseException:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=folder)
                    raise

    def remove(self, path: str) -> None:
        """A file, a link (not what it points to) or an empty folder."""
        parts = self._parts(path)
        with self._parent(parts, create=False) as (folder, _), _told(path):
            mode = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                os.rmdir(parts[-1], dir_fd=folder)
            else:
                os.unlink(parts[-1], dir_fd=folder)

    def _replaceable(self, path: str, folder: int, name: str) -> int | None:
        """The mode of what stands there now, None for nothing."""
        try:
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(facts.st_mode):
            raise ToolFailed(
                f"{path} is a symbolic link; write to the file that it points to, or remove it."
            )
        if stat.S_ISDIR(facts.st_mode):
            raise ToolFailed(f"{path} is a folder, not a file.")
        if not stat.S_ISREG(facts.st_mode):
            raise ToolFailed(f"{path} is no regular file; remove it first.")
        return stat.S_IMODE(facts.st_mode) & 0o777

    @contextlib.contextmanager
    def _opened(self, path: str, flags: int) -> Generator[int]:
        parts = self._parts(path, root=True)
        with self._root() as root, _told(path):
            fd = _open_beneath(root, "/".join(parts) or ".", flags, links=True)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _parent(
        self, parts: tuple[str, ...], *, create: bool
    ) -> Generator[tuple[int, tuple[int, int]]]:
        """The folder of a file to be changed, reached without any link, and who owns the tree."""
        path = "/".join(parts)
        with self._root() as root:
            facts = os.fstat(root)
            owner = facts.st_uid, facts.st_gid
            with _told(path):
                folder = os.dup(root)
                try:
                    for part in parts[:-1]:
                        if create:
                            _make_folder(folder, part, owner)
                        deeper = _open_beneath(folder, part, _FOLDER, links=False)
                        os.close(folder)
                        folder = deeper
                except BaseException:
                    os.close(folder)
                    raise
            try:
                yield folder, owner
            finally:
                os.close(folder)

    @contextlib.contextmanager
    def _root(self) -> Generator[int]:
        fd = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    @staticmethod
    def _parts(path: str, *, root: bool = False) -> tuple[str, ...]:
        try:
            plain = b"\0" not in os.fsencode(path)
        except UnicodeEncodeError:
            plain = False
        if not plain:
            raise ToolFailed("The path has a NUL or half a character in it.")
        if path.startswith("/"):
            raise ToolFailed(
                f"{path} is an absolute path; give it relative to the workspace, for example"
                " src/app.py."
            )
        parts: list[str] = []
        for part in PurePosixPath(path).parts:
            if part == "..":
                if not parts:
                    raise ToolFailed(f"{path} is outside the workspace.")
                parts.pop()
            else:
                parts.append(part)
        if any(part.lower() == ".git" for part in parts):
            raise ToolFailed(f"{path} belongs to git itself and is not touched.")
        if not parts and not root:
            raise ToolFailed("The path names no file.")
        return tuple(parts)


def make_enterable(folder: Path) -> None:
    """Makes a folder and its missing parents such that other users may pass through them, also
    where the service runs with a narrow umask."""
    for each in (*reversed(folder.parents), folder):
        with contextlib.suppress(FileExistsError):
            each.mkdir()
            each.chmod(0o711)


def _make_folder(parent: int, name: str, owner: tuple[int, int]) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return
    if os.geteuid() == 0:
        os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)


def _open_beneath(folder: int, path: str, flags: int, *, links: bool) -> int:
    resolve = _BENEATH | _NO_MAGICLINKS | (0 if links else _NO_SYMLINKS)
    safe = os.O_CLOEXEC if flags & os.O_PATH else _SAFE
    how = struct.pack("QQQ", flags | safe, 0, resolve)
    name = os.fsencode(path)
    for _ in range(_TRIES):
        fd = _libc.syscall(
            ctypes.c_long(_OPENAT2), ctypes.c_int(folder), name, how, ctypes.c_size_t(len(how))
        )
        if fd >= 0:
            return fd
        error = ctypes.get_errno()
        if error == errno.ENOSYS:
            return _walk(folder, path, flags | safe)
        if error != errno.EAGAIN:  # EAGAIN: a rename came between, once more
            raise OSError(error, os.strerror(error), path)
    raise OSError(errno.EAGAIN, "it is being renamed all the time", path)


def _walk(folder: int, path: str, flags: int) -> int:
    """For kernels before 5.6: part by part, and no links at all."""
    fd = os.dup(folder)
    *parents, last = path.split("/")
    for part, how in [*((p, _FOLDER | os.O_CLOEXEC) for p in parents), (last, flags)]:
        try:
            deeper = os.open(part, how | os.O_NOFOLLOW, dir_fd=fd)
        finally:
            os.close(fd)
        fd = deeper
    return fd


@contextlib.contextmanager
def _told(path: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        text = _SENTENCES.get(error.errno or 0, f"{{path}} cannot be used: {error.strerror}.")
        raise ToolFailed(text.format(path=path)) from error


_libc = ctypes.CDLL(None, use_errno=True)
