"""A playground that is started again goes on where it was."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from playground import __main__ as program
from playground import seed
from playground.gitlab.records import Job, Pipeline
from playground.gitlab.server import GitLabStandIn
from playground.keep import Keep, OtherVersion, Ports
from playground.service import ROOT
from playground.slack.world import World
from playground.town import Options


def workspace() -> World:
    return seed.make_world(ROOT / "slack-manifest.json")


def say(world: World, text: str) -> None:
    from playground.slack.records import Message

    channel = world.channel_named("billing").id
    world.put(Message(channel=channel, ts=world.new_ts(), user="U0MIA", text=text))


async def test_messages_tokens_and_merge_requests_are_there_again(tmp_path: Path):
    world, gitlab = workspace(), GitLabStandIn(tmp_path / "gitlab")
    await seed.seed_gitlab(gitlab)
    project = gitlab.state.project_by("demo/invoices")
    assert project is not None
    now = gitlab.state.now()
    cut = Job(
        id=1, pipeline_id=1, name="unit", stage="test", ref="x", tag=False, user_id=1,
        created_at=now, spec=None, status="running",
    )  # fmt: skip
    project.pipelines[1] = Pipeline(
        id=1, iid=1, project_id=1, sha="a", ref="x", source="push", user_id=1, created_at=now,
        updated_at=now, jobs=[cut],
    )  # fmt: skip
    keep = Keep(tmp_path, world, gitlab.state)
    assert keep.restore() is False
    following = asyncio.create_task(keep.follow())
    await asyncio.sleep(0)
    say(world, "remember me")
    following.cancel()
    await asyncio.wait({following})

    again, state = workspace(), GitLabStandIn(tmp_path / "gitlab").state
    heard: list[object] = []
    again.subscribe(heard.append)
    assert Keep(tmp_path, again, state).restore() is True
    assert [each.text for each in again.messages.values()] == ["remember me"]
    assert seed.token(state, "write").secret == seed.token(gitlab.state, "write").secret
    assert state.access(state.projects[project.id], state.user_by_name("noor")) == 10
    assert state.projects[project.id].pipelines[1].jobs[0].status == "created"
    say(again, "and me")
    assert len(heard) == 1


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x04N."])
def test_what_another_version_wrote_is_named_and_left_alone(tmp_path: Path, content: bytes):
    file = tmp_path / "stand-ins.pickle"
    file.write_bytes(content)
    keep = Keep(tmp_path, workspace(), GitLabStandIn(tmp_path / "gitlab").state)
    with pytest.raises(OtherVersion, match="another version of the playground"):
        keep.restore()
    assert file.read_bytes() == content


def test_addresses_stay_the_same_while_they_are_free(tmp_path: Path):
    first = Ports(tmp_path).take("slack")
    assert Ports(tmp_path).take("slack") == first
    with socket.socket() as other:
        other.bind(("127.0.0.1", first))
        other.listen()
        assert Ports(tmp_path).take("slack") != first
        with pytest.raises(ValueError, match=f"Port {first} is taken"):
            Ports(tmp_path).take("page", first)


def test_a_start_moves_aside_what_another_version_wrote_in_our_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    home = tmp_path / ".journeyman" / "playground"
    for name in ("playground", "playground-1"):
        (home.with_name(name)).mkdir(parents=True)
    (home / "stand-ins.pickle").write_bytes(b"nonsense")

    async def run(options: Options, _: object) -> int:
        if options.home.exists():
            raise OtherVersion("It was written by another version of the playground.")
        return 0

    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setattr(program, "_run", run)
    assert program.main(["--demo"]) == 0
    assert f"is kept in {home}-2. Starting afresh." in capsys.readouterr().err
    assert (home.with_name("playground-2") / "stand-ins.pickle").exists()
    home.mkdir()
    assert program.main(["--demo", "--home", str(home)]) == 2
