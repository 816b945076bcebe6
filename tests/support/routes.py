"""Ways out of a process, each tried against listeners on this machine, and what came of each is printed.

Run as a child process by test_seal.py. SEAL is `kernel`, or `off` for the control group. Every address is a loopback
one. Each route sends its own name, so that the listener can tell which came through.
"""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import json
import mmap
import multiprocessing
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"


def say(name: str, made: socket.socket) -> None:
    """Sends the name of a route."""
    with made:
        made.sendall(f"<{name}>".encode())


def tcp(name: str, port: int) -> None:
    say(name, socket.create_connection(("127.0.0.1", port), timeout=5))


def udp(name: str, family: int, address: str, port: int) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.sendto(f"<{name}>".encode(), (address, port))


def address(port: int) -> bytes:
    """Returns struct sockaddr_in of 127.0.0.1."""
    return struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), bytes([127, 0, 0, 1]))


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def libc(name: str, port: int, make: Callable[[], int]) -> None:
    made = checked(make())
    checked(LIBC.connect(made, address(port), 16))
    text = f"<{name}>".encode()
    checked(LIBC.send(made, text, len(text), 0))
    os.close(made)


def forked(name: str, port: int) -> None:
    child = os.fork()
    if child == 0:
        try:
            tcp(name, port)
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise OSError("the child could not")


def program(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, timeout=30)
    if done.returncode:
        raise OSError(done.stderr.decode()[-200:])


def spawned(name: str, port: int) -> None:
    child = multiprocessing.get_context("spawn").Process(target=tcp, args=(name, port))
    child.start()
    child.join()
    if child.exitcode:
        raise OSError("the child could not")


def dns(port: int) -> None:
    """Asks the C library's resolver, its only name server being the listener."""
    if platform.libc_ver()[0] != "glibc":
        raise NotImplementedError
    old = ctypes.CDLL("libresolv.so.2", use_errno=True)
    query = next(found for found in (getattr(LIBC, "res_query", None), getattr(old, "__res_query", None)) if found)
    checked(LIBC.__res_init())
    LIBC.__res_state.restype = ctypes.c_void_p
    state = LIBC.__res_state()
    ctypes.memmove(state, struct.pack("=ii", 1, 1), 8)  # one second, one try
    ctypes.memmove(state + 16, struct.pack("=i", 1) + address(port), 20)  # one server: this one
    answer = ctypes.create_string_buffer(512)
    checked(query(b"route-dns.test", 1, 1, answer, 512))


def uring(name: str, port: int) -> None:
    """Makes a socket, connects and sends without any of the system calls of those names."""
    parameters = bytearray(120)
    ring = checked(LIBC.syscall(425, 8, (ctypes.c_char * 120).from_buffer(parameters)))
    sq_entries, cq_entries = struct.unpack_from("=II", parameters)
    sq, cq = struct.unpack_from("=10I", parameters, 40), struct.unpack_from("=10I", parameters, 80)
    sq_ring = mmap.mmap(ring, sq[6] + 4 * sq_entries, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=0)
    cq_ring = mmap.mmap(ring, cq[5] + 16 * cq_entries, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=0x8000000)
    entries = mmap.mmap(ring, 64 * sq_entries, mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=0x10000000)

    def ask(operation: int, descriptor: int, offset: int, pointer: int, length: int) -> int:
        tail = struct.unpack_from("=I", sq_ring, sq[1])[0]
        slot = tail % sq_entries
        packed = struct.pack("=BBHiQQII", operation, 0, 0, descriptor, offset, pointer, length, 0)
        entries[64 * slot : 64 * slot + 64] = packed.ljust(64, b"\0")
        struct.pack_into("=I", sq_ring, sq[6] + 4 * slot, slot)
        struct.pack_into("=I", sq_ring, sq[1], tail + 1)
        checked(LIBC.syscall(426, ring, 1, 1, 1, None, 0))
        head = struct.unpack_from("=I", cq_ring, cq[0])[0]
        result = struct.unpack_from("=i", cq_ring, cq[5] + 16 * (head % cq_entries) + 8)[0]
        struct.pack_into("=I", cq_ring, cq[0], head + 1)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    where, text = ctypes.create_string_buffer(address(port)), f"<{name}>".encode()
    made = ask(45, socket.AF_INET, socket.SOCK_STREAM, 0, 0)
    ask(16, made, 16, ctypes.addressof(where), 0)
    ask(26, made, 0, ctypes.addressof(held := ctypes.create_string_buffer(text)), len(text))
    del held


def stolen(name: str, number: int) -> None:
    """Takes a connected socket out of the parent process."""
    parent = checked(LIBC.syscall(434, os.getppid(), 0))  # pidfd_open
    taken = checked(LIBC.syscall(438, parent, number, 0))  # pidfd_getfd
    os.write(taken, f"<{name}>".encode())
    os.close(taken)


def old_calls() -> None:
    """Makes a socket by the 32-bit entry to the kernel."""
    if not X86:
        raise NotImplementedError
    # push rbx; mov eax, 359 (socket); mov ebx, 2; mov ecx, 1; xor edx, edx; int 0x80; pop rbx; ret
    code = bytes.fromhex("53b867010000bb02000000b90100000031d2cd805bc3")
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    child = os.fork()  # a kernel without that entry kills the process
    if child == 0:
        os._exit(0 if call() >= 0 else 1)
    if os.waitpid(child, 0)[1]:
        raise OSError("no socket")


def short_pointers() -> None:
    """Makes a socket by the x32 numbers."""
    checked(LIBC.syscall(0x40000000 + 41, 2, 1, 0) if X86 else -1)


def made(family: int, kind: int, protocol: int = 0) -> None:
    socket.socket(family, kind, protocol).close()


def unix(path: str, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(socket.AF_UNIX, kind) as found:
        if kind == socket.SOCK_DGRAM:
            found.sendmsg([b"<unix datagram>"], [], 0, path)
        else:
            found.connect(path)
            found.sendall(f"<unix {'abstract' if path[0] == chr(0) else 'path'}>".encode())


async def streams(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"<asyncio>")
    await writer.drain()
    writer.close()


# --- libraries


def with_requests(url: str) -> None:
    import requests

    requests.get(f"{url}/<requests>", timeout=5)


def with_httpx(url: str) -> None:
    import httpx

    httpx.get(f"{url}/<httpx>", timeout=5)


def with_urllib3(url: str) -> None:
    import urllib3

    urllib3.PoolManager(retries=False).request("GET", f"{url}/<urllib3>", timeout=5)


def judge(url: str) -> None:
    import openai

    client = openai.OpenAI(api_key="none", base_url=f"{url}/route-judge", max_retries=0, timeout=5)
    client.chat.completions.create(model="judge", messages=[{"role": "user", "content": "is it right?"}])


def hub() -> None:
    import huggingface_hub

    huggingface_hub.model_info("route/hub")


def telemetry() -> None:
    from huggingface_hub.utils import send_telemetry

    send_telemetry("route-telemetry", library_name="harness")
    for thread in threading.enumerate():  # it sends from a thread, and never says how it went
        if thread.daemon:
            thread.join(2)
    raise OSError("it never says")


def download() -> None:
    import huggingface_hub

    huggingface_hub.hf_hub_download("route/download", "model.safetensors")


def pretrained() -> None:
    from transformers import AutoConfig

    AutoConfig.from_pretrained("route/pretrained")


def tokenizer() -> None:
    from tokenizers import Tokenizer

    Tokenizer.from_pretrained("route/tokenizer")  # the Rust library's own client


def data_set() -> None:
    import datasets

    datasets.load_dataset("route/dataset")


def table(url: str) -> None:
    import pandas

    pandas.read_csv(f"{url}/<pandas>")


def flight(port: int) -> None:
    from pyarrow import flight  # sockets opened by C++

    with flight.connect(f"grpc://127.0.0.1:{port}") as client:
        list(client.list_flights(options=flight.FlightCallOptions(timeout=2)))


def routes(ports: dict[str, Any]) -> dict[str, Callable[[], None]]:
    """Returns every route by the name it sends."""
    port, udp4, udp6 = ports["tcp"], ports["udp"], ports["udp6"]
    url = f"http://127.0.0.1:{port}"
    script = "import sys, socket; socket.create_connection(('127.0.0.1', {})).sendall(b'<{}>')"
    return {
        "tcp": lambda: tcp("tcp", port),
        "tcp6": lambda: say("tcp6", socket.create_connection(("::1", ports["tcp6"]), timeout=5)),
        "by name": lambda: say("by name", socket.create_connection(("localhost", port), timeout=5)),
        "udp": lambda: udp("udp", socket.AF_INET, "127.0.0.1", udp4),
        "udp6": lambda: udp("udp6", socket.AF_INET6, "::1", udp6),
        "libc": lambda: libc("libc", port, lambda: LIBC.socket(socket.AF_INET, socket.SOCK_STREAM, 0)),
        "syscall": lambda: libc("syscall", port, lambda: LIBC.syscall(41 if X86 else 198, 2, 1, 0)),
        "fork": lambda: forked("fork", port),
        "spawn": lambda: spawned("spawn", port),
        "program": lambda: program(sys.executable, "-I", "-S", "-c", script.format(port, "program")),
        "shell": lambda: program("bash", "-c", f"echo '<shell>' > /dev/tcp/127.0.0.1/{port}"),
        "old thread": ports["old thread"],
        "new thread": lambda: in_thread(lambda: tcp("new thread", port)),
        "asyncio": lambda: asyncio.run(streams(port)),
        "route-dns": lambda: dns(udp4),
        "urllib": lambda: urllib.request.urlopen(f"{url}/<urllib>", timeout=5).close(),
        "http.client": lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=5).request(
            "GET", "/<http.client>"
        ),
        "requests": lambda: with_requests(url),
        "httpx": lambda: with_httpx(url),
        "urllib3": lambda: with_urllib3(url),
        "pandas": lambda: table(url),
        "route-judge": lambda: judge(url),
        "route/hub": hub,
        "route-telemetry": telemetry,
        "route/download": download,
        "route/pretrained": pretrained,
        "route/tokenizer": tokenizer,
        "route/dataset": data_set,
        "flight": lambda: flight(ports["flight"]),
        "unix path": lambda: unix(ports["unix"]),
        "unix abstract": lambda: unix("\0" + ports["abstract"]),
        "unix datagram": lambda: unix(ports["datagram"], socket.SOCK_DGRAM),
        "io_uring": lambda: uring("io_uring", port),
        "stolen": lambda: stolen("stolen", ports["held"]),
        "curl": lambda: program(
            "curl", "-s", "--max-time", "5", f"{url}/<curl>".replace("<", "%3C").replace(">", "%3E")
        ),
    }


def openings() -> dict[str, Callable[[], None]]:
    """Returns ways to a socket that speaks to nobody here: it must not be had at all."""
    return {
        "netlink": lambda: made(socket.AF_NETLINK, socket.SOCK_RAW),
        "raw": lambda: made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "packet": lambda: made(socket.AF_PACKET, socket.SOCK_RAW),
        "vsock": lambda: made(socket.AF_VSOCK, socket.SOCK_STREAM),
        "unix raw": lambda: made(socket.AF_UNIX, socket.SOCK_RAW),
        "unix seqpacket": lambda: made(socket.AF_UNIX, socket.SOCK_SEQPACKET),
        "pair of datagrams": lambda: [one.close() for one in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)],
        "memory": lambda: os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR)),
        "memory, from a child": lambda: forked_into(os.getppid()),
        "memory, written": lambda: written_into(os.getppid()),
        "32-bit": old_calls,
        "x32": short_pointers,
    }


def forked_into(parent: int) -> None:
    """Opens the memory of a process from a child."""
    child = os.fork()
    if child == 0:
        try:
            os.open(f"/proc/{parent}/mem", os.O_RDWR)
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise OSError("the child could not")


def written_into(parent: int) -> None:
    """Writes no byte into a process, by the call that could write some."""
    nothing = ctypes.create_string_buffer(16)
    checked(LIBC.syscall(311 if X86 else 271, parent, nothing, 0, nothing, 0, 0))


def in_thread(work: Callable[[], None]) -> None:
    """Does the work in a new thread and raises what it raised."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


class Waiting:
    """A thread that was there before the seal, and does its work when called."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work, self.go, self.failed = work, threading.Event(), None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.go.wait()
        try:
            self.work()
        except OSError as error:
            self.failed = error

    def __call__(self) -> None:
        self.go.set()
        self.thread.join()
        if self.failed:
            raise self.failed


def main() -> None:
    how, ports = sys.argv[1], json.loads(sys.argv[2])
    os.environ |= {"HF_ENDPOINT": f"http://127.0.0.1:{ports['tcp']}", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    ports["old thread"] = Waiting(lambda: tcp("old thread", ports["tcp"]))
    sealed = "off"
    if how != "off":
        from harness.security import seal

        sealed = str(seal.apply())
    nap = time.sleep
    time.sleep = lambda seconds: nap(min(seconds, 0.01))  # the hub's client would try again for half a minute
    outcomes = {}
    for name, go in {**routes(ports), **openings()}.items():
        if name == "curl" and not shutil.which("curl"):
            continue
        try:
            go()
            outcomes[name] = "ok"
        except BaseException as error:
            outcomes[name] = f"{type(error).__name__}: {error}"[:200]
    with_pair = socket.socketpair()
    with_pair[0].sendall(b"x")
    outcomes["socketpair"] = "ok" if with_pair[1].recv(1) == b"x" else "broken"
    print(json.dumps({"sealed": sealed, "outcomes": outcomes}))


if __name__ == "__main__":
    main()
