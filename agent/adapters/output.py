"""What a command printed, bounded while it runs and readable afterwards."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\n|$)"  # titles, links and other strings
    r"|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class HeadTail:
    """Keeps the start and the end of a stream; counts all of it."""

    def __init__(self, head: int, tail: int) -> None:
        self._head_size, self._tail_size = head, tail
        self._head, self._tail = bytearray(), bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self._head_size - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if len(data) >= self._tail_size:
            self._tail[:] = data[len(data) - self._tail_size :]
            return
        self._tail += data
        if len(self._tail) > 2 * self._tail_size:
            del self._tail[: -self._tail_size]

    def text(self) -> str:
        """To be asked once: each part is let go of as soon as it is read, since it may be large."""
        del self._tail[: max(0, len(self._tail) - self._tail_size)]
        cut = self.total - len(self._head) - len(self._tail)
        if not cut:
            self._head += self._tail
            return readable(_emptied(self._head))
        head, tail = readable(_emptied(self._head)), readable(_emptied(self._tail))
        return f"{head}\n[... {cut} bytes cut ...]\n{tail}"


def _emptied(data: bytearray) -> str:
    text = data.decode("utf-8", "replace")
    data.clear()
    return text


def readable(data: bytes | str) -> str:
    """Text as a terminal would leave it standing: no control or escape sequences, no bidirectional
    overrides, and of a line that was drawn over again (a progress bar) the last state."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    text = _ESCAPES.sub("", text).replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROLS.sub("", text)
