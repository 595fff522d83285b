"""What other programs take for the code and the queries that ours is asked."""

from __future__ import annotations

import multiprocessing
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from agent.retrieval.tokens import STOP_WORDS, words
from benchmarks.retrieval.cost import peak
from benchmarks.retrieval.peer import PLACES, Semble, missing
from benchmarks.retrieval.trees import Forest
from benchmarks.table import Row, skipped

_FEW = 8  #: queries of programs that read everything each time


def beside(forest: Forest, queries: Sequence[str], lines: int) -> list[Row]:
    git = ["git", "--git-dir", str(forest.folder), "grep", "-I", "-i", "-c"]
    rows = [_searched("git grep, every word of a query", queries, git, forest.head)]
    folder = forest.folder.parent / "tree"
    forest.check_out(folder)
    if shutil.which("rg") is None:
        rows.append(skipped("ripgrep, every word of a query", "ripgrep is not installed"))
    else:
        rg = ["rg", "--no-config", "-i", "-c"]
        rows.append(_searched("ripgrep, every word of a query", queries, rg, str(folder)))
    return rows + _semble(folder, queries, lines)


def _searched(what: str, queries: Sequence[str], command: list[str], where: str) -> Row:
    times: list[float] = []
    for query in queries[:_FEW]:
        telling = [word for word in words(query) if word.lower() not in STOP_WORDS] or [query]
        asked = [part for word in telling for part in ("-e", word)]
        began = time.perf_counter()
        subprocess.run([*command, *asked, where], capture_output=True, check=False)
        times.append((time.perf_counter() - began) * 1000)
    return _half(what, times, "counts only, no ranking")


def _half(what: str, times: list[float], note: str) -> Row:
    times.sort()
    p95 = f"95 % within {times[int(len(times) * 0.95)]:,.0f} ms; {note}"
    return Row(what=what, value=times[len(times) // 2], unit="ms", note=p95)


@dataclass(frozen=True, kw_only=True)
class _Peer:
    seconds: float
    memory: float  #: MB, the peak of its process
    chunks: int
    times: list[float]  #: ms, of queries


def _semble(folder: Path, queries: Sequence[str], lines: int) -> list[Row]:
    if reason := missing():
        return [skipped("semble", reason)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        peer = process.submit(_asked, folder, queries).result()
    note = "its words alone, in its process; its model is on a hub"
    return [
        Row(what="semble, indexed", value=lines / peer.seconds, unit="lines/s",
            note=f"{peer.chunks:,} chunks of code, no docs and no settings; {peer.seconds:.1f} s"),
        Row(what="semble, memory of its process", value=peer.memory, unit="MB"),
        _half(f"semble, {PLACES} places of a query", peer.times, note),
    ]  # fmt: skip


def _asked(folder: Path, queries: Sequence[str]) -> _Peer:
    with Semble() as semble:
        began = time.perf_counter()
        semble.bring(folder)
        seconds = time.perf_counter() - began
        semble.ask(queries[0])
        times: list[float] = []
        for query in queries:
            began = time.perf_counter()
            semble.ask(query)
            times.append((time.perf_counter() - began) * 1000)
        return _Peer(seconds=seconds, memory=peak(), chunks=len(semble.chunks), times=times)
