"""Checks what passes between an app and Slack against Slack's own descriptions.

They stand beside the checkout in `shared/specs/slack`; tests that need them carry `needs_specs`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.basic_objects import JsonObject
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

from playground.slack.server import SlackStandIn

Json = dict[str, Any]
SPECS = Path(__file__).parents[2] / "shared/specs/slack"
needs_specs = pytest.mark.skipif(
    not SPECS.is_dir(), reason="Slack's schemas (shared/specs/slack) do not stand beside us"
)
_ANSWERS = {
    "chat.postMessage": "ChatPostMessage",
    "chat.update": "ChatUpdate",
    "auth.test": "AuthTest",
    "apps.connections.open": "AppsConnectionsOpen",
    "conversations.replies": "ConversationsReplies",
    "conversations.history": "ConversationsHistory",
    "conversations.info": "ConversationsInfo",
    "users.info": "UsersInfo",
    "views.open": "ViewsOpen",
    "views.push": "ViewsOpen",
    "views.update": "ViewsOpen",
    "views.publish": "ViewsOpen",
    "files.completeUploadExternal": "FilesCompleteUploadExternal",
    "chat.getPermalink": "ChatGetPermalink",
    "chat.postEphemeral": "ChatPostEphemeral",
    "assistant.threads.setStatus": "AssistantThreadsSetStatus",
}
#: answers that no schema and no sample describes
_UNDESCRIBED = {"agents.sessions.setStatus": {"ok", "agent_status", "status", "title", "warning"}}
_INTERACTIONS = {
    "block_actions": "BlockActionPayload",
    "view_submission": "ViewSubmissionPayload",
    "view_closed": "ViewClosedPayload",
}
#: refusals that every method may give
_COMMON_ERRORS = frozenset(
    {
        *("not_authed", "invalid_auth", "token_revoked", "account_inactive", "missing_scope"),
        *("not_allowed_token_type", "unknown_method", "invalid_arguments", "invalid_json"),
        *("ratelimited", "internal_error", "fatal_error", "service_unavailable"),
    }
)
#: keys below which the samples show nothing
_OPEN_KEYS = frozenset(("blocks", "values", "state", "attachments", "icons", "event_payload"))


def problems_of(slack: SlackStandIn) -> list[str]:
    """Everything that was wrong in what the app and the stand-in said to each other."""
    return list(_problems(slack))


def _problems(slack: SlackStandIn) -> Iterator[str]:
    for call in slack.calls:
        if call.answer.get("ok"):
            for problem in argument_problems(call.method, call.args):
                yield f"{call.method} was asked wrongly: {problem}"
        for problem in answer_problems(call.method, call.answer):
            yield f"{call.method} was answered wrongly: {problem}"
    for delivered in slack.delivery.log:
        for problem in delivery_problems(delivered.payload):
            yield f"{delivered.name} was told wrongly: {problem}"


def argument_problems(method: str, args: Json) -> list[str]:
    """What Slack's descriptions and its SDK find wrong in a call."""
    # Bolt's client adds the team to every call
    args = {key: _parsed(key, value) for key, value in args.items() if key != "team_id"}
    found = block_problems(args.get("blocks") or [])
    if isinstance(args.get("view"), dict):
        found += view_problems(args["view"])
    schemas = _load("web_api_arguments.schema.json")
    if method in schemas:
        return found + _schema_problems(("web_api_arguments.schema.json", method), args)
    documented = _load("slack_method_docs_2026-05.json").get(method)
    if documented is None:
        return [*found, "no such method is documented"]
    known, given = documented["args"], set(args) - {"token"}
    required = {each for each, about in known.items() if about["required"]}
    found += [f"unknown argument {each}" for each in given - set(known)]
    return found + [f"{each} is missing" for each in required - given]


def answer_problems(method: str, answer: Json) -> list[str]:
    if not answer or method == "unknown.method":
        return []
    if not answer.get("ok"):
        documented = _load("slack_method_docs_2026-05.json").get(method, {}).get("errors")
        known = documented is None or answer["error"] in {*documented, *_COMMON_ERRORS}
        return [] if known else [f"undocumented error {answer['error']}"]
    if method in _ANSWERS:
        name = ("web_api_responses.schema.json", _ANSWERS[method])
        found = [each for blocks in _blocks_in(answer) for each in _block_schema_problems(blocks)]
        return found + _schema_problems(name, _without_app_content(answer))
    if method in _UNDESCRIBED:
        return [f"unknown key {each}" for each in set(answer) - _UNDESCRIBED[method]]
    sample = SPECS / f"samples/api/{method}.json"
    if sample.is_file():
        return list(_unlike(answer, json.loads(sample.read_text()), ""))
    return []


def delivery_problems(payload: Json) -> list[str]:
    """For an event with its envelope, or for an interaction."""
    kind = payload["type"]
    if kind in _INTERACTIONS:
        sample = json.loads((SPECS / f"samples/app-backend/{_INTERACTIONS[kind]}.json").read_text())
        return list(_unlike(payload, sample, ""))
    if kind == "block_suggestion":
        missing = {"action_id", "block_id", "value", "user", "team", "api_app_id"} - set(payload)
        return [f"{each} is missing" for each in missing]
    event = payload["event"]
    sample = json.loads((SPECS / "samples/events/MessagePayload.json").read_text())
    outside = {key: value for key, value in payload.items() if key != "event"}
    found = list(_unlike(outside, sample, ""))
    return found + _schema_problems(("events.schema.json", ""), _completed(event))


def block_problems(blocks: list[Json]) -> list[str]:
    """By Slack's schema and by the SDK's own validation, which see different things."""
    found = _block_schema_problems(blocks)
    for at, raw in enumerate(blocks):
        parsed = Block.parse(raw)
        if parsed is None:
            found.append(f"block {at}: unknown to the SDK")
            continue
        found += _sdk_problems(parsed)
        if parsed.to_dict() != raw:
            found.append(f"block {at}: the SDK drops keys of {raw}")
    return found


def view_problems(view: Json) -> list[str]:
    found = _sdk_problems(View(**view)) + _schema_problems(("views.schema.json", ""), view)
    return found + block_problems(view["blocks"])


def _sdk_problems(parsed: JsonObject) -> list[str]:
    try:
        parsed.validate_json()
    except SlackObjectFormationError as problem:
        return [str(problem)]
    return []


def _block_schema_problems(blocks: list[Json]) -> list[str]:
    return _schema_problems(("block_kit.schema.json", ""), blocks)


def _schema_problems(name: tuple[str, str], value: Any) -> list[str]:
    error = best_match(_validator(*name).iter_errors(value))
    return [] if error is None else [f"{error.json_path}: {error.message[-500:]}"]


@cache
def _load(file: str) -> Any:
    return json.loads((SPECS / file).read_text())


@cache
def _validator(file: str, part: str) -> Draft7Validator:
    schema = _load(file)
    return Draft7Validator(schema[part] if part else schema)


def _parsed(key: str, value: Any) -> Any:
    """A form's text as the value that the schemas describe."""
    if not isinstance(value, str):
        return value
    if key in ("blocks", "view", "metadata", "attachments", "files", "prompts", "loading_messages"):
        return json.loads(value)
    if key in ("limit", "length"):
        return int(value)
    flags = {"true": True, "false": False, "1": True, "0": False}
    known = key.startswith(("unfurl_", "include_")) or key in ("inclusive", "reply_broadcast")
    return flags.get(value, value) if known else value


def _without_app_content(value: Any) -> Any:
    """The schemas of answers know neither an app's metadata, nor states, nor every block."""
    if isinstance(value, dict):
        empty: Json = {"event_payload": {}, "state": {}, "blocks": []}
        return {key: empty.get(key, _without_app_content(each)) for key, each in value.items()}
    return [_without_app_content(each) for each in value] if isinstance(value, list) else value


def _blocks_in(value: Any) -> Iterator[list[Json]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "blocks":
                yield item
            else:
                yield from _blocks_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _blocks_in(item)


def _completed(event: Json) -> Json:
    """The schema takes nested messages for whole events; Slack's samples do not."""
    where = {key: event[key] for key in ("channel", "channel_type", "event_ts") if key in event}
    nested = {
        key: {**where, **event[key]} for key in ("message", "previous_message") if key in event
    }
    view = {"view": _as_sent(event["view"])} if "view" in event else {}
    return event | nested | view


def _as_sent(view: Json) -> Json:
    keys = ("type", "blocks", "private_metadata", "callback_id", "external_id")
    return {key: view[key] for key in keys if key in view}


def _unlike(value: Any, sample: Any, path: str) -> Iterator[str]:
    """Keys that the sample, which has every key, does not have."""
    if isinstance(value, dict) and isinstance(sample, dict):
        for key, item in value.items():
            if key in _OPEN_KEYS:
                continue
            if key in sample:
                yield from _unlike(item, sample[key], f"{path}/{key}")
            else:
                yield f"{path}/{key} is unknown"
    elif isinstance(value, list) and isinstance(sample, list) and sample:
        for at, item in enumerate(value):
            yield from _unlike(item, sample[0], f"{path}/{at}")
