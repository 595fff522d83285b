"""What is pushed to GitLab is indexed by the service, before a run asks for it."""

from __future__ import annotations

import asyncio

from road import PROJECT, Road, git, until

from agent.run import CommitSha
from playground import seed

SECRET = "hook-secret"


async def test_a_push_is_indexed_before_anybody_asks_for_a_run(road: Road) -> None:
    async def indexed(commit: str) -> bool:
        newest = await road.db.code.newest(PROJECT)
        return newest is not None and newest.commit == commit

    async with road.serving(GITLAB_WEBHOOK_SECRET=SECRET) as service:
        seed.add_hook(road.gitlab.state, PROJECT, f"http://127.0.0.1:{service.port}", SECRET)
        await road.git("branch", "topic", "main")
        await road.commit("topic", "topic.py", "topic = 1\n")
        first = await road.commit("main", "first.py", "first = 1\n")
        await until(lambda: indexed(first), story=road.story)
        await road.gitlab.forge.webhooks.idle()
    kept = await road.db.pool.fetchval("SELECT count(*) FROM inbox WHERE source = 'gitlab'")
    assert kept == 1  # the other branch is nobody's
    commit = await asyncio.to_thread(push_again, road)  # nobody hears of it
    await road.db.pushes.tell(PROJECT, CommitSha(first))  # known already
    async with road.serving(GITLAB_WEBHOOK_SECRET=SECRET):
        await until(lambda: empty(road), story=road.story)
        assert not await indexed(commit)
    await road.db.pushes.tell(PROJECT, CommitSha(commit))  # while nobody serves
    async with road.serving(GITLAB_WEBHOOK_SECRET=SECRET):
        await until(lambda: indexed(commit), story=road.story)
        await until(lambda: empty(road), story=road.story)


def push_again(road: Road) -> str:
    clone = road.folder / "clone-main"
    (clone / "second.py").write_text("second = 1\n")
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "Second")
    git(clone, "push", "-q")
    return git(clone, "rev-parse", "HEAD")


async def empty(road: Road) -> bool:
    return await road.db.pool.fetchval("SELECT count(*) FROM code_pushes") == 0
