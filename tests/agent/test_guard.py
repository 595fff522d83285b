"""What nobody foresaw becomes one error with an id, and what is raised on purpose stays itself."""

from __future__ import annotations

import asyncio
import logging

import pytest

from agent.errors import Broken, Refused
from agent.guard import guarded

log = logging.getLogger("journeyman.test")


def test_a_defect_is_logged_under_the_id_that_is_told(caplog: pytest.LogCaptureFixture):
    with pytest.raises(Broken) as raised, guarded(log, "it_broke", run=7):
        raise KeyError("secret")
    entry = caplog.records[-1]
    assert (entry.message, vars(entry)["run"], vars(entry)["error"]) == (
        "it_broke",
        7,
        raised.value.error_id,
    )
    assert raised.value.error_id in str(raised.value)
    assert "secret" not in str(raised.value)
    assert raised.value.cause == "KeyError"


@pytest.mark.parametrize("error", [Refused("No."), asyncio.CancelledError()])
def test_what_is_meant_passes(error: BaseException, caplog: pytest.LogCaptureFixture):
    with pytest.raises(type(error)) as raised, guarded(log, "it_broke"):
        raise error
    assert raised.value is error
    assert caplog.records == []
