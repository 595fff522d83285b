from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from crossing import UNIT, Crossing
from quick import quicken
from road import FILES, Road, make_repository, open_road

from playground.gitlab.instant import InstantRunner


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch.setattr)


@pytest.fixture
async def road(tmp_path: Path, database_url: str) -> AsyncIterator[Road]:
    """Nobody serves yet."""
    async with open_road(tmp_path, database_url) as opened:
        yield opened


@pytest.fixture
def ci() -> str:
    """What the project of `crossing` has for its pipelines."""
    return UNIT


@pytest.fixture
async def crossing(tmp_path: Path, database_url: str, ci: str) -> AsyncIterator[Crossing]:
    """Pipelines come and pass; one maintainer lets changes into main. Nobody serves yet."""
    source = make_repository(tmp_path / "source", {**FILES, ".gitlab-ci.yml": ci})
    async with open_road(tmp_path, database_url, source=source) as opened:
        opened.gitlab.forge.pipelines.runner = InstantRunner()
        made = Crossing(road=opened)
        made.rules()
        yield made
