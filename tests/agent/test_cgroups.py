"""The control groups of hosts that this machine is not, as folders of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.adapters.cgroups import Group, Parents, find_parents
from agent.ports import CommandLimits


@pytest.fixture
def delegated(tmp_path: Path) -> tuple[Path, Path]:
    """A systemd unit with `Delegate=memory pids`: root folder, and /proc/self/cgroup."""
    unit = tmp_path / "fs" / "system.slice" / "bot.service"
    unit.mkdir(parents=True)
    (unit / "cgroup.controllers").write_text("cpu memory pids\n")
    (unit / "cgroup.subtree_control").write_text("\n")
    (unit / "cgroup.procs").write_text(f"{os.getpid()}\n")
    own = tmp_path / "cgroup"
    own.write_text("0::/system.slice/bot.service\n")
    return tmp_path / "fs", own


def test_a_delegated_unit_is_used_and_we_step_aside(delegated: tuple[Path, Path]):
    root, own = delegated
    unit = root / "system.slice" / "bot.service"
    parents = find_parents(root, own)
    # the probe's own files cannot be removed as the kernel's vanish with their folder
    assert parents == Parents(memory=unit, pids=unit, cpu=unit, version=2)
    assert (unit / "journeyman-main" / "cgroup.procs").read_text() == str(os.getpid())
    assert (unit / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_a_group_shared_with_others_is_left_alone(delegated: tuple[Path, Path]):
    root, own = delegated
    unit = root / "system.slice" / "bot.service"
    (unit / "cgroup.procs").write_text(f"{os.getpid()}\n1\n")
    assert find_parents(root, own) is None
    assert not (unit / "journeyman-main").exists()


def test_groups_of_killed_services_are_removed(delegated: tuple[Path, Path]):
    root, own = delegated
    unit = root / "system.slice" / "bot.service"
    (unit / "journeyman-999999999-1").mkdir()  # no process has such a number
    (unit / f"journeyman-{os.getpid()}-1").mkdir()
    find_parents(root, own)
    assert not (unit / "journeyman-999999999-1").exists()
    assert (unit / f"journeyman-{os.getpid()}-1").exists()


def test_no_control_groups(tmp_path: Path):
    assert find_parents(tmp_path, tmp_path / "missing") is None


def test_limits_are_written_for_version_2(tmp_path: Path):
    group = Group(Parents(memory=tmp_path, pids=tmp_path, cpu=tmp_path, version=2))
    group.create()
    (folder,) = tmp_path.iterdir()
    assert group.limit(CommandLimits(memory_mb=100, processes=50))
    assert (folder / "memory.max").read_text() == str(100 * 1024 * 1024)
    assert int((folder / "pids.max").read_text()) == 53
    (folder / "memory.events").write_text("low 0\noom_kill 2\n")
    (folder / "cpu.stat").write_text("usage_usec 1500000\n")
    assert (group.memory_kills(), group.cpu_seconds()) == (2, 1.5)
