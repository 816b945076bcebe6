"""The rows that a task names, from its file, folder or hub id, with their digest and split."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.config.task import DataConfig, ShotsConfig, TaskConfig
from harness.errors import TaskError
from harness.tasks.data.formats import DataSource
from harness.tasks.data.read import Rows, load_rows


def digest(value: Any) -> str:
    """Returns the sha256 (hex) of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _rows(config: TaskConfig, path: Path, override: Path | None, split: str | None) -> Rows:
    names = config.data.config
    if not isinstance(names, tuple):
        return load_rows(_source(config.data, names), base=path.parent, override=override, split=split)
    if override is not None and override.is_file():
        what = f"this task reads {len(names)} sets of rows, one file is not enough"
        raise TaskError(what, where=str(override), fix=f"give a folder that holds {names[0]}, {names[1]}, ... each")
    parts = []
    for name in names:
        source = _source(config.data, name)
        parts.append(load_rows(source, base=path.parent, override=_part(override, name), split=split))
    rows = tuple({**row, "_file": name} for name, part in zip(names, parts) for row in part.rows)
    origin = f"{parts[0].origin} and {len(names) - 1} more"
    return Rows(rows, digest([part.digest for part in parts]), origin, sum((part.files for part in parts), ()))


def _part(folder: Path | None, name: str) -> Path | None:
    """Returns the file or folder of one of several configurations in a local copy."""
    if folder is None:
        return None
    files = sorted(path for path in folder.glob(f"{name}.*") if path.is_file())
    return files[0] if files else folder / name


def _source(data: DataConfig, config: str | None) -> DataSource:
    return DataSource(**{**data.model_dump(exclude={"without"}), "config": config})


def _same_split(config: TaskConfig, shots: ShotsConfig) -> bool:
    return shots.file is None and shots.split in {None, config.data.split}
