"""Whom a gate mentions."""

from __future__ import annotations

from dataclasses import replace

from engine_bench import MIA, Bench
from pipeline_bench import scene

from agent.approvers import approvers
from agent.errors import ForgeUnavailable
from agent.gate import Rule
from agent.journal import Journal
from agent.run import Person
from agent.work import Hold, Lookout

KNOWN = {7: "U1", 8: "U8", 9: "U9", 10: "U10"}


async def mentioned(
    bench: Bench, rule: Rule, by: Person | None = None, **more: object
) -> list[str]:
    """Of Mia (a developer, who asked) and maintainers, of whom 11 is not in the chat."""
    here = scene(bench)
    here.forge.members = {7: 30, 8: 40, 9: 50, 10: 40, 11: 40, 12: 20}
    run = await bench.ask()

    async def holder(team: str, user: int) -> str | None:
        return KNOWN.get(user)

    assert bench.lookout is not None
    lookout: Lookout = replace(bench.lookout, **({"holder": holder} | more))
    journal = await Journal.load(bench.db.store, run)
    work = Hold(
        journal=journal,
        vault=bench.vaults.of(run.request.project),
        clock=bench.clock,
        project=bench.project,
        lookout=lookout,
    )
    return [each.id for each in await approvers(work, lookout, rule, by)]


async def test_those_who_may_decide_are_named_who_may_do_the_most_first(bench: Bench):
    assert await mentioned(bench, Rule()) == ["U9", "U8", "U10"]


async def test_who_asked_or_pressed_the_button_is_not_named(bench: Bench):
    assert MIA.gitlab_id == 7
    assert "U1" not in await mentioned(bench, Rule(access=30))
    presser = Person(id="U9", name="nine", gitlab_id=9)
    assert await mentioned(bench, Rule(), presser) == ["U8", "U10"]
    assert "U1" in await mentioned(bench, Rule(access=30, self_approval=True))


async def test_of_a_list_only_those_on_it(bench: Bench):
    assert await mentioned(bench, Rule(users=(10, 12))) == ["U10"]


async def test_nobody_is_named_where_it_cannot_be_known(bench: Bench):
    assert await mentioned(bench, Rule(groups=("platform/leads",))) == []
    assert await mentioned(bench, Rule(), holder=None) == []
    here = scene(bench)
    here.forge.faults["project_members"] = [ForgeUnavailable("GitLab is down.")]
    assert await mentioned(bench, Rule(), forge=here.forge) == []
