"""What the GitLab in memory knows, and what goes wrong in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agent.errors import NotFound
from agent.pipeline import Pipeline
from agent.ports import (
    Deployment,
    Discussion,
    ForgeCommit,
    ForgeRules,
    ForgeUser,
    MergeRequest,
)
from agent.run import CommitSha, Linked
from agent.testreport import TestReport

#: What goes wrong in a call: an error before its effect, or after it.
Fault = Exception | tuple[Literal["after"], Exception]


@dataclass(kw_only=True)
class ForgeState:
    """`faults` are raised by the named method, one a call: an error before it has any effect, or a
    pair ("after", error) once it has had it. `lines` are newest first, those of branches too."""

    clone_url: str
    path: str = "group/project"
    branch: str | None = "main"
    members: dict[int, int] = field(default_factory=dict[int, int])
    own: int = 99  #: the user that this forge is used as
    requests: list[MergeRequest] = field(default_factory=list[MergeRequest])
    notes: list[tuple[str, int, str]] = field(default_factory=list[tuple[str, int, str]])
    links: dict[tuple[str, int], Linked] = field(default_factory=dict[tuple[str, int], Linked])
    faults: dict[str, list[Fault]] = field(default_factory=dict[str, list[Fault]])
    calls: list[str] = field(default_factory=list[str])
    lines: list[Pipeline] = field(default_factory=list[Pipeline])
    logs: dict[int, bytes] = field(default_factory=dict[int, bytes])
    tests: dict[int, TestReport] = field(default_factory=dict[int, TestReport])
    scripts: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    users: dict[int, ForgeUser] = field(default_factory=dict[int, ForgeUser])
    groups: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    #: by merge request
    contents: dict[int, list[ForgeCommit]] = field(default_factory=dict[int, list[ForgeCommit]])
    differences: dict[int, bytes] = field(default_factory=dict[int, bytes])
    talk: dict[int, list[Discussion]] = field(default_factory=dict[int, list[Discussion]])
    assigned: dict[int, int] = field(default_factory=dict[int, int])
    approved: dict[int, list[str]] = field(default_factory=dict[int, list[str]])  #: by whom
    #: by branch or environment
    rules: dict[str, ForgeRules] = field(default_factory=dict[str, ForgeRules])
    branches: dict[str, CommitSha] = field(default_factory=dict[str, CommitSha])
    deployments: list[Deployment] = field(default_factory=list[Deployment])  #: newest first
    #: One for each merge to come: it appears then, with the merge's branch and commit.
    merge_lines: list[Pipeline] = field(default_factory=list[Pipeline])
    merges_later: bool = False  #: `merge` is accepted, and done by `land`
    may_merge: bool = True
    may_play: bool = True

    def begin(self, method: str) -> Exception | None:
        """Gives the error to raise once the call has had its effect."""
        self.calls.append(method)
        if not self.faults.get(method):
            return None
        match self.faults[method].pop(0):
            case ("after", error):
                return error
            case Exception() as error:
                raise error

    def wanted(self, iid: int) -> MergeRequest:
        if not 0 < iid <= len(self.requests):
            raise NotFound(f"There is no merge request {iid}.", status=404)
        return self.requests[iid - 1]

    def change(self, iid: int, **values: Any) -> MergeRequest:
        """What somebody else does to a merge request: `change(1, sha=…, state="closed")`."""
        self.requests[iid - 1] = replace(self.wanted(iid), **values)
        return self.requests[iid - 1]

    def land(self, iid: int) -> MergeRequest:
        """The merge itself, now; with a merge commit and its pipeline."""
        request = self.wanted(iid)
        merged = sha(f"merge {request.sha} into {request.target_branch}")
        self.branches[request.target_branch] = merged
        if self.merge_lines:
            line = self.merge_lines.pop(0)
            self.lines.insert(0, replace(line, sha=merged, ref=request.target_branch))
        return self.change(
            iid, state="merged", detailed_status="not_open", merged=merged, merged_by=self.own
        )


def sha(text: str) -> CommitSha:
    return CommitSha(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
