"""A review at GitLab, over the whole road: webhook, model, push, and what is answered there."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import ClientSession
from road import FINISH, PROJECT, ROUND, Road, say, until

from agent.run import RunStatus
from playground import seed

README = say(("write", {"path": "README", "content": "It adds.\n"}))
SECRET = "hook-secret-of-the-test"


async def comment(road: Road, who: str, body: str) -> None:
    state = road.gitlab.state
    person = next(user for user in state.users.values() if user.username == who)
    headers = {"PRIVATE-TOKEN": state.add_token(person, "api").secret}
    path = f"/api/v4/projects/{quote(PROJECT, safe='')}/merge_requests/1/discussions"
    async with ClientSession(headers=headers) as session:
        async with session.post(road.gitlab.url + path, json={"body": body}) as answer:
            assert answer.status == 201, await answer.text()


async def test_a_comment_on_a_finished_run_is_worked_on_answered_and_resolved(road: Road):
    road.script.replies = (*ROUND, README, FINISH)
    async with road.serving(GITLAB_WEBHOOK_SECRET=SECRET) as service:
        url = f"http://127.0.0.1:{service.port}"
        seed.add_hook(road.gitlab.state, PROJECT, url, SECRET)
        await road.result(road.ask())
        await road.reached(lambda state: state.status is RunStatus.SUCCEEDED)
        await comment(road, "sam", "say what it does")
        (request,) = road.merge_requests
        await until(lambda: any(talk.resolved for talk in request.discussions))
        (talk,) = (talk for talk in request.discussions if talk.resolved)
        state = await road.reached(lambda state: state.status is RunStatus.SUCCEEDED)
        assert state.rounds == 2
        assert talk.notes[-1].body.startswith(f"Done in `{state.commits[-1].commit[:8]}`.")
        assert await road.read("agent/1", "README") == "It adds."
        assert "say what it does" in road.script.told()
        assert len(state.followups) == 1
        assert request.state == "opened"
