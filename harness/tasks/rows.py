"""The rows that a task names, from its file, folder or hub id, with their digest and split."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.config.task import DataConfig, ShotsConfig, TaskConfig
from harness.errors import TaskError
from harness.tasks.data.formats import DataSource, stem_of, suffix_of
from harness.tasks.data.read import Rows, load_rows


def digest(value: Any) -> str:
    """Returns the sha256 (hex) of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _rows(config: TaskConfig, path: Path, override: Path | None, split: str | None) -> Rows:
    names = config.data.config
    if not isinstance(names, tuple):
        found = load_rows(_source(config.data, names), base=path.parent, override=override, split=split)
        return _told_file(found) if config.prepare in OF_FILES else found
    parts, there = [], _there(names, override, split)
    for name in there:
        source = _source(config.data, name)
        parts.append(load_rows(source, base=path.parent, override=there[name], split=split))
    rows = tuple({**row, "_file": name} for name, part in zip(there, parts) for row in part.rows)
    more = f" and {len(there) - 1} more" if len(there) > 1 else ""
    if len(there) < len(names):
        more += f": {len(there)} of {len(names)} sets of rows"
    files = sum((part.files for part in parts), ())
    return Rows(rows, digest([part.digest for part in parts]), parts[0].origin + more, files, len(there))


def digest_of(config: TaskConfig, path: Path) -> str:
    """Returns the digest of a task's rows in a local copy of its data. Raises TaskError or DataError."""
    return _rows(config, path, path, config.data.split).digest


OF_FILES = {"mmlu"}  # what brings rows to one shape by the name of the file that each is from


def _told_file(found: Rows) -> Rows:
    """Returns the rows of a single file, each with the name of the file, as those of a folder of files have it."""
    if len(found.files) != 1 or {"_file", "subject", "category"} & found.rows[0].keys():
        return found
    name = re.sub(r"[-_.](test|dev|val)$", "", stem_of(Path(found.files[0])))
    return replace(found, rows=tuple({**row, "_file": name} for row in found.rows))


def _there(names: Sequence[str], override: Path | None, split: str | None) -> dict[str, Path | None]:
    """Returns which of several configurations a local copy holds, and where; all of the hub where there is none.

    A file is one of them, by its name. Raises TaskError where none is there.
    """
    if override is None:
        return dict.fromkeys(names)
    if override.is_file():
        found = [name for name in names if re.fullmatch(rf"{re.escape(name)}([-_.](test|{split}))?", stem_of(override))]
        if found:
            return {found[0]: override}
        what = f"this task reads {len(names)} sets of rows, and the file is none of them by its name"
        raise TaskError(what, where=str(override), fix=f"call it {names[0]}{suffix_of(override)}, or give a folder")
    places = {name: _part(override, name) for name in names}
    there: dict[str, Path | None] = {name: place for name, place in places.items() if place.exists()}
    return there or {names[0]: places[names[0]]}  # which says what is there


def _part(folder: Path, name: str) -> Path:
    """Returns the file or folder of one of several configurations in a local copy."""
    files = sorted(path for path in folder.glob(f"{name}.*") if path.is_file())
    return files[0] if files else folder / name


def _source(data: DataConfig, config: str | None) -> DataSource:
    return DataSource(**{**data.model_dump(exclude={"without"}), "config": config})


def _same_split(config: TaskConfig, shots: ShotsConfig) -> bool:
    return shots.file is None and shots.split in {None, config.data.split}
