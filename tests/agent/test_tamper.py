"""What a change does to the checks on it: each way to weaken one is seen, honest work is not."""

from __future__ import annotations

import difflib
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tamper_cases import HONEST, PY, TWO, WEAKER, B, G, J, K, R, T

from agent.difference import FileDiff, Line, read_patch
from agent.pipeline import Violation
from agent.pipeline import Weakening as W
from agent.tamper import weakenings

Files = Mapping[str, str]


def diffs_of(
    before: Files, after: Files, renamed: Mapping[str, str] | None = None
) -> list[FileDiff]:
    """As git would tell them; `renamed` maps old names to new ones."""
    renames = dict(renamed or {})
    found: list[FileDiff] = []
    pairs = [(old, renames.get(old, old)) for old in before]
    pairs += [(None, new) for new in after if new not in before and new not in renames.values()]
    for old, new in pairs:
        there = new if new in after else None
        was = (before[old] if old else "").split("\n")
        now = (after[there] if there else "").split("\n")
        if was == now and old == there:
            continue
        diff = FileDiff(old=old, new=there)
        for tag, i, j, k, m in difflib.SequenceMatcher(None, was, now).get_opcodes():
            if tag != "equal":
                diff.removed += [Line(number=n + 1, text=was[n]) for n in range(i, j)]
                diff.added += [Line(number=n + 1, text=now[n]) for n in range(k, m)]
        found.append(diff)
    return found


def found(
    before: Files,
    after: Files,
    *,
    renamed: Mapping[str, str] | None = None,
    ci: tuple[str, ...] = (),
) -> list[Violation]:
    diffs = diffs_of(before, after, renamed)
    return list(weakenings(diffs, before.get, after.get, ci=ci))


def rules(before: Files, after: Files, **more: object) -> set[str]:
    return {each.rule for each in found(before, after, **more)}


@pytest.mark.parametrize(("path", "before", "after", "rule"), WEAKER.values(), ids=WEAKER)
def test_each_way_to_weaken_a_check_is_seen(path: str, before: str, after: str, rule: str):
    assert rule in rules({path: before}, {path: after}), found({path: before}, {path: after})


@pytest.mark.parametrize(("path", "before", "after", "rule"), WEAKER.values(), ids=WEAKER)
def test_an_unchanged_file_breaks_nothing(path: str, before: str, after: str, rule: str):
    assert found({path: before}, {path: before}) == []
    assert found({path: after}, {path: after}) == []


@pytest.mark.parametrize(("path", "before", "after"), HONEST.values(), ids=HONEST)
def test_honest_work_is_left_alone(path: str, before: str, after: str):
    old = {path: before} if before else {}
    new = {path: after} if after else {}
    assert found(old, new) == []


def test_a_test_that_moves_to_another_file_is_not_gone():
    other = "import pytest\n\n\ndef test_empty():\n    assert total([]) == 0\n"
    assert found({T: TWO}, {T: PY, "tests/test_empty.py": other}) == []


def test_a_test_that_moves_and_checks_less_is_seen():
    other = "import pytest\n\n\ndef test_empty():\n    total([])\n"
    assert rules({T: TWO}, {T: PY, "tests/test_empty.py": other}) == {W.ASSERTION_REMOVED}


def test_a_file_that_the_runner_no_longer_finds_takes_its_tests_with_it():
    new = "tests/shop_checks.py"
    assert rules({T: PY}, {new: PY}, renamed={T: new}) == {W.TEST_REMOVED}
    assert rules({T: PY}, {"tests/test_shop.txt": PY}, renamed={T: "tests/test_shop.txt"}) == {
        W.TEST_REMOVED
    }
    other = "tests/unit/test_shop.py"
    assert found({T: PY}, {other: PY}, renamed={T: other}) == []


def test_many_lost_tests_of_one_file_are_told_at_once():
    many = "".join(f"def test_{n}():\n    assert f({n}) == {n}\n\n\n" for n in range(20))
    (only,) = found({T: many}, {})
    assert only.rule == W.TEST_REMOVED
    assert only.path == T
    assert only.detail.startswith("20 tests are gone, with the whole file: `test_0`")


def test_a_threshold_may_move_to_another_file():
    old = {".coveragerc": "[report]\nfail_under = 90\n"}
    assert found(old, {"pyproject.toml": "[tool.coverage.report]\nfail_under = 90\n"}) == []


def test_what_the_configuration_includes_is_ci_too():
    ci = ("ci/*.yml",)
    assert rules({"ci/test.yml": "a\n"}, {"ci/test.yml": "b\n"}, ci=ci) == {W.CI_TOUCHED}
    assert rules({"ci/test.yml": "a\n"}, {"x.yml": "a\n"}, ci=ci, renamed={"ci/test.yml": "x.yml"})


def test_places_are_those_of_the_new_file():
    (only,) = found({T: PY}, {T: PY.replace(" == 3", "")})
    assert (only.path, only.line) == (T, 6)
    assert only.detail == "`assert total([1, 2]) == 3` became `assert total([1, 2])`"


_TESTS = st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True)


def suite_of(numbers: list[int]) -> str:
    return "".join(f"def test_{n}():\n    assert f({n}) == {n * n}\n\n\n" for n in numbers)


@given(_TESTS, _TESTS)
@settings(max_examples=80, deadline=None)
def test_adding_is_never_seen_and_its_reverse_always_is(some: list[int], others: list[int]):
    fresh = [n for n in others if n not in some]
    small, large = {T: suite_of(some)}, {T: suite_of(some + fresh)}
    assert found(small, large) == []
    removed = [v for v in found(large, small) if v.rule == W.TEST_REMOVED]
    assert bool(removed) == bool(fresh)


@given(st.text(max_size=200), st.sampled_from([T, J, G, R, K, B, "pyproject.toml", "setup.cfg"]))
@settings(max_examples=150, deadline=None)
def test_any_text_can_be_read_and_stays_as_it_is(text: str, path: str):
    assert found({path: text}, {path: text}) == []
    found({path: text}, {path: text[::-1]})


def test_a_patch_of_git_is_read_back_with_names_modes_and_sizes(tmp_path: Path):
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    git("init", "-q")
    (tmp_path / "old name.py").write_text("one\ntwo\nthree\nfour\nfive\n")
    (tmp_path / "gone.txt").write_text("-- a line like a header\n")
    (tmp_path / "run.sh").write_text("true\n")
    (tmp_path / "ümlaut.txt").write_text("a\n")
    git("add", "-A")
    git("commit", "-qm", "x")
    (tmp_path / "old name.py").rename(tmp_path / "new name.py")
    (tmp_path / "new name.py").write_text("one\ntwo\nTHREE\nfour\nfive\n")
    (tmp_path / "gone.txt").unlink()
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "ümlaut.txt").write_text("a\n++ b\n")
    (tmp_path / "pic.bin").write_bytes(bytes(range(256)))
    (tmp_path / "link").symlink_to("/etc/passwd")
    git("add", "-A")
    patch = git("diff", "--cached", "-M40", "--binary", "--full-index")
    read = {diff.path: diff for diff in read_patch(patch)}
    assert read["new name.py"].old == "old name.py"
    assert [(line.number, line.text) for line in read["new name.py"].added] == [(3, "THREE")]
    assert read["gone.txt"].new is None
    assert read["gone.txt"].removed[0].text == "-- a line like a header"
    assert (read["run.sh"].old_mode, read["run.sh"].new_mode) == ("100644", "100755")
    assert [line.text for line in read["ümlaut.txt"].added] == ["++ b"]
    assert read["pic.bin"].binary == 256
    assert read["link"].new_mode == "120000"
    assert read["link"].added[0].text == "/etc/passwd"
