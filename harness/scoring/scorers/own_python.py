"""Scorer of one's own, in Python beside the task file.

    score: {python: "my_scorer:score"}          the function `score` of my_scorer.py in the task file's folder

    def score(expected, answer, row):           # `row` may be left out
        return 1.0 if ... else 0.0              # in [0, 1]; or (value, {metric: value})

`admit` is the only place where code of a user is loaded: from the folder of a task file that was named by its path,
never from a bundled task, and never because a run folder says so. Its sha256 becomes part of the task, so that a
changed file is another plan. A run that was scored this way is judged again by the command that made it.
"""

from __future__ import annotations

import hashlib
import inspect
import marshal
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import TaskError, nearest

MAX_BYTES = 1_000_000
NAMED = re.compile(r"([A-Za-z_]\w{0,99}):([A-Za-z_]\w{0,99})", re.ASCII)

_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {}  # (sha256 of the file, "module:function"), this process only


def python(expected: Any, answer: Any, *, function: str, sha256: str | None = None, row: Mapping[str, object]) -> Any:
    """Returns what the function says, a value in [0, 1] or a value and metrics. Raises ValueError for anything else."""
    admitted = _ADMITTED[sha256 or "", function]
    result = admitted(expected, answer, row) if _takes_row(admitted) else admitted(expected, answer)
    value, metrics = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
    if not isinstance(value, bool | int | float) or not 0 <= value <= 1 or not isinstance(metrics, Mapping):
        raise ValueError(f"{function} gave {result!r:.60}, not a value in [0, 1], or a value and metrics")
    return float(value), {str(name): float(one) for name, one in metrics.items()}


def admit(spec: Any, folder: Path | None, where: str) -> Any:
    """Returns a `score:` key with the sha256 of each file of Python that it names, and loads their functions.

    `folder` is the task file's; None: its code is not to be run. Raises TaskError for a file that is not there, is
    not the one whose sha256 the task states, leads out of the folder, or does not hold the function.
    """
    if isinstance(spec, list | tuple):
        return [admit(one, folder, where) for one in spec]
    if not _is_own(spec):
        return spec
    options = spec["python"] if isinstance(spec["python"], Mapping) else {"function": spec["python"]}
    named = NAMED.fullmatch(str(options.get("function")))
    if named is None:
        what = f"'{options.get('function')!s:.60}' names no function of a file beside the task"
        raise TaskError(what, where=where, fix='write score: {python: "my_file:my_function"}')
    if (options.get("sha256"), named[0]) in _ADMITTED:
        return {"python": {"function": named[0], "sha256": options["sha256"]}}  # a function given in Python
    if folder is None:
        what = "a task of the package, or one with data of a hub, may not bring its own Python"
        raise TaskError(what, where=where, fix="copy the task file and its data into a folder of your own")
    source, digest = _read(folder, named[1], where)
    if options.get("sha256") not in (None, digest):
        what = f"{named[1]}.py has changed: sha256 is {digest}, the task says {options['sha256']}"
        raise TaskError(what, where=where, fix="restore the file, or write the new sha256 into the task")
    _ADMITTED[digest, named[0]] = _function(source, folder / f"{named[1]}.py", named[2], where)
    return {"python": {"function": named[0], "sha256": digest}}


def spec_of(score: Any, where: str) -> Any:
    """Returns the `score:` key for what is given as one: a function becomes its name and the sha256 of its source.

    What the function reads from around it is not in that digest. Raises TaskError for what can be called and is no
    function.
    """
    if not callable(score):
        return [spec_of(one, where) for one in score] if isinstance(score, list | tuple) else score
    if not inspect.isfunction(score):
        what = f"a {type(score).__name__} is no function that could be named"
        raise TaskError(what, where=where, fix="write def score(expected, answer): return ...")
    try:
        source = inspect.getsource(score).encode("utf-8", "surrogatepass")
    except (OSError, TypeError):  # typed in, and kept nowhere
        source = marshal.dumps(score.__code__)
    digest = hashlib.sha256(source).hexdigest()
    name = re.sub(r"\W+", "_", (score.__module__ or "").rpartition(".")[2]).strip("_") or "python"
    named = f"{name}:{re.sub(r'[^A-Za-z0-9_]+', '_', score.__name__).strip('_') or 'function'}"
    _ADMITTED[digest, named] = score
    return {"python": {"function": named, "sha256": digest}}


def refuse_unknown(spec: Any, task: str) -> None:
    """Raises TaskError for Python that this process was not given by a task file: none runs because a run names it."""
    for step in spec if isinstance(spec, list | tuple) else [spec]:
        if _is_own(step) and (step["python"].get("sha256"), step["python"]["function"]) not in _ADMITTED:
            raise TaskError(
                f"answers to {task} are judged by Python of its own ({step['python']['function']})",
                where="a run folder never brings code to run",
                fix="judge it again with the command that made it: harness run CONFIG --out RUN",
            )


def functions(spec: Any) -> list[tuple[str, str]]:
    """Returns (function, sha256 of its file) of each Python scorer in a `score:` key of a loaded task."""
    steps = spec if isinstance(spec, list | tuple) else [spec]
    return [(step["python"]["function"], step["python"]["sha256"]) for step in steps if _is_own(step)]


def _is_own(spec: Any) -> bool:
    return isinstance(spec, Mapping) and "python" in spec


def _read(folder: Path, module: str, where: str) -> tuple[bytes, str]:
    file = folder / f"{module}.py"
    if not file.is_file():
        there = [path.stem for path in folder.glob("*.py")]
        raise TaskError(f"no {file.name} beside the task file", where=where, fix=nearest(module, there) or "write it")
    if not file.resolve().is_relative_to(folder.resolve()):
        raise TaskError(f"{file.name} leads out of the task's folder", where=where, fix="copy the file there")
    with file.open("rb") as handle:
        source = handle.read(MAX_BYTES + 1)
    if len(source) > MAX_BYTES:
        raise TaskError(f"{file.name} is larger than {MAX_BYTES} bytes", where=where, fix="keep data in a data file")
    return source, hashlib.sha256(source).hexdigest()


def _function(source: bytes, file: Path, name: str, where: str) -> Callable[..., Any]:
    """Returns the function, from the very bytes that were digested."""
    module = ModuleType(file.stem)
    module.__file__ = str(file)
    try:
        exec(compile(source, str(file), "exec"), module.__dict__)
    except Exception as error:  # whatever a user's file raises is the user's to mend
        what = f"{file.name} cannot be loaded: {type(error).__name__}: {error}"
        raise TaskError(what[:300], where=where, fix=f"try it: python {file}") from None
    function: Callable[..., Any] | None = getattr(module, name, None)
    if function is None or not callable(function):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise TaskError(f"{file.name} has no function '{name}'", where=where, fix=nearest(name, known) or "write it")
    return function


def _takes_row(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(places) > 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
