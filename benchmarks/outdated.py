"""Sample repositories whose packages really are behind, made on the spot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agent.adapters.package_config import find_uv

PROJECTS = Path(__file__).parent.parent / "playground" / "projects"
THEN = "2023-03-01"  #: uv locks what there was on that day

_PIP = {
    "requirements.txt": "click==7.1.2\nitsdangerous==2.0.1\njinja2==3.0.3\nmarkupsafe==2.1.2\n"
    "pytest==7.0.1\n",
    "page.py": "from jinja2 import escape\nfrom markupsafe import soft_str\n\n\n"
    "def title(text):\n    return f'<h1>{escape(soft_str(text))}</h1>'\n",
    "tests/test_page.py": "from page import title\n\n\ndef test_escapes():\n"
    "    assert title('a & b') == '<h1>a &amp; b</h1>'\n",
}
_UV = {
    "pyproject.toml": '[project]\nname = "links"\nversion = "1.0.0"\nrequires-python = ">=3.9"\n'
    'dependencies = ["marshmallow==3.17.0", "toolz==0.11.1", "werkzeug==2.2.1"]\n\n'
    '[dependency-groups]\ndev = ["pytest>=7"]\n',
    "links.py": "from marshmallow import Schema, fields\nfrom toolz import unique\n"
    "from werkzeug.urls import url_quote\n\n\nclass Link(Schema):\n"
    "    name = fields.Str(missing='none')\n\n\ndef paths(names):\n"
    "    return [url_quote(name) for name in unique(names)]\n",
    "tests/test_links.py": "from links import Link, paths\n\n\ndef test_paths():\n"
    "    assert paths(['a b', 'a b', 'c']) == ['a%20b', 'c']\n\n\ndef test_default():\n"
    "    assert Link().load({}) == {'name': 'none'}\n",
}
_POETRY = {
    "pyproject.toml": '[tool.poetry]\nname = "rates"\nversion = "1.0.0"\ndescription = ""\n'
    'authors = []\npackage-mode = false\n\n[tool.poetry.dependencies]\npython = "^3.9"\n'
    'inflection = "0.4.0"\nitsdangerous = "2.0.1"\n\n[tool.poetry.group.dev.dependencies]\n'
    'pytest = "^7.0"\n',
    "tests/test_rates.py": "from inflection import pluralize\nfrom itsdangerous import Signer\n\n\n"
    "def test_signed():\n    assert Signer('key').sign(pluralize('rate')).startswith(b'rates')\n",
}
_NPM = {
    "package.json": '{\n  "name": "clock",\n  "version": "1.0.0",\n  "private": true,\n'
    '  "scripts": {"test": "node --test test/"},\n  "dependencies": {\n'
    '    "chalk": "4.1.0",\n    "dayjs": "1.9.1",\n    "lodash": "4.17.20",\n'
    '    "minimist": "1.2.5",\n    "semver": "7.3.0",\n    "uuid": "8.3.0"\n  }\n}\n',
    "test/clock.test.js": "const test = require('node:test');\n"
    "const assert = require('node:assert');\nconst chalk = require('chalk');\n"
    "const dayjs = require('dayjs');\nconst { chunk } = require('lodash');\n"
    "const semver = require('semver');\nconst { v4, validate } = require('uuid');\n\n"
    "test('a day', () => {\n  assert.equal(dayjs('2020-01-02').add(1, 'day').date(), 3);\n});\n"
    "test('colours, ids and parts', () => {\n"
    "  assert.equal(typeof chalk.red('a'), 'string');\n  assert.ok(validate(v4()));\n"
    "  assert.equal(chunk([1, 2, 3], 2).length, 2);\n  assert.ok(semver.gt('2.0.0', '1.9.9'));\n"
    "});\n",
}


def samples(folder: Path) -> dict[str, Path]:
    """By name. Raises `CalledProcessError` when a package manager cannot lock one of them."""
    made: dict[str, Path] = {}
    for name in ("invoices", "newsletter", "labels"):
        shutil.copytree(PROJECTS / name, folder / name)
        made[name] = commit(folder / name)
    for name, files, lock in _NEW:
        write(folder / name, files)
        lock(folder / name)
        made[name] = commit(folder / name)
    return made


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def commit(folder: Path) -> Path:
    author = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for words in (["init", "-qb", "main"], ["add", "-A"], [*author, "commit", "-qm", "Begin"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def _uv_lock(folder: Path) -> None:
    _run([str(find_uv()), "lock", "-q", "--exclude-newer", THEN], folder)
    lock = folder / "uv.lock"
    lock.write_text(re.sub(r"\[options\]\n(?:.+\n)+\n", "", lock.read_text()))


def _poetry_lock(folder: Path) -> None:
    """By hand: poetry cannot lock where an index has no pages for single versions."""
    entry = '[[package]]\nname = "{}"\nversion = "{}"\ndescription = ""\noptional = false\n'
    entry += 'python-versions = ">=3.7"\ngroups = ["main"]\nfiles = []\n\n'
    pins = (("inflection", "0.4.0"), ("itsdangerous", "2.0.1"), ("pytest", "7.2.2"))
    metadata = '[metadata]\nlock-version = "2.1"\npython-versions = "^3.9"\n'
    metadata += f'content-hash = "{"0" * 64}"\n'
    lock = "".join(entry.format(*pin) for pin in pins) + metadata
    (folder / "poetry.lock").write_text(lock)


def _npm_lock(folder: Path) -> None:
    """Of the old versions, with ranges that would let newer ones in."""
    _run(["npm", "install", "--package-lock-only", "--ignore-scripts"], folder)
    for file in (folder / "package.json", folder / "package-lock.json"):
        text = file.read_text()
        for name in ("chalk", "lodash", "uuid"):
            text = re.sub(rf'("{name}": ")(\d)', r"\1^\2", text)
        file.write_text(text)


def _run(argv: Sequence[str], folder: Path) -> None:
    env = {**os.environ, "UV_SYSTEM_CERTS": "1"}
    subprocess.run(argv, cwd=folder, check=True, capture_output=True, timeout=300, env=env)


_NEW: Sequence[tuple[str, Mapping[str, str], Callable[[Path], None]]] = (
    ("page-pip", _PIP, lambda folder: None),
    ("links-uv", _UV, _uv_lock),
    ("rates-poetry", _POETRY, _poetry_lock),
    ("clock-npm", _NPM, _npm_lock),
)
