from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Refused
from bot.command import OPTIONS, Command, Verb, mentions, parse, plain

BOT = "U0BOT"


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("<@U0BOT> add an export", Command(verb=Verb.START, text="add an export")),
        ("hey <@U0BOT|agent> add it", Command(verb=Verb.START, text="hey add it")),
        ("<@U0BOT> stop", Command(verb=Verb.STOP)),
        ("<@U0BOT>  Cancel ", Command(verb=Verb.STOP)),
        ("<@U0BOT> abort", Command(verb=Verb.STOP)),
        ("<@U0BOT> stop the flicker", Command(verb=Verb.START, text="stop the flicker")),
        ("<@U0BOT> status", Command(verb=Verb.STATUS)),
        ("<@U0BOT> status?", Command(verb=Verb.STATUS)),
        ("what is running?", Command(verb=Verb.STATUS)),
        ("<@U0BOT> What’s  running right now", Command(verb=Verb.STATUS)),
        ("<@U0BOT> what are you working on?", Command(verb=Verb.STATUS)),
        ("<@U0BOT> what can you do?", Command(verb=Verb.HELP)),
        (
            "<@U0BOT> what is running in the cron job?",
            Command(verb=Verb.START, text="what is running in the cron job?"),
        ),
        (
            "<@U0BOT> how does this work?",
            Command(verb=Verb.START, text="how does this work?"),
        ),
        (
            "<@U0BOT> show what is running",
            Command(verb=Verb.START, text="show what is running"),
        ),
        (
            "<@U0BOT> what is running? project=a/b",
            Command(verb=Verb.STATUS),
        ),
        ("<@U0BOT> retry", Command(verb=Verb.RETRY)),
        ("<@U0BOT> settings", Command(verb=Verb.SETTINGS)),
        ("<@U0BOT> maintenance", Command(verb=Verb.MAINTENANCE)),
        (
            "<@U0BOT> maintenance of the crane",
            Command(verb=Verb.START, text="maintenance of the crane"),
        ),
        ("<@U0BOT> help", Command(verb=Verb.HELP)),
        ("<@U0BOT>", Command(verb=Verb.HELP)),
        ("<@U0BOT> help me with tests", Command(verb=Verb.START, text="help me with tests")),
        ("<@U0BOT> freeze", Command(verb=Verb.FREEZE)),
        ("<@U0BOT> Freeze: it is  red", Command(verb=Verb.FREEZE, text="it is red")),
        (
            "<@U0BOT> freeze project=a/b it is red",
            Command(verb=Verb.FREEZE, text="it is red", project="a/b"),
        ),
        (
            "<@U0BOT> freeze everywhere, an incident",
            Command(verb=Verb.FREEZE, text="an incident", everywhere=True),
        ),
        ("<@U0BOT> unfreeze everywhere", Command(verb=Verb.UNFREEZE, everywhere=True)),
        ("<@U0BOT> unfreeze project=a/b", Command(verb=Verb.UNFREEZE, project="a/b")),
        ("<@U0BOT> freezer first", Command(verb=Verb.START, text="freezer first")),
        ("<@U0BOT> do not freeze it", Command(verb=Verb.START, text="do not freeze it")),
        ("<@U0BOT> stop all", Command(verb=Verb.STOP_ALL)),
        ("<@U0BOT> Stop  All project=a/b", Command(verb=Verb.STOP_ALL, project="a/b")),
        ("<@U0BOT> stop all everywhere", Command(verb=Verb.STOP_ALL, everywhere=True)),
        ("<@U0BOT> stop all the noise", Command(verb=Verb.START, text="stop all the noise")),
        ("<@U0BOT> new fix the docs", Command(verb=Verb.NEW, text="fix the docs")),
        ("<@U0BOT> new", Command(verb=Verb.START, text="new")),
        ("<@U0BOT> newer pages", Command(verb=Verb.START, text="newer pages")),
        ("!aside <@U0BOT> hm", Command(verb=Verb.ASIDE)),
        ("<@U0BOT> !aside hm", Command(verb=Verb.ASIDE)),
        (
            "<@U0BOT> fix it project=a/b branch=dev",
            Command(verb=Verb.START, text="fix it", project="a/b", branch="dev"),
        ),
        (
            "<@U0BOT> [repo=a/b plan=only] fix it",
            Command(verb=Verb.START, text="fix it", project="a/b", plan_only=True),
        ),
        (
            "<@U0BOT> project=a/b fix project=c/d/e it",
            Command(verb=Verb.START, text="fix it", project="c/d/e"),
        ),
        ("<@U0BOT> set `color=red`", Command(verb=Verb.START, text="set `color=red`")),
        ("<@U0BOT> keep a[0] and [x]", Command(verb=Verb.START, text="keep a[0] and [x]")),
        (
            "<@U0BOT> use <https://a.example/x|the docs> &amp; ask <@U2>",
            Command(verb=Verb.START, text="use the docs (https://a.example/x) & ask @U2"),
        ),
    ],
)
def test_what_is_written_is_what_is_meant(said: str, command: Command) -> None:
    assert parse(said, BOT) == command


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("freeze everywhere project=a/b", "freeze takes either project= or `everywhere`"),
        ("unfreeze branch=dev", "unfreeze takes no option but project="),
        ("stop all plan=only", "stop all takes no option but project="),
        ("fix it color=red", "I don't know the option color="),
        ("fix it [color=red]", "I don't know the option color="),
        ("fix it project=nothing", "is not a path like group/name"),
        ("fix it branch=a..b", "is not a name that git allows"),
        ("fix it branch=-x", "is not a name that git allows"),
        ("fix it plan=maybe", "plan= can only be plan=only"),
    ],
)
def test_what_makes_no_sense_is_refused_not_guessed(said: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        parse(f"<@{BOT}> {said}", BOT)
    assert "Nothing was " in str(refused.value)


def test_an_unknown_option_is_refused_with_the_list() -> None:
    with pytest.raises(Refused) as refused:
        parse(f"<@{BOT}> fix it colour=red", BOT)
    assert all(f"{option}=" in str(refused.value) for option in OPTIONS)


@given(st.text(max_size=300))
def test_any_text_is_a_command_or_a_refusal(said: str) -> None:
    try:
        command = parse(f"<@{BOT}> {said}", BOT)
    except Refused:
        return
    assert (command.verb in (Verb.START, Verb.NEW)) == bool(command.text)


@given(st.text(alphabet="abc <@!#|>&;U0BOT`=[]/\n", max_size=60))
def test_no_markup_is_too_broken_to_read(said: str) -> None:
    assert isinstance(plain(said), str)
    assert mentions(f"{said}<@{BOT}>", BOT)
