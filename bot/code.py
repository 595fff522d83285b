"""`journeyman index` and `journeyman search`: a local repository, indexed and asked."""

from __future__ import annotations

import asyncio
import json
import posixpath
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TaskID
from rich.text import Text

from agent.adapters.database import Database, open_database
from agent.adapters.git_code import GitCode, git_folder
from agent.adapters.minilm import MiniLM
from agent.adapters.openai_embeddings import OpenAIEmbeddings
from agent.adapters.system_clock import SystemClock
from agent.errors import ModelRejected, SettingsError, Unavailable
from agent.prompt import clean, one_line
from agent.retrieval.backfill import Backfill, Filled
from agent.retrieval.indexer import Indexed, Progress, bring_up
from agent.retrieval.search import Answer, Found, Searcher
from agent.retrieval.store import IndexedTree
from agent.retrieval.vectors import LEXICAL, Similarity
from bot.build import make_embedder
from bot.repository import local_repository
from bot.settings import load

SHOWN = 3  #: lines of a place on the terminal


async def index_command(*, repo: str, ref: str) -> int:
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        database, source, project = await _opened(stack, repo)
        done = await _indexed(database, source, project, ref)
        filled = await _embedded(stack, database, done.tree)
        edited = await _uncommitted(source, repo, ref)
    tree = done.tree
    for problem in done.problems:
        print(problem, file=sys.stderr)
    print(
        f"{tree.commit[:12]} is indexed: {tree.files:,} files, {tree.lines:,} lines,"
        f" {tree.chunks:,} places; {done.read:,} files were read"
        f" ({time.monotonic() - began:.1f} s)."
    )
    if edited:
        print(edited)
    if filled:
        print(filled)
    return 0


async def search_command(
    *, repo: str, ref: str, query: str, top_k: int, as_json: bool, path: str = ""
) -> int:
    if not query.strip():
        raise SettingsError("The query is empty: say what to look for.")
    async with AsyncExitStack() as stack:
        database, source, project = await _opened(stack, repo)
        done = await _indexed(database, source, project, ref)
        clock = SystemClock()
        embedder = await _embedder(stack)
        similarity = Similarity(store=database.vectors, embedder=embedder) if embedder else None
        searcher = Searcher(
            store=database.code, tree=done.tree, now=clock.now(), similarity=similarity
        )
        inside = "" if (folder := posixpath.normpath(path)) == "." else folder
        answer = await searcher.search(query, places=top_k, inside=inside)
        edited = await _uncommitted(source, repo, ref)
    if as_json:
        print(json.dumps(_record(answer)))
    else:
        _show(answer, Console(highlight=False))
        if edited:
            print(edited, file=sys.stderr)
    return 0


async def _opened(stack: AsyncExitStack, repo: str) -> tuple[Database, GitCode, str]:
    folder = local_repository(repo).resolve()
    source = GitCode(await git_folder(folder))
    settings = load()
    database = await stack.enter_async_context(
        open_database(home=settings.home, url=settings.database_url)
    )
    return database, source, str(folder)


async def _indexed(database: Database, source: GitCode, project: str, ref: str) -> Indexed:
    commit = await source.commit(ref)
    with _bar() as bar:
        task: TaskID | None = None

        def tell(progress: Progress) -> None:
            nonlocal task
            if progress.of and task is None:
                task = bar.add_task("Indexing", total=progress.of)
            if task is not None:
                bar.update(task, completed=progress.done)

        try:
            return await bring_up(database.code, source, project, commit, tell=tell)
        except asyncio.CancelledError:  # by Ctrl-C
            print("What was read is kept; the same command reads the rest.", file=sys.stderr)
            raise


def _bar() -> Bar:
    console = Console(stderr=True)
    return Bar(transient=True, console=console, disable=not console.is_terminal)


async def _uncommitted(source: GitCode, repo: str, ref: str) -> str:
    """A sentence where people may look for what no commit has."""
    folder = Path(repo).resolve()
    count = await source.uncommitted(folder) if ref == "HEAD" else 0
    if not count:
        return ""
    files = "1 file has changes" if count == 1 else f"{count:,} files have changes"
    return f"In the work tree {files} that no commit has: only what is committed is found."


async def _embedder(stack: AsyncExitStack) -> OpenAIEmbeddings | MiniLM | None:
    embedder = make_embedder(load())
    return await stack.enter_async_context(embedder) if embedder else None


async def _embedded(stack: AsyncExitStack, database: Database, tree: IndexedTree) -> str:
    """What it came to, in a sentence; nothing where no model is set."""
    embedder = await _embedder(stack)
    if embedder is None:
        return ""
    backfill = Backfill(
        code=database.code, vectors=database.vectors, embedder=embedder, projects=(tree.project,)
    )
    with _bar() as bar:
        task = bar.add_task("Embedding", total=tree.chunks)

        def tell(filled: Filled) -> None:
            bar.update(task, total=filled.vectors + filled.left, completed=filled.vectors)

        try:
            filled = await backfill.fill(tree, tell)
        except (Unavailable, ModelRejected) as error:
            return f"Not all is embedded: {error} Searches are lexical; what was made is kept."
    cost = f", ${filled.money:.4f}" if filled.money else ""
    return (
        f"{filled.vectors:,} places were embedded with {embedder.model}"
        f" ({filled.tokens:,} tokens{cost})."
    )


def _show(answer: Answer, console: Console) -> None:
    for found in answer.places:
        hit = found.hit
        names = f"  {one_line(', '.join(hit.symbols[:5]))}" if hit.symbols else ""
        head = f":{hit.start}-{hit.end}  {hit.score:.2f}{names}"
        console.print(Text.assemble((one_line(hit.path), "bold"), head))
        for line in [line for line in clean(found.text).splitlines() if line.strip()][:SHOWN]:
            console.print(f"    {line}", markup=False, overflow="ellipsis", no_wrap=True)
    if answer.meaning != LEXICAL:
        console.print(f"({answer.meaning})", markup=False, style="dim")
    if not answer.places:
        console.print("Nothing found. Try other words, or fewer.")


def _record(answer: Answer) -> dict[str, Any]:
    places = [_place(found) for found in answer.places]
    return {"commit": answer.commit, "meaning": answer.meaning, "places": places}


def _place(found: Found) -> dict[str, Any]:
    hit = found.hit
    return {
        "path": hit.path,
        "lines": [hit.start, hit.end],
        "kind": hit.kind,
        "symbols": list(hit.symbols),
        "score": hit.score,
        "parts": {
            "words": hit.words,
            "similar": hit.similar,
            "named": hit.named,
            "where": hit.where,
            "history": hit.history,
        },
        "text": found.text,
    }
