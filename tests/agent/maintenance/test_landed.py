"""Which lines came to a branch lately, told by real git from a vault that is one commit deep."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from engine_bench import ENV, git, make_repository

from agent.adapters.git_vault import GitVaults
from agent.ports import Landed, Origin

NOW = datetime(2026, 3, 10, 2, tzinfo=UTC)
SINCE = NOW - timedelta(days=7)
NIGHT = "Format\n\nRequested-by: nightly maintenance (maintenance)\nAgent-Run: 4\n"


class History:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = monkeypatch

    def begin(self, files: Mapping[str, str], *, days: float) -> None:
        self.at(days)
        make_repository(self.folder / "origin", files)

    def commit(self, path: str, text: str, *, days: float, message: str = "More") -> None:
        self.at(days)
        (self.folder / "origin" / path).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-qm", message)

    def git(self, *arguments: str) -> str:
        return git(self.folder / "origin", *arguments)

    async def landed(self, *paths: str) -> Landed:
        vault = GitVaults(self.folder / "vaults").of("team/calc")
        origin = Origin(url=str(self.folder / "origin"))
        base, branch = await vault.fetch(origin, "main")
        return await vault.landed(origin, branch, base, paths or ("a.py",), since=SINCE)

    def at(self, days: float) -> None:
        when = f"{NOW - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
        self._patch.setitem(ENV, "GIT_COMMITTER_DATE", when)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    made = History(tmp_path, monkeypatch)
    made.begin({"a.py": "1\n2\n3\n", "b.py": "1\n"}, days=40)
    return made


async def test_lines_of_the_last_days_stand_where_they_are_now(history: History):
    history.commit("a.py", "1\n2\nnew\n3\n", days=5)
    history.commit("a.py", "0\n1\n2\nnew\n3\n", days=1)
    assert await history.landed() == Landed(lines={"a.py": frozenset({1, 4})})


async def test_what_is_older_did_not_come_lately(history: History):
    history.commit("a.py", "1\n2\n3\n4\n", days=8)
    assert await history.landed() == Landed(lines={})


async def test_only_the_files_that_are_asked_for(history: History):
    history.commit("b.py", "2\n", days=1)
    assert (await history.landed()).lines == {}
    assert (await history.landed("b.py", "gone.py")).lines == {"b.py": frozenset({1})}


async def test_what_a_night_changed_does_not_count(history: History):
    history.commit("a.py", "one\n2\n3\n", days=2, message=NIGHT)
    history.commit("a.py", "one\ntwo\n3\n", days=1)
    assert (await history.landed()).lines == {"a.py": frozenset({2})}


async def test_an_old_branch_that_was_merged_lately_came_lately(history: History):
    history.git("checkout", "-qb", "topic")
    history.commit("a.py", "1\n2\n3\ntopic\n", days=30)
    history.git("checkout", "-q", "main")
    history.commit("b.py", "2\n", days=20)
    history.at(1)
    history.git("merge", "-q", "--no-ff", "-m", "Merge", "topic")
    assert (await history.landed()).lines == {"a.py": frozenset({4})}


async def test_a_young_project_came_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    young = History(tmp_path, monkeypatch)
    young.begin({"a.py": "1\n2\n"}, days=1)
    assert await young.landed() == Landed(lines={"a.py": frozenset({1, 2})})


async def test_a_history_that_goes_too_deep_is_said(
    history: History, monkeypatch: pytest.MonkeyPatch
):
    for number in range(1, 7):
        text = "".join(f"line {each}\n" for each in range(number))
        history.commit("a.py", text, days=3)
    monkeypatch.setattr("agent.adapters.git_landed.HISTORY", 3)
    monkeypatch.setattr("agent.adapters.git_vault.HISTORY", 3)
    found = await history.landed()
    assert found.lines == {"a.py": frozenset({5, 6})}
    assert found.gap == "Only the newest 3 commits were looked at."


async def test_names_and_words_of_a_repository_are_only_words(history: History):
    name = "--output=x\n.py"
    text = f"{'a' * 40} 1 1 1\n"
    history.commit(name, text, days=1, message=f"{'b' * 40} 7 7 7\n\n{text}")
    assert (await history.landed(name)).lines == {name: frozenset({1})}
