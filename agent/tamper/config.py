"""Configuration of checkers: thresholds, exclusions, rules that are turned off."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence

from agent.difference import FileDiff
from agent.pipeline import Violation, Weakening
from agent.tamper.settings import lists_of
from agent.tamper.units import short, violation

Reader = Callable[[str], str | None]

_NUMBER = r"""["']?\s*[:=>]?\s*["']?(-?\d+(?:\.\d+)?)"""
#: What has to stay as high as it is.
_FLOORS = {
    "fail_under": re.compile(rf"\bfail[_-]under{_NUMBER}"),
    "--cov-fail-under": re.compile(r"--cov-fail-under[=\s]+(\d+(?:\.\d+)?)"),
    "--fail-under": re.compile(r"(?<!cov)--fail-under[=\s]+(\d+(?:\.\d+)?)"),
    "minimum coverage": re.compile(
        r"\bminimum_coverage(?:_by_file)?\b\D{0,12}(\d+(?:\.\d+)?)|<minimum>\s*([\d.]+)\s*<"
        r"|\bminimum\s*=\s*['\"]?([\d.]+)"
    ),
    "coverage target": re.compile(r"^\s*target:\s*(\d+(?:\.\d+)?)%?\s*$", re.M),
    "min score": re.compile(r"\bmin[_-]?(?:msi|score|covered-msi)\b\D{0,4}(\d+(?:\.\d+)?)", re.I),
    "lint score": re.compile(r"--fail-under-score[=\s]+([\d.]+)"),
    **{
        f"coverage of {part}": re.compile(rf"""["']?\b{part}\b["']?\s*:\s*(-?\d+(?:\.\d+)?)""")
        for part in ("branches", "functions", "lines", "statements")
    },
}
#: What has to stay as low as it is.
_CEILINGS = {
    "max-warnings": re.compile(r"--max-warnings[=\s]+(\d+)"),
    "max-complexity": re.compile(rf"\bmax-complexity{_NUMBER}"),
    "coverage tolerance": re.compile(r"^\s*threshold:\s*(\d+(?:\.\d+)?)%?\s*$", re.M),
    "reruns": re.compile(r"--reruns[=\s]+(\d+)|\bretries\b\s*[:=]\s*(\d+)"),
}
_SWITCHES = {
    "checks coverage": re.compile(r"""["']?check-coverage["']?\s*:\s*true|--check-coverage"""),
    "strict": re.compile(r"""["']strict["']\s*:\s*true|\bstrict\s*=\s*[Tt]rue|--strict\b"""),
    "warnings as errors": re.compile(
        r"filterwarnings\s*=\s*\[?\s*['\"]?error|-W\s*error|-Werror|warnaserror|-D\s*warnings"
    ),
}
_EXCLUDED_TESTS = re.compile(
    r"--(?:ignore(?:-glob)?|deselect)[=\s]\S+|(?<![\w-])-k\s+['\"]?\s*not\b[^\n]*"
    r"|(?<![\w-])-m\s+['\"]?\s*not\b[^\n]*|collect_ignore\w*\b[^\n]*|testPathIgnorePatterns[^\n]*"
    r"|add_marker\(\s*pytest\.mark\.(?:skip|xfail)[^\n]*|--skip[=\s]\S+|passWithNoTests[^\n]*"
    r"|-Dmaven\.test\.skip[^\n]*|<skipTests>true"
)
_TURNED_OFF = re.compile(
    r"""^\s*["']?([@\w/-]+)["']?\s*:\s*\[?\s*["']?(?:off|0|warn|1)["']?\s*[\],]*\s*$"""
)
_FILE = re.compile(
    r"pyproject\.toml|setup\.cfg|tox\.ini|\.?pytest\.(ini|toml)|conftest\.py|noxfile\.py"
    r"|package\.json|\.?ruff\.toml|\.flake8|\.?mypy\.ini|\.?pylintrc|\.coveragerc"
    r"|pyrightconfig\.json|\.?bandit(\.ya?ml)?|tsconfig[^/]*\.json|\.(nyc|c8|mocha)rc[^/]*"
    r"|\.?eslint[^/]*|biome\.jsonc?|\.oxlintrc\.json|\.stylelintrc[^/]*|\.golangci[^/]*"
    r"|(jest|vitest|vite|karma|playwright|cypress)\.config\.[^/]+|clippy\.toml|cargo\.toml"
    r"|\.rubocop[^/]*|\.simplecov|(spec|test)_helper\.rb|phpunit[^/]*|phpstan[^/]*|psalm\.xml"
    r"|pom\.xml|build\.gradle(\.kts)?|checkstyle[^/]*\.xml|detekt\.ya?ml|makefile|justfile"
    r"|taskfile\.ya?ml|\.?codecov\.ya?ml|sonar-project\.properties|\.pre-commit-config\.ya?ml"
    r"|\.yamllint[^/]*|\.hadolint\.ya?ml|\.swiftlint\.ya?ml|directory\.build\.props"
    r"|\.testcoverage\.ya?ml|\.gitlab-ci\.ya?ml|[^/]*\.sh",
    re.IGNORECASE,
)
_LIST_FILE = re.compile(r"\.(eslint|stylelint|prettier|jshint|semgrep|trivy|gitleaks)ignore", re.I)


def is_config(path: str) -> bool:
    name = posixpath.basename(path)
    return bool(_FILE.fullmatch(name) or _LIST_FILE.fullmatch(name))


def configuration(diffs: Sequence[FileDiff], before: Reader, after: Reader) -> Iterator[Violation]:
    texts = [
        (diff, _text(diff.old, before), _text(diff.new, after))
        for diff in diffs
        if any(is_config(name) for name in diff.paths)
    ]
    everywhere = "\n".join(new for _, old, new in texts if new != old)
    for diff, old, new in texts:
        yield from _thresholds(diff, old, new, everywhere)
        yield from _excluded(diff)
        yield from _lists(diff, old, new)
        yield from _turned_off(diff)
        if _LIST_FILE.fullmatch(posixpath.basename(diff.path)):
            for line in diff.added:
                if line.text.strip() and not line.text.startswith("#"):
                    detail = f"`{short(line.text)}` is no longer checked"
                    yield violation(Weakening.IGNORE_ADDED, diff.path, line.number, detail)


def _text(path: str | None, read: Reader) -> str:
    return (read(path) or "") if path else ""


def _thresholds(diff: FileDiff, old: str, new: str, everywhere: str) -> Iterator[Violation]:
    for floors, known in ((True, _FLOORS), (False, _CEILINGS)):
        for name, pattern in known.items():
            had, has = _values(pattern, old), _values(pattern, new)
            if had == has or (not had and (floors or not diff.old)):
                continue
            for number, value in enumerate(had or [0.0]):
                now = has[number] if number < len(has) else None
                if now is None and (moved := _values(pattern, everywhere)):
                    now = max(moved) if floors else min(moved)
                if (now is None or now < value) if floors else (now is not None and now > value):
                    where = _line(pattern, new, number) if now is not None else 0
                    told = f"went from {value:g} to {now:g}" if now is not None else "is gone"
                    yield violation(
                        Weakening.THRESHOLD_LOWERED, diff.path, where, f"`{name}` {told}"
                    )
    for name, pattern in _SWITCHES.items():
        if pattern.search(old) and not pattern.search(new) and not pattern.search(everywhere):
            yield violation(Weakening.THRESHOLD_LOWERED, diff.path, 0, f"`{name}` was turned off")


def _values(pattern: re.Pattern[str], text: str) -> list[float]:
    groups = (found.groups() for found in pattern.finditer(text))
    return [float(next(filter(None, each))) for each in groups if any(each)]


def _line(pattern: re.Pattern[str], text: str, number: int) -> int:
    for index, found in enumerate(pattern.finditer(text)):
        if index == number:
            return text.count("\n", 0, found.start() + 1) + 1
    return 0


def _excluded(diff: FileDiff) -> Iterator[Violation]:
    gone = {m.group().strip() for line in diff.removed for m in _EXCLUDED_TESTS.finditer(line.text)}
    for line in diff.added:
        if line.text.lstrip().startswith("#"):
            continue
        for found in _EXCLUDED_TESTS.finditer(line.text[:2_000]):
            if (what := found.group().strip()) not in gone:
                detail = f"`{short(what)}` leaves tests out"
                yield violation(Weakening.TEST_SKIPPED, diff.path, line.number, detail)


def _lists(diff: FileDiff, old: str, new: str) -> Iterator[Violation]:
    """Lists of what is not checked, that grew, and of what is, that shrank."""
    had, has = lists_of(diff.old or "", old), lists_of(diff.new or "", new)
    if had is None or has is None:
        return
    for key, values in has.items():
        for value in values - had.get(key, frozenset()):
            if key.loosens:
                where = _found(new, value)
                detail = f"`{short(value)}` was added to `{key.name}`"
                yield violation(Weakening.IGNORE_ADDED, diff.path, where, detail)
    for key, values in had.items():
        if key.loosens:
            continue
        for value in values - has.get(key, frozenset()):
            detail = f"`{short(value)}` was taken out of `{key.name}`"
            yield violation(Weakening.IGNORE_ADDED, diff.path, 0, detail)


def _found(text: str, value: str) -> int:
    at = text.find(value.split(" = ")[0])
    return text.count("\n", 0, at) + 1 if at >= 0 else 0


def _turned_off(diff: FileDiff) -> Iterator[Violation]:
    name = posixpath.basename(diff.path)
    if not re.search(r"eslint|stylelint|oxlint|biome|golangci|rubocop", name):
        return
    gone = {line.text.strip().rstrip(",") for line in diff.removed}
    for line in diff.added:
        if line.text.strip().rstrip(",") not in gone and (rule := _TURNED_OFF.match(line.text)):
            detail = f"the rule `{rule[1]}` was turned off"
            yield violation(Weakening.IGNORE_ADDED, diff.path, line.number, detail)
