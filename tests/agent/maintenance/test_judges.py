"""Which files an errand may not touch since linters are made of them, told by their names."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agent.maintenance.lint.detect import commands
from agent.maintenance.lint.judges import brings, judges

CODE = {"src/app/main.py": "", "src/app/__init__.py": "", "calc.py": "", "tests/test_calc.py": ""}


async def found(files: Mapping[str, str], *lint: str, test: str = "") -> set[str]:
    files = {**CODE, **files}

    async def read(path: str) -> bytes | None:
        return files[path].encode() if path in files else None

    tools = await commands(lint, list(files), read)
    return set(await judges(tools, test, list(files), read))


@pytest.mark.parametrize(
    ("lint", "files", "made_of"),
    [
        ("bash tools/style.sh", {"tools/style.sh": ""}, {"tools/style.sh"}),
        ("./style", {"style": ""}, {"style"}),
        ("bash -c 'cd tools && ./style.sh'", {"tools/style.sh": ""}, {"tools/style.sh"}),
        ("python3 -m tools.lint src", {"tools/lint.py": ""}, {"tools/lint.py"}),
        ("make style", {"Makefile": "style:\n\tpython3 tools/s.py\n", "tools/s.py": ""},
         {"tools/s.py"}),
        ("python3 tools/lint.py src", {"tools/lint.py": "from rules import all_of\n",
         "tools/rules/__init__.py": "from .one import *\n", "tools/rules/one.py": ""},
         {"tools/lint.py", "tools/rules/__init__.py", "tools/rules/one.py"}),
        ("flake8 src", {".flake8": "[flake8:local-plugins]\nextension =\n  X = checks:Plugin\n"
         "paths = ./tools\n", "tools/checks.py": ""}, {"tools/checks.py"}),
        ("mypy src", {"mypy.ini": "[mypy]\nfiles = src/app/main.py\nplugins = tools/types.py\n",
         "tools/types.py": ""}, {"tools/types.py"}),
        ("mypy", {"pyproject.toml": "[tool.mypy]\nplugins = [\n  'tools.types',\n]\n",
         "tools/types.py": ""}, {"tools/types.py"}),
        ("eslint src", {"eslint.config.js": "import no from './eslint-rules/index.js';\n",
         "eslint-rules/index.js": "module.exports = require('./foo');\n",
         "eslint-rules/foo.js": ""}, {"eslint-rules/index.js", "eslint-rules/foo.js"}),
        ("pre-commit run", {".pre-commit-config.yaml": "repos:\n- repo: local\n  hooks:\n"
         "  - id: x\n    entry: tools/check.py\n", "tools/check.py": ""}, {"tools/check.py"}),
        ("eslint --rulesdir=./rules src", {"rules/foo.js": ""}, {"rules/foo.js"}),
        ("flake8 --config tools/own.py src", {"tools/own.py": ""}, {"tools/own.py"}),
        ("ruff check --fix src/app/main.py", {"ruff.toml": ""}, set[str]()),
        ("mypy src/app/main.py", {"mypy.ini": ""}, set[str]()),
    ],
)  # fmt: skip
async def test_a_linter_is_made_of_what_it_is_called_with_and_what_that_loads(
    lint: str, files: Mapping[str, str], made_of: set[str]
):
    assert await found(files, lint) == made_of


@pytest.mark.parametrize(
    ("test", "files", "started"),
    [
        ("python3 -m pytest -q --cov=calc tests/test_calc.py", {"a.py": ""}, set[str]()),
        ("python3 -X dev tools/run.py src", {"tools/run.py": "import calc\n"}, {"tools/run.py"}),
        ("python3 -u -m tools.run -v", {"tools/run.py": ""}, {"tools/run.py"}),
        ("vitest run", {"vite.config.ts": "x = {\n  setupFiles: ['./src/up.ts'],\n};\n",
         "src/up.ts": ""}, {"src/up.ts"}),
        ("pytest -p tools.plug tests", {"tools/plug.py": ""}, {"tools/plug.py"}),
        ("bash -c 'tools/all'", {"tools/all": ""}, {"tools/all"}),
        ("cd src && ../tools/all", {"tools/all": ""}, {"tools/all"}),
        ("", {"package.json": '{"main": "index.js", "scripts": {"test": "node all.js"}}',
              "all.js": "", "index.js": ""}, {"all.js"}),
    ],
)  # fmt: skip
async def test_what_starts_the_tests_is_known_and_what_they_test_is_free(
    test: str, files: Mapping[str, str], started: set[str]
):
    assert await found(files, test=test) == started


@pytest.mark.parametrize(
    ("text", "loads"),
    [
        ("from app.main import run\n", True),
        ("import app.main\n", True),
        ("    from . import main\n", True),
        ("x = 'app.main'\n", False),
        ("# about main\n", False),
    ],
)
def test_a_file_that_loads_another_is_known_by_its_lines(text: str, loads: bool):
    assert brings(text, ["src/app/main.py"]) is loads


def test_a_line_without_end_is_read_as_far_as_is_needed():
    assert not brings(f"{' ' * 200_000}{'require ' * 200_000}", ["src/app/main.py"])
