"""The digest of a week as it is read: counts as they are, and nothing that is not known."""

from __future__ import annotations

import io
from datetime import UTC, date, timedelta
from typing import Any

import pytest
from reading import read, texts
from slack_schema import block_problems, needs_specs

from agent.outcomes import Figures, Outcome, week_before
from bot.chart import Bar, bars
from bot.views.blocks import MAX_TOTAL, Message
from bot.views.weekly import alt_text, span, total, weekly

WEEK = week_before(date(2026, 9, 21), UTC)
HOUR = timedelta(hours=1)
HOSTILE = "<!channel> <https://evil.example|x> `*x*` @everyone \u202eexe"
API = Outcome(
    people=Figures(
        asked=5,
        done=3,
        escalated=1,
        failed=1,
        needed=2,
        cycles=(HOUR, 2 * HOUR, 9 * HOUR),
        pipelines=3,
        passed=2,
        money=6.1,
    ),
    before=Figures(asked=3, done=4, cycles=(HOUR, HOUR), pipelines=2, passed=2, money=3.4),
)
WEB = Outcome(
    people=Figures(asked=1, done=1, reverts=1, late_reverts=1, money=0.4),
    nights=Figures(asked=3, done=3, cycles=(HOUR / 2,), reverts=1),
)
FULL = {"platform/web": WEB, "platform/api": API, "platform/calm": Outcome(before=API.before)}


def told(message: Message | None) -> str:
    assert message is not None
    return "\n".join((message.text, *read(message)))


def one(**figures: Any) -> str:
    """What the line of a project with these figures says."""
    words = told(weekly(WEEK, {"g/p": Outcome(people=Figures(**figures))}))
    return next(line for line in words.split("\n") if line.startswith("•"))


def test_the_digest_reads_well():
    message = weekly(WEEK, FULL, chart="F0123")
    assert message is not None
    assert message.text == (
        "Weekly digest, 14–20 September: 6 runs asked for, 3 merged, 1 merged at night, "
        "2 reverted, $6.50."
    )
    assert list(read(message)) == [
        "*6 runs asked for, 3 merged (median 2 h).* 6 ended: 4 done, 1 left to people, 1 failed. "
        "2 of 3 first pipelines passed; 2 of 6 needed a person; 1 revert of an older merge. "
        "$6.50.",
        "The week before: 6 asked for, 4 merged (median 1 h), 4 of 4 first pipelines passed, "
        "0 of 8 needed a person, $6.80.",
        "Nights: 3 runs, 1 merged (after 30 min), 1 revert. The week before: none.",
        "• *platform/api* — 5 asked for, 3 merged (median 2 h), 1 left to people, 1 failed, "
        "2 of 3 first pipelines passed, 2 of 5 needed a person, $6.10 "
        "(before: 3 asked for, 2 merged)",
        "• *platform/web* — 1 asked for, none merged, 1 revert of an older merge, $0.40; "
        "nights: 3 runs, 1 merged (after 30 min), 1 revert",
        "Merges and reverts that people make at GitLab after a run has ended are not counted.",
    ]


@needs_specs
def test_the_digest_is_valid_for_slack():
    for message in (
        weekly(WEEK, FULL, chart="F0123"),
        weekly(WEEK, {"g/p": Outcome(nights=Figures(asked=1))}),
        weekly(WEEK, {}, quiet_line=True),
    ):
        assert message is not None
        assert block_problems(list(message.blocks)) == []


def test_a_week_without_runs_says_nothing_or_one_line():
    calm = {"platform/calm": Outcome(before=API.before, nights_before=API.before)}
    assert weekly(WEEK, calm) is None
    line = "Weekly digest, 14–20 September: no runs."
    assert told(weekly(WEEK, calm, quiet_line=True)).split("\n") == [line, line]


def test_a_week_of_nights_only_says_that_nobody_asked():
    words = told(weekly(WEEK, {"g/p": Outcome(nights=Figures(asked=2, done=2))}))
    assert "*Nobody asked for a run.*" in words
    assert "• *g/p* — nights: 2 runs, none merged" in words
    assert total({"g/p": Outcome(nights=Figures(asked=2))}).people == Figures()


@pytest.mark.parametrize(
    ("money", "unpriced", "said"),
    [
        (6.1, (), "$6.10"),
        (1234.5, (), "$1,234.50"),
        (0.004, (), "less than $0.01"),
        (6.1, ("new",), "at least $6.10"),
        (0.004, ("new",), "cost not known"),
        (0.0, ("new",), "cost not known"),
    ],
)
def test_what_is_not_known_of_the_cost_is_said(money: float, unpriced: tuple[str, ...], said: str):
    line = one(asked=1, money=money, unpriced=frozenset(unpriced))
    assert line == f"• *g/p* — 1 asked for, none merged, {said}"
    figures = Figures(asked=1, money=money, unpriced=frozenset(unpriced))
    words = told(weekly(WEEK, {"g/p": Outcome(people=figures)}))
    assert ("(no price is known for `new`)" in words) is bool(unpriced)


def test_without_any_answer_of_a_model_nothing_is_said_of_cost():
    assert "cost" not in one(asked=1)
    assert "$" not in one(asked=1)


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"cycles": (HOUR,)}, "1 merged (after 1 h)"),
        ({"cycles": (HOUR, 4 * HOUR)}, "2 merged (median 2 h 30 min)"),
        ({"cycles": (60 * HOUR,)}, "1 merged (after 2.5 days)"),
        ({"pipelines": 1, "passed": 0}, "0 of 1 first pipeline passed"),
        ({"done": 3, "needed": 2}, "2 of 3 needed a person"),
        ({"reverts": 1}, "1 revert"),
        ({"reverts": 3, "late_reverts": 2}, "3 reverts (2 of older merges)"),
        ({"reverts": 2, "late_reverts": 2}, "2 reverts (2 of older merges)"),
    ],
)
def test_small_counts_are_told_as_they_are(figures: dict[str, Any], said: str):
    line = one(asked=3, **figures)
    assert said in line.split(" — ")[1].split(", ")
    assert "%" not in line


def test_of_many_projects_ten_are_told_within_what_slack_takes():
    many = {f"group/{'x' * 90}{n:02}": API + WEB for n in range(30)}
    message = weekly(WEEK, many, chart="F1")
    assert message is not None
    assert len(str(message.blocks)) < MAX_TOTAL
    lines = [line for line in read(message) if line.startswith("•")]
    assert len(lines) == 10
    assert all(line.endswith("1 revert") for line in lines)  # none of them is cut
    assert "20 more projects with runs." in told(message)


def test_names_of_projects_and_models_can_ping_nobody_and_link_nowhere():
    figures = Figures(asked=1, unpriced=frozenset({HOSTILE}))
    message = weekly(WEEK, {HOSTILE: Outcome(people=figures)})
    assert message is not None
    for kind, text in texts(list(message.blocks)):
        if kind == "mrkdwn":
            assert "<!channel>" not in text
            assert "<https://evil" not in text
        assert "\u202e" not in text


def test_a_week_over_two_months_names_both():
    assert span(week_before(date(2026, 10, 5), UTC)) == "28 September – 4 October"


def test_the_alt_text_has_the_numbers_of_the_chart():
    assert alt_text(WEEK, total(FULL)) == (
        "Bar chart of runs, 14–20 September, in brackets the week before: 6 asked for (6), "
        "4 done (8), 3 merged (4), 2 needed a person (0), 1 reverted (0)."
    )


def test_the_chart_is_a_picture_on_a_ground_of_its_own():
    from PIL import Image

    drawn = bars("14–20 September", "7–13 September", [Bar(name="done", now=3, before=0)])
    picture = Image.open(io.BytesIO(drawn)).convert("RGBA")
    assert picture.width >= 600
    colours = {colour for _, colour in picture.getcolors(picture.width * picture.height) or ()}
    assert (0, 0x72, 0xB2, 255) in colours
    assert {alpha for *_, alpha in colours} == {255}
