"""Stand-ins for tests: a model that says what it is told, a GitLab in memory, and a clock that
stands still."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from agent.context import encode_one
from agent.errors import Conflict, ForgeRejected, NotFound
from agent.pipeline import Job, Pipeline
from agent.ports import Answer, MergeRequest, Message, Origin, Project, ToolCall, ToolSpec
from agent.run import CommitSha, Linked, Usage
from agent.testreport import TestReport

#: What the model says next: an answer, an error to raise, or a function of the prompt.
Reply = Message | Exception | Answer | Callable[[Sequence[Message]], "Message"]

#: What goes wrong in a call: an error before its effect, or after it.
Fault = Exception | tuple[Literal["after"], Exception]


def call(name: str, /, **arguments: Any) -> tuple[str, str]:
    """A tool call to put into `say`."""
    return name, json.dumps(arguments)


def say(*calls: tuple[str, str], text: str | None = None) -> Message:
    """An answer of the model; its calls get ids of their own when it is given."""
    made = tuple(ToolCall(id="", name=name, arguments=arguments) for name, arguments in calls)
    return Message(role="assistant", content=text, tool_calls=made)


@dataclass(kw_only=True)
class ScriptedModel:
    """Implements `agent.ports.Model`. `prompts` keeps the bytes of each prompt. With `by_prompt`
    the number of answers in the prompt chooses the reply, so that asking again repeats it."""

    replies: list[Reply]
    window: int = 128_000
    name: str = "scripted"
    usage: Usage = field(
        default_factory=lambda: Usage(steps=1, prompt_tokens=1000, completion_tokens=50)
    )
    latency: float = 0.0
    by_prompt: bool = False
    prompts: list[bytes] = field(default_factory=list[bytes], init=False)
    tools: list[Sequence[ToolSpec]] = field(default_factory=list[Sequence[ToolSpec]], init=False)
    given: int = field(default=0, init=False)

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, model: str | None = None
    ) -> Answer:
        self.prompts.append(b"\n".join(encode_one(message) for message in messages))
        self.tools.append(tools)
        await asyncio.sleep(self.latency)
        if self.by_prompt:
            self.given = sum(message.role == "assistant" for message in messages)
        if self.given >= len(self.replies):
            raise AssertionError(f"the script has only {len(self.replies)} replies")
        reply = self.replies[self.given]
        self.given += 1
        if callable(reply):
            reply = reply(messages)
        match reply:
            case Exception():
                raise reply
            case Answer():
                return reply
            case Message():
                return self._answer(reply)

    def _answer(self, said: Message) -> Answer:
        calls = tuple(
            ToolCall(id=f"call_{self.given}_{place}", name=c.name, arguments=c.arguments)
            for place, c in enumerate(said.tool_calls)
        )
        finish: Literal["stop", "tool_calls"] = "tool_calls" if calls else "stop"
        message = Message(role="assistant", content=said.content, tool_calls=calls)
        return Answer(message=message, finish=finish, usage=self.usage, model=self.name)


class FixedClock:
    """Implements `agent.ports.Clock`. Sleeping moves it on at once; `slept` keeps how long."""

    def __init__(self, at: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._at = at
        self._elapsed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._at + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._elapsed += seconds
        await asyncio.sleep(0)


@dataclass(kw_only=True)
class FakeForge:
    """Implements `agent.ports.ForgeReader` and `ForgeWriter`: one project whose code is at a path.

    `faults` are raised by the named method, one a call: an error before it has any effect, or a
    pair ("after", error) once it has had it. `lines` are newest first, those of branches too.
    """

    clone_url: str
    path: str = "group/project"
    branch: str | None = "main"
    members: dict[int, int] = field(default_factory=dict[int, int])
    user: int = 99
    requests: list[MergeRequest] = field(default_factory=list[MergeRequest])
    notes: list[tuple[str, int, str]] = field(default_factory=list[tuple[str, int, str]])
    links: dict[tuple[str, int], Linked] = field(default_factory=dict[tuple[str, int], Linked])
    faults: dict[str, list[Fault]] = field(default_factory=dict[str, list[Fault]])
    calls: list[str] = field(default_factory=list[str])
    lines: list[Pipeline] = field(default_factory=list[Pipeline])
    logs: dict[int, bytes] = field(default_factory=dict[int, bytes])
    tests: dict[int, TestReport] = field(default_factory=dict[int, TestReport])
    scripts: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    async def project(self, path: str) -> Project:
        self._begin("project")
        if path != self.path:
            raise NotFound(f"There is no project {path}.", status=404)
        return Project(
            id=1,
            path=path,
            default_branch=self.branch,
            clone_url=self.clone_url,
            web_url=f"https://gitlab.example/{path}",
        )

    def origin(self, project: Project) -> Origin:
        return Origin(url=project.clone_url)

    async def access(self, project: str, user_id: int) -> int:
        self._begin("access")
        return self.members.get(user_id, 0)

    async def username(self, user_id: int) -> str:
        return f"user{user_id}"

    async def me(self) -> int:
        return self.user

    async def merge_requests(self, project: str, source_branch: str) -> Sequence[MergeRequest]:
        self._begin("merge_requests")
        return [r for r in reversed(self.requests) if r.source_branch == source_branch]

    async def linked(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int
    ) -> Linked:
        if (kind, iid) not in self.links:
            raise NotFound(f"There is no {kind} {iid}.", status=404)
        return self.links[kind, iid]

    async def has_note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, marker: str
    ) -> bool:
        self._begin("has_note")
        return any(n[:2] == (kind, iid) and marker in n[2] for n in self.notes)

    async def open_merge_request(
        self, project: str, *, source: str, target: str, title: str, description: str
    ) -> MergeRequest:
        after = self._begin("open_merge_request")
        if any(r.source_branch == source and r.state == "opened" for r in self.requests):
            raise Conflict("Another open merge request already exists.", status=409)
        iid = len(self.requests) + 1
        made = MergeRequest(
            project=project,
            iid=iid,
            url=f"https://gitlab.example/{project}/-/merge_requests/{iid}",
            title=title,
            description=description,
            state="opened",
            draft=title.startswith("Draft:"),
            source_branch=source,
            target_branch=target,
            sha=None,
            author_id=self.user,
        )
        self.requests.append(made)
        if after:
            raise after
        return made

    async def update_merge_request(self, project: str, iid: int, *, description: str) -> None:
        after = self._begin("update_merge_request")
        self.requests[iid - 1] = replace(self.requests[iid - 1], description=description)
        if after:
            raise after

    async def note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, text: str
    ) -> None:
        after = self._begin("note")
        self.notes.append((kind, iid, text))
        if after:
            raise after

    async def pipelines(self, project: str, *, sha: CommitSha) -> Sequence[Pipeline]:
        self._begin("pipelines")
        return [line for line in self.lines if line.sha == sha]

    async def branch_pipeline(self, project: str, branch: str) -> Pipeline | None:
        self._begin("branch_pipeline")
        done = ("success", "failed")
        return next((p for p in self.lines if p.ref == branch and p.status in done), None)

    async def job(self, project: str, job: int) -> Job:
        self._begin("job")
        for line in self.lines:
            for each in line.jobs:
                if each.id == job:
                    return each
        raise NotFound(f"There is no job {job}.", status=404)

    async def job_log(self, project: str, job: int, sink: Callable[[bytes], None]) -> None:
        self._begin("job_log")
        if job not in self.logs:
            raise NotFound(f"Job {job} has no log.", status=404)
        sink(self.logs[job])

    async def pipeline_tests(self, project: str, pipeline: int) -> TestReport | None:
        self._begin("pipeline_tests")
        return self.tests.get(pipeline)

    async def ci_script(self, project: str, commit: CommitSha, job: str) -> tuple[str, ...]:
        self._begin("ci_script")
        return self.scripts.get(job, ())

    async def retry_job(self, project: str, job: int) -> Job:
        """The job in its pipeline is replaced by one that waits to run."""
        after = self._begin("retry_job")
        old = await self.job(project, job)
        if old.status not in ("success", "failed", "canceled") or old.external:
            raise ForgeRejected(f"Job {job} cannot be run again.", status=403)
        new = replace(old, id=max(j.id for p in self.lines for j in p.jobs) + 1, status="pending")
        self.lines = [
            replace(
                line,
                status="running",
                jobs=tuple(new if each.id == job else each for each in line.jobs),
            )
            if old in line.jobs
            else line
            for line in self.lines
        ]
        if after:
            raise after
        return new

    def _begin(self, method: str) -> Exception | None:
        self.calls.append(method)
        if not self.faults.get(method):
            return None
        match self.faults[method].pop(0):
            case ("after", error):
                return error
            case Exception() as error:
                raise error
