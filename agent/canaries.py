"""Looks for this service's own credentials in what is about to leave it."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

WITHHELD = "This text is withheld: a credential of this service was in it."
#: Told where one was found.
CREDENTIAL = (
    "A credential of this service is in the change. Nothing of the change was pushed, and nobody "
    "can accept that. Say in this thread how to do without it, and have the credential renewed."
)

#: Characters of a credential that is looked for. A shorter one, or one without a digit, is a word
#: such as `not-needed`, which endpoints without keys are given, and which any code may hold.
SHORTEST = 8
_BARE = 12  #: characters from which on separators and case do not matter
_PIECE = 8
_OTHERS = bytes(byte for byte in range(256) if not chr(byte).isalnum() or byte > 127)


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """Only says that there is one, never which. Found as it is, in base64 at any offset, in
    hexadecimal, percent-encoded and backwards, also broken over lines or quoted in parts."""

    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def found(self, text: str | bytes) -> bool:
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        bare, plain = self._needles
        if plain:
            lower = data.lower()
            if any(needle in lower for needle in plain):
                return True
        return bool(bare) and self._holds(_bared(data))

    def found_in(self, texts: Iterable[str | bytes]) -> bool:
        return any(self.found(text) for text in texts)

    def cleared(self, text: str) -> str:
        """The text, or why it is not told."""
        return WITHHELD if self.found(text) else text

    def _holds(self, data: bytes) -> bool:
        """Every so many bytes a piece is looked up; only where it is one of ours is more read."""
        bare, _ = self._needles
        step, pieces = self._pieces
        longest = max(map(len, bare))
        for at in range(0, len(data) - _PIECE + 1, step):
            if data[at : at + _PIECE] in pieces:
                near = data[max(0, at - longest) : at + longest]
                if any(needle in near for needle in bare):
                    return True
        return False

    @cached_property
    def _needles(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Those compared without separators, and those too short for that."""
        bare: set[bytes] = set()
        plain: set[bytes] = set()
        for secret in self.secrets:
            for form in _forms(secret.encode()) if _telling(secret) else ():
                stripped = _bared(form)
                if len(stripped) >= _BARE:
                    bare.add(stripped)
                else:
                    plain.add(form.lower())
        return tuple(bare), tuple(plain)

    @cached_property
    def _pieces(self) -> tuple[int, frozenset[bytes]]:
        """However a needle lies, one of its pieces begins at a multiple of the step."""
        bare, _ = self._needles
        step = min(len(needle) for needle in bare) - _PIECE + 1
        pieces = {n[at : at + _PIECE] for n in bare for at in range(len(n) - _PIECE + 1)}
        return step, frozenset(pieces)


def _bared(data: bytes) -> bytes:
    return data.translate(None, _OTHERS).lower()


def _forms(secret: bytes) -> Iterable[bytes]:
    yield secret
    yield secret[::-1]
    yield secret.hex().encode()
    yield "".join(f"x{byte:02x}" for byte in secret).encode()
    yield quote(secret, safe="").encode()
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + secret)
        core = encoded[(offset * 8 + 5) // 6 : (offset + len(secret)) * 8 // 6]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


def _telling(secret: str) -> bool:
    return len(secret) >= SHORTEST and any(letter.isdigit() for letter in secret)
