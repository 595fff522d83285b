"""Findings are told apart by what stands around them, not by where they stand."""

from __future__ import annotations

from collections import Counter

from agent.maintenance.findings import Findings
from agent.maintenance.lint.identity import match, snapshot
from agent.maintenance.night import Finding
from benchmarks.findings import EDITS_BY_NAME, nights

Tree = dict[str, str]


def see(tree: Tree) -> Findings:
    """A linter of our own: whatever holds BAD is a finding."""
    found = [
        Finding(tool="t", rule="bad", path=path, line=number, message="bad")
        for path, text in tree.items()
        for number, line in enumerate(text.split("\n"), 1)
        if "BAD" in line
    ]
    return snapshot(found, lambda path: tree[path].split("\n"))


def prints(found: Findings) -> list[str]:
    return [each.finding.fingerprint for each in found.seen]


def test_200_edits_bring_no_false_news_and_hide_no_real_ones():
    seen = nights()
    assert Counter(night.edit for night in seen).keys() == EDITS_BY_NAME.keys()
    assert len(seen) == 200
    assert [(n.edit, n.new - n.really, n.really - n.new) for n in seen if n.false or n.missed] == []
    # it would be easy if nothing had been moved, or nothing been brought
    assert sum(night.by_line - night.really.total() for night in seen) > 1_000
    assert sum(night.really.total() for night in seen) > 100


def test_equal_lines_have_fingerprints_of_their_own():
    seen = see({"a": "x\nBAD\nx\nBAD\nx\nBAD\nx"})
    assert len(set(prints(seen))) == 3
    fewer = match(seen, see({"a": "x\nBAD\nx\nBAD\nx"}), ["a"])
    assert len(fewer.gone) == 1
    assert fewer.new == ()
    more = match(seen, see({"a": "x\nBAD\nx\nBAD\nx\nBAD\nx\nBAD\nx"}), ["a"])
    assert len(more.new) == 1
    assert len({each.finding.fingerprint for each in more.now}) == 4


def test_a_line_that_is_edited_and_still_wrong_is_the_same():
    before = see({"a": "one\nBAD 1\ntwo"})
    assert match(before, see({"a": "one\nBAD 2\ntwo"}), ["a"]).new == ()


def test_a_file_is_followed_under_its_new_name_and_no_other_takes_its_findings():
    text = "\n".join(f"line {n}" for n in range(20)) + "\nBAD\n"
    before = see({"a": text})
    moved = match(before, see({"b": text + "more"}), ["b"])
    assert (moved.new, moved.gone) == ((), ())
    assert prints(before) == [each.finding.fingerprint for each in moved.now]
    both = match(before, see({"a": text, "b": "\n".join(f"other {n}\nBAD" for n in "x")}), "ab")
    assert [each.path for each in both.new] == ["b"]


def test_a_finding_of_another_place_is_new_though_its_text_is_the_same():
    before = see({"a": "one\nBAD\ntwo"})
    after = match(before, see({"b": "three\nBAD\nfour"}), ["a", "b"])
    assert [each.path for each in after.new] == ["b"]
    assert [each.path for each in after.gone] == ["a"]


def test_a_place_that_is_not_there_is_told_by_its_file():
    odd = [Finding(tool="t", rule="r", path="a", line=n, message="m") for n in (0, 99)]
    seen = snapshot(odd, lambda _: ["one"])
    assert len(set(prints(seen))) == 2
    assert match(seen, seen, ["a"]).new == ()
