"""What every call has in common: tokens, rights, pages, raw paths, parameters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import gitlab as python_gitlab
import pytest
from gitlab_scene import Scene
from gitlab_schema import needs_gitlab_specs, problems_of

from playground.gitlab.server import Exchange


async def _get(
    scene: Scene, path: str, *, method: str = "GET", **more: Any
) -> tuple[int, Any, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, scene.server.url + "/api/v4" + path, **more) as response,
    ):
        kind = response.content_type
        body = await response.json() if kind == "application/json" else await response.read()
        return response.status, body, response.headers


def _private(secret: str) -> dict[str, str]:
    return {"PRIVATE-TOKEN": secret}


async def test_both_ways_to_send_a_token(scene: Scene) -> None:
    secret = scene.token("mia")
    for headers in (_private(secret), {"Authorization": f"Bearer {secret}"}):
        status, body, _ = await _get(scene, "/user", headers=headers)
        assert (status, body["username"]) == (200, "mia")
    assert (await _get(scene, "/user"))[0] == 401
    assert (await _get(scene, "/user", headers=_private("nonsense")))[0] == 401


async def test_revoked_and_expired_tokens_say_so(scene: Scene) -> None:
    state, mia = scene.server.state, scene.people["mia"]
    token = state.add_token(mia, "api", expires_at=datetime.now(UTC).date())
    status, body, _ = await _get(scene, "/user", headers=_private(token.secret))
    assert status == 401
    assert "expired" in body["error_description"]
    token.expires_at, token.revoked = None, True
    status, body, _ = await _get(scene, "/user", headers=_private(token.secret))
    assert "revoked" in body["error_description"]


async def test_a_reading_token_cannot_write(scene: Scene) -> None:
    reader = scene.api("sam", "read_api")
    await scene.do(reader.branches.list)
    with pytest.raises(python_gitlab.GitlabCreateError) as refusal:
        await scene.do(reader.branches.create, {"branch": "x", "ref": "main"})
    assert refusal.value.response_code == 403
    assert "insufficient_scope" in str(refusal.value.response_body)


async def test_what_one_may_not_see_does_not_exist(scene: Scene) -> None:
    with pytest.raises(python_gitlab.GitlabGetError) as refusal:
        await scene.do(scene.client("stranger").projects.get, "demo/app")
    assert refusal.value.response_code == 404
    assert "404 Project Not Found" in str(refusal.value)
    with pytest.raises(python_gitlab.GitlabCreateError) as refusal:
        await scene.do(scene.api("gus").branches.create, {"branch": "x", "ref": "main"})
    assert refusal.value.response_code == 403


async def test_members_of_the_groups_above_count(scene: Scene) -> None:
    state = scene.server.state
    ada = state.add_user("ada")
    group = state.group_by("demo")
    assert group is not None
    state.add_member(group, ada, 40)
    api = scene.api("mia")
    assert (await scene.do(api.members_all.get, ada.id)).access_level == 40
    with pytest.raises(python_gitlab.GitlabGetError):
        await scene.do(api.members.get, ada.id)
    found = await scene.do(api.members_all.list, get_all=True)
    assert {member.username for member in found} >= {"ada", "sam", "mia", "gus"}


async def test_an_expired_membership_grants_nothing(scene: Scene) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    scene.project.members[scene.people["mia"].id].expires_at = yesterday.isoformat()
    with pytest.raises(python_gitlab.GitlabGetError):
        await scene.do(scene.client("mia").projects.get, "demo/app")


async def test_pages_and_their_headers(scene: Scene) -> None:
    for number in range(5):
        await scene.commit({f"{number}.txt": "x"}, f"branch-{number}")
    headers = _private(scene.token("mia"))
    path = "/projects/demo%2Fapp/repository/branches?per_page=2&page=2"
    status, body, answer = await _get(scene, path, headers=headers)
    assert status == 200
    assert len(body) == 2
    assert (answer["X-Total"], answer["X-Total-Pages"]) == ("6", "3")
    assert (answer["X-Page"], answer["X-Next-Page"], answer["X-Prev-Page"]) == ("2", "3", "1")
    for relation in ("prev", "next", "first", "last"):
        assert f'rel="{relation}"' in answer["Link"]
    found = await scene.do(scene.api("mia").branches.list, iterator=True, per_page=2)
    assert len(await scene.do(list, found)) == 6


async def test_keyset_pages_give_no_total(scene: Scene) -> None:
    for number in range(3):
        await scene.server.add_project(f"demo/p{number}", owner=scene.people["sam"])
    client = scene.client("sam")
    status, body, answer = await _get(
        scene,
        "/projects?pagination=keyset&order_by=id&per_page=2",
        headers=_private(scene.token("sam")),
    )
    assert (status, len(body)) == (200, 2)
    assert "X-Total" not in answer
    found = await scene.do(
        client.projects.list, get_all=True, pagination="keyset", order_by="id", per_page=2
    )
    assert len({project.id for project in found}) == 4


async def test_slashes_dots_and_colons_live_in_one_segment(scene: Scene) -> None:
    await scene.commit({"src/deep/a b.py": "x = 1\n"}, "agent/v1.2")
    api = scene.api("mia")
    assert (await scene.do(api.branches.get, "agent/v1.2")).name == "agent/v1.2"
    found = await scene.do(api.files.get, "src/deep/a b.py", ref="agent/v1.2")
    assert found.decode() == b"x = 1\n"
    raw = await scene.do(api.files.raw, "src/deep/a b.py", ref="agent/v1.2")
    assert raw == b"x = 1\n"
    await scene.do(scene.api("sam").labels.create, {"name": "kind::a/b", "color": "#112233"})
    assert (await scene.do(api.labels.get, "kind::a/b")).color == "#112233"


@pytest.mark.parametrize("form", ["json", "data", "params"])
async def test_parameters_come_in_any_form(scene: Scene, form: str) -> None:
    sent = {form: {"branch": "topic", "ref": "main"}}
    headers = _private(scene.token("mia"))
    path = "/projects/1/repository/branches"
    status, body, _ = await _get(scene, path, method="POST", headers=headers, **sent)
    assert (status, body["name"]) == (201, "topic")


async def test_missing_and_malformed_parameters_are_named(scene: Scene) -> None:
    headers = _private(scene.token("mia"))
    path = "/projects/1/merge_requests"
    status, body, _ = await _get(scene, path, method="POST", headers=headers, json={"title": "x"})
    assert status == 400
    assert body == {"error": "source_branch is missing, target_branch is missing"}
    kind = {"Content-Type": "application/json"}
    status, _, _ = await _get(scene, path, method="POST", headers=headers | kind, data="{oops")
    assert status == 400
    assert (await _get(scene, "/nonsense", headers=headers))[0] == 404
    assert (await _get(scene, "/version", method="POST", headers=headers))[0] == 405


async def test_a_project_token_is_a_bot_that_can_be_rotated_and_revoked(scene: Scene) -> None:
    api = scene.api("sam")
    data = {"name": "agent", "scopes": ["api"], "access_level": 30}
    token = await scene.do(api.access_tokens.create, data)
    bot = python_gitlab.Gitlab(scene.server.url, private_token=token.token)
    await scene.do(bot.auth)
    assert bot.user is not None
    assert bot.user.bot is True
    own = await scene.do(bot.personal_access_tokens.get, "self")
    assert own.scopes == ["api"]
    assert (await scene.do(api.members.get, bot.user.id)).access_level == 30
    await scene.do(token.delete)
    with pytest.raises(python_gitlab.GitlabAuthenticationError):
        await scene.do(bot.auth)


async def test_every_request_is_remembered_with_its_actor(scene: Scene) -> None:
    await scene.do(scene.api("mia").branches.list)
    seen = scene.server.state.requests[-1]
    assert (seen.actor, seen.method, seen.status) == ("mia", "GET", 200)
    assert seen.path == "/api/v4/projects/demo%2Fapp/repository/branches"


@needs_gitlab_specs
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"path": "/api/v4/projects/1/nonsense"}, "no such route"),
        ({"params": {"surprise": 1}}, "unknown parameters"),
        ({"answer": b'[{"surprise": 1}]'}, "unknown key"),
        ({"answer": b"{}"}, "should be array"),
    ],
)
def test_the_check_against_the_description_can_fail(change: dict[str, Any], complaint: str) -> None:
    good: dict[str, Any] = {
        "method": "GET",
        "path": "/api/v4/projects/1/repository/branches",
        "params": {},
        "status": 200,
        "answer": b"[]",
        "content_type": "application/json",
    }
    assert problems_of(Exchange(**good)) == ([], [])
    errors, _ = problems_of(Exchange(**good | change))
    assert complaint in errors[0]
