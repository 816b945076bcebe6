"""Whether model folders and data files are those that a run was made with, by the digests in its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.analysis.verify import Verified
from harness.errors import ConfigError, HarnessError, nearest
from harness.models.info import ADAPTER, deciding, digest_model
from harness.store.lines import read_plan
from harness.store.schema import ModelEntry, PlanFile
from harness.tasks.rows import digest_of

NAMED = 5  # files that are told


def with_sources(found: Verified, models: Sequence[str], data: Sequence[str]) -> Verified:
    """Returns what was found of a run, with whether models and data are those of its plan.

    Each is a path, or NAME=PATH where the run has several. Raises ConfigError for one that is none of the run's.
    """
    plan = read_plan(Path(found.run))
    lines = [*_models(plan, models), *_data(plan, data)]
    ok = found.ok and all(good for good, _ in lines)
    return replace(found, ok=ok, says="\n".join([found.says, *(f"  {line}" for _, line in lines)]))


def _models(plan: PlanFile, given: Sequence[str]) -> Iterator[tuple[bool, str]]:
    entries: dict[str, ModelEntry] = {**plan.models, **({} if plan.judge is None else {plan.judge.name: plan.judge})}
    folders = {
        name: {file: sha for file, sha in entry.files.items() if not file.startswith(ADAPTER)}
        for name, entry in entries.items()
        if entry.info is not None
    }
    for text in given:
        name, path = _named(text, folders, "--model")
        if not path.is_dir():
            raise ConfigError(f"no model folder {path}", where=f"--model {text}", fix="give the folder of the weights")
        held = digest_model(path)
        if name is None:
            name = max(folders, key=lambda one: sum(folders[one].get(file) == sha for file, sha in held.items()))
        wrong = list(_differing(deciding(folders[name]), deciding(held)))
        shown = ", ".join(wrong[:NAMED]) + (f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else "")
        said = f"DIFFERS from that of the plan: {shown}" if wrong else "is that of the plan"
        yield not wrong, f"model {name}: {path} {said}"


def _differing(planned: Mapping[str, str], held: Mapping[str, str]) -> Iterator[str]:
    for file in sorted(planned.keys() | held.keys()):
        if planned.get(file) != held.get(file):
            missing = "" if file in planned and file in held else " (missing)" if file in planned else " (added)"
            yield f"{file}{missing}"


def _data(plan: PlanFile, given: Sequence[str]) -> Iterator[tuple[bool, str]]:
    for text in given:
        name, path = _named(text, plan.data, "--data")
        names = list(plan.data) if name is None else [name]
        told = {one: _read(plan, one, path) for one in names}
        right = [one for one, (digest, _) in told.items() if digest == plan.data[one].digest]
        if right or name is not None or len(names) == 1:
            shown = ", ".join(right or names)
            why = "" if right else told[names[0]][1]
            yield bool(right), f"data of {shown}: {path} {'is that of the plan' if right else f'DIFFERS{why}'}"
        else:
            yield False, f"data: {path} is that of no task of the plan"


def _read(plan: PlanFile, task: str, path: Path) -> tuple[str | None, str]:
    """Returns the digest of a task's rows in a file, or None and what is wrong."""
    try:
        return digest_of(plan.tasks[task], path), " from those of the plan"
    except HarnessError as error:
        return None, f": {error.what}"


def _named(text: str, known: Mapping[str, object], option: str) -> tuple[str | None, Path]:
    """Returns the name that is given with a path, if any, and the path. Raises ConfigError for an unknown one."""
    if not known:
        what = "this run has none whose files could be compared"
        raise ConfigError(what, where=f"{option} {text}", fix=f"leave {option} out")
    name, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        return (next(iter(known)) if len(known) == 1 else None), Path(text).expanduser()
    if name not in known:
        raise ConfigError(f"the run has no '{name}'", where=f"{option} {text}", fix=nearest(name, known))
    return name, Path(path).expanduser()
