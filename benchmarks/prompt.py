"""The size of the first prompt, and how much of each prompt the next one begins with."""

from __future__ import annotations

import asyncio
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

from agent.run import RunStatus
from benchmarks import mini, script
from benchmarks.endpoint import same_start
from benchmarks.measure import run
from benchmarks.scratch import scratch
from benchmarks.scripted import Endpoint, endpoint, environment
from benchmarks.service import open_worker
from benchmarks.table import Row, Table, skipped


def prompt() -> list[Table]:
    peer, why = mini.find()
    with scratch() as folder:
        repository = script.repository(folder / "sample")
        with endpoint(_made(folder / "ours"), script.ours()) as for_us:
            asyncio.run(_two_runs(folder / "home", repository, for_us))
            ours = for_us.requests()
            firsts = _firsts(for_us)
        theirs: list[dict[str, Any]] = []
        their_tokens = 0
        if peer:
            with endpoint(_made(folder / "theirs"), script.bash()) as for_them:
                copy = shutil.copytree(repository, folder / "copy")
                env = environment(**mini.environment(for_them.url, folder / "mini-home"))
                argv = mini.command(peer, script.REQUEST, folder / "trajectory.json")
                run(argv, cwd=copy, env=env)
                theirs, their_tokens = for_them.requests(), _tokens(_firsts(for_them)[0])
    base = f"mini-swe-agent {their_tokens:,}" if peer else f"not measured: {why}"
    kept = f"mini-swe-agent {min(each['kept'] for each in theirs):.3f}" if theirs else ""
    if len(firsts) != 2:
        return [Table(title="Prompts", rows=[skipped("prompts", f"{len(firsts)} first prompts")])]
    one, two = (_text(first) for first in firsts)
    return [
        Table(
            title="Prompts",
            rows=[
                Row(
                    what="first prompt: system text, all tools, request",
                    value=max(_tokens(first) for first in firsts),
                    unit="tokens",
                    limit=2500,
                    baseline=base,
                    note="o200k_base over the serialised tools and messages",
                ),
                Row(
                    what="of a prompt, kept at the beginning of the next one",
                    value=min(each["kept"] for each in ours),
                    limit=1,
                    at_least=True,
                    baseline=kept,
                    note=f"the least of {len(ours)} requests, bytes compared",
                ),
                Row(
                    what="of the first prompt, the same for another request",
                    value=same_start(one, two) / len(one),
                    note="tools and system text come first",
                ),
            ],
        )
    ]


async def _two_runs(home: Path, repository: Path, to: Endpoint) -> None:
    async with open_worker(home, to.url, repository) as service:
        for text in (script.REQUEST, f"Please: {script.REQUEST}"):
            status = await service.ended(await service.ask(text))
            if status is not RunStatus.SUCCEEDED:
                raise SystemExit(f"A run ended as {status}.")


def _firsts(to: Endpoint) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(to.log.parent.glob("first-*.json"))]


def _text(body: dict[str, Any]) -> str:
    return json.dumps(body.get("tools", [])) + json.dumps(body["messages"])


def _tokens(body: dict[str, Any]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its data is loaded in a way that Python 3.11 warns of
        import bpe_openai

        return len(bpe_openai.get_encoding("o200k_base").encode(_text(body)))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
