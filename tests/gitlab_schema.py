"""Checks calls of GitLab's API against GitLab's own description of it.

It stands beside the checkout in `shared/specs/gitlab`. Routes, parameters and property names in it
are good; which values may be null and whether a scalar is a number or a string are not, so those
are only warnings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground.gitlab.server import Exchange

Json = dict[str, Any]
SPECS = Path(__file__).parents[2] / "shared/specs/gitlab"
needs_gitlab_specs = pytest.mark.skipif(
    not SPECS.is_dir(), reason="GitLab's API description (shared/specs/gitlab) is not beside us"
)

#: parameters that every route takes
_EVERYWHERE = {"page", "per_page", "pagination", "cursor", "order_by", "sort", "sudo", "all"}
_EVERYWHERE |= {"private_token", "access_token", "get_all"}

#: the description shows one object where GitLab's pages and python-gitlab have a list
_REALLY_LISTS = {
    f"get /projects/{{id}}/{place}"
    for place in (
        "access_tokens",
        "groups",
        "issues/{issue_iid}/closed_by",
        "issues/{issue_iid}/links",
        "issues/{issue_iid}/participants",
        "issues/{issue_iid}/related_merge_requests",
        "issues/{noteable_id}/discussions/{discussion_id}/notes",
        "merge_requests/{merge_request_iid}/participants",
        "merge_requests/{merge_request_iid}/pipelines",
        "merge_requests/{merge_request_iid}/reviewers",
        "merge_requests/{noteable_id}/discussions/{discussion_id}/notes",
        "pipelines/{pipeline_id}/variables",
        "repository/files/{file_path}/blame",
        "users",
    )
}
#: the description names another answer than GitLab's pages and python-gitlab
_OTHER_ANSWERS = {
    f"{call.split()[0]} /projects/{{id}}/{call.split()[1]}"
    for call in (
        "post repository/commits",
        "post repository/commits/{sha}/revert",  # of a dry run
        "get jobs/{job_id}/trace",
        "get merge_requests/{merge_request_iid}/approvals",  # of a paid tier
        "post merge_requests/{merge_request_iid}/approve",
        "put merge_requests/{merge_request_iid}/rebase",
        "post merge_requests/{merge_request_iid}/cancel_merge_when_pipeline_succeeds",
        "get merge_requests/{merge_request_iid}/closes_issues",
        "post merge_requests/{noteable_id}/notes",  # of commands alone
        "post issues/{noteable_id}/notes",
    )
}
#: where who is signed in is shown more than the description's short form
_FULLER = {"get /projects": "APIEntitiesProjectWithAccess"}
#: lists and objects that the description calls scalars
_REALLY_NESTED = {"approvals", "identities", "rules", "deploy_access_levels", "approval_rules"}
_REALLY_NESTED |= {"custom_attributes", "projects", "shared_projects", "project", "approved_by"}
_REALLY_NESTED |= {"test_suites", "test_cases"}
#: in GitLab's pages and python-gitlab, but not in the description
_NOT_DESCRIBED = re.compile(r".*/jobs/\d+/artifacts/.+|.*/jobs/artifacts/.+/raw/.+")
#: requests whose body the description gives as a file upload
_ANY_BODY = re.compile(r"(post|put) .*/repository/(files|commits)")


class _Description:
    """Read piece by piece: the whole file takes a minute."""

    def __init__(self, path: Path) -> None:
        self.lines = path.read_text(encoding="utf-8").split("\n")
        starts = [n for n, line in enumerate(self.lines) if re.match(r"^\w", line)]
        paths = self.lines.index("paths:")
        components = self.lines.index("components:")
        schemas = self.lines.index("  schemas:", components)
        end = next((n for n in starts if n > components), len(self.lines))
        self.paths = self._index(paths + 1, components, 2)
        self.schemas = self._index(schemas + 1, end, 4)
        self.matchers = [
            (_matcher(variant), name)
            for name in self.paths
            for variant in _variants(name.removeprefix("/api/v4"))
        ]

    def _index(self, start: int, end: int, indent: int) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        last = ""
        for number in range(start, end):
            line = self.lines[number]
            if line[:indent].strip() or line[indent : indent + 1] in ("", " ", "-"):
                continue
            if last:
                found[last] = (found[last][0], number)
            last = line.strip().rstrip(":").strip("\"'")
            found[last] = (number + 1, end)
        return found

    @cache  # noqa: B019 - one description for the whole session
    def block(self, kind: str, name: str) -> Json:
        start, end = (self.paths if kind == "paths" else self.schemas)[name]
        return yaml.load("\n".join(self.lines[start:end]), Loader=yaml.CSafeLoader) or {}

    def operation(self, method: str, path: str) -> tuple[str, Json] | None:
        """The one with the fewest variable parts wins, as in a router."""
        raw = path.removeprefix("/api/v4")
        hits = [name for pattern, name in self.matchers if pattern.fullmatch(raw)]
        for name in sorted(hits, key=lambda each: each.count("{")):
            item = self.block("paths", name)
            found = item.get(method) or (item.get("get") if method == "head" else None)
            if found:
                return name.removeprefix("/api/v4"), found
        return None

    def resolve(self, schema: Json) -> Json:
        while "$ref" in schema or "allOf" in schema:
            if "$ref" in schema:
                schema = self.block("schemas", schema["$ref"].rsplit("/", 1)[-1])
            else:
                schema = schema["allOf"][0]
        return schema


def _variants(path: str) -> list[str]:
    """Paths with and without their optional segments in parentheses."""
    found = re.search(r"\(([^()]*)\)", path)
    if found is None:
        return [path]
    before, after = path[: found.start()], path[found.end() :]
    return _variants(before + found[1] + after) + _variants(before + after)


def _matcher(path: str) -> re.Pattern[str]:
    parts = [r"[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/")]
    pattern = "/".join(parts)
    suffixes = r"(\.[\w.]+)?" if path.endswith("/archive") else ""
    if path.endswith("{artifact_path}"):
        pattern = pattern.removesuffix("[^/]+") + ".+"
    return re.compile(pattern + suffixes)


@cache
def _description() -> _Description:
    return _Description(next(SPECS.glob("gitlab_openapi_v3*.yaml")))


def problems_of(exchange: Exchange) -> tuple[list[str], list[str]]:
    """Errors and warnings of one call."""
    description = _description()
    method = exchange.method.lower()
    shown = f"{exchange.method} {exchange.path} -> {exchange.status}"
    if exchange.status in (404, 405) or _NOT_DESCRIBED.fullmatch(exchange.path):
        return [], []
    found = description.operation(method, exchange.path)
    if found is None:
        return [f"{shown}: GitLab has no such route"], []
    path, operation = found
    errors = [
        f"{shown}: {text}"
        for text in _request(description, f"{method} {path}", operation, exchange)
    ]
    warnings: list[str] = []
    for level, text in _answer(description, f"{method} {path}", operation, exchange):
        (errors if level == "error" else warnings).append(f"{shown}: {text}")
    return errors, warnings


def _request(
    description: _Description, name: str, operation: Json, exchange: Exchange
) -> Iterator[str]:
    # a segment of the path that may be left out may come as a parameter
    known = _EVERYWHERE | set(re.findall(r"\([^()]*{(\w+)}", name))
    required: set[str] = set()
    for parameter in operation.get("parameters", []):
        if parameter["in"] != "query":
            continue
        known.add(re.sub(r"\[.*", "", parameter["name"]))
        if parameter.get("required") and "[" not in parameter["name"]:
            required.add(parameter["name"])
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = description.resolve(content.get("schema", {}))
        known |= set(schema.get("properties", {}))
        required |= set(schema.get("required", []))
    if not _ANY_BODY.match(name):
        if unknown := sorted(set(exchange.params) - known):
            yield f"unknown parameters {unknown}"
        if exchange.status < 400 and (missing := sorted(required - set(exchange.params))):
            yield f"missing parameters {missing}"


def _answer(
    description: _Description, name: str, operation: Json, exchange: Exchange
) -> Iterator[tuple[str, str]]:
    if exchange.status >= 300 or exchange.content_type != "application/json":
        return
    responses = operation.get("responses", {})
    given = responses.get(str(exchange.status)) or next(
        (body for status, body in responses.items() if status.startswith("2")), {}
    )
    content = given.get("content", {}).get("application/json")
    if not content or name in _OTHER_ANSWERS or not exchange.answer:
        return
    schema = description.resolve(content.get("schema", {}))
    if name in _FULLER:
        schema = {"type": "array", "items": description.block("schemas", _FULLER[name])}
    if name in _REALLY_LISTS:
        schema = {"type": "array", "items": schema}
    yield from _compare(description, schema, json.loads(exchange.answer), "answer")


def _compare(
    description: _Description, schema: Json, value: Any, where: str
) -> Iterator[tuple[str, str]]:
    schema = description.resolve(schema)
    kind = schema.get("type")
    if value is None:
        if not schema.get("nullable"):
            yield "warning", f"{where} is null"
        return
    if any(key in schema for key in ("oneOf", "anyOf")) or not kind:
        return
    nested = isinstance(value, (list, dict))
    if nested and where.rsplit(".", 1)[-1].rstrip("[]") in _REALLY_NESTED:
        if kind == "object" and isinstance(value, list):
            schema, kind = {"type": "array", "items": schema}, "array"
        elif kind not in ("object", "array"):
            return
    if nested and kind != ("array" if isinstance(value, list) else "object"):
        yield "error", f"{where} is {type(value).__name__}, should be {kind}"
    elif not nested and kind in ("array", "object"):
        yield "error", f"{where} is {value!r}, should be {kind}"
    elif isinstance(value, list):
        for item in value:
            yield from _compare(description, schema.get("items", {}), item, f"{where}[]")
    elif isinstance(value, dict):
        properties = schema.get("properties")
        if properties is None:
            return
        for key, item in value.items():
            if key not in properties:
                yield "error", f"{where} has the unknown key {key!r}"
            else:
                yield from _compare(description, properties[key], item, f"{where}.{key}")
    elif not _fits(kind, value):
        yield "warning", f"{where} is {value!r}, should be {kind}"


def _fits(kind: str, value: Any) -> bool:
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return names[type(value)] == kind or (kind == "number" and type(value) is int)
