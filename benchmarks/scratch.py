"""A folder for one benchmark, of which nothing is left."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from agent.adapters.postgres_files import lay_out
from bot.build import sandbox_folder


@contextmanager
def scratch() -> Generator[Path]:
    """The service's home is its `home`; run by root, it has folders elsewhere, too."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        home = Path(name) / "home"
        try:
            yield Path(name)
        finally:
            shutil.rmtree(sandbox_folder(home), ignore_errors=True)
            shutil.rmtree(lay_out(home).folder, ignore_errors=True)
