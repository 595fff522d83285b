"""What the installer shares between runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from agent.dependencies import Installer
from agent.package_sources import PackageSources


def test_runs_that_begin_together_share_one_copy_of_uv(tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    uv.write_bytes(b"x" * 2_000_000)
    installer = Installer(
        sandbox=BubblewrapSandbox(tmp_path / "sandbox"),
        cache=tmp_path,
        sources=PackageSources(),
        uv=uv,
    )
    with ThreadPoolExecutor(8) as pool:
        copies = set(pool.map(lambda _: installer._shared_uv(), range(8)))
    assert [path.read_bytes() for path in copies] == [uv.read_bytes()]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["uv", *(path.name for path in copies)]
    )
