"""The text of a page of HTML of any length, in pieces and little memory."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

_LINES = frozenset(
    b"address article blockquote br dd div dl dt footer h1 h2 h3 h4 h5 h6 header hr li main nav "
    b"ol p pre section table tbody td th thead title tr ul".split()
)
_SILENT = (b"script", b"style", b"template", b"head")
_TAG = re.compile(rb"</?([a-zA-Z][a-zA-Z0-9-]{0,15})|<[!?/]")
_LOOK = 20  # bytes that tell what begins with a "<"
_REFERENCE = 12  # bytes of the longest “&…;” that is waited for


@dataclass(kw_only=True)
class HtmlText:
    """`feed` gives the text of one more piece, `end` what is left."""

    _rest: bytes = b""
    _until: bytes = b""  #: what ends the part that is left out now

    def feed(self, data: bytes) -> bytes:
        return self._read(self._rest + data, last=False)

    def end(self) -> bytes:
        return self._read(self._rest, last=True)

    def _read(self, data: bytes, *, last: bool) -> bytes:
        out: list[bytes] = []
        place = 0
        while place < len(data):
            if self._until:
                end = _find(data, self._until, place)
                if end < 0:
                    place = len(data) if last else max(place, len(data) - len(self._until) + 1)
                    break
                place, self._until = end + len(self._until), _after(self._until)
                continue
            begin = data.find(b"<", place)
            if begin < 0:
                break
            if len(data) - begin < _LOOK and not last:
                out.append(data[place:begin])
                place = begin
                break
            out.append(data[place:begin])
            place = begin
            tag = _TAG.match(data, begin)
            if tag is None:
                out.append(b"<")
                place += 1
            else:
                out.append(self._leave_out(data, begin, tag))
                place = tag.end()
        return _text(b"".join(out) + self._tail(data, place, last=last))

    def _tail(self, data: bytes, place: int, *, last: bool) -> bytes:
        """What is text for sure; the rest waits for more."""
        if self._until or data[place : place + 1] == b"<":
            self._rest = b"" if last else data[place:]
            return b""
        cut = len(data)
        reference = data.rfind(b"&", max(place, len(data) - _REFERENCE))
        if not last and reference >= 0 and b";" not in data[reference:]:
            cut = reference
        self._rest = data[cut:]
        return data[place:cut]

    def _leave_out(self, data: bytes, begin: int, tag: re.Match[bytes]) -> bytes:
        """Sets what ends the tag; the text that stands for it."""
        name = (tag[1] or b"").lower()
        closes = data[begin : begin + 2] == b"</"
        if data.startswith(b"<!--", begin):
            self._until = b"-->"
        elif name in _SILENT and not closes:
            self._until = b"</" + name
        else:
            self._until = b">"
        return b"\n" if name in _LINES else b""


def _after(until: bytes) -> bytes:
    """A closing tag has an end of its own."""
    return b">" if until.startswith(b"</") else b""


def _find(data: bytes, word: bytes, place: int) -> int:
    if word in (b">", b"-->"):
        return data.find(word, place)
    found = re.compile(re.escape(word), re.IGNORECASE).search(data, place)
    return found.start() if found else -1


def _text(data: bytes) -> bytes:
    if b"&" not in data:
        return data
    return html.unescape(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
