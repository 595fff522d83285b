"""Projects as tests and the playground put them in, from a folder or a repository."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from playground.gitlab.forge import Forge
from playground.gitlab.git_repo import ZERO, Repository, Signature, run_git
from playground.gitlab.records import MAINTAINER, Project, User


def new(
    forge: Forge, owner: User, name: str, path: str, namespace_id: int, visibility: str
) -> Project:
    now = forge.state.now()
    project = Project(
        id=forge.state.next_id("project"),
        name=name,
        path=path,
        namespace_id=namespace_id,
        creator_id=owner.id,
        created_at=now,
        updated_at=now,
        visibility=visibility,
    )
    forge.state.projects[project.id] = project
    if forge.state.access(project, owner) < MAINTAINER:
        forge.state.add_member(project, owner, MAINTAINER)
    return project


async def seed(
    forge: Forge,
    path: str,
    *,
    owner: User,
    source: Path | None,
    visibility: str,
    protect: bool,
    settings: dict[str, Any],
) -> Project:
    namespace, _, name = path.rpartition("/")
    person = forge.state.user_by_name(namespace)
    if person:
        namespace_id = person.namespace_id
    else:
        group = None
        for depth, part in enumerate(parts := namespace.split("/")):
            known = forge.state.group_by("/".join(parts[: depth + 1]))
            group = known or forge.state.add_group(part, parent=group)
        assert group is not None
        namespace_id = group.id
    project = new(forge, owner, name, name, namespace_id, visibility)
    project.settings |= settings
    if source is None:
        await forge.create_repository(project)
    elif (source / ".git").exists() or (source / "HEAD").is_file():
        await forge.create_repository(project, source)
        head = await Repository(source if (source / "HEAD").is_file() else source / ".git").text(
            "rev-parse", "--abbrev-ref", "HEAD"
        )
        heads = await forge.repository(project).refs("heads")
        project.default_branch = head if head in heads else next(iter(heads), "main")
        repository = forge.repository(project)
        await repository.git("symbolic-ref", "HEAD", f"refs/heads/{project.default_branch}")
    else:
        await forge.create_repository(project)
        await _first_commit(forge, project, source, owner)
    for branch in await forge.repository(project).refs("heads"):
        project.pushed_at[branch] = float("-inf")
    if protect:
        forge.state.protect(project, project.default_branch)
    return project


async def _first_commit(forge: Forge, project: Project, source: Path, owner: User) -> None:
    repository = forge.repository(project)
    with tempfile.TemporaryDirectory() as folder:
        tree = f"--work-tree={source}"
        env = {"GIT_INDEX_FILE": f"{folder}/index"}
        await run_git(f"--git-dir={repository.path}", tree, "add", "--all", cwd=source, env=env)
        written = await repository.text("write-tree", env=env)
    author = Signature(name=owner.name, email=owner.email)
    commit = await repository.commit_tree(written, [], "First commit\n", author)
    await repository.update_ref(f"refs/heads/{project.default_branch}", commit, ZERO)
