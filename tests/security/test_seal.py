"""The seal: every way out of a process is tried with it and without it, against listeners on this machine."""

from __future__ import annotations

import json
import os
import platform
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from harness.config.base import validate
from harness.config.run import RunConfig
from harness.security import seal

pytestmark = pytest.mark.slow

ROUTES = Path(__file__).parents[1] / "support" / "routes.py"
ROOT = ROUTES.parents[2]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's seal is Linux's")

# Not every machine has these (in time): a slow library, a program, IPv6, io_uring, leave to look into the parent
# process, other entries.
UNSURE = {
    "route-telemetry",
    "curl",
    "tcp6",
    "udp6",
    "route-dns",
    "io_uring",
    "stolen",
    "raw",
    "packet",
    "vsock",
    "32-bit",
    "x32",
    "memory",
    "memory, from a child",
    "memory, written",
}
SILENT = {"netlink", "raw", "packet", "vsock", "32-bit", "x32", "unix raw", "unix seqpacket", "pair of datagrams"}
SILENT |= {"memory", "memory, from a child", "memory, written"}  # nobody hears these: having the socket is enough


class Listeners:
    """Sockets on loopback addresses and UNIX paths, and all that reached them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.heard: list[bytes] = []
        self.stack = stack
        abstract = f"harness-{folder}"
        self.ports: dict[str, Any] = {
            "tcp": self._stream(socket.AF_INET, ("127.0.0.1", 0)),
            "flight": self._stream(socket.AF_INET, ("127.0.0.1", 0), b"<flight>"),
            "udp": self._datagram(socket.AF_INET, ("127.0.0.1", 0)),
            "unix": self._stream(socket.AF_UNIX, str(folder / "s")),
            "datagram": self._datagram(socket.AF_UNIX, str(folder / "d")),
            "abstract": abstract,
            "tcp6": None,
            "udp6": None,
        }
        self._stream(socket.AF_UNIX, "\0" + abstract)
        with suppress(OSError):  # no IPv6 here
            self.ports["tcp6"] = self._stream(socket.AF_INET6, ("::1", 0))
            self.ports["udp6"] = self._datagram(socket.AF_INET6, ("::1", 0))
        held = stack.enter_context(socket.create_connection(("127.0.0.1", self.ports["tcp"])))
        self.ports["held"] = held.fileno()

    def names(self, wanted: set[str]) -> set[str]:
        """Returns which of the routes were heard."""
        text = b"\n".join(self.heard).replace(b"%3C", b"<").replace(b"%3E", b">").decode("latin-1")
        return {name for name in wanted if f"<{name}>" in text or (name.startswith("route") and name in text)}

    def _bound(self, family: int, kind: int, address: Any) -> tuple[socket.socket, Any]:
        made = self.stack.enter_context(socket.socket(family, kind))
        self.stack.callback(_wake, made)
        made.bind(address)
        return made, made.getsockname()[1] if family != socket.AF_UNIX else address

    def _stream(self, family: int, address: Any, name: bytes = b"") -> Any:
        made, found = self._bound(family, socket.SOCK_STREAM, address)
        made.listen(64)
        threading.Thread(target=self._accept, args=(made, name), daemon=True).start()
        return found

    def _datagram(self, family: int, address: Any) -> Any:
        made, found = self._bound(family, socket.SOCK_DGRAM, address)
        threading.Thread(target=self._receive, args=(made,), daemon=True).start()
        return found

    def _accept(self, listener: socket.socket, name: bytes) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._answer, args=(connection, name), daemon=True).start()

    def _answer(self, connection: socket.socket, name: bytes) -> None:
        with suppress(OSError), connection:
            self.heard.append(name + connection.recv(4096))
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def _receive(self, made: socket.socket) -> None:
        with suppress(OSError):
            while True:
                text, sender = made.recvfrom(4096)
                self.heard.append(text.replace(b"\x09route-dns\x04", b"route-dns"))
                if sender and not text.startswith(b"<"):
                    made.sendto(text[:2] + b"\x81\x83" + text[4:], sender)  # DNS: there is no such name


def _wake(made: socket.socket) -> None:
    with suppress(OSError):
        made.shutdown(socket.SHUT_RDWR)  # ends the thread that waits on it


@contextmanager
def listening(folder: Path) -> Iterator[Listeners]:
    with ExitStack() as stack:
        yield Listeners(folder, stack)


def try_routes(how: str, folder: Path) -> tuple[str, dict[str, str], set[str], list[bytes]]:
    """Returns what the child says of its seal and of each route, which routes were heard, and all that was heard."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(folder / "hub"), "PYTHONPATH": str(ROOT)}
    with listening(folder) as ears:
        command = [sys.executable, str(ROUTES), how, json.dumps(ears.ports)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
        said = json.loads(done.stdout.splitlines()[-1])
        return said["sealed"], said["outcomes"], ears.names(set(said["outcomes"])), list(ears.heard)


def nothing_leaves(outcomes: dict[str, str], heard: list[bytes]) -> bool:
    """Returns whether no listener heard a thing and no socket was to be had; what the test of the seal asserts."""
    return not heard and all(said != "ok" for name, said in outcomes.items() if name != "socketpair")


@linux
@pytest.mark.skipif(platform.machine() not in seal._MACHINES, reason="no filter is written for this processor")
def test_no_route_out_of_a_sealed_process_reaches_a_listener(tmp_path: Path):
    sealed, outcomes, _, heard = try_routes("kernel", tmp_path)
    assert sealed == "kernel"
    assert len(outcomes) >= 42
    assert nothing_leaves(outcomes, heard), (heard, {name: said for name, said in outcomes.items() if said == "ok"})
    assert outcomes["tcp"].startswith("PermissionError")
    assert outcomes["socketpair"] == "ok"


@linux
def test_without_the_seal_the_same_routes_are_heard(tmp_path: Path):
    sealed, outcomes, names, heard = try_routes("off", tmp_path)
    assert sealed == "off"
    assert not nothing_leaves(outcomes, heard)
    silent = {name for name in SILENT if outcomes.get(name) == "ok"}
    unheard = set(outcomes) - names - silent - {"socketpair"}
    assert unheard <= UNSURE, {name: outcomes[name] for name in unheard - UNSURE}
    assert len(names - UNSURE) >= 25


def child(code: str, *, methods: str = "('kernel',)", fds: tuple[int, ...] = ()) -> list[str]:
    """Returns the lines that `code` prints after `before` and the seal, which prints itself first."""
    before, _, after = code.partition("---")
    lines = f"import os, socket\nfrom harness.security import seal\n{before}\n"
    lines += f"print(seal.apply({methods}), flush=True)\n{after}"
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, cwd=ROOT, pass_fds=fds, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@linux
def test_a_socket_that_is_open_already_refuses_the_seal_and_is_named(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as held:
        number = held.fileno()
        (said,) = child("", fds=(number,))
        assert said.startswith("none (already open: a socket AF_INET to ('127.0.0.1', ")
        assert said.endswith(f" (descriptor {number}))")
        assert "AF_INET (descriptor" in child("", fds=(listener.fileno(),))[0]
    code = "held = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)\n---\nprint(socket.socket().close())"
    said, made = child(code)
    assert said.startswith("none (already open: a socket AF_NETLINK") and made == "None"


@linux
def test_unix_sockets_that_lead_to_other_processes_refuse_the_seal():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        (said,) = child("", fds=(theirs.fileno(),))
        assert said == f"none (already open: a socket AF_UNIX to another process (descriptor {theirs.fileno()}))"
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        assert "a socket AF_UNIX" in child("", fds=(other.fileno(),))[0]
    assert "a socket AF_UNIX" in child("held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n---")[0]
    listens = "held = socket.socket(socket.AF_UNIX); held.bind('\\0' + str(os.getpid())); held.listen()\n---"
    assert "a socket AF_UNIX" in child(listens)[0]
    assert child("held = socket.socket(socket.AF_UNIX)\n---") == ["kernel"]  # connected to nothing, for good


@linux
def test_the_memory_of_another_process_that_is_open_already_refuses_the_seal():
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            held = os.open(f"/proc/{other.pid}/mem", os.O_RDWR)
        except OSError:
            pytest.skip("this machine keeps processes apart")
        finally:
            other.kill()
        (said,) = child("", fds=(held,))
        os.close(held)
    assert said == f"none (already open: the memory of process {other.pid} (descriptor {held}))"


@linux
def test_a_standard_stream_may_be_a_unix_socket():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        code = "from harness.security import seal; print(seal.apply())"
        done = subprocess.run([sys.executable, "-c", code], stdin=theirs, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "kernel\n", done.stderr


@linux
def test_files_are_still_moved_between_folders_under_the_seal(tmp_path: Path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x").write_text("x")
    assert child(f"---\nos.rename('{tmp_path}/a/x', '{tmp_path}/b/x'); print('moved')") == ["kernel", "moved"]


@linux
def test_an_io_uring_that_is_open_already_refuses_the_seal():
    code = "import ctypes; made = ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(120))\n---\nprint(made)"
    said, made = child(code)
    if int(made) < 0:
        pytest.skip("no io_uring on this machine")
    assert said == f"none (already open: an io_uring (descriptor {made}))"


@linux
def test_unix_sockets_that_are_open_stay_open_and_the_seal_can_be_put_on_twice():
    code = "a, b = socket.socketpair()\n---\na.send(b'x'); print(b.recv(1)); print(seal.apply())"
    assert child(code) == ["kernel", "b'x'", "kernel"]


@linux
def test_sealed_processes_still_compute_start_others_and_share_memory(tmp_path: Path):
    code = """
---
import multiprocessing, subprocess, torch
from multiprocessing import shared_memory
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(abs, [-1, -2]))
made = shared_memory.SharedMemory(create=True, size=8); made.close(); made.unlink()
print((torch.ones(64, 64) @ torch.ones(64, 64)).sum().item())
print(subprocess.run(["echo", "on"], capture_output=True, text=True).stdout.strip())
"""
    assert child(code) == ["kernel", "[1, 2]", "262144.0", "on"]


@linux
def test_the_namespace_is_the_way_where_there_is_no_filter():
    # the program starts again: what it prints before is printed twice
    code = "print('begun', flush=True)\n---\ntry:\n    socket.create_connection(('127.0.0.1', 9), timeout=1)\n"
    code += "except OSError as error:\n    print(error.strerror)"
    said = child(code, methods="('namespace',)")
    if said[-2].startswith("none"):
        assert said[-2].startswith("none (namespace: ")  # not allowed here, and said so
        return
    assert said == ["begun", "begun", "namespace", "Network is unreachable"]


def test_a_processor_without_a_filter_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seal.platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(seal, "open_sockets", list)
    monkeypatch.setattr(seal.sys, "platform", "linux")
    assert str(seal.apply()) == "none (kernel: no filter is written for riscv64)"


def test_other_systems_have_no_seal_and_say_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(seal.sys, "platform", "darwin")
    monkeypatch.setattr(seal.platform, "system", lambda: "Darwin")
    said = "Darwin has no seal; the hub is switched off by environment variables only"
    assert str(seal.apply()) == f"none ({said})"
    assert seal.why_unsealed(configured()) == said


def run_filter(code: bytes, data: bytes) -> int:
    """Returns what a filter answers to struct seccomp_data: the kernel's machine, in a dozen lines."""
    instructions = list(struct.iter_unpack("<HBBI", code))
    at = value = 0
    while True:
        operation, yes, no, constant = instructions[at]
        at += 1
        if operation == 0x20:
            value = struct.unpack_from("<I", data, constant)[0]
        elif operation == 0x54:
            value &= constant
        elif operation == 0x15:
            at += yes if value == constant else no
        elif operation == 0x45:
            at += yes if value & constant else no
        else:
            assert operation == 0x06
            return constant


ALLOW, EACCES, ENOENT = 0x7FFF0000, 0x0005000D, 0x00050002


@pytest.mark.parametrize("name", ["x86_64", "aarch64"])
def test_the_filter_of_each_processor_answers_as_it_should(name: str):
    machine = seal._MACHINES[name]
    code = seal.program(machine)

    def answer(number: int, *arguments: int, audit: int = machine.audit) -> int:
        return run_filter(code, struct.pack("<iIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments))))

    unix, inet = 1, 2
    stream, datagram, flags = 1, 2, 0o2000000
    for make in (machine.socket, machine.socketpair):
        assert answer(make, unix, stream | flags) == ALLOW
        for other in (datagram, 3, 4, 5, 10):  # a raw UNIX socket is a datagram socket by another name
            assert answer(make, unix, other | flags) == EACCES, other
        for family in (0, inet, 3, 10, 16, 17, 38, 40, 0x1_0000_0002):
            assert answer(make, family, stream) == EACCES, family
    assert answer(machine.connect, 3) == ENOENT
    assert answer(machine.ioctl, 0, 0x5412) == EACCES == answer(machine.ioctl, 0, 0x541C)  # typing into a terminal
    assert answer(machine.ioctl, 0, 0x5413) == ALLOW  # asking for its size
    assert answer(machine.sendto, 3, 0x7F00, 5, 0, 0, 0) == ALLOW  # on a connected socket
    assert answer(machine.sendto, 3, 0x7F00, 5, 0, 0x7F00, 16) == EACCES
    assert answer(machine.sendto, 3, 0x7F00, 5, 0, 0x7F00_0000_0000, 16) == EACCES
    assert all(answer(number) == EACCES for number in machine.refused)
    assert answer(machine.socket, unix, stream, audit=0x40000003) == EACCES  # 32-bit
    known = {machine.socket, machine.socketpair, machine.connect, machine.sendto, machine.ioctl}
    known |= set(machine.refused)
    assert all(answer(number, inet) == ALLOW for number in set(range(470)) - known)
    if name == "x86_64":
        assert answer(0x40000000 + machine.socket, unix, stream) == EACCES  # x32


def configured(**changes: Any) -> RunConfig:
    values = {"run": "r", "tasks": ["support-routing"], "models": [{"name": "a", "backend": "fake"}]}
    return validate(RunConfig, values | changes, "test")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        (
            {"models": [{"name": "a", "backend": "openai", "base_url": "http://127.0.0.1:1/v1"}]},
            "model a is asked at 127.0.0.1",
        ),
        ({"tasks": ["mmlu"]}, "task mmlu reads cais/mmlu from the hub: give a local copy with --data"),
        ({"tasks": [{"task": "mmlu", "data": "somewhere"}]}, ""),
    ],
)
def test_a_run_that_needs_a_network_says_why_it_is_not_sealed(changes: dict[str, Any], reason: str):
    assert seal._needs_network(configured(**changes)) == reason
    if sys.platform.startswith("linux"):
        assert seal.why_unsealed(configured(**changes)) == reason


def test_a_folder_of_the_name_of_a_hub_data_set_does_not_spare_the_network(tmp_path: Path, monkeypatch):
    (tmp_path / "cais" / "mmlu").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert seal._needs_network(configured(tasks=["mmlu"])).startswith("task mmlu reads cais/mmlu from the hub")


CSV = "ticket,team\nMy card was charged twice,billing\nWhere is my parcel,shipping\n"
TASK = """task: tickets
data: {file: tickets.csv}
kind: choice
prompt: "Ticket: {ticket}\\nTeam:"
choices: [billing, shipping]
answer: team
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tickets.csv").write_text(CSV)
    (tmp_path / "tickets.yaml").write_text(TASK)
    (tmp_path / "run.yaml").write_text("run: r\ntasks: [tickets.yaml]\nmodels: [{name: a, backend: fake}]\n")
    return tmp_path


def command(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(line, capture_output=True, text=True, cwd=place, env=environment, timeout=120)


@linux
def test_the_command_seals_its_run_and_the_table_says_so(place: Path):
    done = command(place, "run", "run.yaml", "--out", "out")
    assert "sealed: kernel" in done.stderr, done.stderr
    assert "Sealed: kernel: the process could not open a network connection." in done.stdout
    assert json.loads((place / "out" / "summary.json").read_text())["sealed"] == {"kind": "kernel", "reason": ""}


@linux
def test_a_run_is_as_sealed_as_its_weakest_sitting(place: Path):
    first = command(place, "run", "run.yaml", "--out", "out", "--no-seal", "--latency", "0")
    assert "Sealed: none (switched off by --no-seal)." in first.stdout
    lines = (place / "out" / "responses.jsonl").read_text().splitlines(keepends=True)
    (place / "out" / "responses.jsonl").write_text(lines[0])
    again = command(place, "run", "run.yaml", "--out", "out", "--latency", "0", "--json")
    assert "sealed: kernel" in again.stderr
    assert json.loads(again.stdout)["sealed"] == {"kind": "none", "reason": "switched off by --no-seal"}


@linux
def test_in_python_the_seal_is_put_on_when_asked(place: Path):
    code = "import harness\nprint(harness.run('run.yaml', out='a').summary.sealed)\n"
    code += "print(harness.run('run.yaml', out='b', seal=True).summary.sealed)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=place, env=environment)
    assert done.stdout.split("\n")[:2] == ["none (harness.run was not asked to: seal=True)", "kernel"], done.stderr


def with_hub_model(place: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Seals a run of a hub's model and looks for it; at the hub's address, on this machine, nobody listens."""
    code = f"""
if __name__ == "__main__":
    from harness.security import seal
    from harness.config.base import validate
    from harness.config.run import RunConfig
    from harness.models.find import resolve_model
    config = {{"run": "r", "tasks": ["tickets.yaml"], "models": [{{"name": "m", "path": "{name}"}}]}}
    print(seal.seal_run(validate(RunConfig, config, "run.yaml")))
    print(resolve_model("{name}"))
"""
    (place / "run.py").write_text(code)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"PYTHONPATH": str(ROOT), "HF_HOME": str(place), "HF_ENDPOINT": "http://127.0.0.1:9"}
    line = [sys.executable, "run.py"]
    return subprocess.run(line, capture_output=True, text=True, cwd=place, env=environment, timeout=240)


@linux
def test_a_hub_model_that_is_on_this_machine_is_found_under_the_seal(place: Path):
    snapshot = place / "hub" / "models--maker--tiny" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    done = with_hub_model(place, "maker/tiny")
    assert done.stdout.splitlines() == ["kernel", str(snapshot)], done.stderr[-2000:]


@linux
def test_a_hub_model_that_cannot_be_had_is_told_before_the_seal(place: Path):
    done = with_hub_model(place, "maker/none")
    assert done.returncode == 1 and "error: no model 'maker/none' on this machine" in done.stderr
    assert done.stdout == ""
