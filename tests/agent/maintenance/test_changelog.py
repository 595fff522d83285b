"""What is taken out of changelogs, as people write them and as nobody should."""

from __future__ import annotations

import time

import pytest

from agent.maintenance.dependencies.changelog import LIMIT, between

STYLES = {
    "markdown": "## {} - 2024-01-01\n\n{}\n",
    "markdown, deeper": "### v{}\n{}\n",
    "keep a changelog": "## [{}] - 2024-01-01\n### Changed\n- {}\n",
    "conventional": "# [{}](https://example.org/compare/v0.1.0...v9.0.0) (2024-01-01)\n\n{}\n",
    "date first": "## 2024-01-01, Version {} (Stable), @somebody\n\n{}\n",
    "the package's name": "## gadget {}\n\n{}\n",
    "of several packages": "## gadget@{}\n\n{}\n",
    "rst": "Version {}\n-------------\n\n{}\n",
    "rst, over and under": "==========\n{} (2024-01-01)\n==========\n\n{}\n",
    "rst, a marker": "v{}\n~~~~~~\n{}\n",
    "plain": "Version {}\n\n* {}\n",
    "plain, v": "v{}\n  * {}\n",
    "plain, date": "{} / 2024-01-01\n\n  * {}\n",
    "plain, brackets": "{} (1 January 2024)\n  - {}\n",
    "bold": "**{}**\n{}\n",
    "asciidoc": "== {}\n{}\n",
    "anchor": '<a name="x"></a>\n## <a>{}</a> (2024-01-01)\n{}\n',
    "changes in": "Changes in version {}:\n{}\n",
    "what's new": "What's new in {}\n====\n{}\n",
}
VERSIONS = ("3.0.0", "2.1.0", "2.0.0", "2.0.0rc1", "1.9.0", "1.8.0")


def written(style: str, versions: tuple[str, ...] = VERSIONS) -> str:
    told = "".join(STYLES[style].format(v, f"said of {v}!") + "\n" for v in versions)
    return f"Changelog\n=========\n\nAll notable changes.\n\n{told}"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("newest_first", [True, False])
def test_a_style_of_headings(style: str, newest_first: bool):
    text = written(style, VERSIONS if newest_first else VERSIONS[::-1])
    told = between(text, "1.9.0", "2.1.0", package="gadget")
    assert {v for v in VERSIONS if f"said of {v}!" in told} == {"2.1.0", "2.0.0", "2.0.0rc1"}


def test_a_package_of_a_scope():
    text = "## @tools/gadget@2.0.0\ntwo\n\n## gadget 1.5.0\nmore\n\n## @tools/gadget@1.0.0\none\n"
    told = between(text, "1.0.0", "2.0.0", package="@tools/gadget")
    assert told == "## @tools/gadget@2.0.0\ntwo\n\n## gadget 1.5.0\nmore"


def test_line_ends_of_windows():
    text = written("markdown").replace("\n", "\r\n")
    assert "said of 2.1.0!" in between(text, "1.9.0", "2.1.0")


def test_short_versions_are_those_that_they_stand_for():
    text = "## 3\nthree\n\n## 2.1\ntwo and one\n\n## 2\ntwo\n\n## 1.0\none\n"
    assert between(text, "1.0.0", "2.1.0") == "## 2.1\ntwo and one\n\n## 2\ntwo"


def test_versions_that_are_not_told_are_nothing():
    text = "## 1.0.0\none\n\n## 0.9.0\nolder\n"
    assert between(text, "1.0.0", "2.0.0") == ""
    assert between("See the releases on the web.\n", "1.0.0", "2.0.0") == ""
    assert between("", "1.0.0", "2.0.0") == ""


def test_a_changelog_that_begins_late_gives_what_it_has():
    assert between("## 2.0.0\ntwo\n", "1.0.0", "2.0.5") == "## 2.0.0\ntwo"


def test_what_is_not_released_yet_belongs_to_no_version():
    text = "## 2.0.0\ntwo\n\n## [Unreleased]\nlater\n\n## 1.0.0\none\n"
    assert between(text, "1.0.0", "2.0.0") == "## 2.0.0\ntwo"


@pytest.mark.parametrize(
    "line",
    [
        "2.0 is the fastest release that we ever made.",
        "1.5 times as fast as before",
        "### Python 3.12",
        "### Support for Node 18.0",
        "Update urllib3 to 1.26.0",
        "    0.9.0",
        "### 3 new functions",
        "2024-01-01",
        "10",
        "- 1.0.0",
        "## 1.x",
    ],
)
def test_no_heading_of_a_version(line: str):
    text = f"## 2.0.0\nfirst\n\n{line}\nlast\n\n## 1.0.0\none\n"
    assert between(text, "1.0.0", "2.0.0") == f"## 2.0.0\nfirst\n\n{line}\nlast"


def test_of_too_much_the_larger_releases_are_kept():
    small = [f"## 2.0.{n}\n{'fix ' * 300}\n" for n in range(30, 0, -1)]
    text = "\n".join([*small, "## 2.0.0\nThe old function is gone.\n", "## 1.0.0\nno\n"])
    told = between(text, "1.0.0", "2.0.30")
    assert len(told) <= LIMIT
    assert "The old function is gone." in told
    assert "sections left out here" in told
    assert "## 2.0.30" in told  # the nearest to the target of the small ones
    assert "## 1.0.0" not in told


def test_of_one_that_is_long_the_middle_is_missing():
    told = between(f"## 2.0.0\nbegin\n{'word ' * 20_000}\nend\n\n## 1.0.0\n", "1.0.0", "2.0.0")
    assert len(told) <= LIMIT
    assert told.startswith("## 2.0.0\nbegin")
    assert told.endswith("end")
    assert "left out here" in told


def test_hidden_characters_are_taken_out():
    told = between("## 2.0.0\nfi\u200bne\u202e\x00 \U000e0041\n\n## 1.0.0\n", "1.0.0", "2.0.0")
    assert told == "## 2.0.0\nfine"


@pytest.mark.parametrize(
    "text",
    [
        "## 2.0.0\n" + "x" * 5_000_000,
        "## 2.0.0 " * 500_000,
        "## 2.0.0\n" * 100_000,
        "[](" * 1_600_000,
        "[" * 5_000_000,
        ("[" * 150 + "\n") * 30_000,
        ("<" * 150 + "2\n") * 30_000,
        "1.1.1.1.1.1.1.1.1.1.1.1.1.1.1-a-a-a-a-a-a-a-a!\n" * 100_000,
        "=" * 5_000_000,
        ("1.5 (a)\n" + "-" * 7 + "\n") * 60_000,
        "\r" * 5_000_000,
        "1.5" + "9" * 100 + "\n",
    ],
    ids=range(12),
)
def test_nothing_hostile_takes_long_or_much(text: str):
    began = time.process_time()
    told = between(text, "1.0.0", "2.0.0")
    assert len(told) <= LIMIT
    assert time.process_time() - began < 30  # it would be hours


def test_versions_that_are_none():
    assert between("## 2.0.0\ntwo\n", "latest", "2.0.0") == ""
    assert between("## 2.0.0\ntwo\n", "1.0.0", "$(id)") == ""
