"""The digest of a week: what its runs came to, against the week before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from agent.outcomes import Figures, Outcome, Week
from bot.views import blocks as b
from bot.views import text as t
from bot.views.blocks import Message

PROJECTS = 10  #: that one digest tells of
_HALF = 5  #: of them, in one block
_MODELS = 3  #: in one sentence


def weekly(
    week: Week, projects: Mapping[str, Outcome], *, chart: str = "", quiet_line: bool = False
) -> Message | None:
    """None: nothing is worth a message. `chart`: Slack's id of the picture."""
    name, told = f"wk:{week.last:%m%d}", _told(projects)
    if not told:
        if not quiet_line:
            return None
        calm = f"Weekly digest, {span(week)}: no runs."
        return b.message(name, 1, calm, {"sum": b.section(calm)})
    every = total(projects)
    shown = [_project(project, projects[project]) for project in told[:PROJECTS]]
    blocks = {
        "head": {"type": "header", "text": b.plain(f"Weekly digest, {span(week)}", 150)},
        "sum": b.section(_totals(every)),
        "before": b.context(*_beside(every)),
        "chart": _image(chart, week, every) if chart else None,
        "projects": b.section("\n".join(shown[:_HALF])),
        "more": b.section("\n".join(shown[_HALF:])) if shown[_HALF:] else None,
        "foot": b.context(_foot(len(told) - len(shown))),
    }
    return b.message(name, 1, _spoken(week, every), blocks)


def total(projects: Mapping[str, Outcome]) -> Outcome:
    return sum(projects.values(), Outcome())


def counts(every: Outcome) -> tuple[tuple[str, int, int], ...]:
    """What people's runs came to, and in the week before; empty when nobody asked for one."""
    now, before = every.people, every.before
    made = (
        ("asked for", now.asked, before.asked),
        ("done", now.done, before.done),
        ("merged", now.merged, before.merged),
        ("needed a person", now.needed, before.needed),
        ("reverted", now.reverts, before.reverts),
    )
    return made if any(this or that for _, this, that in made) else ()


def span(week: Week) -> str:
    first, last = week.first, week.last
    if first.month == last.month:
        return f"{first.day}–{t.day(last)}"
    return f"{t.day(first)} – {t.day(last)}"


def alt_text(week: Week, every: Outcome) -> str:
    """All that the chart shows, in words."""
    told = ", ".join(f"{now:,} {name} ({before:,})" for name, now, before in counts(every))
    return f"Bar chart of runs, {span(week)}, in brackets the week before: {told}."


def _told(projects: Mapping[str, Outcome]) -> list[str]:
    """Those where something happened, those that merged most first."""
    news = [name for name, each in projects.items() if each.people or each.nights]
    return sorted(
        news, key=lambda n: (-projects[n].spent.merged, -projects[n].spent.ended, n.casefold())
    )


def _spoken(week: Week, every: Outcome) -> str:
    now, nights = every.people, every.nights
    parts = [f"{t.count(now.asked, 'run')} asked for, {now.merged:,} merged"] if now else []
    if nights:
        parts.append(f"{nights.merged:,} merged at night")
    if every.spent.reverts:
        parts.append(f"{every.spent.reverts:,} reverted")
    if cost := _cost(every.spent):
        parts.append(cost)
    return f"Weekly digest, {span(week)}: {', '.join(parts)}."


def _totals(every: Outcome) -> str:
    now, spent = every.people, every.spent
    told = ["*Nobody asked for a run.*"]
    if now:
        told = [f"*{t.count(now.asked, 'run')} asked for, {_merged(now)}.*"]
    if now.ended:
        told.append(f"{now.ended:,} ended: {', '.join(_ends(now))}.")
    if rest := [*_checks(now), *_reverts(now)]:
        told.append(f"{'; '.join(rest)}.")
    if cost := _cost(spent):
        models = sorted(spent.unpriced)
        names = ", ".join(t.code(model, 40) for model in models[:_MODELS])
        more = f" and {len(models) - _MODELS:,} more" if len(models) > _MODELS else ""
        why = f" (no price is known for {names}{more})" if models else ""
        told.append(f"{cost[0].upper()}{cost[1:]}{why}.")
    return " ".join(told)


def _beside(every: Outcome) -> Iterator[str]:
    """The week before, and the nights, which nobody asked for."""
    before = every.before
    if before or every.nights_before:
        parts = [f"{before.asked:,} asked for", _merged(before), *_checks(before)]
        parts += [*_reverts(before), _cost(every.spent_before)]
        yield f"The week before: {', '.join(part for part in parts if part)}."
    if every.nights or every.nights_before:
        now, then = every.nights, every.nights_before
        parts = [t.count(now.asked, "run"), _merged(now), *_reverts(now)]
        told = f"{then.asked:,}, {_merged(then)}" if then else "none"
        yield f"Nights: {', '.join(parts)}. The week before: {told}."


def _project(name: str, each: Outcome) -> str:
    now, before, nights = each.people, each.before, each.nights
    parts: list[str] = []
    if now:
        bad = [end for end in _ends(now) if not end.endswith(" done")]
        parts += [f"{now.asked:,} asked for", _merged(now), *bad, *_first(now)]
        parts += [*(_needed(now) if now.needed else ()), *_reverts(now)]
    if cost := _cost(each.spent):
        parts.append(cost)
    line = f"• *{t.quoted(name, 80)}* — {', '.join(parts)}"
    if before:
        line += f" (before: {before.asked:,} asked for, {before.merged:,} merged)"
    if nights:
        told = [t.count(nights.asked, "run"), _merged(nights), *_reverts(nights)]
        line += f"{'; nights' if parts else 'nights'}: {', '.join(told)}"
    return line


def _merged(of: Figures) -> str:
    if of.cycle is None:
        return "none merged"
    how = "after" if of.merged == 1 else "median"
    return f"{of.merged:,} merged ({how} {_duration(of.cycle)})"


def _ends(of: Figures) -> list[str]:
    counts = {
        "done": of.done,
        "left to people": of.escalated,
        "failed": of.failed,
        "stopped": of.stopped,
    }
    return [f"{count:,} {name}" for name, count in counts.items() if count]


def _checks(of: Figures) -> list[str]:
    return [*_first(of), *_needed(of)]


def _first(of: Figures) -> list[str]:
    if not of.pipelines:
        return []
    noun = "first pipeline" if of.pipelines == 1 else "first pipelines"
    return [f"{of.passed:,} of {of.pipelines:,} {noun} passed"]


def _needed(of: Figures) -> list[str]:
    return [f"{of.needed:,} of {of.ended:,} needed a person"] if of.ended else []


def _reverts(of: Figures) -> list[str]:
    if not of.reverts:
        return []
    late = of.late_reverts
    whose = "" if not late else " of an older merge" if late == of.reverts == 1 else ""
    whose = whose or (f" ({late:,} of older merges)" if late else "")
    return [t.count(of.reverts, "revert") + whose]


def _cost(of: Figures) -> str:
    """Empty when no model was asked."""
    if of.money < 0.01:
        return "cost not known" if of.unpriced else "less than $0.01" if of.money else ""
    return f"{'at least ' if of.unpriced else ''}${of.money:,.2f}"


def _duration(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return t.duration(span.total_seconds()) if hours < 48 else f"{hours / 24:.1f} days"


def _image(chart: str, week: Week, every: Outcome) -> b.Block:
    return {
        "type": "image",
        "slack_file": {"id": chart},
        "alt_text": alt_text(week, every),
        "title": b.plain("Runs, against the week before"),
    }


def _foot(hidden: int) -> str:
    more = f"{t.count(hidden, 'more project')} with runs. " if hidden else ""
    told = "Merges and reverts that people make at GitLab after a run has ended are not counted."
    return more + told
