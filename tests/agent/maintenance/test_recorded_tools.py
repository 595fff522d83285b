"""What package managers answered, as they wrote it; those here are not run by any test."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from agent.errors import ToolFailed
from agent.maintenance.dependencies import (
    bundler,
    cargo,
    go,
    javascript,
    maven,
    pnpm,
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
CARGO = """    Updating crates.io index
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
PNPM = json.dumps(
    {
        "ms": {
            "current": "2.0.0",
            "latest": "2.1.3",
            "wanted": "2.0.0",
            "isDeprecated": False,
            "dependencyType": "dependencies",
        },
        "camelcase": {"current": "5.0.0", "latest": "8.0.0", "wanted": "5.3.1"},
    }
)
YARN = "\n".join(
    json.dumps(line)
    for line in (
        {"type": "info", "data": "Color legend"},
        {
            "type": "table",
            "data": {
                "head": ["Package", "Current", "Wanted", "Latest", "Package Type", "URL"],
                "body": [["ms", "2.0.0", "2.0.0", "2.1.3", "dependencies", "https://example.org"]],
            },
        },
    )
)


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


def test_pnpm_and_yarn():
    assert steps(pnpm.Pnpm(), pnpm.read(PNPM)) == [
        ("ms", "2.0.0", "2.1.3", "minor", True),
        ("camelcase", "5.0.0", "5.3.1", "minor", True),
        ("camelcase", "5.0.0", "8.0.0", "major", True),
    ]
    assert steps(yarn.Yarn(), yarn.read(YARN)) == [("ms", "2.0.0", "2.1.3", "minor", True)]


@pytest.mark.parametrize("name", ["-r evil", "--index-url", "a; rm -rf /", "a\nb"])
def test_a_name_that_could_be_more_than_a_name_is_told_and_not_used(name: str):
    found = pnpm.Pnpm().found([Row(package=name, current="1.0.0", target="1.1.0")])
    assert found.updates == ()
    assert len(found.not_checked) == 1
    assert javascript.declared({"dependencies": {name: "^1.0.0"}})[0] == []
    assert javascript.outdated(json.dumps({name: {"wanted": "1.1.0", "latest": "1.1.0"}})) == {}


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
