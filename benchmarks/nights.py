"""Nights of fifty projects, one after the other as a service works them off, beside the plain
commands without us."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.adapters.package_config import find_uv, read_sources
from agent.package_sources import PackageSources
from benchmarks.measure import run
from benchmarks.outdated import commit, write
from benchmarks.scratch import scratch
from benchmarks.scripted import ROOT, environment
from benchmarks.table import Row, Table, skipped, spread

PROJECTS = 50
SECONDS = 3000  #: for all of them
MEMORY = 200  #: MB that our process may have at its peak
GROWTH = 10  #: MB that it may have more after the last project than after the tenth

#: Pins that are behind, and a line that uses the package; every project has one of them.
PINS = (
    ("click==8.0.1", "click.style('a')"),
    ("idna==3.3", "idna.encode('a')"),
    ("inflection==0.4.0", "inflection.pluralize('part')"),
    ("itsdangerous==2.0.1", "itsdangerous.Signer('key')"),
    ("more-itertools==8.10.0", "more_itertools.first([1])"),
    ("six==1.15.0", "six.text_type('a')"),
    ("tabulate==0.8.9", "tabulate.tabulate([[1]])"),
    ("toolz==0.11.1", "toolz.first([1])"),
    ("cachetools==5.0.0", "cachetools.LRUCache(2)"),
    ("humanize==3.12.0", "humanize.intcomma(1000)"),
)
#: What ruff mends (imports, order) and what it leaves to others (a lambda, a bare `except`).
_CODE = """import os, sys
import {module}
import json


def used( ):
    return {use}


def read(path):
    try:
        return json.load(open(path))
    except:
        return None


double = lambda number: number * {number}
"""
_TEST = """import part


def test_used():
    assert part.used() is not None


def test_double():
    assert part.double(2) == {number} * 2
"""
_RUFF = '[lint]\nselect = ["B", "E", "F", "I", "SIM"]\n\n[format]\nquote-style = "double"\n'


def nights(projects: int = PROJECTS) -> list[Table]:
    title = f"The nights of {projects} projects, lint and dependencies, one after the other"
    with scratch() as folder:
        repositories = folder / "repositories"
        for number in range(projects):
            _sample(repositories, number)
        load = os.getloadavg()[0]
        try:
            plain = [_plain(each, folder) for each in sorted(repositories.iterdir())]
        except subprocess.SubprocessError as error:
            return [Table(title=title, rows=[skipped("nights", f"without us it fails: {error}")])]
        used = run(
            [sys.executable, "-m", "benchmarks.crowd", str(folder / "home"), str(repositories)],
            cwd=ROOT,
            env=environment(),
            seconds=SECONDS,
        )
    lines = [line for line in used.output.splitlines() if line.startswith('{"project"')]
    told: list[dict[str, Any]] = [json.loads(line) for line in lines]
    if len(told) != projects + 1:
        why = f"{len(told) - 1} of {projects} ended; {used.output[-400:]}"
        return [Table(title=title, rows=[skipped("nights", why)])]
    memory = [each["rss"] for each in told]
    done, took = told[1:], [each["seconds"] for each in told[1:]]
    ended = sum(set(each["tasks"].values()) <= {"done", "partial"} for each in done)
    fixed, updates = sum(e["fixed"] for e in done), sum(e["updates"] for e in done)
    rows = [
        Row(
            what="all of them",
            value=used.seconds,
            unit="s",
            baseline=f"{sum(plain):.0f} s with plain commands",
            note=f"load {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end",
        ),
        Row(
            what="a project",
            value=statistics.median(took),
            unit="s",
            baseline=f"{statistics.median(plain):.1f} s",
            note=f"{spread(took)}; {_PLAINLY}",
        ),
        Row(
            what="nights that came to an end",
            value=ended,
            unit="projects",
            limit=projects,
            at_least=True,
            note=f"{fixed} findings mended, {updates} updates kept,"
            f" {sum(e['runs'] for e in done)} runs that publish them; {_problems(done)}",
        ),
        Row(
            what="CPU of our process a project",
            value=done[-1]["cpu"] / projects,
            unit="s",
        ),
        Row(
            what="peak memory of our process",
            value=used.own_peak,
            unit="MB",
            limit=MEMORY,
            note=f"{memory[0]:.0f} MB before the first; " + _after(memory),
        ),
        Row(
            what="grown from the tenth project to the last",
            value=max(0.0, memory[-1] - memory[min(10, projects)]),
            unit="MB",
            limit=GROWTH,
        ),
        Row(
            what="peak memory of what it started",
            value=used.below_peak,
            unit="MB",
            note="git, package managers, linters and tests; PostgreSQL is no child of ours",
        ),
    ]
    return [Table(title=title, rows=rows)]


_PLAINLY = "plain: clone, install, check, fix, format, test, list what is outdated; no sandbox"


def _after(memory: Sequence[float]) -> str:
    marks = [mark for mark in (1, 10, 25, 50) if mark < len(memory)]
    return ", ".join(f"{memory[mark]:.0f} after {mark}" for mark in marks)


def _problems(done: Sequence[dict[str, Any]]) -> str:
    found = [problem for each in done for problem in each["problems"]]
    return f"{len(found)} problems" + (f", as {found[0][:200]}" if found else "")


def _sample(folder: Path, number: int) -> None:
    pin, use = PINS[number % len(PINS)]
    code = _CODE.format(module=re.split(r"\W", use)[0], use=use, number=number)
    home = folder / f"part-{number:02}"
    files = {
        "requirements.txt": f"{pin}\n",
        "requirements-dev.txt": "pytest\nruff\n",
        "ruff.toml": _RUFF,
        "part.py": code,
        "tests/test_part.py": _TEST.format(number=number),
    }
    write(home, files)
    commit(home)


def _plain(repository: Path, folder: Path) -> float:
    """The commands that somebody would type, with one cache of packages for all projects."""
    uv, home = str(find_uv()), folder / "plain" / repository.name
    env = {**os.environ, **_sources(read_sources(os.environ))}
    env |= {"UV_CACHE_DIR": str(folder / "cache"), "VIRTUAL_ENV": str(home / ".venv")}
    bin_folder = home / ".venv" / "bin"
    requirements = ["-r", "requirements.txt", "-r", "requirements-dev.txt"]
    began = time.monotonic()
    for argv in (
        ["git", "clone", "-q", str(repository), str(home)],
        [uv, "venv", "-q", str(home / ".venv")],
        [uv, "pip", "install", "-q", *requirements],
        [str(bin_folder / "ruff"), "check", "-q", "--exit-zero", "."],
        [str(bin_folder / "ruff"), "check", "-q", "--exit-zero", "--fix", "."],
        [str(bin_folder / "ruff"), "format", "-q", "."],
        [str(bin_folder / "python"), "-m", "pytest", "-q"],
        [uv, "pip", "list", "--outdated"],
    ):
        cwd = home if home.exists() else folder
        subprocess.run(argv, cwd=cwd, env=env, check=True, capture_output=True, timeout=300)
    took = time.monotonic() - began
    shutil.rmtree(home)
    return took


def _sources(sources: PackageSources) -> dict[str, str]:
    env = {"UV_SYSTEM_CERTS": "1", "UV_INDEX_STRATEGY": "unsafe-best-match"}
    if sources.index:
        env["UV_DEFAULT_INDEX"] = sources.index
    if sources.extra_indexes:
        env["UV_INDEX"] = " ".join(sources.extra_indexes)
    if sources.find_links:
        env["UV_FIND_LINKS"] = ",".join(sources.find_links)
    return env
