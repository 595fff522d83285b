"""Each check stands between one attack and the branch: without it that attack passes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from gate_bench import BEA, HEAD, LEE, MERGED, MIA, PATH, SAM, TOM, GateBench, job, line

from agent import checks
from agent.adapters.database import Database
from agent.checks import table
from agent.errors import ForgeUnavailable, JourneymanError, NotFound, Refused, StoreUnavailable
from agent.events import GateClosed, GateRefused, GateVoted, InstructionGiven
from agent.gate import Gate, Place, Rule, Window
from agent.policy import Policy
from agent.ports import ForgeCommit, ForgeUser
from agent.run import CommitSha, Person, Run, RunStatus

PLAIN = Rule()
ELSEWHERE = CommitSha("d" * 40)


@pytest.fixture
def bench(db: Database) -> GateBench:
    return GateBench(db=db)


@dataclass(kw_only=True)
class Attack:
    """`check` alone stops it; `by` presses the button. `then` happens after the card was shown."""

    check: str
    then: Callable[[GateBench, Run, Gate], Awaitable[None]]
    by: Person = SAM
    rule: Rule = PLAIN
    place: Place | None = None
    environment: str = ""
    says: str


def attack(check: str, says: str, **more: Any) -> Callable[..., Attack]:
    def made(then: Callable[[GateBench, Run, Gate], Awaitable[None]]) -> Attack:
        return Attack(check=check, says=says, then=then, **more)

    return made


async def nothing(bench: GateBench, run: Run, gate: Gate) -> None:
    return


async def _superseded(bench: GateBench, run: Run, gate: Gate) -> None:
    await bench.write(run, GateClosed(gate=gate.id, outcome="superseded", reason="A new commit."))


async def _votes(bench: GateBench, run: Run, gate: Gate) -> None:
    await bench.write(run, GateVoted(gate=gate.id, by=replace(SAM, id="UOTHER")))


async def _late(bench: GateBench, run: Run, gate: Gate) -> None:
    bench.clock.hours = 25


async def _instructed(bench: GateBench, run: Run, gate: Gate) -> None:
    await bench.write(run, InstructionGiven(text="and faster", by=replace(SAM, id="UOLD")))


async def _committed(bench: GateBench, run: Run, gate: Gate) -> None:
    bench.forge.users[8] = ForgeUser(
        id=8,
        username="sam",
        name="Sam Smith",
        active=True,
        bot=False,
        emails=frozenset({"sam@example.org"}),
    )
    bench.forge.contents[gate.iid] = [
        ForgeCommit(sha=HEAD, title="", names=frozenset(), emails=frozenset({"Sam@example.org"}))
    ]


async def _namesake(bench: GateBench, run: Run, gate: Gate) -> None:
    bench.forge.contents[gate.iid] = [
        ForgeCommit(sha=HEAD, title="", names=frozenset({"user 8"}), emails=frozenset())
    ]


async def _asked_for(bench: GateBench, run: Run, gate: Gate) -> None:
    """By another run, whose change is promoted along with this one's."""
    made = ForgeCommit(
        sha=HEAD, title="", names=frozenset(), emails=frozenset(), askers=frozenset({"User8"})
    )
    bench.forge.contents[gate.iid] = [made]


def _user(**more: Any) -> Callable[[GateBench, Run, Gate], Awaitable[None]]:
    async def then(bench: GateBench, run: Run, gate: Gate) -> None:
        plain = ForgeUser(id=8, username="sam", name="Sam", active=True, bot=False)
        bench.forge.users[8] = replace(plain, **more)

    return then


def _level(level: int) -> Callable[[GateBench, Run, Gate], Awaitable[None]]:
    async def then(bench: GateBench, run: Run, gate: Gate) -> None:
        bench.forge.members[8] = level

    return then


def _changed(**more: Any) -> Callable[[GateBench, Run, Gate], Awaitable[None]]:
    async def then(bench: GateBench, run: Run, gate: Gate) -> None:
        bench.forge.change(gate.iid, **more)

    return then


async def _edited(bench: GateBench, run: Run, gate: Gate) -> None:
    bench.forge.differences[gate.iid] = b"something else"


async def _tightened(bench: GateBench, run: Run, gate: Gate) -> None:
    bench.settle(Rule(approvals=2))


async def _limited(bench: GateBench, run: Run, gate: Gate) -> None:
    assert bench.project is not None
    bench.project = replace(bench.project, policy=Policy(deny_paths=("ci/",)))


async def _forgotten(bench: GateBench, run: Run, gate: Gate) -> None:
    bench.project = None


def _line(status: str, sha: CommitSha = HEAD) -> Callable[[GateBench, Run, Gate], Awaitable[None]]:
    async def then(bench: GateBench, run: Run, gate: Gate) -> None:
        bench.forge.lines = [line(sha, status)]

    return then


def _jobs(*jobs: tuple[str, int, str]) -> Callable[[GateBench, Run, Gate], Awaitable[None]]:
    async def then(bench: GateBench, run: Run, gate: Gate) -> None:
        bench.forge.lines = [line(MERGED, "manual", *(job(*each) for each in jobs))]

    return then


async def _red_beside(bench: GateBench, run: Run, gate: Gate) -> None:
    bench.forge.lines = [line(MERGED, "failed", job("deploy:staging", 31))]


async def _frozen(bench: GateBench, run: Run, gate: Gate) -> None:
    await bench.db.store.freeze(PATH, LEE, "a fair")


ALWAYS = Rule(freezes=(Window(start=0, end=5040), Window(start=5040, end=0)))
NAMED = Rule(users=(9,))
GROUPED = Rule(groups=("group/owners",))
TWO = Rule(approvals=2)
HERE = Place(team="T", channel="C", message="1.0")

ATTACKS = [
    attack("open", "superseded")(_superseded),
    attack("not_expired", "expired")(_late),
    attack("place", "copy", place=Place(team="T", channel="C", message="9.9"))(nothing),
    attack("account", "not an active")(_user(active=False)),
    attack("account", "is a bot")(_user(bot=True)),
    attack("account", "external")(_user(external=True)),
    attack("access", "you are a Developer", by=TOM)(nothing),
    attack("access", "you are a Guest", by=BEA)(nothing),
    attack("access", "you are no member")(_level(0)),
    attack("access", "only the people whom its rule names", rule=NAMED)(nothing),
    attack("access", "only members of `group/owners`", rule=GROUPED)(nothing),
    attack("access", "must be a Developer", by=BEA, rule=Rule(access=0))(nothing),
    attack("access", "must be a Developer", by=BEA, rule=Rule(users=(11,)))(nothing),
    attack("involved", "asked for this change", by=MIA)(nothing),
    attack("involved", "asked for this change", by=replace(MIA, id="UMIA2"))(nothing),
    attack("involved", "gave the run instructions")(_instructed),
    attack("involved", "aaaaaaaa in it is yours")(_committed),
    attack("involved", "aaaaaaaa in it is yours")(_namesake),
    attack("involved", "aaaaaaaa in it was made on your request")(_asked_for),
    attack("once", "approved this already", rule=TWO)(_votes),
    attack("freeze", "is frozen until", rule=ALWAYS)(nothing),
    attack("freeze", "Frozen by @lee: a fair")(_frozen),
    attack("policy", "rules for `main` were changed")(_tightened),
    attack("policy", "rules for `main` were changed")(_limited),
    attack("policy", "rules for `main` were changed")(_forgotten),
    attack("merge_request", "stands at dddddddd now")(_changed(sha=ELSEWHERE)),
    attack("merge_request", "stands without a commit")(_changed(sha=None)),
    attack("merge_request", "goes to `develop` now")(_changed(target_branch="develop")),
    attack("merge_request", "comes from `x` now")(_changed(source_branch="x")),
    attack("merge_request", "another project")(_changed(project_id=2)),
    attack("merge_request", "is closed at GitLab")(_changed(state="closed")),
    attack("merge_request", "is merged at GitLab")(_changed(state="merged")),
    attack("difference", "is no longer what")(_edited),
    *(
        attack("pipeline", "Only what passed")(_line(status))
        for status in ("running", "failed", "canceled", "skipped", "manual", "blocked", "odd")
    ),
    attack("pipeline", "Only what passed")(_line("success", ELSEWHERE)),
    attack("pipeline", "Only what passed", environment="staging")(_red_beside),
    attack("job", "does not deploy", environment="staging")(
        _jobs(("deploy:production", 31, "manual"))
    ),
    attack("job", "does not deploy", environment="staging")(
        _jobs(("deploy:staging", 30, "manual"))
    ),
    attack("job", "is success at GitLab by now", environment="staging")(
        _jobs(("deploy:staging", 31, "success"))
    ),
]


async def _passes(_: checks.Case) -> None:
    return None


async def _click(bench: GateBench, each: Attack) -> tuple[Run, Gate, str]:
    """Gives the sentence of the refusal; empty: it let the change pass."""
    bench.settle(each.rule)
    bench.settle_place(each.rule)
    run, gate = await bench.waiting(environment=each.environment)
    await each.then(bench, run, gate)
    try:
        await bench.press(gate, each.by, place=each.place)
    except Refused as refusal:
        return run, gate, str(refusal)
    return run, gate, ""


@pytest.mark.parametrize("each", ATTACKS, ids=lambda each: f"{each.check}-{each.says[:24]}")
async def test_an_attack_is_stopped_by_its_check_alone(
    bench: GateBench, monkeypatch: pytest.MonkeyPatch, each: Attack
):
    run, gate, told = await _click(bench, each)
    assert each.says in told
    refused = await bench.facts(run, GateRefused)
    assert [(r.gate, r.by.id, r.deed, r.check, r.reason) for r in refused] == [
        (gate.id, each.by.id, "approve", each.check, told)
    ]
    assert not any(g.approved for g in (await bench.state(run)).gates)
    assert len(await bench.facts(run, GateVoted)) == (each.check == "once")

    monkeypatch.setattr(table, "CHECKS", {**checks.CHECKS, each.check: _passes})
    await bench.db.store.unfreeze(PATH, LEE, "")
    again = GateBench(db=bench.db)
    run, gate, told = await _click(again, each)
    assert told == ""
    assert len(await again.facts(run, GateVoted)) == 1 + (each.check == "once")


async def test_who_is_not_linked_is_refused_and_no_check_of_them_is_made(
    bench: GateBench, monkeypatch: pytest.MonkeyPatch
):
    _, gate = await bench.waiting()
    with pytest.raises(Refused, match="don't know your GitLab account"):
        await bench.press(gate, replace(SAM, gitlab_id=None))
    monkeypatch.setattr(table, "CHECKS", {**checks.CHECKS, "linked": _passes})
    with pytest.raises(Refused, match="account is not known"):
        await bench.press(gate, replace(SAM, gitlab_id=None))


async def test_a_card_that_stands_nowhere_decides_nothing(bench: GateBench):
    _, gate = await bench.waiting()
    bench.card_stands = False
    with pytest.raises(Refused, match="copy"):
        await bench.press(gate, SAM)


@pytest.mark.parametrize("place", [replace(HERE, team="T2"), replace(HERE, channel="C2")])
async def test_a_forwarded_card_decides_nothing(bench: GateBench, place: Place):
    _, gate = await bench.waiting()
    with pytest.raises(Refused, match="copy"):
        await bench.press(gate, SAM, place=replace(place, message=f"gate:{gate.id}"))


async def test_those_whom_a_rule_names_decide_and_need_no_more_than_developer(bench: GateBench):
    bench.settle(Rule(users=(10,)))
    _, gate = await bench.waiting()
    assert (await bench.press(gate, TOM)).status is RunStatus.DELIVERING
    bench.settle(GROUPED)
    _, gate = await bench.waiting()
    bench.forge.groups["group/owners"] = {10: 30}
    assert (await bench.press(gate, TOM)).status is RunStatus.DELIVERING


async def test_a_rule_may_let_people_approve_their_own_change(bench: GateBench):
    bench.settle(Rule(self_approval=True))
    run, gate = await bench.waiting()
    await bench.press(gate, MIA)
    assert (await bench.state(run)).gates[0].approved


async def test_who_asked_for_a_promotion_does_not_approve_it(bench: GateBench):
    _, gate = await bench.waiting("promotion", by=SAM)
    with pytest.raises(Refused, match="You asked for this promotion yourself"):
        await bench.press(gate, SAM)
    assert (await bench.press(gate, LEE)).status is RunStatus.DELIVERING


async def test_staging_never_opens_production(bench: GateBench):
    run, gate = await bench.waiting(environment="staging")
    await bench.press(gate, SAM)
    assert await bench.stands(run, gate) == ""
    other = replace(gate, environment="production")
    events = await bench.db.store.events(run.id)
    state = await bench.state(run)
    said = await checks.still_stands(
        events,
        state,
        replace(state.gates[0], gate=other),
        forge=bench.forge,
        project=bench.project,
        now=bench.clock.now(),
    )
    assert said is not None


# --- what cannot be checked is refused --------------------------------------------------

_GITLAB = ("user", "access", "commits", "merge_request", "difference", "pipelines")
_FAULTS: Mapping[str, JourneymanError] = {
    "down": ForgeUnavailable("GitLab does not answer."),
    "gone": NotFound("404 Not found", status=404),
    "record": StoreUnavailable("PostgreSQL does not answer."),
}


@pytest.mark.parametrize("fault", _FAULTS)
@pytest.mark.parametrize("method", _GITLAB)
async def test_what_gitlab_does_not_tell_is_a_refusal(bench: GateBench, method: str, fault: str):
    run, gate = await bench.waiting()
    bench.forge.faults[method] = [_FAULTS[fault]]
    with pytest.raises(Refused, match=r"could not check this .*, so nothing was decided"):
        await bench.press(gate, SAM)
    assert len(await bench.facts(run, GateRefused)) == 1
    assert (await bench.press(gate, SAM)).status is RunStatus.DELIVERING

    bench.forge.faults[method] = [_FAULTS[fault]]
    assert await bench.stands(run, gate) != ""


async def test_a_group_that_cannot_be_read_is_a_refusal(bench: GateBench):
    bench.settle(GROUPED)
    _, gate = await bench.waiting()
    bench.forge.groups["group/owners"] = {8: 30}
    bench.forge.faults["group_access"] = [_FAULTS["down"]]
    with pytest.raises(Refused, match="could not check"):
        await bench.press(gate, SAM)


class Broken:
    """A store one of whose methods does not answer."""

    def __init__(self, store: object, method: str) -> None:
        self._store = store
        self._method = method

    def __getattr__(self, name: str) -> object:
        if name != self._method:
            return getattr(self._store, name)

        async def fails(*_: object, **__: object) -> None:
            raise StoreUnavailable("PostgreSQL does not answer.")

        return fails


@pytest.mark.parametrize("method", ["run_of_gate", "events", "frozen", "write"])
async def test_a_record_that_cannot_be_read_or_written_decides_nothing(
    bench: GateBench, method: str
):
    run, gate = await bench.waiting()
    keeper = bench.keeper(store=Broken(bench.db.store, method))
    with pytest.raises((Refused, StoreUnavailable), match="PostgreSQL does not answer"):
        await bench.press(gate, SAM, keeper=keeper)
    assert await bench.facts(run, GateVoted) == []
    assert (await bench.press(gate, SAM)).status is RunStatus.DELIVERING


async def test_a_place_that_cannot_be_looked_up_decides_nothing(bench: GateBench):
    run, gate = await bench.waiting()
    keeper = bench.keeper()

    async def fails(run: int, slot: str) -> Place | None:
        raise StoreUnavailable("PostgreSQL does not answer.")

    keeper._cards = fails
    with pytest.raises(Refused, match="could not check this, so nothing was decided"):
        await bench.press(gate, SAM, keeper=keeper)
    assert [r.check for r in await bench.facts(run, GateRefused)] == ["record"]


# --- right before the deed --------------------------------------------------------------


@pytest.mark.parametrize(
    "each",
    # a freeze is heeded by the effect plane itself, before each effect
    [
        each
        for each in ATTACKS
        if each.check in checks.AT_MERGE and each.then not in (nothing, _frozen)
    ],
    ids=lambda each: f"{each.check}-{each.says[:24]}",
)
async def test_what_changes_between_click_and_deed_stops_the_deed(bench: GateBench, each: Attack):
    run, gate = await bench.waiting(environment=each.environment)
    await bench.press(gate, SAM)
    assert await bench.stands(run, gate) == ""
    await each.then(bench, run, gate)
    assert await bench.stands(run, gate) == each.check


async def test_every_voter_is_looked_at_again(bench: GateBench):
    bench.settle(TWO)
    run, gate = await bench.waiting()
    await bench.press(gate, SAM)
    await bench.press(gate, LEE)
    assert await bench.stands(run, gate) == ""
    bench.forge.members[9] = 30
    assert await bench.stands(run, gate) == "access"


async def test_no_deed_without_enough_voices(bench: GateBench):
    bench.settle(TWO)
    run, gate = await bench.waiting()
    await bench.press(gate, SAM)
    await bench.write(run, GateClosed(gate=gate.id, outcome="approved", by=SAM))
    assert await bench.stands(run, gate) == "open"
    await bench.write(run, GateVoted(gate=gate.id, by=replace(SAM, id="USAM2")))
    assert await bench.stands(run, gate) == "once"


def test_a_window_that_is_over_freezes_nothing():
    monday = Rule(freezes=(Window(start=0, end=60),))
    assert monday.frozen_until(datetime(2030, 1, 7, 0, 30, tzinfo=UTC)) is not None
    assert monday.frozen_until(datetime(2030, 1, 7, 1, 0, tzinfo=UTC)) is None
