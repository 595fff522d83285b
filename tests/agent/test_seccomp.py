from __future__ import annotations

import struct

import pytest

from agent.adapters.seccomp import program
from agent.errors import SandboxUnusable


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_jump_stays_inside_and_the_end_is_a_verdict(machine: str):
    code = list(struct.iter_unpack("<HBBI", program(machine)))
    for at, (operation, if_true, if_false, _) in enumerate(code):
        if operation & 0x07 == 0x05:  # a jump
            assert at + 1 + max(if_true, if_false) < len(code)
    assert code[-1] == (0x06, 0, 0, 0x7FFF0000)


def test_an_unknown_processor_is_refused():
    with pytest.raises(SandboxUnusable, match="riscv64"):
        program("riscv64")
