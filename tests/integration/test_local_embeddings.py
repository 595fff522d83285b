"""`journeyman try` compares by meaning what `journeyman index` has embedded."""

from __future__ import annotations

from pathlib import Path

import pytest
from codetrees import BareRepository
from embedding_stand_in import EmbeddingStandIn

from agent.adapters.database import open_database
from agent.ports import Origin
from bot.build import make_vaults
from bot.code import index_command
from bot.settings import load
from bot.trial import local_library

FILES: dict[str | bytes, bytes | None] = {
    "parcel.py": b"def weigh(parcel):\n    return parcel.grams / 1000\n",
    "door.py": b"def opened(door):\n    return not door.locked\n",
}


async def test_a_local_run_uses_what_was_embedded_and_embeds_no_code_itself(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    repository = BareRepository(tmp_path / "code.git")
    repository.commit(FILES)
    project = str(repository.folder.resolve())
    async with EmbeddingStandIn() as endpoint:
        config = tmp_path / "journeyman.toml"
        config.write_text(f'[embeddings]\nmodel = "words"\nbase_url = "{endpoint.url}"\n')
        for name, value in (
            ("HOME", str(tmp_path)),
            ("JOURNEYMAN_CONFIG", str(config)),
            ("DATABASE_URL", database_url),
        ):
            monkeypatch.setenv(name, value)
        settings = load()
        origin = Origin(url=project)
        commit, _ = await make_vaults(settings).of(project).fetch(origin, "main")
        for before in (True, False):
            async with (
                open_database(home=tmp_path, url=database_url) as db,  # as another process
                local_library(settings, db) as library,
            ):
                searcher = (await library.shelf(project, commit)).searcher
                assert searcher is not None
                answer = await searcher.search("weigh the parcel")
            if before:
                assert (answer.meaning, endpoint.requests) == ("lexical only", [])
                await index_command(repo=project, ref="main")
                assert "2 places were embedded with words" in capsys.readouterr().out
                paid = endpoint.counts.total()
    assert answer.meaning == "embedded"
    assert answer.places[0].hit.path == "parcel.py"
    assert endpoint.counts.total() == paid + 1, "the query alone"
