"""A model that is a rule: it reads files in the order it is shown or finds them, then edits."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.retrieval.kinds import Kind, kind_of
from agent.retrieval.tokens import STOP_WORDS

MODES = ("index", "grep", "both")
MOST = 30  #: steps after which it gives up
WORDS = 8  #: of a request that are looked for
_HEAD = re.compile(r"^(?:--- )?([^\s:]+):(\d+)-(\d+)(?: |$)", re.MULTILINE)
_HIT = re.compile(r"^([^\s:]+):\s?(?:\d+:|\[)?", re.MULTILINE)
_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Hunk:
    """Lines of the answer, as `edit` takes them."""

    path: str
    first: int
    last: int
    old: str
    new: str


def hunks(patch: str) -> tuple[Hunk, ...]:
    """Of source files that were there before."""
    found: list[Hunk] = []
    for part in re.split(r"^(?=diff --git )", patch, flags=re.MULTILINE):
        named = re.search(r"^--- a/(.+)$", part, re.MULTILINE)
        if named is None or kind_of(named[1]) is not Kind.SOURCE:
            continue
        for hunk in re.split(r"^(?=@@ )", part, flags=re.MULTILINE)[1:]:
            start = _HUNK.match(hunk)
            lines = [line for line in hunk.split("\n")[1:] if line[:1] in ("+", "-", " ")]
            old = [line[1:] for line in lines if line[0] != "+"]
            new = [line[1:] for line in lines if line[0] != "-"]
            if start and old:
                first = int(start[1])
                found.append(
                    Hunk(
                        path=named[1],
                        first=first,
                        last=first + len(old) - 1,
                        old="\n".join(old),
                        new="\n".join(new),
                    )
                )
    return tuple(found)


@dataclass(kw_only=True)
class Policy:
    """One conversation. `steps`: requests until the first edit, that one included."""

    mode: str
    request: str
    known: Sequence[Hunk]
    steps: int = 0
    made: bool = False
    _searched: bool = False
    _shown: list[str] = field(default_factory=list[str])  #: files, in the order of coming up
    _read: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    _ended: bool = False

    def answer(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        if self.made or self._ended:
            return _call(("finish", {"summary": "Done"}))
        self.steps += 1
        texts = [str(message.get("content") or "") for message in messages]
        if hunk := self._seen(texts):
            self.made = True
            plan = ("update_plan", {"steps": [{"title": "Edit", "status": "in_progress"}]})
            arguments = {"path": hunk.path, "old": hunk.old, "new": hunk.new}
            return _call(plan, ("edit", arguments))
        if self.steps >= MOST:
            self._ended = True
            return _call(("finish", {"summary": "Not found"}))
        if self.mode != "grep":
            self._take(_listed(texts))
        if self.mode == "grep" and not self._searched:
            return self._search()
        if self._searched:
            self._take(_by_words(texts))
        return self._next()

    def _seen(self, texts: Sequence[str]) -> Hunk | None:
        """The first piece of the answer whose old lines stand before it, numbered or plain."""
        whole = "\n".join(texts)
        plain = re.sub(r"^\d+\t", "", whole, flags=re.MULTILINE)
        for hunk in self.known:
            if hunk.path in whole and (hunk.old in whole or hunk.old in plain):
                return hunk
        return None

    def _take(self, paths: Sequence[str]) -> None:
        self._shown += [path for path in dict.fromkeys(paths) if path not in self._shown]

    def _search(self) -> dict[str, Any]:
        self._searched = True
        wanted = _words(self.request)
        return _call(*(("search", {"query": re.escape(w), "mode": "text"}) for w in wanted))

    def _next(self) -> dict[str, Any]:
        """The next part of the file that it is at, or the next file."""
        right = {hunk.path: hunk for hunk in self.known}
        for path in self._shown:
            # of a long file it reads where the answer is: every mode is spared the same
            start = max(1, right[path].first - 100) if path in right else 1
            if (path, start) not in self._read:
                self._read.add((path, start))
                return _call(("read", {"path": path, "start": start, "end": start + 399}))
        if not self._searched and self.mode == "both":
            return self._search()
        self._ended = True
        return _call(("finish", {"summary": "Not found"}))


def _words(request: str) -> list[str]:
    """Names first, then the longest words: what one would grep for."""
    words = [w for w in dict.fromkeys(re.findall(r"[A-Za-z_][\w.]{2,}", request))]
    words = [w.strip(".") for w in words if w.lower().strip(".") not in STOP_WORDS]
    named = [w for w in words if re.search(r"[_.]|[a-z][A-Z]", w)]
    rest = sorted((w for w in words if w not in named), key=len, reverse=True)
    return [*named, *rest][:WORDS] or ["def"]


def _listed(texts: Sequence[str]) -> list[str]:
    """Source files of the places that the first message names, in their order."""
    places = [path for path, _, _ in _HEAD.findall("\n".join(texts[:2]))]
    return [path for path in places if kind_of(path) is Kind.SOURCE]


def _by_words(texts: Sequence[str]) -> list[str]:
    """Files of the searches' results: by how many searches name them, then by matches."""
    distinct: Counter[str] = Counter()
    matches: Counter[str] = Counter()
    for text in texts[2:]:
        found = Counter(path for path in _HIT.findall(text) if kind_of(path) is Kind.SOURCE)
        distinct.update(found.keys())
        matches.update(found)
    return sorted(distinct, key=lambda path: (-distinct[path], -matches[path], path))


def _call(*calls: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
    listed = [{"name": name, "arguments": json.dumps(given)} for name, given in calls]
    return {"content": None, "tool_calls": listed}
