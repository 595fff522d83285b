from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.policy import Policy
from bot.build import engine_project, make_canaries, make_model
from bot.settings import CREDENTIALS, Settings, load, require
from bot.variables import VARIABLES

ROOT = Path(__file__).parents[2]


def read(folder: Path, text: str, **env: str) -> Settings:
    file = folder / "journeyman.toml"
    file.write_text(text)
    return load({"HOME": str(folder), "JOURNEYMAN_CONFIG": str(file)} | env)


def test_the_example_file_is_valid_and_shows_every_rule() -> None:
    settings = load({"JOURNEYMAN_CONFIG": str(ROOT / "journeyman.example.toml")})

    assert settings.allowed("C024BE91L") == ("platform/api", "platform/web")
    assert settings.default_project("C024BE91L") == "platform/api"
    assert settings.allowed("D024BE91L") == ("platform/api",)
    assert settings.allowed("C0OTHER") == ()
    assert settings.project("platform/api").test_command == "make test"
    assert settings.project("platform/web").limits.steps == 100


def test_every_variable_is_listed_with_a_line_of_its_own() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for variable in VARIABLES:
        at = lines.index(f"{variable.name}=")
        assert lines[at - 1] == f"# {variable.about}"


def test_defaults_hold_where_a_project_says_nothing(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """
        [defaults]
        max_runs = 3
        [defaults.limits]
        steps = 7
        minutes = 2
        [projects."a/b"]
        plan_approval = true
        [projects."a/b".limits]
        steps = 9
        """,
    )

    entry = settings.project("a/b")
    assert (entry.max_runs, entry.limits.steps, entry.limits.seconds) == (3, 9, 120)
    assert entry.plan_approval
    assert settings.project("other/one").limits.steps == 7


def test_rules_of_a_project_stand_over_those_of_all(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """
        [defaults]
        deny_paths = ["infra/"]
        max_binary_mb = 0.5
        [projects."a/b"]
        allow_paths = ["src/"]
        max_files = 9
        self_accept = true
        watch_pipeline = false
        ci_logs = ["https://CI.example.com/logs/"]
        [projects."a/c"]
        deny_paths = []
        """,
    )

    entry = settings.project("a/b")
    assert entry.policy == Policy(
        allow_paths=("src/",), deny_paths=("infra/",), max_files=9, max_binary=500_000
    )
    assert entry.self_accept
    told = engine_project(settings, "a/b")
    assert told is not None
    assert (told.policy, told.self_accept) == (entry.policy, True)
    assert not told.watch_pipeline
    assert [place.url for place in told.ci_logs] == ["https://ci.example.com:443/logs/"]
    assert settings.project("a/c").policy.deny_paths == ()
    assert not settings.project("a/c").self_accept
    assert settings.project("a/c").watch_pipeline


def test_a_night_s_money_may_be_none(tmp_path: Path) -> None:
    file = """
[defaults.maintenance]
agent_money = 2.5
[projects."a/c".maintenance]
agent_money = 0
"""
    settings = read(tmp_path, file)
    assert settings.project("a/b").maintenance.agent_money == 2.5
    assert settings.project("a/c").maintenance.agent_money == 0


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = '[model]\nname = "from-file"\n'
    assert read(tmp_path, file).model == "from-file"
    assert read(tmp_path, file, JOURNEYMAN_MODEL="from-env").model == "from-env"


def test_models_by_the_part_of_the_work(tmp_path: Path) -> None:
    file = """
[model]
name = "m"
plan = "thinker"
repair = "mender"
windows = { mender = 32_000 }
[projects."a/b"]
channels = ["C1"]
"""
    settings = read(tmp_path, file, JOURNEYMAN_MODEL_PLAN="from-env")
    told = engine_project(settings, "a/b")
    assert told is not None
    assert (told.model, told.model_plan, told.model_repair) == (None, "from-env", "mender")
    model = make_model(settings)
    assert [model.window_of(name) for name in (None, "m", "mender")] == [128_000, 128_000, 32_000]


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("xoxb-1\n")

    settings = load({"HOME": str(tmp_path), "SLACK_BOT_TOKEN_FILE": str(secret)})

    assert settings.slack_bot_token == "xoxb-1"
    assert settings.home == tmp_path / ".journeyman"


def test_no_secret_is_shown() -> None:
    settings = Settings(slack_bot_token="xoxb-secret", openai_api_key="sk-secret")
    assert "secret" not in repr(settings)
    assert settings.secrets == ("xoxb-secret", "sk-secret")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[defaults]\nmax_rums = 2", "defaults.max_rums is not a setting; did you mean max_runs?"),
        ("[projects.foo]", "projects.foo has a wrong form; a project is a path like group/name."),
        ("[people]\nU1 = 1", "everybody links their GitLab account in Slack"),
        ('[channels]\nC1 = ["x"]', "channels.C1.0 has a wrong form; a project is a path"),
        ('[channels]\ngeneral = ["a/b"]', "channels.general has a wrong form; a channel is an id"),
        ("[model]\nwindow = 1", "model.window is 1, but input should be greater than or equal"),
        ("x =", "is not valid TOML"),
        (
            '[defaults.maintenance]\ndigest_at = "7:30"',
            "digest_at is '7:30', but a time of day looks like 07:30",
        ),
        (
            '[defaults.maintenance]\nweekly = "Monday"',
            "weekly is 'Monday', but input should be 'Mon', 'Tue'",
        ),
        (
            '[projects."a/b"]\nchannels=["C1"]\n[projects."a/c"]\nchannels=["C1"]',
            "channel C1 is the default of both a/b and a/c",
        ),
    ],
)
def test_a_wrong_file_is_told_with_key_and_remedy(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, text)
    assert told in str(refused.value)
    assert str(tmp_path / "journeyman.toml") in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"SLACK_BOT_TOKEN": "abc"}, "SLACK_BOT_TOKEN does not begin with xoxb-"),
        ({"SLACK_APP_TOKEN": "xoxb-1"}, "SLACK_APP_TOKEN does not begin with xapp-"),
        ({"GITLAB_URL": "gitlab.com"}, "GITLAB_URL is 'gitlab.com'"),
        ({"GITLAB_TOKEN_FILE": "/nowhere"}, "GITLAB_TOKEN_FILE names /nowhere, which cannot"),
        ({"GITLAB_TOKEN": "a", "GITLAB_TOKEN_FILE": "b"}, "Both GITLAB_TOKEN and"),
        ({"JOURNEYMAN_CONFIG": "/nowhere"}, "JOURNEYMAN_CONFIG names /nowhere"),
    ],
)
def test_a_wrong_variable_is_told_with_its_remedy(env: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load(env)


def test_each_role_names_the_first_thing_that_it_lacks() -> None:
    with pytest.raises(SettingsError, match="SLACK_BOT_TOKEN is not set: create a Slack app"):
        require(Settings(), ("front",))
    with pytest.raises(SettingsError, match="JOURNEYMAN_MODEL is not set"):
        require(Settings(), ("worker",))
    with pytest.raises(SettingsError, match="GITLAB_URL is not set"):
        require(Settings(), ("effects",))
    local = Settings(model="m", openai_base_url="http://127.0.0.1:1/v1")
    require(local, ("try",))


FRONT = Settings(
    slack_bot_token="xoxb-1",
    gitlab_url="https://g",
    gitlab_read_token="t",
    gitlab_signin_id="id",
    public_url="https://agent.example",
)


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("gitlab_signin_id", "GITLAB_SIGNIN_ID is not set: create an application at GitLab"),
        ("public_url", "JOURNEYMAN_PUBLIC_URL is not set: give the address of our pages"),
    ],
)
def test_nobody_serves_who_cannot_link_people(missing: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        require(replace(FRONT, **{missing: ""}), ("front",))


def test_without_a_signing_secret_http_is_refused() -> None:
    settings = FRONT
    with pytest.raises(SettingsError, match="Neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET"):
        require(settings, ("front",))


@pytest.mark.parametrize("listen", ["8080x", "127.0.0.1", "127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(SettingsError, match="JOURNEYMAN_LISTEN"):
        _ = Settings(listen=listen).address


@pytest.mark.parametrize(
    "name",
    [
        *("SLACK_SIGNING_SECRET", "GITLAB_WEBHOOK_SECRET", "GITLAB_SIGNIN_SECRET"),
        *("DATABASE_URL", "DATABASE_ADMIN_URL"),
    ],
)
def test_what_must_not_be_logged_is_more_than_tokens(name: str) -> None:
    assert load({name: "postgresql://me:hidden@db/x"}).secrets == ("postgresql://me:hidden@db/x",)


def test_operators_are_gitlab_user_ids(tmp_path: Path) -> None:
    assert read(tmp_path, "operators = [42, 57]").operators == (42, 57)
    assert read(tmp_path, "").operators == ()
    with pytest.raises(SettingsError, match=r"operators\.0 is 'sam', but"):
        read(tmp_path, 'operators = ["sam"]')


def test_a_project_may_be_left_out_of_the_week(tmp_path: Path) -> None:
    weeks = '[defaults.maintenance]\nweekly = "Mon"\n[projects."a/b"]\n'
    settings = read(tmp_path, f'{weeks}[projects."a/c".maintenance]\nweekly = "off"')
    assert settings.project("a/b").maintenance.weekly == "Mon"
    assert settings.project("a/c").maintenance.weekly == ""
    assert read(tmp_path, '[projects."a/b"]').project("a/b").maintenance.weekly == ""


def test_a_role_holds_no_credential_of_another_one(tmp_path: Path) -> None:
    canaries = {name: f"canary-{name}" for name in CREDENTIALS}
    whole = replace(Settings(), **canaries, gitlab_url="https://gitlab.example")
    held = {
        role: {name for name in CREDENTIALS if getattr(whole.only((role,)), name)}
        for role in ("front", "worker", "effects")
    }
    assert held == {
        "front": {
            "slack_bot_token",
            "slack_app_token",
            "slack_signing_secret",
            "gitlab_signin_secret",
            "gitlab_webhook_secret",
            "gitlab_read_token",
        },
        "worker": {"gitlab_read_token", "openai_api_key", "embeddings_api_key"},
        "effects": {"gitlab_token", "gitlab_merge_token"},
    }
    assert whole.only(held).surplus(held) == ()
    assert whole.surplus(held) == ("DATABASE_ADMIN_URL",)
    assert "GITLAB_TOKEN" in whole.surplus(("front", "worker"))
    assert "GITLAB_READ_TOKEN" in whole.surplus(("effects",))
    assert whole.only(("worker",)).gitlab_url == "https://gitlab.example"


def test_what_is_not_a_role_s_own_is_still_looked_for_in_what_leaves_it() -> None:
    url = "postgresql://owner:0wner-passw0rd@localhost/journeyman"
    given = Settings(gitlab_token="glpat-12345678", database_admin_url=url)
    canaries = make_canaries(given.only(("worker",)))
    assert canaries.found("token = glpat-12345678")
    assert canaries.found("0wner-passw0rd")
    assert not canaries.found("glpat-87654321")


def test_every_secret_is_some_role_s_alone() -> None:
    secrets = ("token", "key", "secret", "admin")
    named = {v.field for v in VARIABLES if any(word in v.field for word in secrets)}
    assert named == set(CREDENTIALS)
