"""Is a request Slack's own? Checked before anything reads it."""

from __future__ import annotations

import hashlib
import hmac
import re

_TOO_OLD = 300
_TOO_NEW = 60


def verified(secret: str, body: bytes, *, timestamp: str, signature: str, now: float) -> bool:
    """Never raises, whatever was sent."""
    if not secret or not re.fullmatch(r"[0-9]{1,12}", timestamp):
        return False
    if not -_TOO_NEW <= now - int(timestamp) <= _TOO_OLD:
        return False
    base = b"v0:" + timestamp.encode() + b":" + body
    expected = "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape"))
