"""The linters and formatters that are known, one record each."""

from __future__ import annotations

from dataclasses import dataclass

from agent.maintenance.lint import parse
from agent.maintenance.lint.parse import Parser


@dataclass(frozen=True, kw_only=True)
class Linter:
    """`signs`: files of the project's root by which it is found, as in .gitignore; after a `:`
    stands what has to be in the file, a table of TOML or a regular expression."""

    words: tuple[str, ...]  #: by which it is called
    signs: tuple[str, ...]
    check: tuple[str, ...]  #: options that make it look only, and say so in a readable form
    read: Parser
    fix: tuple[str, ...] | None = None  #: options that make it mend safely; None: it does not
    targets: tuple[str, ...] = ()  #: when the settings name none
    fine: frozenset[int] = frozenset({0, 1})  #: exit codes of a linter that did its work
    on_stderr: bool = False
    in_git: bool = False  #: it asks git for the files
    mends_always: bool = False  #: it changes files although it is only to look

    @property
    def name(self) -> str:
        return " ".join(self.words)


#: Where caches must not be written into the tree, and nothing is to be coloured.
ENVIRONMENT = {
    "NO_COLOR": "1",
    "FORCE_COLOR": "0",
    "RUFF_NO_CACHE": "true",
    "MYPY_CACHE_DIR": "/dev/null",
    "BLACK_CACHE_DIR": "/tmp/black",
    "RUBOCOP_CACHE_ROOT": "/tmp/rubocop",
    "PRE_COMMIT_HOME": "/tmp/pre-commit",
    "CARGO_TARGET_DIR": "/tmp/target",
    "CARGO_NET_OFFLINE": "true",
    "GOCACHE": "/tmp/go-build",
    "GOFLAGS": "-mod=mod",
    "GOPROXY": "off",
    "GOLANGCI_LINT_CACHE": "/tmp/golangci",
}

LINTERS: tuple[Linter, ...] = (
    Linter(
        words=("ruff", "check"),
        signs=("ruff.toml", ".ruff.toml", "pyproject.toml:tool.ruff"),
        check=("--output-format=json",),
        read=parse.ruff,
        fix=("--fix", "--no-unsafe-fixes", "--quiet"),
    ),
    Linter(
        words=("ruff", "format"),
        signs=(
            *("ruff.toml:format", ".ruff.toml:format", "pyproject.toml:tool.ruff.format"),
            r".pre-commit-config.yaml:\bid:\s*ruff-format\b",
        ),
        check=("--check",),
        read=parse.reformat,
        fix=("--quiet",),
    ),
    Linter(
        words=("flake8",),
        signs=(".flake8", r"setup.cfg:^\[flake8\]", r"tox.ini:^\[flake8\]"),
        # --tee: also when its configuration sends the report to a file
        check=(
            *("--tee", "--no-show-source", "--color=never"),
            "--format=%(path)s:%(row)d:%(col)d: %(code)s %(text)s",
        ),
        read=parse.lines,
    ),
    Linter(
        words=("black",),
        signs=("pyproject.toml:tool.black",),
        check=("--check", "--no-color"),
        read=parse.reformat,
        fix=("--quiet",),
        targets=(".",),
        on_stderr=True,
    ),
    Linter(
        words=("mypy",),
        signs=("mypy.ini", ".mypy.ini", "pyproject.toml:tool.mypy", r"setup.cfg:^\[mypy\]"),
        check=(
            *("--show-error-codes", "--no-pretty", "--no-color-output", "--no-error-summary"),
            *("--hide-error-context", "--no-incremental"),
        ),
        read=parse.mypy,
        targets=(".",),
    ),
    Linter(
        words=("eslint",),
        signs=("eslint.config.*", ".eslintrc", ".eslintrc.*", "package.json:eslintConfig"),
        check=("--format=json",),
        read=parse.eslint,
        fix=("--fix", "--quiet"),
        targets=(".",),
    ),
    Linter(
        words=("prettier",),
        signs=(".prettierrc", ".prettierrc.*", "prettier.config.*", "package.json:prettier"),
        check=("--list-different", "--no-color"),
        read=parse.names,
        fix=("--write", "--log-level=error"),
        targets=(".",),
    ),
    Linter(
        words=("gofmt",),
        signs=("go.mod",),
        check=("-l",),
        read=parse.names,
        fix=("-w",),
        targets=(".",),
        fine=frozenset({0}),
    ),
    Linter(
        words=("golangci-lint", "run"),
        signs=(
            r".golangci.y*ml:^version:\s*['\"]?2",
            ".golangci.toml:version",
        ),
        check=("--output.json.path=stdout", "--show-stats=false"),
        read=parse.golangci,
    ),
    Linter(
        words=("golangci-lint", "run"),
        signs=(".golangci.y*ml", ".golangci.toml", ".golangci.json"),
        check=("--out-format=json",),
        read=parse.golangci,
    ),
    Linter(
        words=("cargo", "clippy"),
        signs=("clippy.toml", ".clippy.toml", "Cargo.toml:lints.clippy"),
        check=("--message-format=json", "--offline", "--quiet"),
        read=parse.clippy,
        fine=frozenset({0, 101}),
    ),
    Linter(
        words=("rubocop",),
        signs=(".rubocop.yml",),
        check=("--format=json", "--no-color"),
        read=parse.rubocop,
        fix=("-a", "--format=quiet"),
    ),
    Linter(
        words=("pre-commit", "run"),
        signs=(".pre-commit-config.yaml", ".pre-commit-config.yml"),
        check=("--all-files", "--color=never"),
        read=parse.pre_commit,
        fix=("--all-files", "--color=never"),
        in_git=True,
        mends_always=True,
    ),
)
