"""`python -m benchmarks [NAME …]`: measures all, or what is named, and prints it."""

from __future__ import annotations

import argparse
import importlib
import os
import platform

from rich.console import Console

from benchmarks.table import show

NAMES = (
    *("steps", "worker", "prompt", "slack", "workspace", "joblog", "watching", "findings"),
    *("output", "longthread", "load", "takeover", "waiting", "fleet", "hosts", "capacity"),
    "failpoints",
)
#: Small by default, as large as they are told of with --full.
SIZED = ("load", "takeover", "waiting", "fleet", "hosts", "capacity")
OTHERS = ("renovate", "nights")  #: only when named: they take minutes and package registries


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*NAMES, *OTHERS)))
    parser.add_argument("--full", action="store_true", help=f"{', '.join(SIZED)} in full size")
    arguments = parser.parse_args()
    names = arguments.names or NAMES
    if wrong := [name for name in names if name not in (*NAMES, *OTHERS)]:
        parser.error(f"{wrong[0]} is none of {', '.join((*NAMES, *OTHERS))}")
    console = Console(width=None if Console().is_terminal else 150)
    load = os.getloadavg()[0]
    console.print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} at the start."
        " Times are medians; another load on the machine makes them longer."
    )
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        measure = getattr(module, name)
        for table in measure(full=arguments.full) if name in SIZED else measure():
            show(table, console)


if __name__ == "__main__":
    main()
