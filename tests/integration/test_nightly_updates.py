"""A night's updates on the sample projects, with real package managers and their registries."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nightly import Bench, changed, left, outside, run, steps

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.fetch_access import FetchAccess
from agent.adapters.git_vault import GitVaults
from agent.adapters.package_config import RegistryEndpoints, find_uv, read_sources
from agent.dependencies import Installer
from agent.errors import ToolFailed
from agent.maintenance.dependencies.shop import opened
from agent.maintenance.dependencies.task import dependencies
from agent.ports import Network
from agent.run import CommitSha

PROJECTS = Path(__file__).parents[2] / "playground" / "projects"


@pytest.mark.usefixtures("registries")
async def test_of_the_python_sample_all_is_kept_but_the_update_that_breaks_a_test(bench: Bench):
    night = await bench.night(PROJECTS / "newsletter")
    report = await dependencies(night)

    assert report.problems == ()
    rollup = next(group for group in report.groups if "packages" in group.title)
    assert {"humanize", "inflection", "tabulate"} <= {
        p for p, far in steps(report) if far != "major"
    }
    assert {("humanize", "major"), ("python-slugify", "major")} <= steps(report)
    assert "tests/test_links.py" in left(report)["itsdangerous"]
    assert "TimedJSONWebSignatureSerializer" in left(report)["itsdangerous"]
    assert rollup.files == ("requirements.txt",)
    assert rollup.tests_after is not None
    assert rollup.tests_after.green
    lines = await changed(night, rollup.tree, "requirements.txt")
    assert not [line for line in lines if "itsdangerous" in line or line.startswith("+ #")]
    assert sum("--hash=sha256:" in line for line in lines if line[0] == "+") >= 6
    assert any("not checked" in line or report.status == "done" for line in report.not_checked)


@pytest.mark.usefixtures("registries")
async def test_of_the_javascript_sample_all_is_kept_but_the_update_that_breaks_a_test(
    bench: Bench,
):
    night = await bench.night(PROJECTS / "labels")
    report = await dependencies(night)

    assert report.problems == ()
    assert {("camelcase", "minor"), ("slugify", "minor"), ("escape-html", "patch")} <= steps(report)
    assert ("prettier", "minor") in steps(report)  # of what only developers need
    assert ("pluralize", "major") in steps(report)
    differs = "'waiting for another 2 hours' instead of 'waiting for another 3 hours'."
    assert f"time that is left is rounded up. {differs}" in left(report)["ms"]
    assert "It needs Node" in left(report)["camelcase"]
    for group in report.groups:
        assert group.files == ("package-lock.json", "package.json")
        assert group.tests_after is not None
        assert group.tests_after.green
        assert '"ms": "2.0.0"' in str(await night.vault.read(CommitSha(group.tree), "package.json"))


@pytest.mark.usefixtures("registries")
async def test_a_uv_lock_moves_and_a_major_update_moves_the_range_that_declares_it(
    bench: Bench, tmp_path: Path
):
    (tmp_path / "pyproject.toml").write_text(UV_PROJECT)
    (tmp_path / "test_shelf.py").write_text("import inflection\n\ndef test_it(): pass\n")
    lock = [str(find_uv()), "lock", "-q", "--python", "/usr/bin/python3", "--no-config"]
    lock += [word for pin in UV_PINS for word in ("--upgrade-package", pin)]
    await run(lock, tmp_path, outside(bench.installer.sources))
    night = await bench.night(tmp_path)
    report = await dependencies(night)

    assert steps(report) == {("inflection", "minor"), ("python-slugify", "major")}
    assert "itsdangerous>=2.0,<2.1" in left(report)["itsdangerous"]
    major = next(group for group in report.groups if "slugify" in group.title)
    lines = await changed(night, major.tree, "pyproject.toml")
    assert any(re.match(r'\+\s+"python-slugify>=\d[\d.]*,<\d+",', line) for line in lines)


UV_PROJECT = """[project]
name = "shelf"
version = "1"
requires-python = ">=3.9"
dependencies = ["itsdangerous>=2.0,<2.1", "inflection", "python-slugify>=5,<6"]
"""
UV_PINS = ("itsdangerous==2.0.1", "inflection==0.4.0", "python-slugify==5.0.2")


async def test_a_lock_file_in_conflict_is_said_and_nothing_is_done(bench: Bench, tmp_path: Path):
    torn = "<<<<<<< HEAD\nclick==8.0.0\n=======\nclick==8.1.0\n>>>>>>> other\n"
    (tmp_path / "requirements.txt").write_text(torn)
    report = await dependencies(await bench.night(tmp_path))
    assert report.status == "failed"
    assert report.groups == ()
    assert "requirements.txt has the marks of an unresolved conflict" in report.problems[0]


@pytest.mark.parametrize("lock", ["{", "[" * 100_000, "[]", '{"packages": []}'])
async def test_a_lock_file_that_cannot_be_read_leads_to_no_update(
    bench: Bench, tmp_path: Path, lock: str
):
    (tmp_path / "package.json").write_text('{"name": "x", "dependencies": {"ms": "2.0.0"}}')
    (tmp_path / "package-lock.json").write_text(lock)
    report = await dependencies(await bench.night(tmp_path))
    assert report.groups == report.updates == ()
    assert report.not_checked or report.problems


@pytest.fixture
def nonsense(request: pytest.FixtureRequest) -> Iterator[str]:
    """An index on the loopback that answers everything with the same."""
    status, body = request.param

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    "nonsense", [(503, b"{}"), (200, b"<html>maintenance</html>"), (200, b"null")], indirect=True
)
@pytest.mark.parametrize("sample", ["newsletter", "labels"])
async def test_a_registry_that_is_down_or_talks_nonsense_changes_nothing(
    open_folder: Path, nonsense: str, sample: str
):
    home = open_folder / f"home-{time.monotonic_ns()}"
    env = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": f"{nonsense}/simple"}
    sources = read_sources({**env, "npm_config_registry": nonsense})
    access = FetchAccess(home / "fetch", RegistryEndpoints(sources))
    sandbox = BubblewrapSandbox(home / "sandbox", fetch=access)
    installer = Installer(sandbox=sandbox, cache=home / "cache", sources=sources, uv=find_uv())
    bench = Bench(sandbox, installer, GitVaults(home / "vaults"), home)
    report = await dependencies(await bench.night(PROJECTS / sample))
    assert report.status in ("failed", "partial")
    assert report.groups == report.updates == report.left_out == ()
    assert report.not_checked or report.problems


async def test_what_a_tool_does_beside_its_manifests_is_refused(bench: Bench):
    given = {"package.json": b"{}", "package-lock.json": b"{}", "sub/other.txt": b"mine"}
    for harm, refusal in (
        ("echo x > extra.js", r"neither manifests nor lock files.*extra\.js"),
        ("echo x >> sub/other.txt", r"neither manifests nor lock files.*sub/other\.txt"),
        ("rm sub/other.txt", r"neither manifests nor lock files.*sub/other\.txt"),
        (": > package-lock.json", r"It emptied package-lock\.json"),
        ("rm package-lock.json", r"It emptied package-lock\.json"),
        ("ln -sf /etc/passwd package-lock.json", r"It emptied package-lock\.json"),
    ):
        async with opened(
            given, sandbox=bench.sandbox, installer=bench.installer, project="p"
        ) as shop:
            await shop.run(["bash", "-c", harm], network=Network.NONE)
            with pytest.raises(ToolFailed, match=refusal):
                shop.result(["package.json", "package-lock.json"])


async def test_words_of_the_project_reach_a_tool_as_one_argument_each(bench: Bench):
    async with opened(
        {"package.json": b"{}"}, sandbox=bench.sandbox, installer=bench.installer, project="p"
    ) as shop:
        words = ["a;touch x", "$(touch x)", "`touch x`", "-r x", "a\nb", "'", '"']
        answer = await shop.run(["printf", "%s\\n--\\n", *words], network=Network.NONE)
        assert answer.out == "".join(f"{word}\n--\n" for word in words)
        assert shop.result(["package.json"]) == {}
