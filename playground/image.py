"""What stands for a job's container image: the packages that the project declares."""

from __future__ import annotations

import asyncio
import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from agent.dependencies import Installer
from agent.ports import Mount
from playground.gitlab.forge import Forge


class ProjectImage:
    """Installed once for each set of manifests, in the sandbox, as the agent does it."""

    def __init__(self, installer: Installer) -> None:
        self.installer = installer
        self.forge: Forge | None = None
        self._installing = asyncio.Lock()

    async def __call__(self, path: str, sha: str) -> Sequence[Mount]:
        project = self.forge.state.project_by(path) if self.forge else None
        if self.forge is None or project is None:
            return ()
        archive = await self.forge.repository(project).git("archive", "--format=zip", sha)
        with tempfile.TemporaryDirectory(prefix="image-") as folder:
            with zipfile.ZipFile(io.BytesIO(archive)) as files:
                files.extractall(folder)
            async with self._installing:  # for the jobs of a stage, which begin together
                installed = await self.installer.install(Path(folder), project=path)
        # a job finds programs in `bin` right below a mount
        return [
            Mount(source=inner, target=f"{mount.target}/{inner.name}")
            if (inner := mount.source / "python").is_dir()
            else mount
            for mount in installed.mounts
        ]
