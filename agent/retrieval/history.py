"""Past changes as evidence: whoever changed files for such a reason before points to them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.retrieval.lexical import Vector, asked, inner, weigh
from agent.retrieval.ranking import Evidence, PastChange, history_of, recency_of
from agent.retrieval.tokens import Tokens, query_weights

MEAN = 10.0  #: words of a title
CHANGES = 3000  #: the newest ones are read
FILES = 60  #: a change of more files is about none of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A commit's subject, or the title of a merge request with those of the issues that it closed,
    a line each; and the files it touched."""

    id: str
    at: datetime
    title: str
    paths: tuple[str, ...]
    commits: tuple[str, ...] = ()  #: that a merge request came by


class History:
    """Of one project, newest first."""

    def __init__(self, changes: Iterable[Change], tokens: Tokens) -> None:
        usable = [c for c in changes if 0 < len(c.paths) <= FILES][:CHANGES]
        self._commits = [c for c in usable if not c.commits]
        self.changes, counts = _once(usable, tokens)
        self._words: list[Vector] = []
        self._having: defaultdict[int, list[int]] = defaultdict(list)
        self._recency: tuple[datetime, Mapping[str, float]] | None = None
        for number, counted in enumerate(counts):
            self._words.append(weigh(counted, counted.total(), MEAN))
            for token in counted:
                self._having[token].append(number)

    def evidence(self, text: str, now: datetime) -> Evidence:
        return Evidence(history=history_of(self._alike(text)), recency=self.recency(now))

    def recency(self, now: datetime) -> Mapping[str, float]:
        if self._recency is None or self._recency[0] != now:
            aged = (((now - c.at).total_seconds() / 86_400, c.paths) for c in self._commits)
            self._recency = now, recency_of(aged)
        return self._recency[1]

    def _alike(self, text: str) -> Iterable[PastChange]:
        having = {token: len(self._having.get(token, ())) for token in query_weights(text)}
        query = asked(text, len(self.changes), having)
        for number in {n for token in query for n in self._having[token]}:
            score = inner(query, self._words[number])
            yield PastChange(score=score, paths=self.changes[number].paths)


def _once(
    changes: Iterable[Change], tokens: Tokens
) -> tuple[Sequence[Change], Sequence[Counter[int]]]:
    """With their words; a commit that says what its merge request says is not told beside it."""
    told: dict[str, tuple[Change, Counter[int]]] = {}
    for each in changes:
        counted = Counter[int]()
        for line in each.title.split("\n") if each.commits else (each.title,):
            counted |= tokens.count(line)  # an issue's title is often the merge request's
        told[each.id] = each, counted
    for change, counted in list(told.values()):
        for commit in change.commits:
            single, words = told.get(commit, (None, Counter[int]()))
            if single is None or not set(single.paths) <= set(change.paths):
                continue
            if words <= counted or len(single.paths) == len(change.paths):
                counted |= words
                told[change.id] = change, counted
                del told[commit]
    return [change for change, _ in told.values()], [words for _, words in told.values()]
