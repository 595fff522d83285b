"""A merge request counts once, whatever commits it came by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.retrieval.history import Change, History
from agent.retrieval.tokens import Tokens

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = [
    Change(id=f"{n:040x}", at=NOW - timedelta(days=n), title=f"Other {n}", paths=("other.py",))
    for n in range(8)
]


def change(id: str, title: str, *paths: str, commits: tuple[str, ...] = ()) -> Change:
    return Change(id=id, at=NOW - timedelta(days=1), title=title, paths=paths, commits=commits)


def counted(*changes: Change) -> int:
    return len(History([*changes, *OTHER], Tokens()).changes) - len(OTHER)


MERGED = change("!1", "Round half up", "round.py", "sum.py", commits=("merge", "squash", "head"))


@pytest.mark.parametrize(
    ("commit", "count"),
    [
        (change("squash", "Round half up", "round.py", "sum.py"), 1),
        (change("squash", "Rounding, reworded", "round.py", "sum.py"), 1),
        (change("head", "Round half up", "round.py"), 1),
        (change("head", "Mend the tests", "round.py"), 2),  # a part of it, with words of its own
        (change("head", "Round half up", "round.py", "sum.py", "more.py"), 2),
        (change("another", "Round half up", "round.py", "sum.py"), 2),
    ],
)
def test_a_commit_that_says_the_same_is_not_told_beside_it(commit: Change, count: int):
    assert counted(MERGED, commit) == count
    assert counted(commit, MERGED) == count


def test_the_words_of_both_point_to_the_files_and_no_word_counts_twice():
    squash = change("squash", "Rounding of cents", "round.py", "sum.py")
    both = History([MERGED, squash, *OTHER], Tokens())
    alone = History([MERGED, *OTHER], Tokens())
    assert set(both.evidence("cents", NOW).history) == {"round.py", "sum.py"}
    assert alone.evidence("cents", NOW).history == {}
    issue = change("!1", "Round half up\nRound half up", "round.py", commits=("merge",))
    plain = change("!1", "Round half up", "round.py", commits=("merge",))
    told, once = (
        History([each, *OTHER], Tokens()).evidence("round", NOW) for each in (issue, plain)
    )
    assert told == once


def test_files_are_no_more_recent_for_a_merge_request():
    squash = change("squash", "Round half up", "round.py", "sum.py")
    with_it = History([MERGED, squash, *OTHER], Tokens()).recency(NOW)
    assert with_it == History([squash, *OTHER], Tokens()).recency(NOW)
