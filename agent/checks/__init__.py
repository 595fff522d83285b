"""What is checked before a gate lets anything pass: at the click, and again before the deed.

Each check is one small function, in one table; whatever cannot be checked is refused.
"""

from agent.checks.case import Case, Refusal
from agent.checks.table import (
    AT_CLICK,
    AT_MERGE,
    AT_REJECTION,
    AT_REVISION,
    AT_WITHDRAWAL,
    CHECKS,
    checks_of,
    outdated,
    refusal,
    still_stands,
)

__all__ = [
    "AT_CLICK",
    "AT_MERGE",
    "AT_REJECTION",
    "AT_REVISION",
    "AT_WITHDRAWAL",
    "CHECKS",
    "Case",
    "Refusal",
    "checks_of",
    "outdated",
    "refusal",
    "still_stands",
]
