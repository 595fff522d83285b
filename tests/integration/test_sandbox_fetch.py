"""The fetch phase from end to end: a package index on the loopback, the proxy, uv in the sandbox,
and the project's tests afterwards without any network."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
import time
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.adapters.fetch_access import FetchAccess
from agent.adapters.fetch_proxy import Access
from agent.adapters.package_config import RegistryEndpoints, find_uv, read_sources
from agent.dependencies import Installer
from agent.errors import ToolFailed
from agent.files import WorkspaceFiles
from agent.ports import Network

PROGRAM = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
except Exception as error:
    print("failed", error)
"""


def make_wheel(folder: Path, name: str, version: str = "1.0") -> Path:
    """A wheel with one module whose tests can be told apart by `VERSION`."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\ndef main(): print('ran', VERSION)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = ""
    for file, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{file},sha256={digest.decode()},{len(text)}\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            wheel.writestr(file, text)
    return path


@dataclass
class Index:
    url: str
    folder: Path
    asked: list[str] = field(default_factory=list[str])


@pytest.fixture(scope="module")
def index(open_folder: Path) -> Iterator[Index]:
    folder = open_folder / "index"
    for name in ("tinydep", "pytest"):
        page = folder / "simple" / name
        page.mkdir(parents=True)
        wheel = make_wheel(page, name)
        (page / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')

    found = Index(url="", folder=folder)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            found.asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/simple"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Place:
    sandbox: BubblewrapSandbox
    installer: Installer
    log: list[Access]


@pytest.fixture
def place(open_folder: Path, index: Index) -> Place:
    sources = read_sources({"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": index.url})
    log: list[Access] = []
    home = open_folder / f"home-{time.monotonic_ns()}"
    access = FetchAccess(home / "fetch", RegistryEndpoints(sources), log=log.append)
    sandbox = BubblewrapSandbox(home / "sandbox", fetch=access)
    installer = Installer(sandbox=sandbox, cache=home / "cache", sources=sources, uv=find_uv())
    return Place(sandbox, installer, log)


@pytest.fixture
async def checkout(place: Place) -> AsyncIterator[Path]:
    folder = place.sandbox.new_folder("checkout")
    yield folder
    await place.sandbox.remove(folder)


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = name.replace("__", "/").replace("_dot_", ".").replace("_dash_", "-")
        WorkspaceFiles(folder).write(path, text.encode())


async def test_only_the_configured_host_is_reached(place: Place, checkout: Path, index: Index):
    async with place.sandbox.open(checkout) as box:
        run = ["/usr/bin/python3", "-c", PROGRAM]
        good = await box.exec([*run, f"{index.url}/tinydep/"], network=Network.FETCH)
        evil = await box.exec([*run, "http://evil.test/"], network=Network.FETCH)
        none = await box.exec([*run, f"{index.url}/tinydep/"])
        code = await box.exec(["sh", "-c", "exit 5"], network=Network.FETCH)
    assert "tinydep-1.0" in good.output
    assert "403" in evil.output
    assert "refused" in none.output
    assert code.exit_code == 5
    assert [entry.allowed for entry in place.log] == [True, False]


@pytest.mark.alone
async def test_packages_are_there_for_later_commands_without_network(
    place: Place, checkout: Path, index: Index
):
    put(checkout, requirements_dot_txt="tinydep\n-e .\n", src__app_dot_py="X = 1\n")
    first = await place.installer.install(checkout, project="group/project")
    assert first.record.problem == ""
    assert (first.record.manager, first.record.cached) == ("uv", False)
    before = len(index.asked)
    async with place.sandbox.open(checkout, mounts=first.mounts) as box:
        result = await box.exec(
            ["sh", "-c", "tinydep; python -c 'import app, tinydep'; touch /deps/x"], env=first.env
        )
    assert result.output.startswith("ran 1.0\n")
    assert "Read-only" in result.output
    again = await place.installer.install(checkout, project="group/project")
    assert again.record.cached
    assert again.record.seconds < 0.2
    assert again.mounts == first.mounts
    assert len(index.asked) == before


OUR_APP = """
import importlib.metadata
import ours
print(ours.__file__, importlib.metadata.version("our-app"))
"""


async def test_the_project_is_there_for_programs_with_an_environment_of_their_own(
    place: Place, checkout: Path
):
    pyproject = '[project]\nname = "Our-App"\nversion = "1.2"\ndependencies = ["tinydep"]\n'
    put(checkout, pyproject_dot_toml=pyproject, src__ours_dot_py="")
    installed = await place.installer.install(checkout, project="group/one")
    assert installed.record.problem == ""
    python = f"{installed.env['VIRTUAL_ENV']}/bin/python"
    async with place.sandbox.open(checkout) as box:
        ran = await box.exec(
            ["env", "-i", python, "-c", OUR_APP],
            mounts=installed.mounts,
            env=installed.env,
        )
    assert ran.output.split() == ["/workspace/src/ours.py", "1.2"]


async def test_the_fetch_phase_sees_manifests_only(place: Place, checkout: Path):
    put(checkout, requirements_dot_txt="tinydep\n", secret_dot_py="PASSWORD = 1\n")
    seen: list[list[str]] = []
    opened = place.sandbox.open

    def watching(workspace: Path, **options: object) -> object:
        seen.append(sorted(path.name for path in workspace.iterdir()))
        return opened(workspace, **options)  # type: ignore[arg-type]

    place.sandbox.open = watching  # type: ignore[method-assign, assignment]
    await place.installer.install(checkout, project="p")
    assert seen[0] == ["requirements.txt"]


async def test_pytest_is_added_where_tests_need_it(place: Place, checkout: Path):
    put(
        checkout,
        tests__test_a_dot_py="def test(): pass\n",
        pyproject_dot_toml='[project]\nname = "x"\ndependencies = ["tinydep"]\n'
        '[dependency-groups]\ntest = ["tinydep>=1"]\n',
    )
    installed = await place.installer.install(checkout, project="p")
    assert installed.record.problem == ""
    async with place.sandbox.open(checkout, mounts=installed.mounts) as box:
        assert (await box.exec(["pytest"], env=installed.env)).output == "ran 1.0\n"


async def test_a_local_folder_of_wheels_needs_no_index(
    place: Place, checkout: Path, open_folder: Path
):
    links = open_folder / "links"
    links.mkdir(exist_ok=True)
    make_wheel(links, "localdep", "2.0")
    env = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links)}
    installer = replace(place.installer, sources=read_sources(env))
    put(checkout, requirements_dot_txt="localdep==2.0\n")
    installed = await installer.install(checkout, project="p")
    assert installed.record.problem == ""
    async with place.sandbox.open(checkout, mounts=installed.mounts) as box:
        assert (await box.exec(["localdep"], env=installed.env)).output == "ran 2.0\n"


async def test_an_unknown_package_is_a_sentence_and_commands_still_run(
    place: Place, checkout: Path
):
    put(checkout, requirements_dot_txt="no-such-package==1\n")
    installed = await place.installer.install(checkout, project="p")
    assert "could not be installed" in installed.record.problem
    assert "no-such-package" in installed.record.problem
    assert installed.mounts == ()
    async with place.sandbox.open(checkout, mounts=installed.mounts) as box:
        assert (await box.exec(["python3", "-c", "1"], env=installed.env)).exit_code == 0


async def test_an_index_that_does_not_answer_is_told(place: Place, checkout: Path):
    sources = read_sources(
        {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:1/s"}
    )
    place.sandbox.fetch = FetchAccess(place.sandbox.folder / "other", RegistryEndpoints(sources))
    put(checkout, requirements_dot_txt="tinydep\n")
    installer = replace(place.installer, sources=sources)
    installed = await installer.install(checkout, project="p")
    assert "could not" in installed.record.problem
    assert installed.record.problem.count("\n") == 0


async def test_without_uv_it_is_said(place: Place, checkout: Path):
    put(checkout, requirements_dot_txt="tinydep\n")
    installed = await replace(place.installer, uv=None).install(checkout, project="p")
    assert "`uv` is missing" in installed.record.problem


async def test_a_project_without_manifests_needs_nothing(place: Place, checkout: Path):
    installed = await place.installer.install(checkout, project="p")
    assert (installed.record.manager, installed.record.problem) == ("", "")
    assert installed.mounts == ()


async def test_a_manifest_that_is_a_trap_is_not_read(place: Place, checkout: Path):
    (checkout / "requirements.txt").symlink_to("/etc/passwd")
    installed = await place.installer.install(checkout, project="p")
    assert "leads out of the workspace" in installed.record.problem


async def test_npm_installs_from_its_lock_without_scripts(place: Place, checkout: Path):
    package = {"name": "x", "version": "1.0.0"}
    lock = {**package, "lockfileVersion": 3, "requires": True, "packages": {"": package}}
    put(
        checkout,
        package_dot_json=json.dumps({**package, "scripts": {"postinstall": "touch ran"}}),
        package_dash_lock_dot_json=json.dumps(lock),
    )
    installed = await place.installer.install(checkout, project="p")
    assert (installed.record.manager, installed.record.problem) == ("npm", "")
    async with place.sandbox.open(checkout, mounts=installed.mounts) as box:
        assert (await box.exec(["ls", "-A"])).output.split() == [
            "node_modules",
            "package-lock.json",
            "package.json",
        ]


async def test_a_wheel_that_is_no_wheel_runs_nothing(place: Place, checkout: Path, index: Index):
    """Source packages are refused: building one would run its code with the network open."""
    page = index.folder / "simple" / "sourcedep"
    page.mkdir(exist_ok=True)
    (page / "sourcedep-1.0.tar.gz").write_bytes(b"x")
    (page / "index.html").write_text('<a href="sourcedep-1.0.tar.gz">sourcedep-1.0.tar.gz</a>')
    put(checkout, requirements_dot_txt="sourcedep\n")
    installed = await place.installer.install(checkout, project="p")
    assert "sourcedep" in installed.record.problem


async def test_fetching_needs_a_way_to_registries(open_folder: Path):
    sandbox = BubblewrapSandbox(open_folder / "offline")
    folder = sandbox.new_folder("x")
    async with sandbox.open(folder) as box:
        with pytest.raises(ToolFailed, match="no access to package registries"):
            await box.exec(["true"], network=Network.FETCH)
