"""One line an event: a word for what happened, then its facts. No secret, no line breaks."""

from __future__ import annotations

import logging
from collections.abc import Collection

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Lines(logging.Formatter):
    def __init__(self, secrets: Collection[str]) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s %(message)s")
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        facts = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        line = super().format(record)
        head, *trace = line.split("\n", 1) if record.exc_info else [line]
        head += "".join(f" {key}={value!s}" for key, value in facts.items())
        text = head.replace("\r", "\\r").replace("\n", "\\n").replace("\x1b", "")
        text = "\n".join((text, *trace))
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text


def set_up_logs(secrets: Collection[str], *, level: int = logging.INFO) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(secrets))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("journeyman", "agent"):
        logging.getLogger(name).setLevel(level)
