"""What `doctor` says of a machine, against the stand-ins."""

from pathlib import Path

import pytest

from bot import doctor
from bot.settings import Settings
from playground.faults import Fault, FaultMode
from playground.model import ModelStandIn
from playground.slack.server import SlackStandIn


async def test_slack_tokens_are_tried(slack: SlackStandIn):
    good = Settings(
        slack_bot_token="xoxb-playground",
        slack_app_token="xapp-playground",
        slack_api_url=slack.api_url,
    )
    checks = await doctor._slack(good)
    assert [check.ok for check in checks] == [True, True]
    assert "scopes missing" not in checks[0].detail


async def test_a_refused_slack_token_names_the_remedy(slack: SlackStandIn):
    bad = Settings(
        slack_bot_token="xoxb-wrong", slack_app_token="xapp-wrong", slack_api_url=slack.api_url
    )
    checks = await doctor._slack(bad)
    assert [check.ok for check in checks] == [False, False]
    assert "invalid_auth" in checks[0].detail
    assert "SLACK_BOT_TOKEN" in checks[0].remedy
    assert "connections:write" in checks[1].remedy


async def test_whether_people_can_be_linked_is_told_with_the_address_that_gitlab_needs():
    url = "https://agent.example/"
    found = [
        doctor._sign_in(settings)
        for settings in (
            Settings(gitlab_signin_id="id"),
            Settings(public_url=url),
            Settings(public_url=url, gitlab_signin_id="id"),
        )
    ]
    assert [check.ok for check in found] == [False, False, True]
    assert "JOURNEYMAN_PUBLIC_URL is not set" in found[0].detail
    assert "https://agent.example/link/done, scope read_user" in found[1].remedy
    assert "no secret" in found[2].detail


async def test_the_model_is_really_called():
    async with ModelStandIn(answer=lambda _messages: {"content": "ready"}) as endpoint:
        settings = Settings(model="m", openai_api_key="k", openai_base_url=endpoint.url)
        (check,) = await doctor._model(settings)
        assert check.ok
        assert "price not set" in check.detail
        assert len(endpoint.requests) == 1


async def test_the_database_and_its_extension_are_told(database_url: str, tmp_path: Path):
    (check,) = await doctor._database(Settings(database_url=database_url, home=tmp_path))
    assert check.ok
    assert "pgvector 0." in check.detail


async def test_one_broken_part_does_not_hide_the_others(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    async with ModelStandIn(answer=lambda _messages: {"content": "ready"}) as endpoint:
        endpoint.faults.set(Fault(mode=FaultMode.FAIL, status=401, times=0))
        settings = Settings(
            model="m",
            openai_api_key="k",
            openai_base_url=endpoint.url,
            database_url=database_url,
            home=tmp_path,
        )
        monkeypatch.setattr(doctor, "load", lambda: settings)
        assert await doctor.run() == 1
    told = capsys.readouterr().out
    assert "FAILED  Slack: SLACK_BOT_TOKEN is not set" in told
    assert "FAILED  GitLab: GITLAB_URL is not set" in told
    assert "FAILED  Model: The model provider refused the key" in told
    assert "ok      Database" in told


async def test_a_role_is_told_what_it_lacks_and_what_it_should_not_have(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    settings = Settings(
        openai_api_key="k", gitlab_token="t", database_url=database_url, home=tmp_path
    )
    monkeypatch.setattr(doctor, "load", lambda: settings)
    assert await doctor.run(("effects",)) == 1
    told = capsys.readouterr().out
    assert "ok      Credentials: OPENAI_API_KEY\n        Take it from" in told
    assert "FAILED  GitLab: GITLAB_URL is not set" in told
    assert "Slack" not in told
    assert "Model" not in told
