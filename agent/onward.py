"""What people may begin once a delivery is done: promote, revert, ask again."""

from __future__ import annotations

from agent.delivery import Delivery
from agent.errors import Refused
from agent.events import DeliveryBegun
from agent.project import ProjectSettings
from agent.run import ENDED, Person
from agent.state import RunState

_AGAIN = ("expired", "superseded", "rejected", "left", "broken")


def promotion(state: RunState, project: ProjectSettings | None, by: Person) -> DeliveryBegun:
    """Raises `Refused`."""
    newest = _newest(state)
    if newest.merged is None or newest.ended is None or newest.ended.outcome != "delivered":
        raise Refused("Only what was delivered can be promoted, and this was not. Ask again first.")
    if newest.begun.kind == "revert":
        raise Refused("This was reverted, so there is nothing to promote.")
    source = newest.begun.target
    rule = project.target(source) if project else None
    target = rule.promote if rule else ""
    _settled(project, target, f"`{source}` is promoted nowhere")
    return DeliveryBegun(
        number=newest.number + 1,
        kind="promotion",
        source=source,
        target=target,
        by=by,
        promote=_promote(project, target),
    )


def revert(state: RunState, project: ProjectSettings | None, by: Person) -> DeliveryBegun:
    """Of what was merged last. Raises `Refused`."""
    newest = _newest(state)
    if newest.begun.kind == "revert" and newest.merged:
        raise Refused("This was reverted already.")
    merged = next((d for d in reversed(state.deliveries) if d.merged), None)
    if merged is None:
        raise Refused("Nothing was merged, so there is nothing to revert.")
    target = merged.begun.target
    _settled(project, target, f"`{target}` is left to people")
    number = newest.number + 1
    return DeliveryBegun(
        number=number,
        kind="revert",
        source=f"{state.branch}-revert-{number}",
        target=target,
        by=by,
        reverts=merged.merged,
    )


def again(state: RunState) -> DeliveryBegun | None:
    """The delivery that came to nothing, once more; None where the run itself goes on with it.
    Raises `Refused`."""
    newest = _newest(state)
    if newest.ended is None or newest.ended.outcome not in _AGAIN:
        raise Refused("There is nothing to ask again: the newest request was not left undecided.")
    return afresh(newest)


def afresh(newest: Delivery) -> DeliveryBegun | None:
    """The same way once more; None where the run's own change begins it by itself, once its
    pipeline is green."""
    begun = newest.begun
    if begun.kind == "change" and newest.merged is None:
        return None
    return DeliveryBegun(
        number=newest.number + 1,
        kind=begun.kind,
        source=begun.source,
        target=begun.target,
        by=begun.by,  # still the one whose wish it is
        iid=newest.iid,
        url=newest.url,
        commit=newest.commit,
        merged=newest.merged,
        reverts=begun.reverts,
        promote=begun.promote,
    )


def _newest(state: RunState) -> Delivery:
    if not state.deliveries:
        raise Refused("Nothing of this run was delivered yet.")
    if state.status not in ENDED:
        raise Refused(
            f"The run is {state.status.replace('_', ' ')}: something of it is on its way already."
        )
    return state.deliveries[-1]


def _settled(project: ProjectSettings | None, target: str, why_not: str) -> None:
    if project is None or not target or project.target(target) is None:
        raise Refused(f"{why_not}, by what is settled in journeyman.toml.")


def _promote(project: ProjectSettings | None, target: str) -> str:
    rule = project.target(target) if project else None
    return rule.promote if rule else ""
