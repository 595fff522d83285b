"""Twenty scripted steps through `journeyman try` and through mini-swe-agent, in turns."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import mini, script
from benchmarks.measure import Used, run
from benchmarks.sandbox import starts
from benchmarks.scratch import scratch
from benchmarks.scripted import Endpoint, endpoint, environment
from benchmarks.table import Row, Table, median, spread

ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class Round:
    used: Used
    first: float  #: seconds from the start to the first request
    gaps: tuple[float, ...]  #: seconds between an answer and the next request
    own: float = 0.0  #: CPU seconds of the process without its children
    own_peak: float = 0.0


def steps() -> list[Table]:
    peer, why = mini.find()
    with scratch() as folder:
        home = folder / "home"
        repository = script.repository(folder / "sample")
        commands = {c: _alone(c, repository) for c in script.commands()}
        ours: list[Round] = []
        theirs: list[Round] = []
        with (
            endpoint(_made(folder / "ours"), script.ours()) as for_us,
            endpoint(_made(folder / "theirs"), script.bash()) as for_them,
        ):
            warm = _ours(for_us, repository, home)
            if peer:
                _theirs(peer, for_them, repository, folder)
            for _ in range(ROUNDS):
                ours.append(_ours(for_us, repository, home))
                if peer:
                    theirs.append(_theirs(peer, for_them, repository, folder))
        sandbox = asyncio.run(starts(home))
    return [
        _steps_table(ours, theirs, commands, sandbox, why),
        _whole_table(warm, ours, theirs, why),
    ]


def _ours(to: Endpoint, repository: Path, home: Path) -> Round:
    to.log.write_text("")
    report = to.log.with_name("own")
    env = environment(
        JOURNEYMAN_HOME=str(home),
        JOURNEYMAN_MODEL="scripted",
        OPENAI_BASE_URL=to.url,
        OPENAI_API_KEY="none",
    )
    argv = [sys.executable, "-m", "benchmarks.measure", str(report), "bot", "try"]
    argv += ["--repo", str(repository), "--json", script.REQUEST]
    used = run(argv, cwd=repository.parent, env=env)
    if used.exit_code:
        raise SystemExit(f"`journeyman try` failed:\n{used.output[-2000:]}")
    own, peak = map(float, report.read_text().split())
    return _round(used, to.requests(), own=own, own_peak=peak)


def _theirs(peer: Path, to: Endpoint, repository: Path, folder: Path) -> Round:
    to.log.write_text("")
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(repository, copy)
    env = environment(**mini.environment(to.url, folder / "mini-home"))
    used = run(mini.command(peer, script.REQUEST, folder / "trajectory.json"), cwd=copy, env=env)
    done = _round(used, to.requests())
    if "is_zero" not in (copy / "invoices" / "money.py").read_text() or len(done.gaps) != 19:
        raise SystemExit(f"mini-swe-agent did not do the work:\n{used.output[-2000:]}")
    return done


def _round(used: Used, requests: list[dict[str, Any]], **more: float) -> Round:
    pairs = pairwise(requests)
    gaps = tuple(after["arrived"] - before["answered"] for before, after in pairs)
    return Round(used=used, first=requests[0]["arrived"] - used.began, gaps=gaps, **more)


def _alone(command: str, repository: Path) -> float:
    """Seconds of a command by itself, median of five."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        copy = Path(name) / "copy"
        shutil.copytree(repository, copy)
        took = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run(["bash", "-c", command], cwd=copy, capture_output=True, check=False)
            took.append(time.perf_counter() - began)
    return median(took)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _steps_table(
    ours: list[Round],
    theirs: list[Round],
    commands: Mapping[str, float],
    sandbox: Mapping[str, float],
    why: str,
) -> Table:
    plain, runs, beyond = [], [], []
    for each in ours:
        taken = _overheads(each, script.ours(), commands)
        run_steps = [gap for gap, runs_command in taken if runs_command]
        plain.append(1000 * median([gap for gap, runs_command in taken if not runs_command]))
        runs.append(1000 * median(run_steps))
        beyond.append(1000 * median([g - sandbox["bwrap"] * r for g, r in taken]))
    peer = [
        1000 * median([gap for gap, _ in _overheads(each, script.bash(), commands)])
        for each in theirs
    ]
    base = f"mini-swe-agent {median(peer):.1f}, no sandbox" if peer else f"not measured: {why}"
    bwrap = 1000 * sandbox["bwrap"]
    rows = [
        Row(
            what="a step, beyond the start of the sandbox",
            value=median(beyond),
            unit="ms",
            limit=15,
            baseline=base,
            note=spread(beyond),
        ),
        Row(what="a step without a command", value=median(plain), unit="ms", note=spread(plain)),
        Row(
            what="a step with a command, sandbox included, the command's own time not",
            value=median(runs),
            unit="ms",
            note=spread(runs),
        ),
        Row(
            what="a command in our sandbox, start to end",
            value=1000 * sandbox["ours"],
            unit="ms",
            baseline=f"bwrap with the same arguments {bwrap:.1f}, "
            f"without a sandbox {1000 * sandbox['bare']:.1f}",
        ),
    ]
    return Table(title="Twenty steps, answers at once: harness time a step", rows=rows)


def _overheads(
    each: Round, answers: list[dict[str, Any]], commands: Mapping[str, float]
) -> list[tuple[float, bool]]:
    """Of each step: seconds of the harness, and whether it ran a command."""
    found = []
    for gap, answer in zip(each.gaps, answers, strict=False):
        command = answer["tool_calls"][0]["arguments"].get("command")
        found.append((gap - commands.get(command, 0.0), command is not None))
    return found


def _whole_table(warm: Round, ours: list[Round], theirs: list[Round], why: str) -> Table:
    def peer(of: str, values: list[float], unit: str) -> str:
        if not values:
            return f"not measured: {why}"
        return f"mini-swe-agent {median(values):.3g} {unit}{of}"

    first = [each.first for each in ours]
    own = [each.own for each in ours]
    whole = [each.used.cpu for each in ours]
    peak = [each.own_peak for each in ours]
    tree = [each.used.tree_peak for each in ours]
    return Table(
        title="The same run from outside: a cold `journeyman try`, PostgreSQL and tests included",
        rows=[
            Row(
                what="start to first model request",
                value=median(first),
                unit="s",
                limit=2,
                baseline=peer("", [each.first for each in theirs], "s"),
                note=f"{spread(first, 2)}; the very first, with its database made: "
                f"{warm.first:.1f}",
            ),
            Row(
                what="CPU of the process",
                value=median(own),
                unit="s",
                baseline=peer(", all of it", [each.used.cpu for each in theirs], "s"),
                note=f"with git, sandbox and the project's tests twice: {median(whole):.1f} s",
            ),
            Row(
                what="peak memory of the process",
                value=median(peak),
                unit="MB",
                limit=200,
                baseline=peer("", [each.used.own_peak for each in theirs], "MB"),
            ),
            Row(
                what="peak memory with all that it starts",
                value=median(tree),
                unit="MB",
                baseline=peer("", [each.used.tree_peak for each in theirs], "MB"),
                note="shared memory counted once; PostgreSQL has a session of its own",
            ),
            Row(
                what="the whole run",
                value=median([each.used.seconds for each in ours]),
                unit="s",
                baseline=peer(", no tests", [each.used.seconds for each in theirs], "s"),
            ),
        ],
    )
