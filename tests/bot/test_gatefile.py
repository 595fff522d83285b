"""The tables of journeyman.toml about merging and deploying."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import SettingsError
from agent.gate import Window
from agent.project import ProjectSettings
from bot.build import engine_project
from bot.gatefile import span, window
from bot.settings import load

PROJECT = '[projects."a/b"]\n'
MAIN = '[projects."a/b".targets.main]\n'
STAGING = '[projects."a/b".environments.staging]\njobs = ["deploy staging"]\n'


def read(folder: Path, text: str) -> ProjectSettings:
    file = folder / "journeyman.toml"
    file.write_text(text)
    found = engine_project(load({"HOME": str(folder), "JOURNEYMAN_CONFIG": str(file)}), "a/b")
    assert found is not None
    return found


def test_a_rule_says_all_that_decides(tmp_path: Path) -> None:
    project = read(
        tmp_path,
        """
        [projects."a/b".targets.develop]
        approvals = 0
        max_files = 20
        deny_paths = ["infra/"]
        promote = "main"
        deploys = ["review"]
        [projects."a/b".targets.main]
        approvals = 2
        access = "owner"
        users = [3, 4, 5]
        groups = ["platform/ops"]
        self_approval = true
        expires = "90m"
        freeze = ["Fri 16:00 - Mon 08:00 Europe/Berlin", "Wed 00:00-Wed 24:00"]
        [projects."a/b".environments.staging]
        jobs = ["deploy staging"]
        approvals = 0
        [projects."a/b".environments.production]
        jobs = ["deploy eu", "deploy us"]
        """,
    )

    develop, main = project.target("develop"), project.target("main")
    assert develop
    assert main
    assert (develop.rule.approvals, develop.promote, develop.deploys) == (0, "main", ("review",))
    assert (develop.limits.max_files, develop.limits.deny_paths) == (20, ("infra/",))
    assert (main.rule.approvals, main.rule.access, main.rule.users) == (2, 50, (3, 4, 5))
    assert (main.rule.groups, main.rule.self_approval) == (("platform/ops",), True)
    assert main.rule.expires == 5400
    assert main.rule.freezes == (
        Window(start=4 * 1440 + 960, end=480, zone="Europe/Berlin"),
        Window(start=2 * 1440, end=3 * 1440),
    )
    assert [each.name for each in project.environments] == ["staging", "production"]
    production = project.environment("production")
    assert production
    assert production.jobs == ("deploy eu", "deploy us")
    assert (production.rule.approvals, production.rule.access) == (1, 40)
    assert (production.rule.expires, production.rule.self_approval) == (86_400, False)
    assert project.target("release") is None


def test_nothing_is_settled_where_nothing_is_said(tmp_path: Path) -> None:
    project = read(tmp_path, PROJECT)
    assert (project.targets, project.environments) == ((), ())
    assert project.settled("main") is None


def test_defaults_hold_key_by_key(tmp_path: Path) -> None:
    project = read(
        tmp_path,
        """
        [defaults]
        deny_paths = ["secrets/"]
        [defaults.targets.main]
        access = "owner"
        expires = "2h"
        [defaults.environments.staging]
        jobs = ["deploy"]
        [projects."a/b".targets.main]
        expires = "1h"
        [projects."a/b".targets.develop]
        approvals = 0
        deny_paths = ["infra/"]
        [channels]
        C1 = ["a/b", "a/other"]
        """,
    )

    main, develop = project.target("main"), project.target("develop")
    assert main
    assert develop
    assert (main.rule.access, main.rule.expires) == (50, 3600)
    assert develop.limits.deny_paths == ("secrets/", "infra/")
    assert project.environment("staging") is not None
    settings = load({"HOME": "/", "JOURNEYMAN_CONFIG": str(tmp_path / "journeyman.toml")})
    other = engine_project(settings, "a/other")
    assert other
    assert [each.branch for each in other.targets] == ["main"]


def test_a_change_of_what_decides_changes_its_version(tmp_path: Path) -> None:
    base = read(tmp_path, MAIN).settled("main")
    assert base == read(tmp_path, MAIN + "approvals = 1\n").settled("main")
    for line in (
        "approvals = 2",
        'access = "developer"',
        "users = [7]",
        'expires = "25h"',
        'freeze = ["Sat 00:00 - Sun 00:00"]',
    ):
        assert read(tmp_path, f"{MAIN}{line}\n").settled("main") != base, line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("approvals = -1", "targets.main.approvals is -1"),
        ("approvals = true", "targets.main.approvals is True"),
        ('access = "admin"', "'developer', 'maintainer' or 'owner'"),
        ('expires = "tomorrow"', '"24h", "90m" or "7d"'),
        ('expires = "31d"', "between 1m and 30d"),
        ('freeze = ["Fri - Mon"]', '"Fri 16:00 - Mon 08:00 Europe/Berlin"'),
        ('freeze = ["Fri 16:00 - Mon 25:00"]', "no time of day in 25:00"),
        ('freeze = ["Fri 16:00 - Xyz 08:00"]', "unknown day Xyz"),
        ('freeze = ["Fri 16:00 - Fri 16:00"]', "end at another time"),
        ('freeze = ["Fri 16:00 - Mon 08:00 Mars/Base"]', "unknown time zone Mars/Base"),
        ('freeze = ["Fri 16:00 - Mon 08:00 Europe"]', "unknown time zone Europe"),
        ('freeze = ["Fri 16:00 - Mon 08:00 /etc/hosts"]', "unknown time zone /etc/hosts"),
        ('groups = ["ops team"]', "a group is its full path"),
        ("aprovals = 1", "did you mean approvals?"),
        ("approvals = 0\nusers = [7]", "targets.main.users names who decides, but approvals = 0"),
        ('approvals = 0\ngroups = ["ops"]', "targets.main.groups names who decides"),
        ("approvals = 2\nusers = [7, 7]", "approvals is 2, but users names only 1"),
        ("max_files = 3", "max_files limits what merges itself"),
        ('promote = "release"', "'release', a branch without a rule: add a table targets.release"),
        ('promote = "main"', "names the branch itself"),
    ],
)
def test_what_cannot_be_meant_is_told_with_file_key_and_remedy(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, f"{MAIN}{text}\n")
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "journeyman.toml"))
    assert 'projects."a/b".targets.main' in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[projects."a/b".environments.staging]', "environments.staging.jobs is missing"),
        (
            '[projects."a/b".environments.staging]\njobs = []',
            "environments.staging.jobs is missing",
        ),
        (
            f'{STAGING}[projects."a/b".environments."eu/live"]\njobs = ["deploy staging"]',
            "environments.\"eu/live\".jobs names 'deploy staging', which deploys to staging",
        ),
        (f"{STAGING}promote = 'main'", "environments.staging.promote is not a setting"),
        ("[defaults.environments.staging]", "defaults.environments.staging.jobs is missing"),
        (f"{STAGING}approvals = 0\nusers = [7]", "approvals = 0 asks nobody"),
    ],
)
def test_environments_that_cannot_be_meant(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, text)
    assert said in str(refused.value)


def test_spans_and_windows() -> None:
    assert (span("90m"), span("24h"), span("7d")) == (5400, 86_400, 604_800)
    assert window("Sun 00:00 - Sun 24:00") == Window(start=6 * 1440, end=0)
    assert window("sat 22:00 – sun 6:00") == Window(start=5 * 1440 + 1320, end=6 * 1440 + 360)
