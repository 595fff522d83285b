"""Commands that print without end, in the sandbox: how fast it is taken in, and in how much
memory. `python -m benchmarks.output HOME COMMAND` is one, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.outputs import HEAD, TAIL
from agent.ports import CommandLimits
from agent.prompt import clean
from benchmarks.measure import most_resident, resident
from benchmarks.scratch import scratch
from benchmarks.scripted import ROOT
from benchmarks.table import Row, Table, median, spread
from bot.build import sandbox_folder

ROUNDS = 3
LAST = 200
_LAST = f'echo; for n in $(seq {LAST}); do echo "test $n passed"; done'
COMMANDS = {
    "50 MB of lines": "head -c 50000000 /dev/zero | tr '\\0' x | fold -w 79",
    "one line of 10 MB": "head -c 10000000 /dev/zero | tr '\\0' x",
    "100,000 control sequences": "yes $'\\e[31mred\\e[0m' | head -50000",
}


def output() -> list[Table]:
    rows: list[Row] = []
    with scratch() as folder:
        for what, command in COMMANDS.items():
            whole = f"{command}; {_LAST}"
            plain = median([_plain(whole) for _ in range(ROUNDS)])
            measured = [_apart(folder / "home", whole) for _ in range(ROUNDS)]
            seconds, memory = ([each[n] for each in measured] for n in (0, 1))
            rows += [
                Row(
                    what=f"{what}, then {LAST} more, which arrive whole",
                    value=median(seconds),
                    unit="s",
                    baseline=f"bash into a pipe {plain:.2f} s",
                    note=spread(seconds, 2),
                ),
                Row(what="memory that it takes", value=median(memory), unit="MB", limit=50),
            ]
    return [Table(title="What commands print", rows=rows)]


def _plain(command: str) -> float:
    began = time.perf_counter()
    subprocess.run(["bash", "-c", f"({command}) | cat > /dev/null"], check=True)
    return time.perf_counter() - began


def _apart(home: Path, command: str) -> tuple[float, float]:
    argv = [sys.executable, "-m", "benchmarks.output", str(home), command]
    done = subprocess.run(argv, cwd=ROOT, env=os.environ, check=True, stdout=subprocess.PIPE)
    seconds, memory = done.stdout.split()
    return float(seconds), float(memory)


async def _measured(home: Path, command: str) -> None:
    sandbox = BubblewrapSandbox(sandbox_folder(home))
    folder = sandbox.new_folder("bench")
    try:
        async with sandbox.open(folder) as box:
            await box.exec(["true"])
            before, began = resident(), time.perf_counter()
            result = await box.exec(
                ["bash", "-c", command], limits=CommandLimits(head=HEAD, tail=TAIL)
            )
            shown = clean(result.output)
            seconds = time.perf_counter() - began
    finally:
        await sandbox.remove(folder)
    last = "".join(f"test {number} passed\n" for number in range(1, LAST + 1))
    if result.exit_code or not shown.endswith(last):
        raise SystemExit(f"The last lines did not arrive (exit {result.exit_code}).")
    print(seconds, max(0.0, most_resident() - before))


if __name__ == "__main__":
    asyncio.run(_measured(Path(sys.argv[1]), sys.argv[2]))
