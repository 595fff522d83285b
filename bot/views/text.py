"""Text on its way into Slack: what people and models wrote can ping nobody and link nowhere."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime
from typing import Any

#: Characters that hide, reorder or overwrite what is read.
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs"})
_KEPT = frozenset("\n\t\u200d")
_ADDRESS = re.compile(r"(?i):(?=//)|\b(?:mailto|tel|slack)(?=:)|\bwww(?=\.)")
_LIST = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")
_HEADING = re.compile(r"^#{1,6}\s+")
_INLINE = re.compile(r"`([^`\n]+)`|\*\*([^*\n]+)\*\*")
_WORD_JOINER = "\u2060"
_NO_MARKDOWN = str.maketrans(
    {"|": "/", "<": "‹", ">": "›", "[": "(", "]": ")", "`": "ˋ", "*": "∗", "&": "＆", "\\": "/"}
)


Element = dict[str, Any]


def clean(text: str) -> str:
    """Without control, bidirectional and invisible characters; line ends as \\n."""
    text = re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text)
    return "".join(c for c in text if c in _KEPT or unicodedata.category(c) not in _INVISIBLE)


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def line(text: str, limit: int = 150) -> str:
    """The text on one line."""
    return cut(" ".join(clean(text).split()), limit)


def inert(text: str) -> str:
    """Addresses in it are no longer made into links."""
    return _ADDRESS.sub(lambda match: match.group(0) + _WORD_JOINER, text)


def escape(text: str) -> str:
    """For mrkdwn: no mention, no link, no channel call survives."""
    text = inert(clean(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def quoted(text: str, limit: int = 150) -> str:
    """One escaped line of somebody else's text."""
    return escape(line(text, limit))


def code(text: str, limit: int = 150) -> str:
    """One line in code type."""
    return f"`{escape(line(text, limit)).replace('`', 'ˋ')}`"


def cell(text: str, limit: int = 150) -> str:
    """One line in a table of the markdown block: nothing of it is markup."""
    return inert(line(text, limit)).translate(_NO_MARKDOWN)


def link(url: str, label: str) -> str:
    """A link of our own making."""
    safe = "".join(clean(url).split())
    safe = safe.replace("&", "&amp;").replace("<", "%3C").replace(">", "%3E").replace("|", "%7C")
    return f"<{safe}|{quoted(label).replace('|', '/')}>"


def user(slack_id: str) -> str:
    """Mentions a person on purpose. Whatever is not a Slack id is shown as text."""
    return f"<@{slack_id}>" if re.fullmatch(r"[UW][A-Z0-9_]+", slack_id) else quoted(slack_id, 40)


def at(moment: datetime, form: str = "{time}") -> str:
    """A moment in the reader's own time zone."""
    fallback = moment.strftime("%H:%M UTC" if form == "{time}" else "%d %b %H:%M UTC")
    return f"<!date^{int(moment.timestamp())}^{form}|{fallback}>"


def day(date: date) -> str:
    return f"{date.day} {date:%B}"


def short_day(date: date) -> str:
    return f"{date.day} {date:%b}"


def count(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return " ".join(f"{n} {unit}" for n, unit in ((hours, "h"), (minutes, "min")) if n)


def compact(number: int) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            short = f"{number / size:.1f}".removesuffix(".0")
            return (short if number < 10 * size else str(round(number / size))) + unit
    return str(number)


def rich(text: str, *, limit: int = 2800, lines: int = 45) -> list[Element]:
    """Elements of a rich text block: lists, code and bold are kept, everything else is text."""
    text = cut(clean(text).strip(), limit)
    kept = text.split("\n")
    if len(kept) > lines:
        kept = [*kept[: lines - 1], "…"]
    elements: list[Element] = []
    fence: list[str] | None = None
    for raw in kept:
        if raw.lstrip().startswith("```"):
            if fence is not None:
                elements.append(preformatted("\n".join(fence)))
            fence = [] if fence is None else None
        elif fence is not None:
            fence.append(raw)
        elif mark := _LIST.match(raw):
            style = "ordered" if mark.group(0).strip()[0].isdigit() else "bullet"
            item = {"type": "rich_text_section", "elements": _spans(raw[mark.end() :])}
            last = elements[-1] if elements else {}
            if last.get("type") == "rich_text_list" and last.get("style") == style:
                last["elements"].append(item)
            else:
                elements.append({"type": "rich_text_list", "style": style, "elements": [item]})
        else:
            _append_line(elements, _HEADING.sub("", raw))
    if fence:
        elements.append(preformatted("\n".join(fence)))
    return elements or [{"type": "rich_text_section", "elements": [_span("…")]}]


def preformatted(text: str) -> Element:
    return {"type": "rich_text_preformatted", "elements": [_span(clean(text) or " ")]}


def _append_line(elements: list[Element], raw: str) -> None:
    last = elements[-1] if elements else {}
    if last.get("type") == "rich_text_section":
        last["elements"].extend([_span("\n"), *(_spans(raw) if raw else [])])
    elif raw:
        elements.append({"type": "rich_text_section", "elements": _spans(raw)})


def _spans(raw: str) -> list[Element]:
    spans: list[Element] = []
    end = 0
    for match in _INLINE.finditer(raw):
        if match.start() > end:
            spans.append(_span(raw[end : match.start()]))
        style = {"code": True} if match.group(1) else {"bold": True}
        spans.append(_span(match.group(1) or match.group(2)) | {"style": style})
        end = match.end()
    if end < len(raw) or not spans:
        spans.append(_span(raw[end:] or " "))
    return spans


def _span(text: str) -> Element:
    return {"type": "text", "text": inert(text)}
