"""What the benchmark beside renovate gives that program, and reads of its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.package_sources import PackageSources
from benchmarks.renovated import Unusable, find, renovate

SOURCES = PackageSources(index="https://mirror.test/simple", npm_registry="https://npm.test/")


def pin(name: str, datasource: str, **more: object) -> dict[str, object]:
    return {"packageName": name, "datasource": datasource, "currentVersion": "1.0.0", **more}


def offered(target: str, branch: str) -> dict[str, str]:
    return {"newVersion": target, "updateType": "minor", "branchName": branch}


def stand_in(folder: Path, report: str) -> str:
    """Writes a report, and down what it was given."""
    (folder / "said.json").write_text(report)
    program = folder / "renovate"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && { echo 44.0.0; exit; }\n'
        f'env > "{folder}/given"\ncp "{folder}/said.json" "$RENOVATE_REPORT_PATH"\n'
    )
    program.chmod(0o755)
    return str(program)


def report(*dependencies: dict[str, object], problems: tuple[dict[str, str], ...] = ()) -> str:
    files = {"pip_requirements": [{"deps": list(dependencies)}]}
    local = {"packageFiles": files, "problems": list(problems)}
    return json.dumps({"repositories": {"local": local}})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "sample").mkdir()
    return tmp_path / "sample"


def test_its_offers_are_told_by_package_and_branch(tmp_path: Path, repository: Path):
    twice = pin("Foo_Bar", "pypi", updates=[offered("1.1.0", "r/foo"), offered("1.2.0", "r/foo")])
    other = pin("@a/B", "npm", lockedVersion="1.0.9", updates=[offered("1.1.0", "r/b")])
    program = stand_in(tmp_path, report(twice, other, twice))
    seen = renovate(program, repository, SOURCES, tmp_path)
    branches = seen.branches()
    assert [(o.package, o.target) for o in branches["r/foo"]] == [
        ("foo-bar", "1.1.0"),
        ("foo-bar", "1.2.0"),
    ]
    [npm] = branches["r/b"]
    assert (npm.package, npm.current) == ("@a/B", "1.0.9")
    assert not seen.unknown


def test_it_gets_the_registries_of_the_machine_and_no_secret(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GITHUB_COM_TOKEN", "secret-of-ours")
    renovate(stand_in(tmp_path, report()), repository, SOURCES, tmp_path)
    given = (tmp_path / "given").read_text()
    assert "https://mirror.test/simple" in given
    assert "https://npm.test/" in given
    assert "secret-of-ours" not in given


def test_what_it_could_not_look_up_is_told(tmp_path: Path, repository: Path):
    program = stand_in(
        tmp_path,
        report(
            pin("a", "pypi", skipReason="unspecified-version"),
            pin("python", "python-version", updates=[offered("3.14", "r/python")]),
            problems=({"packageName": "b", "msg": "Host error"},),
        ),
    )
    seen = renovate(program, repository, SOURCES, tmp_path)
    assert not seen.offers
    told = " ".join(seen.unknown)
    assert "a: unspecified-version" in told
    assert "python: minor of python-version" in told
    assert "b: Host error" in told


@pytest.mark.parametrize("said", ["", "[]", '{"repositories": {}}'])
def test_no_report_is_told_and_not_taken_for_nothing_found(
    tmp_path: Path, repository: Path, said: str
):
    with pytest.raises(Unusable, match="no report on sample"):
        renovate(stand_in(tmp_path, said), repository, SOURCES, tmp_path)


def test_without_the_program_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RENOVATE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unusable, match="neither on the PATH nor named"):
        find()
    monkeypatch.setenv("RENOVATE", stand_in(tmp_path, ""))
    assert find()[1] == "44.0.0"
