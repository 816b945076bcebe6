"""Where a named file lies: a path as given, or one of those that ship with the package (tasks, configs)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from harness.errors import ConfigError, nearest


@cache
def bundled(kind: Literal["tasks", "configs"]) -> Path:
    """Returns the folder of task or run files that ship with the package (or stand beside it in a checkout)."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "bundled" / kind
    return inside if inside.is_dir() else package.parent / kind


def bundled_names(kind: Literal["tasks", "configs"]) -> list[str]:
    """Returns the names of the task or run files that ship with the package."""
    return sorted(path.stem for path in bundled(kind).glob("*.yaml"))


def find_file(name: str, kind: Literal["tasks", "configs"], under: str = "") -> Path:
    """Returns the file for a path, or for the name of a bundled one. Raises ConfigError with the nearest name."""
    path = Path(name)
    if path.is_file() and path.suffix not in {".yaml", ".yml"} and not under:
        what = f"'{name}' is data, and no {'task' if kind == 'tasks' else 'run'} file"
        raise ConfigError(what, fix=f"harness init {name} writes a task file for it")
    if path.suffix in {".yaml", ".yml"} or "/" in name:
        if path.is_file() or (path.exists() and not path.is_dir()):
            return path  # a pipe is refused by who reads it
        siblings = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise ConfigError(f"no file {name}", fix=nearest(path.name, siblings) or "check the path")
    folder = bundled(kind) / under
    found = folder / f"{name}.yaml"
    if found.is_file():
        return found
    noun = under.rstrip("s") or ("task" if kind == "tasks" else "configuration")
    here = [p.name for suffix in (".yaml", ".yml") if (p := Path(name + suffix)).is_file()]
    known = [p.stem for p in folder.glob("*.yaml")]
    hint = nearest(name, here or known)
    if under == "machines":
        near = f"{hint} " if hint.startswith("did you mean") else ""
        hint = (
            f"{near}known: {', '.join(sorted(known))}; or give a machine file of your own (docs/reference/machine.md)"
        )
    elif kind == "tasks" and not hint.startswith("did you mean"):
        hint = f"{hint}; one of lm-evaluation-harness is called lm_eval:{name}"
    raise ConfigError(f"no {noun} named '{name}'", fix=hint)
