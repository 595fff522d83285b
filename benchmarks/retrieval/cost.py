"""What a method's index takes, in a process that does nothing else."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.retrieval.history import Change
from benchmarks.measure import MB, resident
from benchmarks.retrieval.methods import METHODS, Method
from benchmarks.retrieval.repository import Commit, Repository
from benchmarks.retrieval.scene import Lasting, Scene
from benchmarks.retrieval.serving import cpu
from benchmarks.retrieval.textsearch import TextSearch

_WORDS = "read the configuration of a request"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of the tree at a commit, nothing of it known before."""

    seconds: float  #: of a core
    memory: float  #: MB, the peak of our process beyond what it had before
    size: float  #: MB of the index, the text left out


def cost(path: Path, commit: str, name: str) -> Cost:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(_measured, path, commit, name).result()


def past(log: list[Commit]) -> list[Change]:
    return [Change(id=c.sha, at=c.at, title=c.title, paths=c.paths) for c in log]


def _measured(path: Path, commit: str, name: str) -> Cost:
    repository = Repository(path)
    lasting = Lasting(repository)
    method = METHODS[name]
    scene = Scene(
        tree=repository.tree(commit),
        past=past(repository.log(commit)),
        now=datetime.now(UTC),
        lasting=lasting,
    )
    assert scene.folder  # getting at the contents is nobody's work, nor is starting a server
    if method.tool is not None:
        lasting.tool(method.tool)
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    seconds = _busy(method, scene)
    memory = max(peak() - before, 0.0)
    seconds = max(seconds - _busy(method, scene), 0.0)
    size = method.size(scene) / MB
    lasting.close()
    repository.close()
    return Cost(seconds=seconds, memory=memory, size=size)


def _busy(method: Method, scene: Scene) -> float:
    began = _cpu(method, scene)
    method.find(scene, _WORDS)
    return _cpu(method, scene) - began


def _cpu(method: Method, scene: Scene) -> float:
    programs = os.times()
    if method.tool is TextSearch:
        return cpu(scene.lasting.tool(TextSearch).home)
    return time.process_time() + programs.children_user + programs.children_system


def peak() -> float:
    """MB of this process."""
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return float(status.partition("VmHWM:")[2].split()[0]) * 1024 / MB
