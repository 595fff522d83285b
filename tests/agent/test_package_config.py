"""Which hosts and folders follow from how a machine's package managers are configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.adapters.fetch_rules import Endpoint, Scope
from agent.adapters.package_config import RegistryEndpoints, read_sources


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A machine whose user has configured nothing; system-wide files are overruled below."""
    return {"HOME": str(tmp_path), "PIP_INDEX_URL": "https://index.example/simple"}


def test_variables_of_pip(env: dict[str, str]):
    sources = read_sources(
        env
        | {
            "PIP_EXTRA_INDEX_URL": "https://a.example/simple http://b.example:8080/simple",
            "PIP_FIND_LINKS": "/some/links https://links.example/",
            "PIP_CERT": "/some/ca.pem",
        }
    )
    assert sources.index == "https://index.example/simple"
    assert sources.extra_indexes == ("https://a.example/simple", "http://b.example:8080/simple")
    assert sources.find_links == ("/some/links", "https://links.example/")
    assert sources.ca_file == Path("/some/ca.pem")


def test_files_of_pip(tmp_path: Path):
    file = tmp_path / "chosen.conf"
    file.write_text(
        "[global]\nindex-url = https://wrong.example/simple\nextra_index_url =\n"
        "  https://a.example/simple\n  https://b.example/simple\n"
        "[install]\nindex-url = https://mirror.example/simple\n"
    )
    env = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(file), "XDG_CONFIG_HOME": "/nonexistent"}
    sources = read_sources(env)
    assert sources.index == "https://mirror.example/simple"
    assert sources.extra_indexes == ("https://a.example/simple", "https://b.example/simple")


def test_files_and_variables_of_uv(tmp_path: Path, env: dict[str, str]):
    folder = tmp_path / ".config" / "uv"
    folder.mkdir(parents=True)
    (folder / "uv.toml").write_text(
        '[[index]]\nurl = "https://uv.example/simple"\ndefault = true\n'
        '[[index]]\nname = "more"\nurl = "https://more.example/simple?a=b"\n'
    )
    env["PIP_EXTRA_INDEX_URL"] = ""
    assert read_sources(env).index == "https://uv.example/simple"
    assert "https://more.example/simple?a=b" in read_sources(env).extra_indexes
    env["UV_DEFAULT_INDEX"] = "named=https://other.example/simple"
    assert read_sources(env).index == "https://other.example/simple"


def test_npm_of_the_user(tmp_path: Path, env: dict[str, str]):
    (tmp_path / ".npmrc").write_text("; comment=1\nregistry = https://npm.example/\n")
    assert read_sources(env).npm_registry == "https://npm.example/"
    env["NPM_CONFIG_REGISTRY"] = "https://other.example/"
    assert read_sources(env).npm_registry == "https://other.example/"


def test_no_index_at_all(tmp_path: Path):
    env = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1"}
    assert read_sources(env).index == ""


def test_without_settings_the_tools_own_defaults_count(tmp_path: Path):
    sources = read_sources({"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"})
    assert sources.index.startswith("https://")


def test_folders_of_a_local_index_and_what_it_links_to(tmp_path: Path, env: dict[str, str]):
    page = tmp_path / "pypi" / "simple" / "x"
    page.mkdir(parents=True)
    (tmp_path / "pypi" / "files").mkdir()
    (page / "index.html").write_text('<a href="../../files/x-1-py3-none-any.whl#sha256=0">x</a>')
    env["PIP_EXTRA_INDEX_URL"] = (tmp_path / "pypi" / "simple").as_uri()
    env["PIP_FIND_LINKS"] = str(tmp_path / "not-there")
    assert set(read_sources(env).folders) == {
        tmp_path / "pypi" / "simple",
        tmp_path / "pypi" / "files",
    }


async def test_endpoints_are_exactly_what_is_configured(env: dict[str, str]):
    sources = read_sources(
        env
        | {
            "PIP_INDEX_URL": "http://user:secret@127.0.0.1:9/simple",  # nothing answers there
            "PIP_EXTRA_INDEX_URL": "file:///nonexistent",
            "PIP_FIND_LINKS": "http://[::1]:8080/links",
            "NPM_CONFIG_REGISTRY": "http://npm.example:4873/",
        }
    )
    assert list(await RegistryEndpoints(sources)()) == [
        Endpoint(host="npm.example", port=4873, tls=False, scope=Scope.ANY),
        Endpoint(host="[::1]", port=8080, tls=False, scope=Scope.ANY),
        Endpoint(host="127.0.0.1", port=9, tls=False, scope=Scope.ANY),
    ]
