"""A night's updates with package managers that are fetched for it, on their own registries."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from nightly import Bench, changed, left, outside, run, steps

from agent import node_tools
from agent.adapters.package_config import find_uv
from agent.maintenance.dependencies.task import dependencies
from agent.package_sources import environment
from agent.run import CommitSha

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


@pytest.mark.slow
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


PACKAGE = {
    "name": "labels",
    "version": "1.0.0",
    "license": "MIT",
    "scripts": {"test": "node --test test", "preinstall": "touch ran", "postinstall": "touch ran"},
    "dependencies": {"ms": "2.0.0", "slugify": "1.4.0", "escape-html": ">=1.0.2 <2"},
    "devDependencies": {"pluralize": "7.0.0"},
}
LABELS = """const test = require('node:test'), assert = require('node:assert');
require('slugify'); require('escape-html');
test('plural', () => assert.equal(require('pluralize')('book'), 'books'));
const ms = require('ms');
test('time is rounded up', () => assert.equal(ms(132 * 60000, {long: true}), '3 hours'));
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "lock"),
    [
        ("pnpm@10.34.9", "pnpm-lock.yaml"),
        (node_tools.YARN, "yarn.lock"),
    ],
)
async def test_pnpm_and_yarn_move_ranges_sections_and_the_lock_and_leave_out_what_breaks(
    bench: Bench, tmp_path: Path, tool: str, lock: str
):
    manifest = tmp_path / "package.json"
    package = {**PACKAGE, "dependencies": {**PACKAGE["dependencies"], "escape-html": "1.0.2"}}
    manifest.write_text(json.dumps(package))
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "labels.test.js").write_text(LABELS)
    only_lock = ["--lockfile-only"] if lock == "pnpm-lock.yaml" else []
    install = node_tools.fetched(tool, "install", "--ignore-scripts", *only_lock)
    sources = bench.installer.sources
    inside = environment(sources)
    env = {
        **outside(sources),
        **{n: v for n, v in inside.items() if n.lower().endswith("_registry")},
    }
    await run(install, tmp_path, env)
    widen(tmp_path, lock)
    night = await bench.night(tmp_path)
    report = await dependencies(night)

    assert report.problems == ()
    assert steps(report) == {
        ("slugify", "minor"),
        ("escape-html", "patch"),
        ("pluralize", "major"),
    }
    assert "time is rounded up" in left(report)["ms"]
    for group in report.groups:
        assert group.files == tuple(sorted(("package.json", lock)))
        assert group.tests_after is not None
        assert group.tests_after.green
    rollup = next(group for group in report.groups if "packages" in group.title)
    text = (await night.vault.read(CommitSha(rollup.tree), "package.json") or b"").decode()
    after = json.loads(text)
    assert after["dependencies"]["ms"] == "2.0.0"
    assert after["dependencies"]["escape-html"] == ">=1.0.2 <2"
    assert after["dependencies"]["slugify"].startswith("^1.")
    assert after["devDependencies"] == {"pluralize": "7.0.0"}
    if lock == "yarn.lock":
        locked = (await night.vault.read(CommitSha(rollup.tree), lock) or b"").decode()
        assert locked.count("https://packages.example/") == locked.count("resolved") == 4


def widen(folder: Path, lock: str) -> None:
    """The same versions in wider ranges; Yarn's lock file names a host that is not this
    machine's."""
    (folder / "package.json").write_text(
        json.dumps({**PACKAGE, "dependencies": {**PACKAGE["dependencies"], "slugify": "^1.4.0"}})
    )
    path = folder / lock
    text = path.read_text()
    for name, old, new in (
        ("slugify", "1.4.0", "^1.4.0"),
        ("escape-html", "1.0.2", ">=1.0.2 <2"),
    ):
        quoted = f'"{name}@{new}"' if " " in new else f"{name}@{new}"
        text = text.replace(f"{name}@{old}:\n  version", f"{quoted}:\n  version")
        text = text.replace(
            f"{name}:\n        specifier: {old}", f"{name}:\n        specifier: '{new}'"
        )
        text = text.replace(f"{name}:\n    specifier: {old}", f"{name}:\n    specifier: '{new}'")
    path.write_text(
        re.sub(r'resolved "https?://[^/"]*/', 'resolved "https://packages.example/', text)
    )
    shutil.rmtree(folder / "node_modules", ignore_errors=True)
