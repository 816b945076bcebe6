"""Landlock: a thread that cannot look into other processes, whatever user it runs as. Part of the seal.

https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import struct

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # Landlock's system calls, on every processor
_REFER, _MAKE_BLOCK, _TCP = 1 << 13, 1 << 11, 0b11  # rights that a set of rules takes away: see `keep_apart`


def keep_apart() -> None:
    """Puts this thread and all that it starts into a Landlock domain, whatever else: it cannot look into others.

    A domain shuts the memory and descriptors of all processes outside of it, and must take some right away besides:
    that to TCP, which is refused already, or on older kernels that to make disk devices. On a kernel without Landlock
    nothing is done: `_ways_out` tells whether something else (Yama, another user) keeps them shut.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
        passed = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
        return int(libc.syscall(ctypes.c_long(number), *passed))

    version = call(_CREATE, None, 0, 1)
    if version < 1:
        return
    files = 0 if version >= 4 else _MAKE_BLOCK | (_REFER if version >= 2 else 0)
    wanted = struct.pack("<QQ", files, _TCP) if version >= 4 else struct.pack("<Q", files)
    rules = call(_CREATE, ctypes.create_string_buffer(wanted, len(wanted)), len(wanted), 0)
    if rules < 0:
        return
    try:
        if files & _REFER:  # else no file could be moved from one folder to another
            root = os.open("/", os.O_PATH | os.O_CLOEXEC)
            call(_ADD, rules, 1, ctypes.create_string_buffer(struct.pack("<Qi", _REFER, root), 12), 0)
            os.close(root)
        call(_RESTRICT, rules, 0)
    finally:
        os.close(rules)
