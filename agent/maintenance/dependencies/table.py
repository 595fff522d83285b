"""The package managers that a night knows. Those of the first line are installed here and their
updates tried; of the others it is told what is behind."""

from __future__ import annotations

from agent.maintenance.dependencies.bundler import Bundler
from agent.maintenance.dependencies.cargo import Cargo
from agent.maintenance.dependencies.ecosystem import Ecosystem
from agent.maintenance.dependencies.go import Go
from agent.maintenance.dependencies.gradle import Gradle
from agent.maintenance.dependencies.maven import Maven
from agent.maintenance.dependencies.npm import Npm
from agent.maintenance.dependencies.pip import Pip
from agent.maintenance.dependencies.pnpm import Pnpm
from agent.maintenance.dependencies.poetry import Poetry
from agent.maintenance.dependencies.uv import Uv
from agent.maintenance.dependencies.yarn import Yarn

ECOSYSTEMS: tuple[Ecosystem, ...] = (
    *(Uv(), Pip(), Poetry(), Npm(), Pnpm(), Yarn()),
    *(Go(), Cargo(), Bundler(), Maven(), Gradle()),
)
