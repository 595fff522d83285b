"""A night's updates with package managers that are fetched for it, on their own registries."""

from __future__ import annotations

from pathlib import Path

import pytest
from nightly import Bench, changed, left, outside, run, steps

from agent.adapters.package_config import find_uv
from agent.maintenance.dependencies.task import dependencies

pytestmark = pytest.mark.usefixtures("registries")

POETRY = """[tool.poetry]
name = "shelf"
version = "1.0.0"
package-mode = false

[tool.poetry.dependencies]
python = "^3.9"
inflection = "%s"
itsdangerous = "%s"

[tool.poetry.group.dev.dependencies]
tabulate = "0.8.9"
"""
SHELF = """from inflection import pluralize
from itsdangerous import JSONWebSignatureSerializer
from tabulate import tabulate

def test_shelf():
    assert pluralize("book") == "books"
"""


async def test_poetry_moves_ranges_groups_and_the_lock_and_leaves_out_what_breaks(
    bench: Bench, tmp_path: Path
):
    manifest = tmp_path / "pyproject.toml"
    manifest.write_text(POETRY % ("0.4.0", "1.1.0"))
    (tmp_path / "test_shelf.py").write_text(SHELF)
    sources = bench.installer.sources
    env = {
        **outside(sources),
        "POETRY_VIRTUALENVS_CREATE": "false",
        "POETRY_PYPI_MIRROR_URL": sources.index,
        "POETRY_CACHE_DIR": str(bench.folder / "poetry"),
        **({"REQUESTS_CA_BUNDLE": str(sources.ca_file)} if sources.ca_file else {}),
    }
    poetry = [str(find_uv()), "tool", "run", "--no-config", "--python", "/usr/bin/python3"]
    poetry += ["--with", "poetry-plugin-pypi-mirror", "--from", "poetry==1.8.5", "poetry", "lock"]
    await run([*poetry, "-q"], tmp_path, env)
    # within the range, the lock file alone has to move
    manifest.write_text(POETRY % ("^0.4.0", "^1.1.0"))
    await run([*poetry, "-q", "--no-update"], tmp_path, env)
    night = await bench.night(tmp_path)
    report = await dependencies(night)

    assert report.problems == ()
    assert steps(report) == {("inflection", "minor"), ("tabulate", "minor")}
    assert "JSONWebSignatureSerializer" in left(report)["itsdangerous"]
    (rollup,) = report.groups
    assert rollup.tests_after is not None
    assert rollup.tests_after.green
    lines = await changed(night, rollup.tree, "pyproject.toml")
    assert any(line.startswith('+ tabulate = "0.9') for line in lines)
    assert not any("itsdangerous" in line for line in lines)
    lock = await changed(night, rollup.tree, "poetry.lock")
    assert not any("[package.source]" in line or "url = " in line for line in lock)
