"""The service of many processes under random havoc, and what the oracle says of it afterwards."""

from __future__ import annotations

import sys
from pathlib import Path

# the tests of the whole road import each other by their bare names
sys.path[:0] = [str(Path(__file__).parents[1] / "faults"), str(Path(__file__).parents[1])]
