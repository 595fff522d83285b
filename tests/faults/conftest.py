from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import road as roads
from crossing import UNIT, Crossing
from oracle import judge
from phases import Scene
from quick import quicken
from road import FILES, Road, make_repository, open_road
from server import Server
from staged import stage

from agent.adapters.embedded_postgres import EmbeddedPostgres
from playground.gitlab.instant import InstantRunner


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "without(*invariants, why): what need not hold after this test, and why not"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After each test of the whole road that has passed, the oracle is asked: still within the
    test, where stand-ins and clocks are as the test has set them."""
    for item in items:
        if not isinstance(item, pytest.Function) or item.path.parent != Path(__file__).parent:
            continue
        if inspect.iscoroutinefunction(item.obj):
            item.obj = _judged(item, item.obj)


def _judged(item: pytest.Function, test: Any) -> Any:
    @functools.wraps(test)
    async def judged(**given: Any) -> None:
        without: set[str] = set()
        for marker in item.iter_markers("without"):
            assert marker.kwargs["why"]
            without |= set(marker.args)
        roads.leaving = functools.partial(judge, without=without)
        try:
            await test(**given)
            for each in roads.STANDING:
                await roads.leaving(each)
        finally:
            roads.leaving = None

    return judged


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


@pytest.fixture
async def server(postgres_server: EmbeddedPostgres) -> AsyncIterator[Server]:
    made = Server(postgres_server)
    yield made
    await made.up()


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> None:
    stage(monkeypatch.setattr)


@pytest.fixture
def scene(crossing: Crossing, phase: str) -> Scene:
    return Scene(phase=phase, crossing=crossing)
