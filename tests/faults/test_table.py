"""Nobody has to believe the table of faults: it is made from the tests, and complete."""

from __future__ import annotations

import subprocess
import sys

from cells import CELLS, FAULTS
from road import ROOT


def test_there_are_as_many_cells_as_were_designed():
    assert len(FAULTS) == 32
    assert len(CELLS) == 185


def test_each_cell_has_a_test_or_a_reason_and_the_page_says_so():
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.table", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
