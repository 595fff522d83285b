"""Runs a command and says what it and everything it started used."""

from __future__ import annotations

import os
import resource
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000
_EVERY = 0.1  # seconds between two looks at the memory of the tree


@dataclass(frozen=True, kw_only=True)
class Used:
    exit_code: int
    began: float
    seconds: float
    cpu: float  #: of the process and all that it waited for
    own_peak: float  #: MB of the process itself
    tree_peak: float  #: MB, what is shared counted once
    below_peak: float  #: MB of all that it started, itself left out
    output: str


def run(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], seconds: float = 120) -> Used:
    began = time.monotonic()
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    killer = threading.Timer(seconds, process.kill)
    killer.start()
    watcher = _Watcher(process.pid)
    watcher.start()
    assert process.stdout is not None
    output = process.stdout.read().decode("utf-8", "replace")
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    killer.cancel()
    watcher.done.set()
    watcher.join()
    return Used(
        exit_code=process.returncode,
        began=began,
        seconds=took,
        cpu=usage.ru_utime + usage.ru_stime,
        own_peak=watcher.own / MB,
        tree_peak=watcher.tree / MB,
        below_peak=watcher.below / MB,
        output=output,
    )


def own_cpu() -> float:
    """Seconds of this process, without any that it started."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident() -> float:
    """MB of this process."""
    return _field(Path("/proc/self/status"), "VmRSS:") / MB


def most_resident() -> float:
    """MB, at any time since this program began. `ru_maxrss` counts whoever started it, too."""
    return _field(Path("/proc/self/status"), "VmHWM:") / MB


class _Watcher(threading.Thread):
    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.own = self.tree = self.below = 0.0
        self._pid = pid

    def run(self) -> None:
        while not self.done.wait(_EVERY):
            self.own = max(self.own, _field(Path(f"/proc/{self._pid}/status"), "VmHWM:"))
            first, *rest = (_share(each) for each in _tree(self._pid))
            self.tree = max(self.tree, first + sum(rest))
            self.below = max(self.below, sum(rest))


def _tree(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _share(pid: int) -> float:
    return _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def _field(path: Path, name: str) -> float:
    try:
        for line in path.read_text().splitlines():
            if line.startswith(name):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    return 0.0


def main() -> None:
    """`python -m benchmarks.measure FILE MODULE …` runs a module, and leaves in FILE the CPU
    seconds and the peak memory of the process without its children."""
    report, module, *rest = sys.argv[1:]
    sys.argv = [module, *rest]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        peak = _field(Path("/proc/self/status"), "VmHWM:") / MB
        Path(report).write_text(f"{own_cpu()} {peak}")


if __name__ == "__main__":
    main()
