"""Runs tests in the sandbox such that coverage.py sees which lines they run.

Every Python process of the tests begins to measure by itself, so whatever command starts them
stays as it is. coverage.py is the project's own, else it is brought in read-only.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ToolFailed
from agent.files import WorkspaceFiles
from agent.maintenance.coverage import reading
from agent.maintenance.workshop import Night, Place
from agent.ports import CommandLimits, CommandResult, Mount
from agent.runners import TestCommand
from agent.testreport import TestReport
from agent.verify import run_tests

SLOWER = 2  #: times as long as the tests may take alone
_TOOL, _SETUP, _OUT = "/run/coverage-tool", "/run/coverage-setup", "/run/coverage-out"
_STARTUP = f"""\
import coverage
open("{_OUT}/began", "a").close()
coverage.process_startup()
"""
_LIMITS = CommandLimits(seconds=180)
_REPORT = "python3 -m coverage combine -q && python3 -m coverage json -q -i -o {out}/coverage.json"


@dataclass(frozen=True, kw_only=True)
class Measured:
    report: TestReport
    runs: Mapping[str, reading.Run]


@dataclass(frozen=True, kw_only=True)
class Tool:
    """`site`: where Python finds it inside; empty: among the project's own packages."""

    site: str = ""
    mounts: tuple[Mount, ...] = ()


async def find_tool(night: Night, place: Place) -> Tool:
    """Raises `ToolFailed`."""
    # a folder of reports is often called `coverage`, and can be imported as well
    known = ["python3", "-c", "from coverage import process_startup"]
    if (await place.exec(known)).exit_code == 0:
        return Tool()
    missing = "coverage.py is not among the project's packages"
    if night.installer is None:
        raise ToolFailed(f"{missing}.")
    folder = night.sandbox.new_folder("coverage")
    try:
        await asyncio.to_thread(WorkspaceFiles(folder).write, "requirements.txt", b"coverage\n")
        made = await night.installer.install(folder, project=night.project.path)
    finally:
        await night.sandbox.remove(folder)
    for mount in made.mounts:
        for site in sorted(mount.source.glob("python/lib/python3*/site-packages")):
            if (site / "coverage").is_dir():
                inside = f"{_TOOL}/{site.relative_to(mount.source)}"
                return Tool(site=inside, mounts=(Mount(source=mount.source, target=_TOOL),))
    why = made.record.problem or "it could not be brought in"
    raise ToolFailed(f"{missing}: {why}")


async def measure(
    night: Night, place: Place, tool: Tool, command: TestCommand, paths: Sequence[str]
) -> Measured:
    """The tests in the place, and which lines of these files they run. Raises `ToolFailed`."""
    out = night.sandbox.new_folder("coverage")
    report = night.sandbox.new_folder("report")
    try:
        async with _setup(night, paths) as setup:
            path = (_SETUP, place.packages.env.get("PYTHONPATH", ""), tool.site)
            env = {**place.packages.env, "PYTHONPATH": ":".join(part for part in path if part)}
            env |= {"COVERAGE_RCFILE": f"{_SETUP}/coveragerc"}
            mounts = [
                *tool.mounts,
                Mount(source=setup, target=_SETUP),
                Mount(source=out, target=_OUT, writable=True),
            ]
            tests = await run_tests(
                place.box,
                report,
                command,
                limits=CommandLimits(seconds=SLOWER * night.project.test_seconds),
                mounts=[*place.packages.mounts, *mounts],
                env={**env, "COVERAGE_PROCESS_START": f"{_SETUP}/coveragerc"},
                files=night.paths,
            )
            script = ["bash", "-c", _REPORT.format(out=shlex.quote(_OUT))]
            told = await place.exec(script, env=env, limits=_LIMITS, mounts=mounts)
            runs = await asyncio.to_thread(_read, out, paths, told)
            return Measured(report=tests.report, runs=runs)
    finally:
        await night.sandbox.remove(report)
        await night.sandbox.remove(out)


@asynccontextmanager
async def _setup(night: Night, paths: Sequence[str]) -> AsyncGenerator[Path]:
    """What tells each process to measure, whatever the project settles for coverage.py."""
    measured = "".join(f"    /workspace/{path}\n" for path in paths)
    settings = (
        f"[run]\nparallel = true\ndata_file = {_OUT}/data\n"
        f"include =\n{measured}[report]\ninclude =\n{measured}"
    )
    folder = night.sandbox.new_folder("coverage")
    try:
        files = WorkspaceFiles(folder)
        files.write("coveragerc", settings.encode())
        files.write("sitecustomize.py", _STARTUP.encode())
        folder.chmod(0o755)  # shown read-only, it does not belong to who reads it
        yield folder
    finally:
        await night.sandbox.remove(folder)


def _read(out: Path, paths: Sequence[str], told: CommandResult) -> Mapping[str, reading.Run]:
    files = WorkspaceFiles(out)
    if told.exit_code == 0:
        data = files.read("coverage.json", reading.SIZE + 1)
        if len(data) > reading.SIZE:
            raise ToolFailed(f"coverage.py reported more than {reading.SIZE // 2**20} MB.")
        return reading.read(data, paths)
    if not files.exists("began"):
        raise ToolFailed("the tests ran no Python in which coverage.py could begin to measure.")
    if told.stopped or "No data to " not in told.output:
        said = " ".join(told.output.split())[-300:]
        raise ToolFailed(f"coverage.py did not report: {told.stopped or said}")
    return {}  # none of these files was even imported
