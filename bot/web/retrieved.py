"""What code a run was shown, and what of it its change touched. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agent import events as e
from bot.web.rows import Folded

Told = tuple[str, str, str, tuple[Folded, ...]]
NAMED = 10  #: changed files
_STATES = {"late": "The index was not ready", "broken": "No index"}


def told(p: e.CodeRetrieved) -> Told:
    folded = (Folded(label="What was looked for", digest=p.query),)
    purpose = "the plan" if p.purpose == "plan" else "the repair"
    if p.state != "ready":
        text = f"{p.problem} The model has exact search.".strip()
        return f"{_STATES[p.state]}, for {purpose}", text, "bad", folded
    edited = f" with {p.edited} changed files" if p.edited else ""
    meaning = f", {p.meaning}" if p.meaning else ""
    lines = [
        f"at {p.commit[:8]}{edited}, in {p.milliseconds:.0f} ms{meaning}",
        *(f"{path}: decision record" for path in p.records),
        *(_place(place) for place in p.places),
    ]
    count = len(p.places)
    return f"Code for {purpose}: {count} places", "\n".join(lines), "", folded


def touched(seen: Iterable[e.CodeRetrieved], files: Iterable[e.FileChange]) -> str:
    """How much of a change lies in files that were retrieved; empty when nothing was."""
    seen = [each for each in seen if each.places]
    changed = {file.path for file in files if file.status != "added"}
    if not seen or not changed:
        return ""
    paths = {place.path for each in seen for place in each.places}
    hit, count = len(changed & paths), len(seen[0].places) if len(seen) == 1 else 0
    among = f"the {count} places" if count else "the places"
    were = "file was" if len(changed) == 1 else "files was" if hit == 1 else "files were"
    told = f"{hit} of {len(changed)} changed {were} among {among} that the run was shown"
    named = sorted(changed & paths)
    more = f" and {hit - NAMED} more" if hit > NAMED else ""
    return f"{told}: {', '.join(named[:NAMED])}{more}." if named else f"{told}."


def _place(place: e.RetrievedPlace) -> str:
    parts = [f"words {place.words:.2f}"]
    if place.similar:
        parts.append(f"similar {place.similar:.2f}")
    if place.named:
        parts.append("named")
    if place.where:
        parts.append(f"path {place.where:.2f}")
    if place.history:
        parts.append(f"history {place.history:.2f}")
    names = f" {', '.join(place.symbols[:3])}" if place.symbols else ""
    text = "" if place.shown else ", not in full"
    at = f"{place.path}:{place.start}-{place.end}{names}"
    return f"{at} — {place.score:.2f} ({', '.join(parts)}{text})"
