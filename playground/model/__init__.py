"""A model endpoint that replays recorded replies."""

from playground.model.server import ModelStandIn
from playground.model.tapes import Tape, load_tapes

__all__ = ["ModelStandIn", "Tape", "load_tapes"]
