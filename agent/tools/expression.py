"""Perl's regular expressions, written as `grep -E` takes them wherever that is possible.

`grep -E` reads a long line in linear time; `grep -P` may take minutes on it, or give up.
"""

from __future__ import annotations

import re

_BRACKET = r"\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]"
_PIECE = re.compile(
    rf"(?P<bracket>{_BRACKET})|(?P<escape>\\.)|(?P<group>\(\?:)|(?P<perl>\([?*])|(?P<edge>[(|^$])"
    r"|(?P<times>[*+?]|\{\d+(?:,\d*)?\})(?P<how>[?+]?)|(?P<text>.)",
    re.DOTALL,
)
_ESCAPES = {
    "d": "[0-9]", "D": "[^0-9]", "w": r"\w", "W": r"\W", "s": r"\s", "S": r"\S", "t": "\t",
    "r": "\r",
}  # fmt: skip
_CLASSES = {r"\d": "0-9", r"\w": "[:alnum:]_", r"\s": "[:space:]", r"\t": "\t", r"\r": "\r"}
_ANYTHING = {rf"[\{a}\{b}]" for pair in ("sS", "wW", "dD") for a, b in (pair, pair[::-1])}
_ITEM = re.compile(
    r"(?P<keep>\[:\w+:\]|[^]\\[^-]-[^]\\[^-])|(?P<odd>\[[.=:])|(?P<escape>\\.)|(?P<text>.)",
    re.DOTALL,
)
#: Beside these, `\<` and `\>` may be meant as edges of a word.
_WORD = re.compile(r"\w|\\[wd]")
_SOME = re.compile(r"\\w|\[[^^].*", re.DOTALL)


def edges(query: str) -> str:
    r"""`\<` is `<` in Perl and the edge of a word in grep: it is both where it can be both."""
    pieces = [piece[0] for piece in _PIECE.finditer(query)]
    whole = [*pieces, "", ""]  # so that the last has a next, and the first a previous one
    for number, piece in enumerate(pieces):
        before, after = whole[number - 1], whole[number + 1]
        if piece == r"\<":
            inside = _WORD.fullmatch(after) or after[:1] in ("(", "[")
            edge = inside and not _WORD.fullmatch(before)
        elif piece == r"\>":
            some = before[:1] in ("+", "*") and _SOME.fullmatch(whole[number - 2])
            inside = _WORD.fullmatch(before) or before == ")" or some
            edge = inside and not _WORD.fullmatch(after)
        else:
            continue
        pieces[number] = rf"(?:{piece[1]}|\b)" if edge else piece[1]
    return "".join(pieces)


def extended(query: str) -> str | None:
    """The same lines match; nothing where it takes Perl, or Perl to say what is wrong."""
    parts, atom = list[str](), False
    for piece in _PIECE.finditer(query):
        text = piece[0]
        match piece.lastgroup:
            case "bracket":
                part, atom = _bracket(text), True
            case "escape":
                part, atom = _escape(text[1]), text != r"\b"
            case "group" | "edge":
                part, atom = text[0], False
            case "how":
                part = piece["times"] if atom and piece["how"] != "+" else None
                atom = False
            case "text":
                part, atom = {"{": r"\{", "[": None, "\\": None}.get(text, text), True
            case _:
                part = None
        if part is None:
            return None
        parts.append(part)
    return "".join(parts)


def _escape(letter: str) -> str | None:
    if letter in ".[{()*+?^$|\\" or letter == "b":
        return f"\\{letter}"
    return None if letter.isalnum() and letter not in _ESCAPES else _ESCAPES.get(letter, letter)


def _bracket(text: str) -> str | None:
    """What has a meaning there goes to where it has none."""
    if text in _ANYTHING or text == r"[^\n]":
        return "."
    outside = text[1:2] == "^"
    inner, special, kept = text[2 if outside else 1 : -1], set[str](), list[str]()
    for item in _ITEM.finditer(inner):
        said = item[0]
        if item.lastgroup == "odd" or (said in _CLASSES and _of_a_range(inner, item)):
            return None
        letter = said[1] if item.lastgroup == "escape" else said
        if said == r"\n" and outside:
            continue  # no line has one
        if item.lastgroup == "keep" or said in _CLASSES:
            kept.append(_CLASSES.get(said, said))
        elif _of_a_range(inner, item) or (item.lastgroup == "escape" and letter.isalnum()):
            return None
        elif letter in "]^-[":
            special.add(letter)
        else:
            kept.append(letter)
    if special == {"^"} and not kept and not outside:
        return r"\^"
    if outside and not special and not kept:
        return None
    order = "[^-" if kept or outside or special - {"^", "-"} else "-^"
    ends = "".join(letter for letter in order if letter in special)
    first = "]" if "]" in special else ""
    return f"[{'^' if outside else ''}{first}{''.join(kept)}{ends}]"


def _of_a_range(inner: str, item: re.Match[str]) -> bool:
    """Written so that it takes Perl to tell whether it is one. At an end a hyphen is itself."""
    if item["text"] == "-":
        return 0 < item.start() < len(inner) - 1
    before = item.start() > 1 and inner[item.start() - 1] == "-"
    after = item.end() < len(inner) - 1 and inner[item.end()] == "-"
    return item.lastgroup == "escape" and (before or after)
