"""A file imports only from what stands above it in this list, which is the one of the design."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import harness

PACKAGE = Path(harness.__file__).parent
ROOMS = (
    ("values", "errors"),
    ("config",),
    ("stats",),
    ("scoring",),
    ("models",),
    ("security",),
    ("cost",),
    ("tasks",),
    ("engine",),
    ("backends",),
    ("measure",),
    ("store",),
    ("runs",),
    ("analysis",),
    ("reports",),
    ("api",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(ROOMS) for name in names}


def _imports(path: Path) -> set[str]:
    """Returns the parts of harness a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level > 0 and len(path.relative_to(PACKAGE).parts) == node.level:
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "harness":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("harness."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("harness.")}
    return found


def _files() -> list[tuple[str, Path]]:
    files = [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in PACKAGE.rglob("*.py")]
    return [(part, path) for part, path in files if part not in {"__init__", "demo", "bundled"}]


def test_every_part_of_the_package_has_its_place_in_the_list():
    assert {part for part, _ in _files()} == set(RANK)


def test_imports_go_one_way():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for part, path in _files()
        for other in _imports(path)
        if other != part and RANK[other] >= RANK[part]
    ]
    assert wrong == []


def test_nothing_imports_the_demo():
    assert [path for part, path in _files() if "demo" in _imports(path)] == []


def test_judging_a_run_again_needs_neither_torch_nor_a_model():
    rooms = [f"harness.{room}" for room in ("analysis", "reports")]
    names = [f"{room}.{path.stem}" for room in rooms for path in (PACKAGE / room.split(".")[1]).glob("[!_]*.py")]
    code = f"import sys, importlib; [importlib.import_module(name) for name in {names}]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "harness.analysis.summary" in loaded
    heavy = ("torch", "transformers", "harness.runs", "harness.backends", "harness.engine")
    assert [name for name in loaded if name in heavy or name.startswith(tuple(f"{one}." for one in heavy))] == []
