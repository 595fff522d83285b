"""Which fault has to be tried in which phase of a run, and which of these cells no test tries.

A test says what it tries by `@pytest.mark.cell("F18", "UM")`: a fault, and one letter for each
phase in which the test really brings it about. `python -m tests.faults.table` writes
docs/faults.md.
"""

from __future__ import annotations

from collections.abc import Mapping

PHASES: Mapping[str, str] = {
    "A": "accepting a request",
    "P": "planning",
    "W": "working in the sandbox",
    "T": "running the tests",
    "U": "pushing the branch",
    "M": "opening the merge request",
    "C": "watching the pipeline",
    "F": "mending a red pipeline",
    "G": "waiting at a gate",
    "X": "merging and deploying",
    "N": "a night of maintenance",
    "S": "writing in the thread",
}

#: fault: (what it is, the phases in which it has to be tried)
FAULTS: Mapping[str, tuple[str, str]] = {
    "F01": ("the service is killed (SIGKILL)", "APWTUMCFGXNS"),
    "F02": ("the service is stopped (SIGTERM)", "APWTUMCFGXNS"),
    "F03": ("two services at once", "APWUMCFGXNS"),
    "F04": ("a service stands still (SIGSTOP, 90 s) and wakes", "PWTUMGXS"),
    "F05": ("PostgreSQL is restarted at once", "APWTUMCFGXNS"),
    "F06": ("PostgreSQL is down for 60 s", "APTUMCGXNS"),
    "F07": ("no connection to PostgreSQL is left", "APUCGXS"),
    "F08": ("PostgreSQL gives up a transaction (deadlock, serialization)", "AUMCGXN"),
    "F09": ("a disk is full (database, working tree, log)", "AWTUGX"),
    "F10": ("Slack asks for patience (429)", "GS"),
    "F11": ("Slack has posted, and its answer is lost", "GS"),
    "F12": ("Slack is dark for ten minutes", "APGXS"),
    "F13": ("an event comes four times, out of order, an hour late", "AG"),
    "F14": ("the socket is refreshed or drops for 20 s", "AGS"),
    "F15": ("message, thread or channel is gone, the agent is removed", "APGXS"),
    "F16": ("the request is edited after the start", "APG"),
    "F17": ("GitLab does not answer (429, 5xx, time limit)", "PUMCFGXN"),
    "F18": ("GitLab has done it, and its answer is lost", "UMFXN"),
    "F19": ("GitLab does not see the branch yet (0.5 to 120 s)", "UMCN"),
    "F20": ("GitLab still checks the merge request, or answers from a stale cache", "GX"),
    "F21": ("the pipeline is missing, skipped, empty, detached or of another commit", "CFGX"),
    "F22": ("the pipeline is flaky, stuck, cancelled, pending for two hours", "CFN"),
    "F23": ("conflict, moved target, foreign commit, branch or merge request gone", "UMCFGX"),
    "F24": ("a token expires, a role is lowered, the project is archived or moved", "APUMCGXN"),
    "F25": ("a webhook is lost or doubled, or webhooks are disabled", "CFGX"),
    "F26": ("the model does not answer (429, 5xx, time limit, cut stream)", "PWTFN"),
    "F27": ("the model answers nonsense, refuses, overflows", "PWTFN"),
    "F28": ("the model repeats itself, lies, costs too much", "PWTFN"),
    "F29": ("the sandbox runs out of memory, forks, hangs, floods, is missing", "WTFN"),
    "F30": ("git: stale locks, a broken repository, huge files, LFS, slow clones", "PWUFN"),
    "F31": ("the clock jumps by an hour, summer time ends at night", "ACGN"),
    "F32": ("half a migration, or an old and a new version together", "AWCGXN"),
}

CELLS: Mapping[tuple[str, str], str] = {
    (fault, phase): PHASES[phase] for fault, (_, phases) in FAULTS.items() for phase in phases
}

# One line for each fault, so that two people can take lines away without a conflict; a cell with a
# test must not stand here.
_UNTRIED: tuple[tuple[str, str, str], ...] = (
    ("F32", "N", "runs that wait are tried across versions, nights are not yet"),
)

NOT_RUN: Mapping[tuple[str, str], str] = {
    (fault, phase): why for fault, phases, why in _UNTRIED for phase in phases
}
