"""What `import harness` gives: every name is there, is listed once, and costs nothing before it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent


def test_all_is_sorted_and_complete():
    typed = next(node for node in ast.parse((ROOT / "__init__.py").read_text()).body if isinstance(node, ast.If))
    imports = [node for node in typed.body if isinstance(node, ast.ImportFrom)]
    seen = {(node.module, alias.name) for node in imports for alias in node.names}
    rooms = {name for module, name in seen if module == "harness"}
    homes = {(home, name) for name, home in harness._HOME.items()}
    assert seen - {("harness", name) for name in rooms} == homes  # a type checker and Python find the same
    assert sorted([*rooms, *harness._HOME]) == sorted(harness.__all__) == harness.__dir__()
    assert 35 <= len(harness.__all__) <= 60


@pytest.mark.parametrize("name", harness.__all__)
def test_every_name_is_there(name: str):
    assert getattr(harness, name) is not None


def test_a_name_that_is_none_of_them_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'runn'"):
        harness.runn  # noqa: B018


def test_the_package_is_typed():
    assert (ROOT / "py.typed").is_file()


def test_importing_it_loads_nothing_heavy():
    heavy = ("torch", "transformers", "datasets", "pandas", "numpy", "pydantic", "harness.api", "harness.config.run")
    code = f"import sys, harness; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent, check=True)
    assert done.stdout.strip() == "[]"


def test_no_name_is_that_of_a_room_whose_import_would_take_its_place():
    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()} - {"stats"}
    assert rooms.isdisjoint(harness.__all__)
