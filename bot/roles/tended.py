"""Whether nights may work on a project at all: told before the work, not when it is published."""

from __future__ import annotations

from dataclasses import dataclass

from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter
from agent.errors import Refused
from agent.ports import Origin

DEVELOPER = 30


@dataclass(frozen=True, kw_only=True)
class Tended:
    """`writer` None: another process has that token, and its rights are not known here."""

    reader: GitLabReader
    writer: GitLabWriter | None

    async def origin(self, path: str) -> Origin:
        """Raises `Refused` when nothing could be pushed there."""
        project = await self.reader.project(path)
        if project.archived:
            raise Refused(
                f"{path} is archived in GitLab, so nothing could be pushed to it. Unarchive it, or"
                " take its nights out of the settings."
            )
        if self.writer is not None:
            level = await self.reader.access(path, await self.writer.me())
            if level < DEVELOPER:
                raise Refused(
                    f"The account of {self.writer.token_name} may not push to {path}. Give it the"
                    " role Developer there, or take the project's nights out of the settings."
                )
        return self.reader.origin(project)
