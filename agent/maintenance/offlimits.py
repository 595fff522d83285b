"""Files that an errand leaves alone, since they decide what is installed and what passes."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Collection

from agent.tamper.ci import is_ci
from agent.tamper.config import is_config

_PACKAGES = re.compile(
    r"[^/]*(requirements|constraints)[^/]*\.(txt|in|pip)|pyproject\.toml|pipfile(\.lock)?"
    r"|(poetry|uv|pdm|conda)[.-]lock(\.ya?ml)?|pylock[^/]*\.toml|environment\.ya?ml"
    r"|package(-lock)?\.json|npm-shrinkwrap\.json|pnpm-(lock|workspace)\.ya?ml|yarn\.lock"
    r"|bun\.lockb?|\.pnpmfile\.[cm]?js|go\.(mod|sum|work|work\.sum)|cargo\.(toml|lock)"
    r"|gemfile(\.lock)?|gems\.(rb|locked)|[^/]*\.gemspec|pom\.xml|(build|settings)\.gradle(\.kts)?"
    r"|gradle\.(properties|lockfile)|gradle-wrapper\.properties|[^/]*\.versions\.toml"
    r"|composer\.(json|lock)|mix\.(exs|lock)|packages\.lock\.json|directory\.packages\.props"
    r"|package\.(swift|resolved)",
    re.IGNORECASE,
)
_SETTINGS = re.compile(
    r"\.npmrc|\.yarnrc[^/]*|\.pnpmrc|uv\.toml|pip\.(conf|ini)|\.?pypirc|poetry\.toml|bunfig\.toml"
    r"|\.git(ignore|attributes|modules)|\.(rg|docker)?ignore|\.editorconfig"
    r"|\.(python|node|ruby)-version|\.nvmrc|\.tool-versions|\.?mise\.toml"
    r"|\.?prettier(rc[^/]*|\.config\.[^/]+)",
    re.IGNORECASE,
)
_FOLDERS = re.compile(
    r"(.*/)?(requirements/[^/]+\.(txt|in)|(\.bundle|\.cargo|\.mvn|\.yarn|\.husky|\.git)/.*)",
    re.IGNORECASE,
)
_TESTS = re.compile(
    r"conftest\.py|(site|user)customize\.py|[^/]*\.pth|noxfile\.py|setup\.py|\.rspec|\.env[^/]*"
    r"|\.(babel|swc)rc[^/]*|(babel|swc|webpack|ava|jasmine|wdio|web-test-runner)\.config\.[^/]+"
    r"|(jest|vitest|mocha|karma|ava|jasmine)([.-][^/]*)?\.([cm]?[jt]s|json)"
    r"|(global-?set-?up|set-?up-?(tests?|files?|env|after-?env))\.[cm]?[jt]sx?",
    re.IGNORECASE,
)
_FOREIGN = re.compile(
    r"(.*/)?(__mocks__|node_modules|__pycache__|site-packages|\.venv)/.*"
    r"|(.*/)?(tests?|specs?|__tests__)/(.*/)?set-?up\.[cm]?[jt]sx?"
)
_RUNNERS = frozenset({"pytest", "_pytest", "pluggy", "nose", "coverage", "xdist", "hypothesis"})


def untouchable(path: str) -> str:
    """Why no change of a file can be a tool's fix; empty when one can."""
    name = posixpath.basename(path)
    if is_ci(path):
        return "this file decides what CI runs"
    if _PACKAGES.fullmatch(name) or _FOLDERS.fullmatch(path):
        return "this file decides which packages are installed"
    if _SETTINGS.fullmatch(name) or (is_config(path) and not path.endswith((".py", ".sh"))):
        return "this file configures tools"
    return ""


def reserved(path: str, *, scripts: bool) -> str:
    """Why an errand may not change a file; empty when it may. `scripts`: neither those of a
    shell, which may be what runs the tests."""
    if _TESTS.fullmatch(posixpath.basename(path)) or _FOREIGN.fullmatch(path):
        return "this file decides how the tests run, which only a person may change"
    if scripts and is_config(path) and not is_ci(path):
        return "this file configures tools or runs them, which only a person may change"
    return untouchable(path)


def shadows(path: str, modules: Collection[str], there: Collection[str]) -> str:
    """Why a new file may not have its name: Python would import it for another module. `there`:
    paths at the base; folders that they are in are no news."""
    taken = {_plain(name) for name in modules} | _RUNNERS
    parts = path.split("/")
    for depth, part in enumerate(parts):
        folder = "/".join(parts[: depth + 1]) + "/"
        if any(each.startswith(folder) for each in there):
            continue
        name = _plain(part.partition(".")[0] if depth == len(parts) - 1 else part)
        top = depth == 0 or parts[:depth] in (["src"], ["lib"], ["tests"], ["test"])
        own = part.endswith((".py", ".pyi")) or depth < len(parts) - 1
        if name in taken or (top and own and name in sys.stdlib_module_names - {"test"}):
            return f"a new file or folder may not be called `{part}`, as a module is that is used"
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[-.]", "_", name).lower()
