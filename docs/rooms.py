"""Writes docs/rooms.md from the docstrings of the rooms and of their modules: part of `make docs`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "harness"
ROOMS = (  # the order of imports: a room imports from those above it alone
    *("config", "stats", "scoring", "models", "security", "cost", "tasks", "engine", "backends", "measure", "store"),
    *("runs", "analysis", "reports", "cli"),
)
OPENING = """# The rooms of the house

```text
config → plan → samples → requests → backend → responses │ scores → records → rows → tables
```

The bar is the run folder. What stands before it needs a model; what follows reads files: a run can be judged again,
compared and reported on a laptop without weights or network. The order below is that of imports: a room imports only
from those above it, and a test reads the imports. Above them all stand `values.py` (sample, prompt, request, response,
score, record, estimate) and `errors.py`; below them `api.py`, which is what `import harness` gives and all that the
command line calls.

Five things are added by one file and one line, and a test adds each of them in a package of its own:

| what | where | its line | the test |
|---|---|---|---|
| a scorer | `scoring/scorers/` | `SCORERS` | `tests/scoring/test_adding_one.py` |
| a backend | `backends/` | `BACKENDS` in `config/model.py` | `tests/backends/test_adding_one.py` |
| a kind of task | `tasks/kinds/` | `KINDS` | `tests/tasks/test_kinds.py` |
| a statistic | `stats/`, `analysis/` | `STATISTICS` in `analysis/statistics.py` | `tests/analysis/test_adding_one.py` |
| a task | `tasks/NAME.yaml`, beside the package | none | `tests/tasks/test_adding_one.py` |
"""
CLOSING = "Written by `make docs` from the docstrings of the package; change it there."


def docstring(path: Path) -> str:
    """Returns the docstring of a module; "" where it has none."""
    return inspect.cleandoc(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")


def folders(room: str) -> list[Path]:
    """Returns the folders of a room that hold modules, its own first."""
    return sorted({path.parent for path in (PACKAGE / room).rglob("__init__.py")})


def text() -> str:
    """Returns the page."""
    return "\n".join([OPENING, *(line for room in ROOMS for line in _room(room)), CLOSING, ""])


def _room(room: str) -> Iterator[str]:
    for folder in folders(room):
        name = folder.relative_to(PACKAGE).as_posix()
        yield from (f"{'##' if name == room else '###'} {name}/", "", docstring(folder / "__init__.py"), "")
        modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
        if modules:
            yield from ("| module | what it is |", "|---|---|")
        for path in modules:
            line = docstring(path).partition("\n")[0].replace("|", "\\|")
            yield f"| `{path.name}` | {line} |"
        yield ""
