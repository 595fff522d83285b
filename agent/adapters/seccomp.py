"""The system calls that a sandboxed command may not make, as a program for `bwrap --seccomp`.

Allowed by default, because build tools use everything. Refused is what widens a sandbox from
inside (namespaces, mounts, keys, bpf, io_uring, file handles), the socket families that a network
namespace does not contain (vsock, packet, alg …) and pushing input into a terminal. `clone3`
answers "not implemented", so that libc falls back to `clone`, whose flags a filter can read.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Sequence

from agent.errors import SandboxUnusable

Instruction = tuple[int, int, int, int]  #: operation, jump if true, jump if false, operand

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _MASK, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in the kernel's struct seccomp_data
_X32 = 0x40000000  # the second table of system calls on x86_64
_NEW_NAMESPACE = 0x7E020000 | 0x80  # every CLONE_NEW… flag

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# numbers on x86_64 and on aarch64; 0 where the architecture has no such call
_REFUSED = {
    "_sysctl": (156, 0),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, 0),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, 0),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, 0),
    "iopl": (172, 0),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "modify_ldt": (154, 0),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "query_module": (178, 0),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, 0),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "uselib": (134, 0),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
_CLONE, _CLONE3, _UNSHARE = (56, 220), (435, 435), (272, 97)
_SOCKET, _SOCKETPAIR, _IOCTL = (41, 198), (53, 199), (16, 29)
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_RAW, _PACKET, _TYPE_BITS = 3, 10, 0xF
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C


def program(machine: str | None = None) -> bytes:
    """The filter for this kernel's architecture. Raises `SandboxUnusable` for an unknown one."""
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        known = " and ".join(_ARCHITECTURES)
        raise SandboxUnusable(
            f"The sandbox has no system call filter for {machine} processors, only for {known}."
        )
    column = list(_ARCHITECTURES).index(machine)

    code = [_load(_ARCHITECTURE), (_EQUAL, 1, 0, _ARCHITECTURES[machine]), _refuse(errno.EPERM)]
    code.append(_load(_NUMBER))
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32), _refuse(errno.ENOSYS)]
    for number in sorted(numbers[column] for numbers in _REFUSED.values() if numbers[column]):
        code += _on(number, [_refuse(errno.EPERM)])
    code += _on(_CLONE3[column], [_refuse(errno.ENOSYS)])
    for call in (_CLONE, _UNSHARE):
        flags = [_argument(0), (_ANY_BIT, 0, 1, _NEW_NAMESPACE), _refuse(errno.EPERM), _allow()]
        code += _on(call[column], flags)
    code += _on(_IOCTL[column], [_argument(1), *_refuse_values(_TIOCSTI, _TIOCLINUX), _allow()])
    code += _on(_SOCKET[column], _socket_rules())
    pair = [_argument(0), (_EQUAL, 1, 0, _UNIX), _refuse(errno.EAFNOSUPPORT), _allow()]
    code += _on(_SOCKETPAIR[column], pair)
    code.append(_allow())
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _socket_rules() -> list[Instruction]:
    """Unix and internet sockets of an ordinary kind; of netlink only the routing tables."""
    routing_only = [_argument(2), (_EQUAL, 1, 0, 0), _refuse(errno.EAFNOSUPPORT), _allow()]
    return [
        _argument(0),
        *_on(_NETLINK, routing_only),
        (_EQUAL, 3, 0, _UNIX),
        (_EQUAL, 2, 0, _INET),
        (_EQUAL, 1, 0, _INET6),
        _refuse(errno.EAFNOSUPPORT),
        _argument(1),
        (_MASK, 0, 0, _TYPE_BITS),
        *_refuse_values(_RAW, _PACKET),
        _allow(),
    ]


def _on(value: int, then: Sequence[Instruction]) -> list[Instruction]:
    """Runs `then`, which ends in a verdict, when the loaded word is `value`."""
    return [(_EQUAL, 0, len(then), value), *then]


def _refuse_values(*values: int) -> list[Instruction]:
    return [step for value in values for step in _on(value, [_refuse(errno.EPERM)])]


def _load(offset: int) -> Instruction:
    return (_LOAD, 0, 0, offset)


def _argument(index: int) -> Instruction:
    """The low word only: it is what the kernel itself looks at for these arguments."""
    return _load(16 + 8 * index)


def _refuse(error: int) -> Instruction:
    return (_RETURN, 0, 0, _REFUSE | error)


def _allow() -> Instruction:
    return (_RETURN, 0, 0, _ALLOW)
