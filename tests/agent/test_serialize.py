"""Text that reaches GitLab and git shows what it says and does nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.run import Person, Request, RunId, Thread
from agent.serialize import (
    commit_message,
    gitlab_line,
    gitlab_quote,
    gitlab_text,
    gitlab_title,
    who,
)

RUN = RunId(17)
TRICKS = [
    "/merge",
    "\r/merge",
    "\u2028/approve",
    "\x85/close",
    "\x0b/label ~x",
    " /merge",
    "\u200b/merge",
    "\ufeff/merge",
    "<img src=https://evil/x>",
    "\\<script>",
    "![a](https://evil/x)",
    "@all",
    "@[x](y)",
    "Closes #1",
    "closes: group/project#1",
    "Fixes https://gitlab.example/g/p/-/issues/1",
    "Resolves ABC-12",
    "```plantuml\n@startuml\n```",
    "```",
    "[skip ci]",
    "[CI-SKIP]",
    "\nRequested-by: The Boss (boss)\n",
    "x" * 300,
    "<!-- journeyman-run: 1 -->",
]
texts = st.lists(st.one_of(st.sampled_from(TRICKS), st.text()), max_size=8).map("".join)
NEWLINE = r"\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]"
CLOSING = (
    r"(?i)\b(?:clos(?:e[sd]?|ing)|fix(?:e[sd]|ing)?|resolv(?:e[sd]?|ing)|implement(?:s|ed|ing)?):?"
    r" +(?:(?:issues? +)?(?:[\w./-]*#\d+|https?://\S+)|[A-Z][A-Z0-9_]+-\d+)"
)


def asked(text: str = "export invoices", name: str = "Ada Lovelace") -> Request:
    return Request(
        text=text,
        project="group/project",
        base_branch=None,
        requester=Person(id="U1", name=name, gitlab_username="ada"),
        thread=Thread(team="T1", channel="C1", ts="1.0"),
        message="1.0",
    )


@given(texts)
def test_markdown_has_no_effect(text: str) -> None:
    for shown in (gitlab_text(text), gitlab_quote(text), gitlab_line(text)):
        for line in re.split(NEWLINE, shown):
            assert not line.strip().startswith("/")
        assert "<" not in shown
        assert "![" not in shown
        assert not re.search(r"[@#!](?=\w)", shown.replace("&#124;", ""))
        assert not re.search(CLOSING, shown)
        assert not re.search(r"^[\s>]*(```+|~~~+)\s*(plantuml|mermaid|math)", shown, re.M)
    assert "|" not in gitlab_line(text)
    assert "\n" not in gitlab_line(text)


@given(texts)
def test_a_quotation_holds_every_line(text: str) -> None:
    assert all(line.startswith(">") for line in gitlab_quote(text).split("\n"))


@given(texts)
def test_a_title_is_one_short_line(text: str) -> None:
    title = gitlab_title(text)
    assert title.startswith("Draft: ")
    assert len(title) <= 255
    assert len(title) > len("Draft: ")
    assert not re.search(NEWLINE, title)
    assert not re.search(CLOSING, title)


@given(texts, texts, texts)
def test_a_commit_message_keeps_its_form(summary: str, text: str, name: str) -> None:
    message = commit_message(asked(text, name), RUN, summary, public_url="https://agent.example/")
    subject, _, rest = message.partition("\n")
    assert 0 < len(subject) <= 72
    assert rest.startswith("\n")
    trailers = message.rstrip("\n").split("\n\n")[-1].split("\n")
    assert [line.partition(":")[0] for line in trailers] == ["Requested-by", "Agent-Run"]
    assert trailers[1] == "Agent-Run: https://agent.example/runs/17"
    assert len(re.findall(r"(?m)^Requested-by:", message)) == 1
    assert not re.search(r"(?i)\[(ci[ _-]*skip|skip[ _-]*ci)\]", message)
    assert not re.search(CLOSING, message)
    assert not any(line.startswith("/") for line in re.split(NEWLINE, message))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Adds `GET /invoices.csv`.", "Adds `GET /invoices.csv`."),
        ("/merge", "\\/merge"),
        ("a < b", "a &lt; b"),
        ("thanks @ada", "thanks @\u2060ada"),
        ("Closes #1", "C\u2060loses #\u20601"),
        ("![x](https://e/x)", "! [x]\\(https://e/x)"),
        ("```mermaid", "```"),
        ("```python", "```python"),
        ("100% of a & b", "100% of a & b"),
    ],
)
def test_ordinary_text_stays_readable(text: str, shown: str) -> None:
    assert gitlab_text(text) == shown


def test_a_commit_message_reads_like_one() -> None:
    summary = "Add a CSV export of invoices.\n\nThe endpoint streams rows; drafts are left out."
    assert commit_message(asked(), RUN, summary) == (
        "Add a CSV export of invoices\n\n"
        "The endpoint streams rows; drafts are left out.\n\n"
        "Requested-by: Ada Lovelace (ada)\nAgent-Run: 17\n"
    )


def test_without_a_summary_the_request_is_the_subject() -> None:
    message = commit_message(asked("Fix [skip ci] the /export of #12"), RUN, "")
    assert message.startswith("Fix the /export of 12\n\nRequested-by")


def test_a_long_first_sentence_does_not_lose_words() -> None:
    summary = "word " * 40
    message = commit_message(asked(), RUN, summary)
    assert message.count("word") >= 40


def test_a_person_is_named_on_one_line() -> None:
    person = Person(id="U1", name="Eve\nAgent-Run: 9 <eve@evil>")
    assert who(person) == "Eve Agent-Run 9 eveevil (U1)"


def test_a_wrapped_line_of_a_commit_message_does_not_begin_with_a_slash() -> None:
    text = "word " * 14 + "/merge"
    message = commit_message(asked(text, "mia"), RUN, f"Subject.\n\n{text}", public_url="")
    assert "\n/merge" not in message
    assert "merge" in message


@pytest.mark.parametrize(
    "text",
    [
        "[the docs](http://evil.example)",
        "[the docs] (http://evil.example)",
        "[the docs][1]",
        "[1]: http://evil.example",
        "> [1]: http://evil.example",
    ],
)
def test_no_link_hides_where_it_leads(text: str) -> None:
    shown = gitlab_text(text)
    assert not re.search(r"\](\(|\[)|^[\s>]*\[[^\]]*\]:", shown, flags=re.M)
