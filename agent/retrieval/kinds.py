"""What a file is there for, told by its path."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import PurePosixPath


class Kind(StrEnum):
    SOURCE = "source"
    TEST = "test"
    AUX = "aux"  # examples, benchmarks, scripts, tools
    DOC = "doc"
    CONFIG = "config"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CODE = _words(
    """
    py pyi pyx js jsx mjs cjs ts tsx mts cts vue svelte go java kt kts rb rake rs c h cc cpp cxx
    hh hpp hxx cs php scala sc sh bash zsh swift m mm ex exs erl hs lua pl pm r jl dart groovy
    gradle clj cljs ml mli fs vb sql proto graphql gql html htm jinja jinja2 j2 tmpl css scss
    sass less tf hcl zig nim v sol cu asm s
    """
)
_DOC = _words("md markdown rst txt adoc asciidoc org tex 1 2 3 4 5 6 7 8")
_CONFIG = _words(
    """
    toml yaml yml json json5 jsonc ini cfg conf properties xml env editorconfig cmake mk bazel
    bzl gitignore dockerignore plist csproj sln nix
    """
)
_CONFIG_NAMES = _words(
    """
    Makefile Dockerfile Containerfile Jenkinsfile Procfile Vagrantfile Rakefile Gemfile go.mod
    CMakeLists.txt setup.cfg requirements.txt CODEOWNERS setup.py conftest.py
    """
)
_DOC_NAMES = re.compile(r"(README|CHANGE(S|LOG)|HISTORY|NEWS|CONTRIBUTING|AUTHORS|ARCHITECTURE)")
_TEST_FOLDER = re.compile(r"(^|/)(tests?|testing|specs?|__tests__|testdata|e2e|fixtures?)/")
_TEST_NAME = re.compile(
    r"(^test_.*|.*[_.-](test|tests|spec|specs)|.*(Test|Tests|Spec|IT)|^conftest)(\.[a-z]+)+$"
)
_AUX_FOLDER = re.compile(
    r"(^|/)(examples?|samples?|demos?|bench(es|marks?)?|scripts?|tools?|playground|contrib|hack|misc)/"
)
_DOC_FOLDER = re.compile(r"(^|/)(docs?|documentation|adrs?|decisions)/")
_RECORD = re.compile(r"(^|/)(adrs?|decisions|architecture-decisions?)/[^/]+\.(md|rst|adoc|txt)$")

#: Names of files that programs write, or that only their licence is read of.
_WRITTEN = re.compile(
    r"(^|/)(package-lock\.json|npm-shrinkwrap\.json|yarn\.lock|pnpm-lock\.yaml|poetry\.lock|uv\.lock"
    r"|Pipfile\.lock|Cargo\.lock|Gemfile\.lock|composer\.lock|go\.sum|flake\.lock|gradle\.lockfile"
    r"|bun\.lockb?|deno\.lock|mix\.lock|pubspec\.lock|packages\.lock\.json|LICEN[CS]E[^/]*|COPYING)$"
    r"|\.min\.(js|css)$|\.map$|\.svg$|\.snap$|[._]pb2?(_grpc)?\.(py|go|rb|js|ts)$|\.pb\.(cc|h)$"
    r"|(^|/)(node_modules|vendor|third_party|dist|__snapshots__|\.git)/"
)


def kind_of(path: str) -> Kind | None:
    """None: not worth an index (lock files, generated and vendored code, unknown formats)."""
    if _WRITTEN.search(path):
        return None
    pure = PurePosixPath(path)
    suffix = pure.suffix[1:].lower()
    if suffix in _DOC and pure.name not in _CONFIG_NAMES:
        return Kind.DOC
    if pure.name in _CONFIG_NAMES or suffix in _CONFIG or pure.name.startswith(".env"):
        return Kind.TEST if _TEST_FOLDER.search(path) else Kind.CONFIG
    if suffix not in _CODE:
        if not suffix and _DOC_NAMES.match(pure.name):
            return Kind.DOC
        return None if suffix else Kind.AUX
    if _TEST_FOLDER.search(path) or _TEST_NAME.fullmatch(pure.name):
        return Kind.TEST
    if _AUX_FOLDER.search(path) or _DOC_FOLDER.search(path):
        return Kind.AUX
    return Kind.SOURCE


def is_record(path: str) -> bool:
    """An architecture decision record."""
    return bool(_RECORD.search(path))
