"""How many of python-gitlab's own functional tests pass against the GitLab stand-in.

    python -m benchmarks.gitlab_scoreboard PATH-TO-A-PYTHON-GITLAB-CHECKOUT [-k EXPRESSION]

The tests were written for a GitLab in a container. A copy of them is run with three fixtures
replaced: where the server is, its token, and the clean-up of an old server, since ours is new each
time; and pauses that wait for a slow server are cut short. Nothing of them is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from playground.gitlab.server import GitLabStandIn

TOKEN = "glpat-scoreboard"
CONFTEST = f'''
import os
import time

import gitlab
import pytest

real_sleep = time.sleep
time.sleep = lambda seconds: real_sleep(min(seconds, 0.05))


@pytest.fixture(scope="session")
def gitlab_url():
    return os.environ["STAND_IN_URL"]


@pytest.fixture(scope="session")
def gitlab_token():
    return "{TOKEN}"


@pytest.fixture(scope="session")
def gl(gitlab_url, gitlab_token):
    instance = gitlab.Gitlab(gitlab_url, private_token=gitlab_token)
    instance.auth()
    return instance
'''
PLUGINS = """
import pytest


@pytest.fixture(scope="session")
def docker_ip():
    raise RuntimeError("there is no container")


@pytest.fixture(scope="session")
def docker_services():
    raise RuntimeError("there is no container")
"""
PATHS = """
import pathlib

import pytest


@pytest.fixture(scope="session")
def test_dir():
    return pathlib.Path(__file__).parent
"""
OUTCOME = re.compile(r"^(\S+::\S.*?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)", re.MULTILINE)


async def run(checkout: Path, expression: str) -> dict[str, str]:
    """Outcome of each test by its name."""
    with tempfile.TemporaryDirectory(prefix="scoreboard-") as name:
        folder = Path(name)
        _copy(checkout, folder)
        async with GitLabStandIn(folder / "gitlab") as gitlab:
            root = gitlab.state.add_user("root", name="Administrator", admin=True)
            gitlab.state.add_token(root, "api", "sudo", secret=TOKEN)
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                "-vv",
                "--tb=short",
            ]
            command += ["--rootdir", str(folder), "-o", "addopts=", "tests/functional/api"]
            command += ["-k", expression] if expression else []
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                env={
                    **os.environ,
                    "STAND_IN_URL": gitlab.url,
                    "PYTHONPATH": str(folder),
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
    text = output.decode("utf-8", "replace")
    if os.environ.get("SCOREBOARD_LOG"):
        Path(os.environ["SCOREBOARD_LOG"]).write_text(text)
    found = {
        name.removeprefix("tests/functional/api/"): word.lower()
        for name, word in OUTCOME.findall(text)
    }
    if not found:
        sys.exit(text[-3000:])
    return found


def _copy(checkout: Path, folder: Path) -> None:
    """Their tests as they are, beside a conftest that knows our server."""
    tests = folder / "tests"
    shutil.copytree(checkout / "tests" / "functional", tests / "functional")
    (tests / "__init__.py").touch()
    (tests / "conftest.py").write_text(PATHS)
    (tests / "functional" / "fixtures" / "__init__.py").touch()
    (tests / "functional" / "fixtures" / "docker.py").write_text(PLUGINS)
    (tests / "functional" / "api" / "conftest.py").write_text(CONFTEST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("-k", dest="expression", default="", help="as pytest's -k")
    options = parser.parse_args()
    found = asyncio.run(run(options.checkout, options.expression))
    for outcome in ("passed", "failed", "error", "xfail", "xpass", "skipped"):
        names = sorted(name for name, each in found.items() if each == outcome)
        print(f"{outcome} ({len(names)})", *names, sep="\n  ")
    passed = sum(outcome == "passed" for outcome in found.values())
    print(f"{passed} of {len(found)} passed")


if __name__ == "__main__":
    main()
