"""The words that describe a run: what it does, has, used and keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import assert_never

from agent import events as e
from agent.intents import PublishMergeRequest
from agent.pipeline import Violation
from agent.run import ENDED, RunId, RunStatus, Usage
from agent.state import RunState
from agent.testreport import TestReport
from bot.views import text as t

GROUNDS = 3  #: places that are named


@dataclass(frozen=True, kw_only=True)
class Links:
    """Addresses of our own pages; empty when the service has no public address."""

    public_url: str = ""

    def run(self, run: RunId) -> str:
        return f"{self.public_url.rstrip('/')}/runs/{run}" if self.public_url else ""


def grounded(state: RunState, code: Callable[[str, int], str] = t.code) -> str:
    """The code that the run was shown before it planned; empty where there was no index. `code`
    writes a name of it, of so many characters."""
    found = state.grounding
    if found is None or not found.places:
        return ""
    named = [f"{place.path}:{place.start}-{place.end}" for place in found.places[:GROUNDS]]
    more = len(found.places) - len(named)
    told = ", ".join(code(each, 90) for each in named)
    return f"Grounded in {told}" + (f" and {more} more places" if more else "")


def subject(run: RunId) -> str:
    return f"run:{run}"


def headline(state: RunState) -> str:
    """The state in words, for mrkdwn."""
    if state.stop and state.status not in ENDED:
        return "Stopping"
    if state.frozen and state.status not in ENDED:
        return "Frozen"
    match state.status:
        case RunStatus.QUEUED:
            return "Queued"
        case RunStatus.PLANNING:
            return "Planning"
        case RunStatus.WORKING if state.heals:
            newest = state.heals[-1]
            return f"Repairing, attempt {newest.attempt} of {newest.attempts}"
        case RunStatus.WORKING if fixing(state):
            newest = state.fixes[-1]
            return f"Fixing the pipeline, attempt {newest.attempt} of {newest.attempts}"
        case RunStatus.WORKING:
            return "Working"
        case RunStatus.TESTING:
            return "Testing"
        case RunStatus.PUBLISHING:
            return (
                "Updating the merge request" if state.merge_request else "Opening the merge request"
            )
        case RunStatus.WATCHING:
            return "Watching the pipeline"
        case RunStatus.WAITING_FOR_ANSWER if state.held:
            return f"Held: {rules(state.held.violations)}"
        case RunStatus.WAITING_FOR_ANSWER:
            return f"Question for {t.user(state.request.requester.id)}"
        case RunStatus.WAITING_FOR_APPROVAL if state.gate:
            return f"Waiting for approval: {t.quoted(state.gate.gate.subject, 60)}"
        case RunStatus.WAITING_FOR_APPROVAL:
            return "Waiting for approval"
        case RunStatus.DELIVERING if state.delivery and state.delivery.merged:
            return f"Merged into {t.quoted(state.delivery.begun.target, 60)}, watching it"
        case RunStatus.DELIVERING:
            return "Delivering"
        case RunStatus.SUCCEEDED:
            return "Plan ready" if state.plan_stands else "Done"
        case RunStatus.FAILED:
            return "Failed"
        case RunStatus.ESCALATED:
            return "Needs a person"
        case RunStatus.CANCELLED:
            return f"Stopped by {t.user(state.stop.by.id)}" if state.stop else "Stopped"
        case _:
            assert_never(state.status)


def published(state: RunState) -> bool:
    """The merge request shows the newest commit, which was made since people last set the run
    going."""
    if len(state.commits) <= state.earlier_commits:
        return False
    key = PublishMergeRequest(commit=state.commits[-1].commit).key(state.run)
    return any(done.key == key for done in state.done_effects)


def delivered(state: RunState) -> bool:
    """Something of the run has been merged."""
    return any(each.merged for each in state.deliveries)


def pipeline_seen(state: RunState) -> e.PipelineSeen | None:
    """What is known of the pipeline of the newest commit."""
    seen = state.pipeline
    return seen if seen and state.commits and seen.commit == state.commits[-1].commit else None


def fixing(state: RunState) -> bool:
    """A red pipeline is being fixed, and nothing new has been pushed for it yet."""
    seen = pipeline_seen(state)
    if seen is None or seen.pipeline is None or not state.fixes or state.status in ENDED:
        return False
    return state.fixes[-1].pipeline == seen.pipeline.id


def summary(state: RunState) -> str:
    """What the model says that it has done: untrusted."""
    if state.end and state.end.summary:
        return state.end.summary
    try:
        said = json.loads(state.finished.arguments)["summary"] if state.finished else ""
    except (ValueError, LookupError, TypeError):
        return ""  # cut, or not what was asked for
    return said if isinstance(said, str) else ""


def spoken(state: RunState) -> str:
    """The headline for plain text, with names in place of mentions."""
    if state.status is RunStatus.WAITING_FOR_ANSWER and not state.held:
        return f"question for @{name(state)}"
    if state.status is RunStatus.CANCELLED and state.stop:
        return f"stopped by @{t.quoted(state.stop.by.name, 40)}"
    return headline(state).lower()


def name(state: RunState) -> str:
    return t.quoted(state.request.requester.name, 40)


def rules(violations: Iterable[Violation]) -> str:
    """Which rules a change does not keep, each once."""
    names = tuple(dict.fromkeys(each.rule for each in violations))
    told = ", ".join(_RULES.get(name, name) for name in names[:3])
    return f"{told} and {len(names) - 3} more" if len(names) > 3 else told


_RULES = {"path": "path not allowed", "size": "too large"}


def request_title(state: RunState) -> str:
    return t.quoted(state.request.text)


def base_branch(state: RunState) -> str:
    return state.workspace.branch if state.workspace else state.request.base_branch or ""


def branch(state: RunState) -> str:
    return state.branch


def results(report: TestReport | None, base: TestReport | None = None) -> str:
    """With `base`: says so when the failures are not new."""
    if report is None:
        return "not run"
    total = report.passed + report.failed + report.errors + report.skipped
    if report.stopped:
        return f"stopped ({t.quoted(report.stopped, 30)}) after {t.duration(report.seconds)}"
    if not total:
        return "passed" if report.green else f"exit code {report.exit_code}"
    parts = [f"{report.passed:,} passed", f"{report.failed:,} failed"]
    if report.errors:
        parts.append(t.count(report.errors, "error"))
    if report.skipped:
        parts.append(f"{report.skipped:,} skipped")
    told = ", ".join(parts)
    if base and report.bad and not report.new_failures(base):
        told += " (each of them failed before, too)"
    return told


def diff(files: Iterable[e.FileChange]) -> str:
    changed = tuple(files)
    added, removed = sum(f.added for f in changed), sum(f.removed for f in changed)
    return f"{t.count(len(changed), 'file')}, +{added:,} −{removed:,}"


def cost(usage: Usage, limit: float) -> str:
    """Empty when the model's price is unknown."""
    return f"${usage.money:.2f} of ${limit:.2f}" if usage.money else ""


def seconds(state: RunState) -> float:
    """Since the start, or since the follow-up that continued the run."""
    begun = state.accepted_at
    if state.rounds > 1 and state.followups:
        begun = max(begun, state.followups[-1].at)
    until = state.ended_at or state.updated_at
    return max(0.0, (until - begun).total_seconds())


def usage_line(state: RunState) -> str:
    parts = [t.duration(seconds(state))]
    if state.calls:
        tokens = f"{t.compact(state.usage.tokens)} tokens"
        money = cost(state.usage, state.limits.money)
        parts += [t.count(state.calls, "step"), f"{tokens}, {money}" if money else tokens]
    return " · ".join(parts)


def changed_nothing(state: RunState) -> bool:
    """No commit since people last set the run going, and nothing under way to production."""
    return len(state.commits) <= state.earlier_commits and not delivered(state)


def changed_files(state: RunState) -> tuple[e.FileChange, ...]:
    if state.commits:
        return state.commits[-1].files
    return state.checkpoint.files if state.checkpoint else ()


def kept(state: RunState) -> str:
    """What a person finds again after the run has stopped."""
    if delivered(state):
        return "What has been merged stays merged."
    if state.merge_request:
        request = t.link(state.merge_request.url, f"!{state.merge_request.iid}")
        return f"The draft merge request {request} and its branch are kept."
    if state.pushed:
        commits = t.count(len(state.commits), "commit")
        return f"The branch {t.code(branch(state))} is kept with {commits}."
    if files := changed_files(state):
        return f"The changes so far ({t.count(len(files), 'file')}) are kept with the run."
    return "Nothing had been changed yet."
