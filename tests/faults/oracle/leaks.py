"""Of what must not get out: secrets, and what runs in the sandbox."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from oracle.ledgers import Ledgers

SHORTEST = 12  #: a shorter one may be a word
_BETWEEN = b" \t\r\n\"'\\+,;|<>`"
#: What the service makes below its own folder.
HOME = {"instance", "maintenance", "past", "postgres", "sandbox", "vaults"}


def i7(books: Ledgers) -> list[str]:
    """No credential of the service is in anything that it sent or kept: plain, in base64, in
    hexadecimal, percent-encoded, backwards, or in pieces that only blanks and quotes keep apart.
    Not decided here: other ways to disguise one, and what packages that commands install send;
    headers are not looked at, since they carry them to whom they belong."""
    found: list[str] = []
    sinks = tuple(_sinks(books))
    for name, secret in books.secrets.items():
        if len(secret) < SHORTEST:
            continue
        forms = _forms(secret)
        for sink, data in sinks:
            if any(form in data for form in forms):
                found.append(f"{name} is in {sink}")
            elif secret.encode() in data.translate(None, _BETWEEN):
                found.append(f"{name} is in {sink}, in pieces")
    return found


def _forms(secret: str) -> set[bytes]:
    plain = secret.encode()
    found = {plain, plain[::-1], plain.hex().encode(), plain.hex().upper().encode()}
    found |= {quote(secret, safe="").encode(), "".join(f"%{b:02x}" for b in plain).encode()}
    for at in range(3):  # whatever stands before it
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"\0" * at + plain)
            found.add(whole[4 if at else 0 : len(whole) - 4].rstrip(b"="))
    return found


def _sinks(books: Ledgers) -> Iterator[tuple[str, bytes]]:
    def text(*items: object) -> bytes:
        return "\n".join(_texts(items)).encode("utf-8", "surrogatepass")

    yield "what Slack was sent", text(*(call.args for call in books.calls))
    yield "answers to clicks", text(*books.responses, *(each.answer for each in books.delivered))
    yield "messages in Slack", text(*(m.text for m in (*books.messages, *books.ephemerals)))
    yield "prompts", text(*books.prompts)
    yield "what GitLab was asked", text(*((s.path, s.body) for s in books.seen))
    yield "merge requests", text(*((m.title, m.description) for m in books.merge_requests.values()))
    yield "the repository", books.objects
    yield "the service's own repositories", books.vaults
    yield "the service's output", books.log
    yield "the log of a run", b"\n".join(books.stored)


def _texts(item: object) -> Iterator[str]:
    """All that somebody can read in it, without what JSON puts before quotes and line ends."""
    if isinstance(item, bytes):
        item = item.decode("utf-8", "replace")
    if isinstance(item, str):
        yield item
        if item[:1] in ("{", "["):
            try:
                yield from _texts(json.loads(item))
            except ValueError:
                return
    elif isinstance(item, Mapping):
        for key, value in item.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(item, (list, tuple)):
        for each in item:
            yield from _texts(each)


def i8(books: Ledgers) -> list[str]:
    """Nothing of the sandbox outlives its run, and the service's own folder has nothing that is not
    the service's. Not decided here: files elsewhere on the host and sockets, which the tests of
    the sandbox hold."""
    found = [f"a process of the sandbox is left: {each}" for each in books.processes]
    found += [f"a folder of the sandbox is left: {each}" for each in sorted(books.folders)]
    return found + [
        f"home has {name!r}, which is none of ours" for name in sorted(books.home - HOME)
    ]
