"""Builds messages and modals of Block Kit, within Slack's limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.plan import Plan
from bot.views import text as t

Block = dict[str, Any]
Element = dict[str, Any]

MAX_BLOCKS = 50
MAX_SECTION = 3000
#: Slack answers `msg_blocks_too_long` a little above this, whatever its documents say.
MAX_TOTAL = 12_000
MAX_TASKS = 20


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a post shows. `text` is a whole sentence: phones and screen readers get only that."""

    text: str
    blocks: tuple[Block, ...] = ()

    @property
    def rendering(self) -> str:
        """What is seen; the version in the block ids is not."""
        bare = [{k: v for k, v in block.items() if k != "block_id"} for block in self.blocks]
        return json.dumps([self.text, bare], sort_keys=True)

    def without(self, block_type: str) -> Message:
        kept = tuple(block for block in self.blocks if block["type"] != block_type)
        return Message(text=self.text, blocks=kept)


def message(
    subject: str,
    version: int,
    text: str,
    blocks: Mapping[str, Block | None],
    *,
    more: str = "",
) -> Message:
    """`subject` and `version` make each block id new with each edit; `more` is where the
    uncut text stands."""
    named = [(name, block) for name, block in blocks.items() if block]
    built = [block | {"block_id": f"{subject}:v{version}:{name}"} for name, block in named]
    if len(built) > MAX_BLOCKS:
        built = [*built[: MAX_BLOCKS - 1], _shortened(more)]
    if _size(built) > MAX_TOTAL:
        built = [*built[: MAX_BLOCKS - 1], _shortened(more)]
        _shrink(built)
    return Message(text=t.cut(text, MAX_SECTION), blocks=tuple(built))


def mrkdwn(text: str) -> Element:
    """Verbatim: Slack makes no links or mentions out of plain words."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def plain(text: str, limit: int = 75) -> Element:
    return {
        "type": "plain_text",
        "text": t.cut(t.inert(t.line(text, limit)), limit),
        "emoji": False,
    }


def section(
    text: str = "", *, fields: Sequence[str] = (), accessory: Element | None = None
) -> Block:
    block: Block = {"type": "section"}
    if text:
        block["text"] = mrkdwn(_cut_mrkdwn(text))
    if fields:
        block["fields"] = [mrkdwn(_cut_mrkdwn(field, 2000)) for field in fields[:10]]
    if accessory:
        block["accessory"] = accessory
    return block


def context(*texts: str) -> Block | None:
    elements = [mrkdwn(_cut_mrkdwn(text, 2000)) for text in texts if text][:10]
    return {"type": "context", "elements": elements} if elements else None


def rich_text(text: str, *, limit: int = 2800) -> Block | None:
    """Somebody's words: shown, never interpreted."""
    if not text.strip():
        return None
    return {"type": "rich_text", "elements": t.rich(text, limit=limit)}


def quote(text: str, *, limit: int = 2500) -> Block | None:
    """Somebody's words, marked as theirs."""
    if not text.strip():
        return None
    said = {"type": "text", "text": t.inert(t.cut(t.clean(text).strip(), limit))}
    return {"type": "rich_text", "elements": [{"type": "rich_text_quote", "elements": [said]}]}


def plan(plan: Plan) -> Block:
    shown = plan.steps[:MAX_TASKS]
    tasks: list[Element] = []
    for number, step in enumerate(shown, 1):
        task: Element = {
            "type": "task_card",
            "task_id": str(number),
            "title": t.inert(t.line(step.title)) or "…",
            "status": step.status.value,
        }
        if step.note.strip():
            task["output"] = rich_text(t.line(step.note, 300))
        tasks.append(task)
    hidden = len(plan.steps) - len(shown)
    rest = f", {hidden} not shown" if hidden else ""
    return {
        "type": "plan",
        "title": f"Plan — {plan.done} of {len(plan.steps)} done{rest}",
        "tasks": tasks,
    }


def actions(*elements: Element | None) -> Block | None:
    present = [element for element in elements if element]
    return {"type": "actions", "elements": present} if present else None


def button(
    label: str,
    action: str,
    value: str = "",
    *,
    reads: str = "",
    style: str = "",
    url: str = "",
    confirm: Element | None = None,
) -> Element:
    """`reads` is what a screen reader says where several buttons have the same label."""
    element: Element = {"type": "button", "action_id": action, "text": plain(label)}
    optional = {
        "value": value,
        "style": style,
        "url": url,
        "accessibility_label": t.line(reads, 75),
    }
    element |= {key: text for key, text in optional.items() if text}
    return element | {"confirm": confirm} if confirm else element


def confirmation(title: str, text: str, confirm: str, deny: str = "Go back") -> Element:
    """What Slack asks before a button counts as pressed."""
    return {
        "title": plain(title, 100),
        "text": plain(text, 300),
        "confirm": plain(confirm, 30),
        "deny": plain(deny, 30),
    }


def option(label: str, value: str, url: str = "") -> Element:
    choice: Element = {"text": plain(label), "value": value}
    return choice | {"url": url} if url else choice


def input_modal(
    callback: str,
    subject: str,
    title: str,
    submit: str,
    label: str,
    *,
    hint: str = "",
    between: tuple[int, int] = (0, 3000),
    more: Sequence[Block] = (),
) -> Element:
    """A modal that asks for one text, of so many characters, and perhaps for more."""
    field: Element = {
        "type": "input",
        "block_id": "text",
        "label": plain(label),
        "element": {
            "type": "plain_text_input",
            "action_id": "text",
            "multiline": True,
            "min_length": between[0],
            "max_length": between[1],
            "focus_on_load": True,
        },
    }
    if hint:
        field["hint"] = plain(hint, 150)
    return _modal(callback, subject, title, submit, [field, *more])


def confirm_modal(callback: str, subject: str, title: str, submit: str, text: str) -> Element:
    return _modal(callback, subject, title, submit, [section(text)])


def _modal(
    callback: str, subject: str, title: str, submit: str, blocks: Sequence[Block]
) -> Element:
    return {
        "type": "modal",
        "callback_id": callback,
        "private_metadata": subject,
        "title": plain(title, 24),
        "submit": plain(submit, 24),
        "close": plain("Go back", 24),
        "blocks": list(blocks),
    }


def _cut_mrkdwn(text: str, limit: int = MAX_SECTION) -> str:
    """Cut before a link rather than inside it."""
    if len(text) <= limit:
        return text
    kept = text[: limit - 1]
    if kept.rfind("<") > kept.rfind(">"):
        kept = kept[: kept.rfind("<")]
    if "&" in kept[-5:] and ";" not in kept[kept.rfind("&") :]:
        kept = kept[: kept.rfind("&")]
    return kept.rstrip() + "…"


def _size(blocks: Sequence[Block]) -> int:
    return len(json.dumps(blocks, ensure_ascii=False))


def _shortened(more: str) -> Block:
    where = f" {t.link(more, 'Everything is on the page of the run')}." if more else ""
    return {"type": "context", "elements": [mrkdwn(f"Shortened to fit into Slack.{where}")]}


def _shrink(blocks: Sequence[Block]) -> None:
    """Halves the longest quoted text until the message fits."""
    while (over := _size(blocks) - MAX_TOTAL) > 0:
        longest = max(_quoted_texts(blocks), key=lambda leaf: len(leaf["text"]), default=None)
        if longest is None or len(longest["text"]) < 40:
            return
        length = len(longest["text"])
        longest["text"] = t.cut(longest["text"], max(length // 2, length - over - 1))


def _quoted_texts(node: Any) -> Iterator[Element]:
    if isinstance(node, Mapping):
        found: Mapping[str, Any] = node  # pyright: ignore[reportUnknownVariableType]
        if found.get("type") == "text":
            yield found  # pyright: ignore[reportReturnType]
        for value in found.values():
            yield from _quoted_texts(value)
    elif isinstance(node, list | tuple):
        for value in node:  # pyright: ignore[reportUnknownVariableType]
            yield from _quoted_texts(value)
