"""Where a test may let a process die, fail or hang: the moments around each effect.

Off unless an operator of a test names one; a call site then costs the call of a function.
"""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SettingsError

EFFECTS = (
    "ack",
    "claim",
    "clone",
    "push",
    "merge_request",
    "note",
    "retry_job",
    "decide",
    "merge",
    "post",
    "edit",
)
#: They have the same moments as those that the effect plane carries out.
MORE = ("reply", "hand_over", "open_delivery", "play_job")
MOMENTS = ("before_intent", "before_call", "after_call", "after_outcome")
WAYS = ("kill", "raise", "reset", "hang")

RECORD = "failpoints.log"  #: in JOURNEYMAN_HOME: a line for each that was hit
HANG = 30.0  #: seconds
_FORM = re.compile(
    r"(?P<effect>\w+)\.(?P<moment>\w+):(?P<way>\w+)(@(?P<nth>[1-9]\d*))?(:(?P<for>\d+(\.\d+)?))?"
)


@dataclass(kw_only=True)
class Armed:
    effect: str
    moment: str
    way: str
    record: Path
    left: int  #: how often it is passed until it is hit, which it is once
    seconds: float


armed: Armed | None = None


def parse(text: str, home: Path) -> Armed:
    """`EFFECT.MOMENT:WAY[@NTH][:SECONDS]`, for example `push.after_call:kill@1`. Raises
    `SettingsError`."""
    found = _FORM.fullmatch(text)
    if (
        found is None
        or found["effect"] not in EFFECTS + MORE
        or found["moment"] not in MOMENTS
        or found["way"] not in WAYS
    ):
        raise SettingsError(
            f"JOURNEYMAN_FAILPOINTS is {text!r}: give EFFECT.MOMENT:WAY, for example "
            "push.after_call:kill, or leave it empty. It is for tests only."
        )
    return Armed(
        effect=found["effect"],
        moment=found["moment"],
        way=found["way"],
        record=home / RECORD,
        left=int(found["nth"] or 1),
        seconds=float(found["for"] or HANG),
    )


def arm(text: str, home: Path) -> None:
    global armed
    armed = parse(text, home)


def disarm() -> None:
    global armed
    armed = None


def reached(effect: str, moment: str, reset: type[Exception]) -> None:
    """`reset`: what the adapter at this place raises when its connection is cut."""
    point = armed
    if point is None or (point.effect, point.moment) != (effect, moment):
        return
    point.left -= 1
    if point.left:
        return
    name = f"{effect}.{moment}:{point.way}"
    _note(point, f"{name} hit by {os.getpid()}")
    match point.way:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise RuntimeError(f"A failpoint: {name}.")
        case "reset":
            raise reset(f"The connection was cut (a failpoint: {name}).")
        case _:
            time.sleep(point.seconds)  # all of the process hangs, not this one task
            _note(point, f"{name} left by {os.getpid()}")


def _note(point: Armed, line: str) -> None:
    point.record.parent.mkdir(parents=True, exist_ok=True)
    with point.record.open("a") as record:
        record.write(line + "\n")
