"""The digest of the night: totals, a chart, and the projects with news."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

from agent.maintenance.morning import Morning, ProjectMorning, vulnerable
from agent.maintenance.night import Errand, LeftOut, Task, TaskReport, Update
from agent.run import RunId
from agent.state import RunState
from bot.views import blocks as b
from bot.views import share, trend
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Message
from bot.views.nights import NAMES

PROJECTS = 10  #: that one digest tells of
ROOM = 9000  #: characters for all of them
FIX, MENU = "digest_fix", "digest_menu"
SNOOZE_DAYS = 7
_NAMES = 3  #: of packages in one sentence
_SENTENCES = 2  #: of what was not checked, for each project

States = Mapping[RunId, RunState]


def digest(
    morning: Morning, states: States, *, chart: str = "", quiet_line: bool = False
) -> Message | None:
    """None: nothing is worth a message. `chart`: Slack's id of the picture. `states`: of the runs
    that publish what the nights changed."""
    if not morning.told:
        return _quiet(morning) if quiet_line and morning.projects else None
    shown, totals = morning.told[:PROJECTS], list(_totals(morning))
    blocks: dict[str, b.Block | None] = {
        "head": {"type": "header", "text": b.plain(f"Nightly digest, {t.day(morning.date)}", 150)},
        "sum": b.section("\n".join(totals)) if totals else None,
        "chart": _image(chart, morning) if chart else None,
    }
    pressed = [_actions(each, states) for each in shown]
    room = (ROOM - len(json.dumps(pressed))) // len(shown)
    for number, (each, buttons) in enumerate(zip(shown, pressed, strict=True), 1):
        text = _within(_project(each, states), max(150, min(room, 2500)))
        blocks[f"p{number}"] = b.section(text)
        blocks[f"p{number}:do"] = buttons
    blocks["foot"] = b.context(_foot(morning, len(shown)))
    return b.message(subject(morning.date), 1, _spoken(morning), blocks)


def subject(day: date) -> str:
    return f"dig:{day:%m%d}"


def _image(chart: str, morning: Morning) -> b.Block:
    return {
        "type": "image",
        "slack_file": {"id": chart},
        "alt_text": trend.alt_text(morning),
        "title": b.plain("What stands open, last 14 days"),
    }


def _spoken(morning: Morning) -> str:
    lint, updates = morning.reports(Task.LINT), morning.reports(Task.DEPENDENCIES)
    parts: list[str] = []
    if known := _known(lint):
        new = _new(known)
        told = f" ({new:,} new)" if new else ""
        parts.append(f"{t.count(_standing(known), 'lint finding')}{told}")
    if known := _known(updates):
        warned = _vulnerable(known)
        told = f" ({len(warned):,} with a known vulnerability)" if warned else ""
        late = sum(len(r.updates) + len(r.left_out) for r in known)
        parts.append(f"{t.count(late, 'dependency', 'dependencies')} behind{told}")
    failed = sum(r.status == "failed" for each in morning.projects for r in each.reports)
    if failed:
        parts.append(f"{t.count(failed, 'task')} failed")
    where = t.count(len(morning.projects), "project")
    return f"Nightly digest, {t.short_day(morning.date)}: {', '.join(parts) or 'news'} in {where}."


def _totals(morning: Morning) -> Iterator[str]:
    lint = morning.reports(Task.LINT)
    if lint:
        known = _known(lint)
        parts = [
            t.count(_standing(known), "finding"),
            f"{_new(known):,} new",
            f"{sum(len(r.fixed) for r in known):,} fixed",
        ]
        if gone := sum(len(r.gone) for r in known):
            parts.append(f"{gone:,} gone")
        yield f"*Lint:* {', '.join(parts)}{_gaps(lint)}" if known else "*Lint:* not checked."
    updates = morning.reports(Task.DEPENDENCIES)
    if updates:
        known = _known(updates)
        parts = [
            f"{t.count(sum(len(r.updates) for r in known), 'update')} ready",
            f"{sum(len(r.left_out) for r in known):,} left behind",
        ]
        if warned := _vulnerable(known):
            parts.append(f"*{len(warned):,} with a known vulnerability* ({_named(warned)})")
        yield (
            f"*Dependencies:* {', '.join(parts)}{_gaps(updates)}"
            if known
            else "*Dependencies:* not checked."
        )
    tests = morning.reports(Task.TESTS)
    if tests:
        known = _known(tests)
        told = f"{t.count(_standing(known), 'changed line')} that no test runs"
        yield f"*Tests:* {told}{_gaps(tests)}" if known else "*Tests:* not checked."


def _gaps(reports: Sequence[TaskReport]) -> str:
    gaps = sum(bool(report.not_checked) or report.status == "failed" for report in reports)
    return f". Not everything was checked in {t.count(gaps, 'project')}." if gaps else "."


def _project(each: ProjectMorning, states: States) -> list[str]:
    """What is new, then merge requests, then what could not be done or looked at."""
    news = list(_news(each))
    head = f"*{t.quoted(each.project, 100)}*"
    lines = [f"{head} — {'; '.join(news)}" if news else head]
    for group in each.groups[:4]:
        lines.append(f"• {share.group(group, states.get(group.run) if group.run else None)}")
    if len(each.groups) > 4:
        lines.append(f"• and {t.count(len(each.groups) - 4, 'more merge request')}")
    for errand in each.errands:
        lines.append(f"• {share.errand(errand, states.get(errand.run) if errand.run else None)}")
    for why in dict.fromkeys(r.not_given for r in each.reports if r.not_given):
        lines.append(f"• {t.quoted(why, 160)}")
    for report in each.reports:
        for left in _left_out(report, each.errands, states)[:_NAMES]:
            lines.append(f"• {_update(left.update)} is left out: {t.quoted(left.reason, 160)}")
        if report.status == "failed":
            told = t.quoted(" ".join(report.problems), 240)
            blind = "nothing could be checked" if report.not_checked else "no reason was kept"
            lines.append(f"• {NAMES[report.task]} failed: {told or blind}")
    unchecked = list(dict.fromkeys(s for report in each.reports for s in report.not_checked))
    lines += [f"• {_gap(sentence)}" for sentence in unchecked[:_SENTENCES]]
    if len(unchecked) > _SENTENCES:
        lines.append(f"• Not checked: {len(unchecked) - _SENTENCES:,} more")
    lines += [
        f"• Not checked: {NAMES[task].lower()}, since that night is not over yet"
        for task in each.unfinished
    ]
    lines += [
        f"• {NAMES[task]} is paused after three nights that failed in a row. "
        f"`journeyman maintenance run` out of turn, or `@agent maintenance`, says more."
        for task in each.paused
    ]
    return lines


def _left_out(report: TaskReport, errands: Sequence[Errand], states: States) -> list[LeftOut]:
    """Neither what people have refused, nor what a merge request of the agent's repairs."""
    repaired: set[str] = set()
    for errand in errands:
        state = states.get(errand.run) if errand.run else None
        if state and state.merge_request:
            repaired.update(errand.about)
    return [
        left for left in report.left_out if not left.refused and left.update.offer not in repaired
    ]


def _gap(sentence: str) -> str:
    told = t.quoted(sentence, 160)
    return told if "not checked" in told else f"Not checked: {told}"


def _within(lines: Sequence[str], room: int) -> str:
    """Whole lines only: a cut one could lose the end of a link."""
    kept = lines[:1]
    for line in lines[1:]:
        if len("\n".join((*kept, line))) > room:
            return "\n".join((*kept, f"• … {len(lines) - len(kept)} more"))
        kept = [*kept, line]
    return "\n".join(kept)


def _news(each: ProjectMorning) -> Iterator[str]:
    lint, updates = each.of(Task.LINT), each.of(Task.DEPENDENCIES)
    if lint and lint.new:
        yield f"{t.count(len(lint.new), 'new lint finding')} ({_rules(lint)})"
    elif lint and each.first and lint.findings:
        yield f"{t.count(len(lint.findings), 'lint finding')} in the first night"
    if lint and lint.fixed:
        yield f"{len(lint.fixed):,} fixed"
    if updates and (warned := vulnerable(updates)):
        noun = t.count(len(warned), "vulnerable dependency", "vulnerable dependencies")
        yield f"*{noun}* ({_named(warned)})"
    if updates and updates.updates:
        yield f"{t.count(len(updates.updates), 'update')}"
    tests = each.of(Task.TESTS)
    if tests and tests.findings:
        yield f"{t.count(len(tests.findings), 'changed line')} that no test runs"


def _rules(report: TaskReport) -> str:
    rules = tuple(dict.fromkeys(each.rule or each.tool for each in report.new))
    told = ", ".join(t.code(rule, 40) for rule in rules[:_NAMES])
    return f"{told}, …" if len(rules) > _NAMES else told


def _update(update: Update) -> str:
    return t.code(f"{update.package} {update.current} → {update.target}", 80)


def _named(updates: Sequence[Update]) -> str:
    told = ", ".join(t.code(f"{each.package} {each.current}", 60) for each in updates[:_NAMES])
    return f"{told}, …" if len(updates) > _NAMES else told


def _actions(each: ProjectMorning, states: States) -> b.Block | None:
    fix = None
    found, left = each.judgement
    if found or left:
        fix = b.button(
            "Fix these",
            FIX,
            value(each),
            reads=f"Start a run that fixes what is new in {each.project}",
        )
    requests = (
        state.merge_request
        for given in (*each.groups, *each.errands)
        if given.run and (state := states.get(given.run)) and not w.delivered(state)
    )
    first = next((request for request in requests if request and request.url), None)
    review = None
    if first:
        label = f"Review !{first.iid}"
        reads = f"Open merge request {first.iid} of {each.project}"
        review = b.button(label, "view_digest", url=first.url, reads=reads)
    return b.actions(fix, review, _menu(each))


def _menu(each: ProjectMorning) -> b.Element | None:
    if len(each.project) > 140:
        return None
    snooze = b.option(f"Snooze for {SNOOZE_DAYS} days", f"snooze:{each.project}")
    return {"type": "overflow", "action_id": MENU, "options": [snooze]}


def value(each: ProjectMorning) -> str:
    """Which nights a button is about."""
    return f"{','.join(map(str, each.nights))} {each.project}"


def picked(pressed: str) -> tuple[frozenset[int], str]:
    """The nights and the project of a button. Raises `ValueError`."""
    nights, _, project = pressed.partition(" ")
    return frozenset(int(night) for night in nights.split(",") if night), project


def _foot(morning: Morning, shown: int) -> str:
    hidden = len(morning.told) - shown
    asleep = [each for each in morning.projects if each.news and each.project in morning.snoozed]
    quiet = len(morning.projects) - len(morning.told) - len(asleep)
    parts = [
        f"{t.count(hidden, 'more project')} with news." if hidden else "",
        f"{t.count(quiet, 'project')} had nothing new." if quiet else "",
        f"{t.count(len(asleep), 'project')} snoozed." if asleep else "",
        "`@agent maintenance` shows the schedule.",
    ]
    return " ".join(part for part in parts if part)


def _quiet(morning: Morning) -> Message:
    told = (
        f"Nightly digest, {t.short_day(morning.date)}: nothing new in "
        f"{t.count(len(morning.projects), 'project')}."
    )
    return b.message(subject(morning.date), 1, told, {"sum": b.section(told)})


def _known(reports: Iterable[TaskReport]) -> list[TaskReport]:
    return [report for report in reports if report.status != "failed"]


def _standing(reports: Iterable[TaskReport]) -> int:
    return sum(len(report.findings) for report in reports)


def _new(reports: Iterable[TaskReport]) -> int:
    return sum(len(report.new) for report in reports)


def _vulnerable(reports: Iterable[TaskReport]) -> list[Update]:
    return [update for report in reports for update in vulnerable(report)]
