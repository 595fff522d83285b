"""The run's merge request and notes in words, from its log: facts are ours, quotations are not."""

from __future__ import annotations

from collections.abc import Sequence

from agent.events import FileChange
from agent.run import RunId
from agent.serialize import gitlab_line, gitlab_quote, gitlab_title, who
from agent.state import RunState
from agent.testreport import TestReport

FILES = 40  #: named in a description
TESTS = 20
FOLLOWUPS = 20


def marker(run: RunId) -> str:
    """Invisible; tells the run's own merge request and notes from everybody else's. Text of
    others cannot hold it, since its brackets are made harmless."""
    return f"<!-- journeyman-run: {run} -->"


def title(state: RunState) -> str:
    said = state.commits[-1].title if state.commits else state.request.text
    return gitlab_title(said)


def description(state: RunState, *, summary: str, public_url: str = "") -> str:
    parts = [
        gitlab_quote(summary) if summary.strip() else "",
        _asked(state),
        _tests(state),
        _files(state.commits[-1].files if state.commits else ()),
        _accepted(state),
        _cost(state, public_url),
        "**Draft by an agent: review before merging.** What is quoted above was written by a "
        "person or a language model; tables and figures were measured.",
        marker(state.run),
    ]
    return "\n\n".join(part for part in parts if part)


def note(state: RunState, *, public_url: str = "") -> str:
    """For the issue or merge request that the request named."""
    request = state.merge_request
    done = f"opened {request.url or f'!{request.iid}'}" if request else "worked on this"
    asker = gitlab_line(who(state.request.requester))
    said = f"Asked by {asker}, Journeyman {done}. It is a draft, to be reviewed."
    return f"{said}{_page(state, public_url)}\n\n{marker(state.run)}"


def _asked(state: RunState) -> str:
    asker = gitlab_line(who(state.request.requester))
    parts = [f"### Asked by {asker}\n\n{gitlab_quote(state.request.text, limit=2000)}"]
    for followup in state.followups[:FOLLOWUPS]:
        by = gitlab_line(who(followup.given.by))
        parts.append(f"then {by}:\n\n{gitlab_quote(followup.given.text, limit=500)}")
    return "\n\n".join(parts)


def _tests(state: RunState) -> str:
    before, after = state.tests_base, state.tests_change
    if after is None:
        return "### Tests\n\nThe project's tests were not run on this change."
    if after.no_tests:
        return "### Tests\n\nNo tests were found in this project; nothing was tested."
    rows = [
        "| | passed | failed | errors | skipped | |",
        "|---|--:|--:|--:|--:|---|",
        _row("before", before) if before else "| before | | | | | not run |",
        _row("after", after),
    ]
    parts = ["### Tests", f"`{gitlab_line(after.command)}`", "\n".join(rows)]
    new = after.new_failures(before)
    known = sorted(after.bad & before.bad) if before else []
    repaired = sorted(before.bad - after.bad) if before else []
    parts += [
        _listed("New failures", [case.id for case in new]),
        _listed("Failed before and still do", known),
        _listed("Failed before and pass or are gone now", repaired),
    ]
    return "\n\n".join(part for part in parts if part)


def _row(name: str, report: TestReport) -> str:
    ended = f"stopped: {report.stopped}" if report.stopped else f"exit code {report.exit_code}"
    word = "green" if report.green else ended
    counts = f"{report.passed} | {report.failed} | {report.errors} | {report.skipped}"
    return f"| {name} | {counts} | {word} |"


def _listed(name: str, ids: Sequence[str]) -> str:
    if not ids:
        return ""
    lines = [f"- `{gitlab_line(item)}`" for item in ids[:TESTS]]
    if len(ids) > TESTS:
        lines.append(f"- and {len(ids) - TESTS} more")
    return f"{name}:\n\n" + "\n".join(lines)


def _files(files: Sequence[FileChange]) -> str:
    if not files:
        return ""
    rows = [
        f"| `{gitlab_line(file.path)}` | {file.status} | +{file.added} −{file.removed} |"
        for file in files[:FILES]
    ]
    if len(files) > FILES:
        rows.append(f"| and {len(files) - FILES} more | | |")
    return "### Files\n\n| file | | lines |\n|---|---|--:|\n" + "\n".join(rows)


def _accepted(state: RunState) -> str:
    """What a person has accepted of the newest commit."""
    tree = state.commits[-1].tree if state.commits else None
    accepted = [each for each in state.lifted if each.tree == tree and each.violations]
    if not accepted:
        return ""
    newest = accepted[-1]
    lines = [
        f"- `{gitlab_line(v.path)}{f':{v.line}' if v.line else ''}` {gitlab_line(v.detail)}"
        if v.path
        else f"- {gitlab_line(v.detail)}"
        for v in newest.violations[:FILES]
    ]
    if len(newest.violations) > FILES:
        lines.append(f"- and {len(newest.violations) - FILES} more")
    by = gitlab_line(who(newest.by))
    return f"### Checks that changed\n\nAccepted by {by}:\n\n" + "\n".join(lines)


def _cost(state: RunState, public_url: str) -> str:
    usage = state.usage
    minutes, seconds = divmod(int((state.updated_at - state.accepted_at).total_seconds()), 60)
    took = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    money = f", ${usage.money:.2f}" if usage.money else ""
    model = f" with {gitlab_line(state.model)}" if state.model else ""
    told = f"{state.calls} steps{model}, {usage.tokens:,} tokens{money}, {took}."
    return f"### Cost\n\n{told}{_page(state, public_url)}"


def _page(state: RunState, public_url: str) -> str:
    page = f"{public_url.rstrip('/')}/runs/{state.run}"
    return f" [Run {state.run}, step by step]({page})" if public_url else f" Run {state.run}."
