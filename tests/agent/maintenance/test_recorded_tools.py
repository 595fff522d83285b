"""What package managers answered, as they wrote it; those here are not run by any test."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from agent import node_tools
from agent.errors import ToolFailed
from agent.maintenance.dependencies import (
    bundler,
    cargo,
    go,
    javascript,
    maven,
    pnpm,
    poetry_project,
    python_audit,
    yarn,
)
from agent.maintenance.dependencies.ecosystem import Known
from agent.maintenance.dependencies.found_only import FoundOnly, Row

GO = """{
	"Path": "example.org/app",
	"Main": true,
	"GoVersion": "1.21"
}
{
	"Path": "github.com/spf13/cobra",
	"Version": "v1.7.0",
	"Update": {
		"Path": "github.com/spf13/cobra",
		"Version": "v1.8.1"
	}
}
{
	"Path": "github.com/spf13/pflag",
	"Version": "v1.0.5",
	"Update": {"Path": "github.com/spf13/pflag", "Version": "v1.0.6"},
	"Indirect": true
}
{
	"Path": "github.com/inconshreveable/mousetrap",
	"Version": "v1.1.0"
}
"""
CARGO = """    Updating the registry index
     Locking 2 packages to latest compatible versions
    Updating serde v1.0.100 -> v1.0.228
   Unchanged rand v0.8.5 (available: v0.9.2)
    Updating clap v3.1.0 -> v3.2.25 (available: v4.5.0, requires Rust 1.74)
      Adding zmij v1.0.2
warning: aborting due to dry run mode
"""
BUNDLER = """
rack (newest 3.1.8, installed 2.2.3, requested ~> 2.2)
mini_mime (newest 1.1.5, installed 1.1.2)
"""
MAVEN = """[INFO] Scanning for projects...
[INFO] The following dependencies in Dependencies have newer versions:
[INFO]   commons-io:commons-io ................................. 2.6 -> 2.18.0
[INFO]   org.springframework.boot:spring-boot-starter-data-jpa ...
[INFO]                                              2.1.0.RELEASE -> 3.4.1
[INFO] BUILD SUCCESS
"""
YARN = """# yarn lockfile v1


"@types/node@^20.0.0", "@types/node@>=18 <21":
  version "20.1.0"
  resolved "https://one.example/@types/node/-/node-20.1.0.tgz#aa"

ms@2.0.0:
  version "2.0.0"
  resolved "https://two.example/npm/ms/-/ms-2.0.0.tgz#bb"
  dependencies:
    x "^1.0.0"

slugify@^1.4.0:
  version "1.4.0"
  resolved "https://two.example/npm/slugify/-/slugify-1.4.0.tgz#cc"
"""


def steps(ecosystem: FoundOnly, rows: Iterable[Row]) -> list[tuple[str, str, str, str, bool]]:
    updates = ecosystem.found(rows).updates
    return [(u.package, u.current, u.target, u.level, u.direct) for u in updates]


def test_go():
    assert steps(go.Go(), go.read(GO)) == [
        ("github.com/spf13/cobra", "v1.7.0", "v1.8.1", "minor", True),
        ("github.com/spf13/pflag", "v1.0.5", "v1.0.6", "patch", False),
    ]


def test_cargo():
    assert steps(cargo.Cargo(), cargo.read(CARGO)) == [
        ("serde", "1.0.100", "1.0.228", "patch", True),
        ("rand", "0.8.5", "0.9.2", "minor", True),
        ("clap", "3.1.0", "3.2.25", "minor", True),
        ("clap", "3.1.0", "4.5.0", "major", True),
    ]


def test_bundler():
    assert steps(bundler.Bundler(), bundler.read(BUNDLER)) == [
        ("rack", "2.2.3", "3.1.8", "major", True),
        ("mini_mime", "1.1.2", "1.1.5", "patch", False),
    ]


def test_maven_also_where_a_long_name_breaks_the_line():
    assert steps(maven.Maven(), maven.read(MAVEN)) == [
        ("commons-io:commons-io", "2.6", "2.18.0", "minor", True),
        (
            "org.springframework.boot:spring-boot-starter-data-jpa",
            "2.1.0.RELEASE",
            "3.4.1",
            "major",
            True,
        ),
    ]


@pytest.mark.parametrize(
    "lock",
    [
        "lockfileVersion: 5.4\nspecifiers: {ms: 2.0.0}\ndependencies: {ms: 2.0.0_a@1.0.0}\n",
        "lockfileVersion: '6.0'\ndependencies: {ms: {specifier: ^2, version: 2.0.0(a@1.0.0)}}\n",
        "lockfileVersion: '9.0'\nimporters:\n  .:\n    devDependencies:\n"
        "      ms: {specifier: ^2, version: 2.0.0}\n  other:\n    dependencies:\n"
        "      not-ours: {specifier: ^2, version: 2.0.0}\n",
    ],
)
def test_what_a_lock_file_of_pnpm_holds(lock: str):
    evil = "  '; touch x': 1.0.0\n  --global: 1.0.0\n  link: link:../x\n"
    assert pnpm.locked(f"{lock}optionalDependencies:\n{evil}").get("ms") == "2.0.0"
    assert pnpm.locked(f"dependencies:\n{evil}") == {}


@pytest.mark.parametrize("lock", ["{", "[" * 100_000, "a: *b", "!!python/object:os.system {}"])
def test_a_lock_file_of_pnpm_that_cannot_be_read(lock: str):
    with pytest.raises(ToolFailed, match=r"pnpm-lock\.yaml cannot be read"):
        pnpm.locked(lock)


def test_what_a_lock_file_of_yarn_holds_and_where_from():
    assert yarn.locked(YARN) == {
        "@types/node@^20.0.0": "20.1.0",
        "@types/node@>=18 <21": "20.1.0",
        "ms@2.0.0": "2.0.0",
        "slugify@^1.4.0": "1.4.0",
    }
    here = node_tools.localized(YARN, "https://here.example/npm/")
    assert here.count('resolved "https://here.example/npm/') == 3
    moved = here.replace("slugify-1.4.0", "slugify-1.6.9")
    assert node_tools.delocalized(here, YARN) == YARN
    assert node_tools.delocalized(moved, YARN) == YARN.replace("slugify-1.4.0", "slugify-1.6.9")
    with pytest.raises(ToolFailed, match="no version"):
        yarn.locked('ms@2:\n  version "--x"\n')


HOSTILE = ["-r evil", "--index-url", "a; touch x", "; touch x", "a\nb", "a\n"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_could_be_more_than_a_name_is_told_and_not_used(name: str):
    found = cargo.Cargo().found([Row(package=name, current="1.0.0", target="1.1.0")])
    assert found.updates == ()
    assert len(found.not_checked) == 1
    assert javascript.declared({"dependencies": {name: "^1.0.0"}})[0] == []
    assert javascript.outdated(json.dumps({name: {"wanted": "1.1.0", "latest": "1.1.0"}})) == {}
    grouped = {"tool": {"poetry": {"group": {name: {"dependencies": {"click": "^8"}}}}}}
    assert poetry_project.declared(grouped) == []


@pytest.mark.parametrize("version", HOSTILE)
def test_a_version_that_could_be_more_than_a_version_is_not_used(version: str):
    found = cargo.Cargo().found([Row(package="serde", current="1.0.0", target=version)])
    assert found.updates == ()
    assert javascript.outdated(json.dumps({"ms": {"wanted": version, "latest": version}})) == {}


@pytest.mark.parametrize(
    ("header", "tool"),
    [
        ("# This file is automatically @generated by Poetry 1.8.3 and should not", "==1.8.3"),
        ("# This file is automatically @generated by Poetry 2.1.4 and should not", "==2.1.4"),
        ("# This file is automatically @generated by Poetry 2.9.0 and should not", ">=2.3,<2.4"),
        ("# This file is automatically @generated by Poetry 1.1.0; touch x", "==1.8.5"),
        ("# @generated by Poetry --with evil", ">=2.3,<2.4"),
        ("", ">=2.3,<2.4"),
    ],
)
def test_poetry_is_the_one_that_wrote_the_lock_file(header: str, tool: str):
    assert poetry_project.program(f"{header}\n\n[[package]]\n") == f"poetry{tool}"


def test_what_poetry_is_not_asked_to_write_anew():
    data = {
        "project": {"dependencies": ["click[x]>=8", "rich>=13 ; python_version > '3'", "ms>=1"]},
        "tool": {"poetry": {"dependencies": {"python": "^3.9", "a": {"version": "^1"}, "b": "1"}}},
    }
    found = {each.name: (each.plain, each.exact) for each in poetry_project.declared(data)}
    assert found == {
        "click": (False, False),
        "rich": (False, False),
        "ms": (True, False),
        "a": (False, False),
        "b": (True, True),
    }
    with pytest.raises(ToolFailed, match="plugins of poetry"):
        poetry_project.declared({"tool": {"poetry": {"requires-plugins": {"evil": "*"}}}})


def facts(found: Iterable[Known]) -> list[tuple[str, str, str, str, str]]:
    return [
        (k.package, k.version, a.id, a.severity, a.fixed_in) for k in found for a in k.advisories
    ]


def test_audits():
    npm = {
        "auditReportVersion": 2,
        "vulnerabilities": {
            "minimist": {
                "name": "minimist",
                "severity": "critical",
                "via": [
                    {
                        "source": 1097678,
                        "name": "minimist",
                        "title": "Prototype Pollution in minimist",
                        "url": "https://github.com/advisories/GHSA-xvch-5gv4-984h",
                        "severity": "critical",
                        "range": ">=1.0.0 <1.2.6",
                    }
                ],
                "range": "1.0.0 - 1.2.5",
                "fixAvailable": True,
            },
            "mkdirp": {"name": "mkdirp", "severity": "critical", "via": ["minimist"]},
        },
    }
    assert facts(javascript.advisories(json.dumps(npm), {"minimist": "1.2.0"})) == [
        ("minimist", "1.2.0", "GHSA-xvch-5gv4-984h", "critical", "1.2.6")
    ]
    pip = {
        "dependencies": [
            {
                "name": "jinja2",
                "version": "2.10",
                "vulns": [
                    {
                        "id": "PYSEC-2019-217",
                        "fix_versions": ["2.10.1"],
                        "description": "In Pallets Jinja before 2.10.1,\nstr.format_map allows …",
                    }
                ],
            },
            {"name": "click", "version": "8.0.0", "vulns": []},
        ]
    }
    assert facts(python_audit.read(json.dumps(pip))) == [
        ("jinja2", "2.10", "PYSEC-2019-217", "", "2.10.1")
    ]
    rust = {
        "vulnerabilities": {
            "found": True,
            "list": [
                {
                    "advisory": {"id": "RUSTSEC-2020-0071", "title": "Potential segfault in time"},
                    "versions": {"patched": [">=0.2.23"], "unaffected": []},
                    "package": {"name": "time", "version": "0.1.44"},
                }
            ],
        }
    }
    assert facts(cargo.read_audit(json.dumps(rust))) == [
        ("time", "0.1.44", "RUSTSEC-2020-0071", "", "0.2.23")
    ]
    ruby = {
        "results": [
            {
                "type": "unpatched_gem",
                "gem": {"name": "rack", "version": "2.2.3"},
                "advisory": {
                    "id": "CVE-2022-30122",
                    "criticality": "high",
                    "title": "Denial of Service in Rack",
                    "patched_versions": ["~> 2.0.9, >= 2.0.9.1", ">= 2.2.3.1"],
                },
            }
        ]
    }
    assert facts(bundler.read_audit(json.dumps(ruby))) == [
        ("rack", "2.2.3", "CVE-2022-30122", "high", "2.2.3.1")
    ]
    classic = {
        "module_name": "ms",
        "github_advisory_id": "GHSA-w9mr-4mfr-499f",
        "severity": "moderate",
        "title": "Regular expression denial of service",
        "patched_versions": ">=2.0.0",
        "findings": [{"version": "0.7.0"}],
    }
    expected = [("ms", "0.7.0", "GHSA-w9mr-4mfr-499f", "moderate", "2.0.0")]
    assert facts(pnpm.read_audit(json.dumps({"advisories": {"1": classic}}))) == expected
    line = {"type": "auditAdvisory", "data": {"advisory": classic}}
    assert facts(yarn.read_audit(json.dumps(line))) == expected


@pytest.mark.parametrize("text", ["<html>502</html>", "[" * 100_000, '{"message": "not allowed"}'])
def test_an_audit_that_makes_no_sense_is_no_good_news(text: str):
    with pytest.raises(ToolFailed):
        javascript.advisories(text, {})
    with pytest.raises(ToolFailed):
        python_audit.read(text)
