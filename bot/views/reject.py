"""The modal that asks why a gate is rejected, and what it brings back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.gate import GateId
from bot.views import blocks as b

CALLBACK = "gate_rejected"
LEAST, MOST = 10, 2500  #: characters of a reason
HINT = (
    "Everybody in the thread reads it; with the first choice the agent does, too, which makes "
    "the change partly your own: then somebody else has to approve it."
)
_REVISE, _STOP = "revise", "stop"


@dataclass(frozen=True, kw_only=True)
class Carried:
    gate: GateId
    message: str  #: ts of the card


def modal(gate: GateId, channel: str, thread_ts: str, message: str) -> b.Element:
    choices = [
        b.option("Revise with this feedback", _REVISE),
        b.option("Stop the run", _STOP),
    ]
    then: b.Block = {
        "type": "input",
        "block_id": "then",
        "label": b.plain("What then?"),
        "element": {
            "type": "radio_buttons",
            "action_id": "then",
            "options": choices,
            "initial_option": choices[0],
        },
    }
    return b.input_modal(
        CALLBACK,
        f"{gate} {channel} {thread_ts} {message}",
        "Reject",
        "Reject",
        "Why, and what should be different?",
        hint=HINT,
        between=(LEAST, MOST),
        more=(then,),
    )


def carried(view: Mapping[str, Any]) -> Carried:
    gate, _, _, message = (str(view.get("private_metadata", "")) + "   ").split(" ")[:4]
    return Carried(gate=GateId(gate), message=message)


def submitted(view: Mapping[str, Any]) -> tuple[str, bool]:
    """The reason, and whether the run shall go on with it."""
    values: dict[str, Any] = view["state"]["values"]
    then: dict[str, Any] = values["then"]["then"]["selected_option"] or {}
    return values["text"]["text"]["value"] or "", then.get("value") == _REVISE
