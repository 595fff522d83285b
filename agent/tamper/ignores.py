"""Comments that tell a checker to look away, and what of them a change brings."""

from __future__ import annotations

import io
import posixpath
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from agent.difference import FileDiff
from agent.pipeline import Violation, Weakening
from agent.tamper.units import short, violation

_COMMENT = re.compile(
    r"""(?:\#|//|/\*|--|<!--|\{/\*)\s*(?:
        noqa | type:\s*ignore | pyright:\s*(?:ignore|basic|report\w+\s*=\s*(?:false|none))
      | pylint:\s*(?:disable|skip-file) | ruff:\s*(?:noqa|disable) | flake8:\s*noqa | nosec
      | pragma:\s*no\s*(?:cover|branch) | mypy:\s*(?:ignore|disable|allow) | pytype:\s*disable
      | pyre-(?:ignore|fixme|unsafe) | nosemgrep | nolint | lint:ignore | NOSONAR
      | eslint-disable | tslint:disable | @ts-(?:ignore|nocheck|expect-error) | biome-ignore
      | oxlint-disable | stylelint-disable | deno-lint-ignore
      | (?:istanbul|c8|v8|node:coverage)\s+(?:ignore|disable)
      | rubocop:(?:disable|todo) | :nocov: | phpcs:(?:ignore|disable) | @phpstan-ignore
      | @psalm-suppress | shellcheck\s+disable | hadolint\s+ignore | swiftlint:disable
      | yamllint\s+disable | checkstyle:off | coverage:ignore
      | gitleaks:allow | checkov:skip | tfsec:ignore
    )[^\n]*""",
    re.VERBOSE | re.IGNORECASE,
)
_CODE = re.compile(
    r"\#!?\[\s*(?:cfg_attr\([^)]*\s)?allow\([^\n]*|@Suppress(?:Warnings|Lint)?\b[^\n]*"
    r"|\#pragma\s+warning\s*\(?\s*disable[^\n]*|\[(?:assembly:\s*)?SuppressMessage\b[^\n]*"
    r"|\#nullable\s+disable|@phpstan-ignore[^\n]*|//\s*nolint[^\n]*"
)
#: Words about such comments are not such comments.
_PROSE = {"md", "rst", "txt", "adoc", "html", "svg", "lock", "csv", "snap", "patch", "diff"}


def ignores(diffs: Sequence[FileDiff], after: Callable[[str], str | None]) -> Iterator[Violation]:
    """What one place loses and another gains has only been moved."""
    moved: Counter[str] = Counter()
    for diff in diffs:
        for line in diff.removed:
            if found := _ignore(line.text, diff.old or ""):
                moved[found] += 1
    for diff in diffs:
        comments = _comments(diff, after)
        for line in diff.added:
            found = _ignore(line.text, diff.new or "")
            if not found or (comments is not None and line.number not in comments):
                continue
            if moved[found]:
                moved[found] -= 1
                continue
            detail = f"`{short(found)}` was added"
            yield violation(Weakening.IGNORE_ADDED, diff.path, line.number, detail)


def _ignore(line: str, path: str) -> str:
    if posixpath.splitext(path)[1][1:].lower() in _PROSE:
        return ""
    found = _COMMENT.search(line[:2_000]) or _CODE.search(line[:2_000])
    return " ".join(found.group().split()) if found else ""


def _comments(diff: FileDiff, after: Callable[[str], str | None]) -> set[int] | None:
    """Lines of a Python file that have a comment; None when that is not known."""
    if diff.new is None or not diff.new.endswith((".py", ".pyi")):
        return None
    text = after(diff.new)
    if text is None:
        return None
    try:
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        return {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    except (tokenize.TokenError, SyntaxError):
        return None
