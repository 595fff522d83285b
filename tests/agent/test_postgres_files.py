import os
import pwd
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.adapters import postgres_files
from agent.errors import SettingsError

USERADD = """#!/bin/sh
mkdir "$0.at-work" || { echo twice >> "$0.said"; exit 1; }
sleep 0.2
rmdir "$0.at-work"
"""


@pytest.fixture
def useradd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that adds nobody, and writes down when two are at work."""
    program = tmp_path / "bin" / "useradd"
    program.parent.mkdir()
    program.write_text(USERADD)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(postgres_files, "SYSTEM_USER", "nobody-adds-me")
    monkeypatch.setattr(postgres_files, "SYSTEM_FOLDER", tmp_path)
    return program


def account() -> object:
    return postgres_files._system_account()  # pyright: ignore[reportPrivateUsage]


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(SettingsError) as error:
        make()
    return str(error.value)


def test_two_that_begin_at_once_add_the_user_one_after_the_other(useradd: Path):
    with ThreadPoolExecutor(3) as threads:
        told = list(threads.map(refused, [account] * 3))
    assert all("could not be added" in each for each in told)
    assert not useradd.with_name("useradd.said").exists()


def test_a_user_who_is_there_is_not_added(useradd: Path, monkeypatch: pytest.MonkeyPatch):
    useradd.unlink()
    me = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(postgres_files, "SYSTEM_USER", me.pw_name)
    assert account() == postgres_files.Account(uid=me.pw_uid, gid=me.pw_gid)
