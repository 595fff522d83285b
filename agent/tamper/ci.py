"""Which files decide what CI runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agent.globs import matches

_CI = re.compile(
    r"(.*/)?(\.gitlab-ci\.ya?ml|[^/]*\.gitlab-ci\.ya?ml|jenkinsfile[^/]*|\.travis\.yml"
    r"|azure-pipelines[^/]*\.ya?ml|bitbucket-pipelines\.ya?ml|appveyor\.ya?ml|\.drone\.ya?ml"
    r"|\.cirrus\.ya?ml|cloudbuild\.ya?ml|codefresh\.ya?ml|\.?codecov\.ya?ml|sonar-project\.properties)"
    r"|\.gitlab/ci/.*|\.github/(workflows|actions)/.*|\.circleci/.*|\.buildkite/.*"
    r"|\.woodpecker(/.*|\.ya?ml)|\.teamcity/.*|\.semaphore/.*|\.forgejo/workflows/.*"
    r"|\.gitea/workflows/.*",
    re.IGNORECASE,
)
_LOCAL = re.compile(r"""^\s*-?\s*(?:local|include)\s*:\s*['"]?/?([^'"\s#\[\]{}]+\.ya?ml)""", re.M)
_LISTED = re.compile(r"""^\s*-\s*['"]?/?([^'"\s#:\[\]{}]+\.ya?ml)['"]?\s*$""", re.M)
_INLINE = re.compile(r"""include\s*:\s*[\[{]([^\]}]*)[\]}]""")
_NAME = re.compile(r"""['"]?/?([^'"\s,:]+\.ya?ml)""")

ROOT = ".gitlab-ci.yml"


def is_ci(path: str, included: Iterable[str] = ()) -> bool:
    return bool(_CI.fullmatch(path)) or any(matches(f"/{each}", path) for each in included)


def includes(text: str) -> Sequence[str]:
    """Files of the project itself that a GitLab configuration includes; some with `*`."""
    found = [*_LOCAL.findall(text), *_LISTED.findall(text)]
    for inline in _INLINE.findall(text):
        found += _NAME.findall(inline)
    return tuple(dict.fromkeys(name.lstrip("/") for name in found if "://" not in name))
