"""What would pass: is it still what the request was made for, and may it pass now?"""

from __future__ import annotations

import hashlib

from agent.checks.case import Case
from agent.gate import Action
from agent.pipeline import Verdict
from agent.watch import judge

_LONG = float("inf")  # a pipeline that is not there now is not waited for


async def merge_request(case: Case) -> str | None:
    gate = case.gate.gate
    now = case.request or await case.forge.merge_request(gate.project, gate.iid)
    wanted = "opened" if gate.action is Action.MERGE else "merged"
    if now.state != wanted:
        return f"!{gate.iid} is {now.state} at GitLab by now."
    if now.project_id != gate.project_id:
        return f"!{gate.iid} belongs to another project by now: `{gate.project}` was moved."
    if now.target_branch != gate.target:
        return f"!{gate.iid} goes to `{now.target_branch}` now, and not to `{gate.target}`."
    if now.source_branch != gate.source:
        return f"!{gate.iid} comes from `{now.source_branch}` now, and not from `{gate.source}`."
    if gate.action is Action.MERGE and now.sha != gate.commit:
        head = f"at {now.sha[:8]}" if now.sha else "without a commit"
        return f"!{gate.iid} stands {head} now; the request was for {gate.commit[:8]}."
    return None


async def difference(case: Case) -> str | None:
    gate = case.gate.gate
    if gate.action is Action.DEPLOY:
        return None  # a commit that was merged does not change
    shown = await case.forge.difference(gate.project, gate.iid)
    if hashlib.sha256(shown).hexdigest() == gate.diff:
        return None
    return f"What !{gate.iid} changes is no longer what the request was for."


async def policy(case: Case) -> str | None:
    gate = case.gate.gate
    now = case.project.settled(gate.target, gate.environment) if case.project else None
    if now is not None and now == gate.policy:
        return None
    return f"The rules for `{gate.subject}` were changed since the request was made."


async def pipeline(case: Case) -> str | None:
    gate = case.gate.gate
    lines = await case.forge.pipelines(gate.project, sha=gate.commit)
    _, judged = judge(lines, gate.commit, _LONG)
    enough = {Verdict.GREEN}
    if gate.action is Action.DEPLOY:  # its pipeline waits for just this
        enough |= {Verdict.MANUAL}
    if judged.verdict in enough:
        return None
    return f"{judged.sentence} Only what passed may go to `{gate.subject}`."


async def job(case: Case) -> str | None:
    gate = case.gate.gate
    if gate.action is Action.MERGE:
        return None
    rule = case.project.environment(gate.environment) if case.project else None
    lines = await case.forge.pipelines(gate.project, sha=gate.commit)
    jobs = (job for line in lines if line.sha == gate.commit for job in line.jobs)
    job = next((job for job in jobs if job.id == gate.job), None)
    if job is None or rule is None or job.name not in rule.jobs:
        return f"The job does not deploy {gate.commit[:8]} to `{gate.environment}`."
    if job.status != "manual":
        return f"The job `{job.name}` is {job.status} at GitLab by now: it was started elsewhere."
    return None


async def freeze(case: Case) -> str | None:
    if case.frozen is not None:
        return f"{case.frozen.sentence} Nothing is approved until the freeze is ended."
    gate = case.gate.gate
    until = gate.rule.frozen_until(case.now)
    if until is None:
        return None
    return f"`{gate.subject}` is frozen until {until:%H:%M %Z on %d %B}. Press again after that."
