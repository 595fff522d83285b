"""A folder that the sandbox's users can enter, which pytest's own folders are not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from nightly import Bench, open_bench, unreachable


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="journeyman-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def bench(open_folder: Path) -> Bench:
    return open_bench(open_folder)


@pytest.fixture(scope="module")
def registries(bench: Bench) -> None:
    """Skips, and says why, where the registries that this machine is configured for do not
    answer; the tests with a registry of their own run all the same."""
    if reason := unreachable(bench):
        pytest.skip(reason)
