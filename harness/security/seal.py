"""The seal: after it, neither this process nor anything it starts can open a network connection.

    apply() -> Seal("kernel")          a system call filter; needs no privileges; about 0.3 ms
            -> Seal("namespace")       where there is no filter: a network of its own, with nothing in it
            -> Seal("none", reason)    nothing holds, and why

`seal_run` does it for a run. It cannot be undone, so only a process that ends with its run applies it. Environment
switches (`go_offline`) come on top: they make libraries fail early and quietly, and they are all there is on systems
other than Linux.

The filter, on all threads and inherited by children, refuses: sockets other than UNIX stream sockets; meeting another
process by an address (so that no name service or proxy on this machine can send in our place); io_uring, which makes
sockets without asking; taking over other processes, or writing into them; and typing into the terminal that started
us. A Landlock domain, for this thread and all that it starts, keeps other processes' memory shut (/proc/PID/mem). What
is open before would go on working, so a socket that leads out of this process, or another process's memory, found in
/proc/self/fd refuses the seal; the three standard streams may be UNIX stream sockets, as a pipe may be.

It does not cover: a network file system that is mounted, what another process reads from disk or from a pipe that it
gave us, or an attacker in the kernel. Pipes, shared memory, `socketpair` and child processes work as before.
"""

from __future__ import annotations

import ctypes
import errno
import multiprocessing
import os
import platform
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator, MutableMapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.config import lm_eval_names
from harness.config.files import find_file
from harness.config.model import LocalModel, ModelConfig, RemoteModel
from harness.config.objects import is_object
from harness.config.run import RunConfig
from harness.config.task import read_data
from harness.models.find import resolve_model
from harness.security.egress import server
from harness.security.environment import OFFLINE, QUIET
from harness.security.landlock import keep_apart

Kind = Literal["kernel", "namespace", "none"]


@dataclass(frozen=True, slots=True)
class Seal:
    """What keeps a run on this machine. `reason` is set where nothing does, and `fix` where another machine would."""

    kind: Kind
    reason: str = ""
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.reason})" if self.reason else self.kind


def seal_run(config: RunConfig, methods: Sequence[Kind] = ("kernel",)) -> Seal:
    """Seals this process for a run, if the run needs no network; to be called before any task data is read.

    Models that must be fetched from the hub are fetched first, by a process of its own. Raises what finding a model
    or reading a task file raises.
    """
    if why := _needs_network(config):
        return Seal("none", why)
    missing = [
        (path, model.revision, model.trust_remote_code)
        for model in _models(config)
        if isinstance(model, LocalModel)
        for path in (model.path, model.adapter)
        if path is not None and "/" in path and not Path(path).expanduser().exists()
    ]
    if missing:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
            for wanted in missing:
                apart.submit(_fetch, *wanted).result()
    go_offline()
    return apply(methods)


def why_unsealed(config: RunConfig) -> str:
    """Returns why a run could not be sealed on this machine; empty if it could. Nothing is tried."""
    return _no_seal_here() or _needs_network(config)


ELSEWHERE = "where data must not leave: run it on Linux, or on a machine without a network"


def _no_seal_here() -> str:
    if sys.platform.startswith("linux"):
        return ""
    return f"{platform.system()} has no seal; the hub is switched off by environment variables only"


def _needs_network(config: RunConfig) -> str:
    """Returns why a run cannot do without a network; empty if it can."""
    for model in _models(config):
        if isinstance(model, RemoteModel):
            role = "judge" if model is config.judge else "model"
            return f"{role} {model.name} is asked at {server(model).host}"
    for use in config.tasks:
        if is_object(use.task):
            continue  # its rows are here
        if lm_eval_names.is_named(use.task):
            if use.data is None and lm_eval_names.reads_hub(use.task):
                return f"task {use.task} reads what lm-eval fetches: give a local copy with --data"
            continue
        data = read_data(file := find_file(use.task, "tasks"))
        if data.hub is not None and use.data is None:
            return f"task {file.stem} reads {data.hub} from the hub: give a local copy with --data"
    return ""


def _models(config: RunConfig) -> tuple[ModelConfig, ...]:
    return (*config.models, *(() if config.judge is None else (config.judge,)))


def _fetch(path: str, revision: str | None, trust_remote_code: bool) -> None:
    resolve_model(path, revision=revision, trust_remote_code=trust_remote_code)


def go_offline(environment: MutableMapping[str, str] = os.environ) -> None:
    """Switches the hub off for libraries imported after this, and for child processes."""
    environment.update(OFFLINE | QUIET)


def apply(methods: Sequence[Kind] = ("kernel",)) -> Seal:
    """Seals this process with the first method that works, and proves it by trying to reach this machine itself.

    The method `namespace` starts the program again: only for a command line that has done nothing yet.
    """
    if why := _no_seal_here():
        return Seal("none", why, ELSEWHERE)
    if found := open_sockets():
        return Seal("none", f"already open: {'; '.join(found[:3])}")
    reasons = []
    for kind in methods:
        try:
            _METHODS[kind]()
        except OSError as error:
            reasons.append(f"{kind}: {error.strerror or error}")
            continue
        if not (left := _ways_out(kind)):
            return Seal(kind)
        reasons.append(f"{kind}: it was accepted, but {left} still works")
    return Seal("none", "; ".join(reasons))


def open_sockets() -> list[str]:
    """Returns what this process holds open that could carry data out.

    Sockets, but UNIX stream sockets that lead nowhere else and the standard streams; io_urings; the memory of other
    processes; and devices that are networks.
    """
    found = []
    for entry in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:
            continue  # the listing's own
        if target == "anon_inode:[io_uring]":
            found.append(f"an io_uring (descriptor {entry})")
        elif target.startswith("socket:"):
            found += _described(int(entry))
        elif (memory := _MEMORY.fullmatch(target)) and int(memory[1]) != os.getpid():
            found.append(f"the memory of process {memory[1]} (descriptor {entry})")
        elif target in _DEVICES:
            found.append(f"{target} (descriptor {entry})")
    return found


_MEMORY = re.compile(r"/proc/(\d+)/(?:task/\d+/)?mem")
_DEVICES = ("/dev/net/tun", "/dev/vhost-net", "/dev/vhost-vsock")


def _described(number: int) -> Iterator[str]:
    """Yields a description of the socket behind a descriptor, unless nothing can leave this process through it."""
    with socket.socket(fileno=os.dup(number)) as found:  # a copy, so that closing it leaves the original open
        if found.family == socket.AF_UNIX and (number <= _LAST_STREAM or not _leads_out(found)) and _streams(found):
            return
        family = getattr(found.family, "name", f"family {found.family}")
        try:
            peer = f" to {found.getpeername() or 'another process'}"
        except OSError:
            peer = ""
        yield f"a socket {family}{peer} (descriptor {number})"


_LAST_STREAM = 2  # descriptors: standard input, output and error


def _streams(found: socket.socket) -> bool:
    """Returns whether a UNIX socket is a stream: any other takes an address with each message."""
    return found.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM


def _leads_out(found: socket.socket) -> bool:
    """Returns whether another process is, or may come to be, at the other end of a UNIX stream socket."""
    if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return True
    try:
        found.getpeername()
    except OSError:
        return False  # it is not connected, and never will be
    peer, _, _ = struct.unpack("iII", found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(peer != os.getpid())


# --- the filter ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Machine:
    """A processor as the kernel's filter sees it: its audit number, and the numbers of system calls."""

    audit: int
    seccomp: int
    socket: int
    socketpair: int
    sendto: int
    connect: int
    ioctl: int
    refused: tuple[int, ...]  # bind, listen, io_uring_setup, _enter, _register, pidfd_getfd, ptrace, process_vm_writev


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 317, 41, 53, 44, 42, 16, (49, 50, 425, 426, 427, 438, 101, 311)),
    "aarch64": _Machine(0xC00000B7, 277, 198, 199, 206, 203, 29, (200, 201, 425, 426, 427, 438, 117, 271)),
}
_TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: as if a person had typed it, into whatever reads the terminal next
_X32 = 0x40000000  # bit of x86-64 calls with 32-bit pointers: the same calls under other numbers

_LOAD, _EQUAL, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x45, 0x54, 0x06  # BPF: ld [k], jeq, jset, and, ret
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; each argument has 8 bytes


def program(machine: _Machine) -> bytes:
    """Returns the filter as an array of struct sock_filter (little-endian; 8 bytes an instruction)."""
    refuse = (_RETURN, 0, 0, _ERROR | errno.EACCES)
    # What a library hears where no such service runs: it goes on without, as on most machines.
    absent = (_RETURN, 0, 0, _ERROR | errno.ENOENT)
    allow = (_RETURN, 0, 0, _ALLOW)
    code = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, machine.audit), refuse, (_LOAD, 0, 0, _NUMBER)]
    if machine is _MACHINES["x86_64"]:
        code += [(_ANY_BIT, 0, 1, _X32), refuse]
    for number in machine.refused:
        code += [(_EQUAL, 0, 1, number), refuse]
    code += [(_EQUAL, 0, 1, machine.connect), absent]
    # a datagram with an address needs no connection (sendto's fifth argument: a pointer, in two halves)
    halves = [part for half in (0, 4) for part in ((_LOAD, 0, 0, _ARGUMENTS + 4 * 8 + half), (_EQUAL, 1, 0, 0), refuse)]
    code += [(_EQUAL, 0, len(halves) + 1, machine.sendto), *halves, allow]
    typing = [part for request in _TYPING for part in ((_EQUAL, 0, 1, request), refuse)]
    code += [(_EQUAL, 0, len(typing) + 2, machine.ioctl), (_LOAD, 0, 0, _ARGUMENTS + 8), *typing, allow]
    for number in (machine.socket, machine.socketpair):
        code += [
            (_EQUAL, 0, 8, number),
            (_LOAD, 0, 0, _ARGUMENTS),
            (_EQUAL, 1, 0, socket.AF_UNIX),
            refuse,
            (_LOAD, 0, 0, _ARGUMENTS + 8),
            (_AND, 0, 0, 0xF),
            (_EQUAL, 1, 0, socket.SOCK_STREAM),  # of UNIX sockets even SOCK_RAW is one that takes addresses
            refuse,
            allow,
        ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in [*code, allow])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _filter() -> None:
    """Puts the filter on every thread of this process. Raises OSError."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOTSUP, f"no filter is written for {platform.machine()}")
    code = program(machine)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0:  # PR_SET_NO_NEW_PRIVS
        raise _last_error()
    wanted = _Program(len(code) // 8, code)
    # SECCOMP_SET_MODE_FILTER with SECCOMP_FILTER_FLAG_TSYNC: all threads or none
    failed = libc.syscall(ctypes.c_long(machine.seccomp), ctypes.c_long(1), ctypes.c_long(1), ctypes.byref(wanted))
    if failed > 0:
        raise OSError(errno.EBUSY, f"thread {failed} has a filter of its own")
    if failed < 0:
        raise _last_error()
    keep_apart()


def _namespace() -> None:
    """Starts this program again in a network with no interface up, or returns if that was done. Raises OSError.

    A process moves whole only while it has one thread, so a small program moves first and then becomes this one. The
    user namespace makes it possible without privileges, and keeps a privileged process from stepping back out.
    """
    tried = os.environ.pop(_TRIED, None)
    if tried is None:
        sys.stdout.flush(), sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", _MOVE, sys.executable, *sys.orig_argv[1:]])
    if tried:
        raise OSError(errno.EPERM, tried)


_TRIED = "HARNESS_NAMESPACE"  # why the move failed; empty: it did not
_MOVE = f"""
import ctypes, os, sys
libc, why, ids = ctypes.CDLL(None, use_errno=True), "", (os.getuid(), os.getgid())
try:
    if libc.unshare({0x10000000 | 0x40000000}):  # CLONE_NEWUSER, CLONE_NEWNET
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for name, text in (("setgroups", "deny"), *zip(("uid_map", "gid_map"), [f"{{i}} {{i}} 1" for i in ids])):
        with open("/proc/self/" + name, "w") as file:
            file.write(text)
except OSError as error:
    why = error.strerror
os.environ["{_TRIED}"] = why
os.execv(sys.argv[1], sys.argv[1:])
"""


_METHODS = {"kernel": _filter, "namespace": _namespace}


def _ways_out(kind: Kind) -> str:
    """Returns what the seal failed to stop, tried in this thread and in a new one; empty if it holds. Sends nothing."""
    found: list[str] = []

    def attempt() -> None:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                with socket.socket(family, socket.SOCK_DGRAM) as tried:
                    tried.connect((address, 9))  # a datagram socket only looks for a way
                found.append(family.name)
            except OSError as error:
                # in an empty network there are sockets, and nowhere to go
                if kind == "kernel" and error.errno != errno.EACCES:
                    found.append(f"{family.name} ({error.strerror})")
        if kind == "kernel":
            for sort in (socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
                with suppress(OSError):
                    socket.socket(socket.AF_UNIX, sort).close()
                    found.append(f"AF_UNIX {sort.name}")
        with suppress(OSError):
            os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR | os.O_CLOEXEC))
            found.append("writing into other processes")

    attempt()
    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return ", ".join(dict.fromkeys(found))


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
