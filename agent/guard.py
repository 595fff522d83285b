"""The one place that catches whatever nobody foresaw."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Generator
from contextlib import contextmanager

from agent.errors import Broken, JourneymanError, Unavailable


@contextmanager
def guarded(log: logging.Logger, event: str, **told: object) -> Generator[None]:
    """Raises `Broken` for a defect of ours, which stands in the log under `event`; what is raised
    on purpose passes."""
    try:
        yield
    except JourneymanError:
        raise
    except Exception as error:
        broken = Broken(cause=type(error).__name__, error_id=secrets.token_hex(2))
        log.exception(event, extra={**told, "error": broken.error_id})
        raise broken from error


@contextmanager
def spared(log: logging.Logger, event: str, **told: object) -> Generator[None]:
    """Around one of many: what breaks or is refused stands in the log under `event`, and those
    behind it have their turn. Raises `Unavailable`."""
    try:
        with guarded(log, event, **told):
            yield
    except Unavailable:
        raise
    except Broken:
        pass
    except JourneymanError as error:
        log.warning(event, extra={**told, "reason": str(error)})
