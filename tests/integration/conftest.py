"""A folder that the sandbox's users can enter, which pytest's own folders are not."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="journeyman-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)
