from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from quick import quicken
from road import Road, open_road


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch.setattr)


@pytest.fixture
async def road(tmp_path: Path, database_url: str) -> AsyncIterator[Road]:
    """Nobody serves yet."""
    async with open_road(tmp_path, database_url) as opened:
        yield opened
