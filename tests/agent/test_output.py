from __future__ import annotations

import tracemalloc

import pytest

from agent.adapters.output import HeadTail, readable


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain\ttext\n", "plain\ttext\n"),
        (b"\x1b[31mred\x1b[0m \x1b[2K\x1b[1;5Hbold", "red bold"),
        (b"\x1b]0;title\x07after \x1b]8;;http://x\x1b\\link", "after link"),
        (b"a\r\nb\r\n", "a\nb\n"),
        (b" 10%\r 50%\r100%\ndone", "100%\ndone"),
        (b"bell\x07 back\x08space nul\x00 \x7f", "bell backspace nul "),
        ("bidi \u202eevil\u2069".encode(), "bidi evil"),
        (b"broken \xff utf-8", "broken \ufffd utf-8"),
        (b"\x1b", ""),
    ],
)
def test_what_a_terminal_would_leave_standing(raw: bytes, text: str):
    assert readable(raw) == text


@pytest.mark.parametrize("sizes", [[1], [3], [100], [7, 1, 50]])
def test_start_and_end_are_kept_and_the_cut_is_told(sizes: list[int]):
    data = bytes(i % 26 + 97 for i in range(500))
    kept = HeadTail(10, 20)
    at = 0
    while at < len(data):
        for size in sizes:
            kept.add(data[at : at + size])
            at += size
    assert kept.total == 500
    head, tail = data[:10].decode(), data[-20:].decode()
    assert kept.text() == f"{head}\n[... 470 bytes cut ...]\n{tail}"


def test_what_fits_is_not_cut():
    kept = HeadTail(10, 20)
    kept.add(b"x" * 15)
    kept.add(b"y" * 15)
    assert kept.text() == "x" * 15 + "y" * 15


def test_output_without_end_takes_little_more_than_twice_what_is_kept():
    """Every run may have such a command."""
    tracemalloc.start()
    kept = HeadTail(8 << 20, 2 << 20)
    for _ in range(200):
        kept.add(b"x" * 79 + b"\n" + b"y" * 65_456)
    text = kept.text()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(text) > 10 << 20
    assert peak < 2.5 * len(text)
