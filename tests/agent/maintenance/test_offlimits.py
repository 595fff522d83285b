"""Files that errands leave alone, and names that are close to theirs and free."""

from __future__ import annotations

import pytest

from agent.maintenance.offlimits import reserved, shadows, untouchable


@pytest.mark.parametrize(
    "path",
    [
        *("src/avatar.ts", "src/app/app.config.ts", "requirements/models.py", "src/setup.ts"),
        *("docs/requirements.md", "app/package.py", "app/environment.py", "src/jester.ts"),
        *("app/conftest_tools.py", "app/lock.py", "README.md"),
    ],
)
def test_code_is_free(path: str):
    assert reserved(path, scripts=True) == ""


@pytest.mark.parametrize(
    "path", ["tests/setup.ts", "web/jest-setup.ts", "globalSetup.js", "web/babel.config.js", ".env"]
)
def test_what_prepares_the_tests_is_not(path: str):
    assert "how the tests run" in reserved(path, scripts=False)


def test_a_fixer_may_tidy_what_an_errand_may_not_change():
    for path in ("tools/build.sh", "conftest.py", "setup.py"):
        assert untouchable(path) == ""
        assert reserved(path, scripts=True)
    assert reserved("tools/build.sh", scripts=False) == ""


@pytest.mark.parametrize(
    ("path", "free"),
    [
        ("old_gadget.py", True),
        ("gadgets/core.py", True),
        ("app/json.py", True),
        ("json.md", True),
        ("there/gadget/new.py", True),
        ("there/gadget/gadget.py", False),
        ("src/json/__init__.py", False),
        ("app/gadget.cpython-311-x86_64-linux-gnu.so", False),
        ("My-Gadget/a.py", False),
    ],
)
def test_a_new_name_shadows_no_module(path: str, free: bool):
    told = shadows(path, ["gadget", "my_gadget"], ["there/gadget/old.py", "calc.py"])
    assert (told == "") is free
