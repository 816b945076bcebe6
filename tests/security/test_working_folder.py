"""What stands in the folder where the command is started is data, never code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yaml", "typer", "csv", "numpy", "pydantic", "statistics"])
def test_no_module_of_the_working_folder_is_imported(tmp_path: Path, name: str):
    (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working folder')\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    environment |= {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "harness", "tasks", "banking77"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert (done.returncode, "imported from" in done.stdout + done.stderr) == (0, False), done.stderr


def test_where_it_is_not_installed_it_still_starts_from_its_checkout():
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    line = [sys.executable, "-m", "harness", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
