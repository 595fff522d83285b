"""Paths that deserve a second look, whoever changed them: they decide what runs, and where."""

from __future__ import annotations

from collections.abc import Sequence

from agent.difference import FileDiff
from agent.globs import matches

#: Patterns of .gitignore.
PROTECTED = (
    # what CI runs
    *(".gitlab-ci.yml", "*.gitlab-ci.yml", ".gitlab/", ".github/", ".buildkite/", ".circleci/"),
    *("Jenkinsfile", "azure-pipelines.yml", ".ci/"),
    # what is built and deployed
    *("Dockerfile*", "*.dockerfile", "Containerfile*", "docker-compose*", "compose.y*ml"),
    *("*.tf", "helm/", "charts/", "k8s/", "Procfile", "Makefile"),
    # what is installed
    *("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "uv.lock"),
    *("poetry.lock", "Pipfile.lock", "requirements*.txt", "Cargo.lock", "go.sum", "Gemfile.lock"),
    *("composer.lock", ".npmrc", ".yarnrc*", "pip.conf"),
    # what changes data
    *("migrations/", "alembic/", "**/db/migrate/"),
    # what runs at a developer's
    *(".husky/", ".githooks/", ".pre-commit-config.yaml", "lefthook.yml", ".gitattributes"),
    *(".gitmodules", ".vscode/", ".devcontainer/"),
    # who decides, and what agents are told
    *("CODEOWNERS", "AGENTS.md", "CLAUDE.md", ".cursorrules", ".cursor/", "journeyman.toml"),
)


def protected(diffs: Sequence[FileDiff]) -> tuple[str, ...]:
    found = (path for diff in diffs for path in diff.paths)
    return tuple(dict.fromkeys(p for p in found if any(matches(each, p) for each in PROTECTED)))
