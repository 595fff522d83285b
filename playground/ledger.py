"""What a stand-in was asked and told, for who holds it against something else afterwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Incomplete(LookupError):
    """Entries were dropped: what is left proves nothing."""


class Ledger(Generic[T]):
    """Keeps the newest `limit` entries, 0: all. To read it through or to count it raises
    Incomplete once an entry was dropped, so that nobody takes a part for the whole."""

    def __init__(self, limit: int = 20_000) -> None:
        self.limit = limit
        self.dropped = 0
        self._entries: deque[T] = deque()

    def append(self, entry: T) -> None:
        self._entries.append(entry)
        while self.limit and len(self._entries) > self.limit:
            self._entries.popleft()
            self.dropped += 1

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._whole()))

    def __len__(self) -> int:
        return len(self._whole())

    def __getitem__(self, index: int) -> T:
        """A negative one counts from the newest, which is there in any case."""
        return self._entries[index] if index < 0 else self._whole()[index]

    def _whole(self) -> deque[T]:
        if self.dropped:
            raise Incomplete(
                f"{self.dropped} entries are gone: set `limit = 0` before what is to be read."
            )
        return self._entries
