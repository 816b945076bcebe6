"""What other systems lack is not needed: without it every module imports, and init, check, run, score and table work.

This machine stands in for one without Unix: in a child process the modules and functions that Windows does not have are
hidden before anything of harness is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HIDING = """
import os, sys, signal, socket, pathlib

# what libraries need of Unix is their affair: they have another way on Windows
import asyncio, concurrent.futures.process, importlib, multiprocessing.util, platform, subprocess, sysconfig, tempfile
for library in sys.argv.pop(1).split(","):
    importlib.import_module(library)

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in UNIX:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

UNIX = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix_ipc"}
for name in UNIX:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
for name in ("O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "sched_getaffinity", "sysconf", "pread", "pwrite",
             "getuid", "getgid", "geteuid", "fork", "forkpty", "uname", "killpg", "setsid", "getpgid", "chown",
             "posix_spawn", "register_at_fork", "statvfs", "getloadavg"):
    if hasattr(os, name):
        delattr(os, name)
for module, name in ((signal, "SIGKILL"), (signal, "SIGHUP"), (signal, "alarm"), (signal, "setitimer"),
                     (socket, "AF_UNIX")):
    if hasattr(module, name):
        delattr(module, name)

opened = os.open
def refuse_folders(path, *more, **named):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return opened(path, *more, **named)
os.open = refuse_folders

exists, is_file, read_text, listdir = os.path.exists, pathlib.Path.is_file, pathlib.Path.read_text, os.listdir
def outside(path):
    return not str(path).startswith(("/proc", "/sys"))
pathlib.Path.is_file = lambda self: outside(self) and is_file(self)
sys.platform = "win32"
platform.system = lambda: "Windows"
"""
EVERY_MODULE = """
import importlib, pkgutil
import harness
optional = {"matplotlib", "lm_eval", "peft", "llguidance", "openai", "anthropic", "google", "httpx2", "pynvml"}
for module in pkgutil.walk_packages(harness.__path__, "harness."):
    if module.name.startswith(("harness.demo", "harness.__main__")):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        assert str(error.name).partition(".")[0] in optional, (module.name, error)
print("all")
"""


LIGHT = ("filelock", "psutil", "numpy", "scipy.stats", "pandas", "pydantic", "typer.rich_utils", "rich.progress")
ALL = (*LIGHT, "torch", "transformers.modeling_utils", "datasets", "aiohttp", "openpyxl", "jsonschema")
CSV = "ticket,team\nCharged twice,billing\nNo parcel,shipping\nWrong bill,billing\n"


def windows(
    code: str, *arguments: str, cwd: Path = ROOT, libraries: tuple[str, ...] = LIGHT
) -> subprocess.CompletedProcess[str]:
    """Runs code in a process that lacks what Windows lacks."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", f"{HIDING}\n{code}", ",".join(libraries), *arguments]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command of the harness in such a process."""
    return windows("from harness.cli import main\nmain()", *arguments, cwd=cwd)


def test_the_hiding_hides():
    done = windows("import os, sys\nprint(hasattr(os, 'sysconf'), sys.platform)\nimport fcntl")
    assert done.stdout.split() == ["False", "win32"] and "No module named 'fcntl'" in done.stderr


def test_the_door_and_the_rooms_that_need_no_torch_import():
    done = windows(EVERY_MODULE, libraries=ALL)
    assert done.stdout.strip() == "all", done.stderr[-3000:]


def test_init_check_run_score_and_table_work(tmp_path: Path):
    (tmp_path / "tickets.csv").write_text(
        "ticket,team\nCharged twice,billing\nNo parcel,shipping\nWrong bill,billing\n"
    )
    (tmp_path / "run.yaml").write_text("run: r\ntasks: [tickets.yaml]\nmodels: [{name: m, backend: fake}]\n")
    for arguments, said in (
        (("init", "tickets.csv"), "next: harness check tickets.yaml"),
        (("check", "run.yaml"), "requests in all"),
        (("run", "run.yaml", "--out", "out"), "everything is in out"),
        (("score", "out"), "tickets"),
        (("table", "out", "--format", "markdown"), "| m |"),
    ):
        done = command(*arguments, cwd=tmp_path)
        assert done.returncode == 0 and said in done.stdout + done.stderr, (arguments, done.stderr[-3000:])
        if arguments[0] == "run":
            lines = done.stderr.splitlines()
            at = next(i for i, line in enumerate(lines) if line.startswith("sealed: none (Windows has no seal"))
            assert lines[at + 1].strip() == "at  this machine" and lines[at + 2].strip().startswith("fix where data")
    assert not (tmp_path / "out" / ".lock").exists()


@pytest.mark.parametrize("module", ["fcntl", "resource", "pwd", "grp", "termios"])
def test_no_module_imports_what_only_unix_has_when_it_is_imported(module: str):
    import ast

    found = []
    for path in (ROOT / "harness").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in getattr(node, "names", ())] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [str(path)] if module in names else []
    assert found == []
