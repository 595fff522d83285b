"""The package managers that a night knows."""

from __future__ import annotations

from agent.maintenance.dependencies.ecosystem import Ecosystem
from agent.maintenance.dependencies.npm import Npm
from agent.maintenance.dependencies.pip import Pip
from agent.maintenance.dependencies.uv import Uv

ECOSYSTEMS: tuple[Ecosystem, ...] = (Uv(), Pip(), Npm())
