"""The oracle itself: of a change that went from a request to its target nothing is wrong, and
whatever is altered in one of the four ledgers is found."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from altered import VIOLATED
from altering import Alter, pressed_elsewhere, said, unheard, waiting
from crossing import UNIT, Crossing
from oracle import INVARIANTS, Ledgers, judge, violations
from quick import quicken
from road import FILES, Road, fault, make_repository, open_road

from agent.run import RunStatus
from playground.gitlab.instant import InstantRunner

_TAKEN: list[Ledgers] = []


@pytest.fixture
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Ledgers:
    """Of one change that sam has let pass, and that was merged. Taken down once."""
    if not _TAKEN:
        database_url = request.getfixturevalue("database_url")
        put = pytest.MonkeyPatch()
        quicken(put.setattr)
        failed: list[BaseException] = []

        def work() -> None:
            try:
                _TAKEN.append(asyncio.run(_merged(tmp_path, database_url)))
            except BaseException as error:  # told in the thread of the test
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        put.undo()
        if failed:
            raise failed[0]
    return _TAKEN[0]


async def _merged(folder: Path, database_url: str) -> Ledgers:
    source = make_repository(folder / "source", {**FILES, ".gitlab-ci.yml": UNIT})
    async with open_road(folder, database_url, source=source) as road:
        road.gitlab.forge.pipelines.runner = InstantRunner()
        crossing = Crossing(road=road)
        crossing.rules()
        async with road.serving():
            card = await crossing.gate()
            assert await crossing.press("sam", card)
            await crossing.merged()
        return await Ledgers.read(road)


def test_nothing_is_wrong_with_what_went_well(books: Ledgers) -> None:
    assert violations(books) == []
    assert len(books.runs) == len(books.merge_requests) == 1
    assert books.states[1].status is RunStatus.SUCCEEDED
    assert books.prompts
    assert books.objects
    assert books.vaults
    assert books.settings
    assert len(books.secrets) >= 5


@pytest.mark.parametrize(
    ("invariant", "alter", "word"),
    [pytest.param(i, alter, word, id=f"{i} {name}") for i, name, alter, word in VIOLATED],
)
def test_what_is_altered_is_found(books: Ledgers, invariant: str, alter: Alter, word: str) -> None:
    found = INVARIANTS[invariant](alter(books))

    assert any(word in told for told in found), found


def test_words_that_slack_leaves_as_they_are_call_nobody(books: Ledgers) -> None:
    quiet = {"type": "mrkdwn", "text": "@channel &lt;!here&gt;", "verbatim": True}
    found = violations(said(channel="C", text="@channel &lt;!here&gt;", blocks=[quiet])(books))

    assert found == []


@pytest.mark.parametrize("wait", ["1 h 10 min", "70 min", "4200 s"])
def test_who_has_said_for_how_long_it_waits_is_not_silent(books: Ledgers, wait: str) -> None:
    found = INVARIANTS["I6"](waiting(f"Retrying in {wait}, 2 of 5. Nothing is lost.")(books))

    assert not any("nothing for" in told for told in found), found


def test_what_another_press_was_not_told_is_no_doubt_about_this_one(books: Ledgers) -> None:
    assert INVARIANTS["I4"](pressed_elsewhere(books)) == []
    unread = unheard("/members/all/", 503)(pressed_elsewhere(books))
    assert any("asked for the rights" in told for told in INVARIANTS["I4"](unread))


def test_each_invariant_is_violated_by_something() -> None:
    assert {invariant for invariant, *_ in VIOLATED} == set(INVARIANTS)


async def test_a_road_is_judged_before_a_test_takes_it_down(tmp_path: Path, database_url: str):
    with pytest.raises(AssertionError, match="GITLAB_TOKEN is in the service's output"):
        async with open_road(tmp_path, database_url) as road:
            road.log.write_text(road.env["GITLAB_TOKEN"])


async def test_what_is_under_way_is_let_come_to_rest(road: Road) -> None:
    """Nobody serves when the oracle is asked, and GitLab is away."""
    road.gitlab.faults.set(fault("fail", status=502, times=0))
    async with road.serving():
        road.ask()
        await road.whispered("Your message is kept")
    await judge(road)
    assert (await road.state()).status is RunStatus.SUCCEEDED


async def test_what_never_comes_to_rest_is_told_with_its_seed(road: Road) -> None:
    road.gitlab.faults.seed = 4711
    async with road.serving():
        await road.result(road.ask())
    await road.db.inbox.accept("nobody", "key", {})
    with pytest.raises(AssertionError, match=r"(?s)seed 4711\nI12: inbox: .*nobody.* not handled"):
        await judge(road, seconds=1.0)
    await road.db.pool.execute("UPDATE inbox SET handled_at = now() WHERE source = 'nobody'")
