"""A path or a hub id, and a split -> rows: plain dictionaries, with the digest of what was read.

    load_rows(DataSource(file="tickets.csv"), base=folder_of_the_task) -> Rows
    assign_ids(rows.rows, None) -> ["0", "1", ...]

Where a file, a folder or a split can be meant in two ways, the reader refuses and names the candidates.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.config.yaml_file import parse_yaml
from harness.errors import ConfigError, DataError, beside, nearest
from harness.tasks.data.files import is_data, iter_rows, read_file
from harness.tasks.data.formats import DataSource, stem_of, suffix_of
from harness.tasks.data.lazy import Lazy, picked
from harness.tasks.data.tables import first_line, rows_of_arrow

SPLIT_NAMES = ("train", "training", "validation", "valid", "val", "dev", "test", "testing", "eval")
_SHARD = re.compile(r"^(?P<split>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})(-[0-9a-f]+)?$")
_HUB_ID = re.compile(r"^\w[\w.-]*(/\w[\w.-]*)?$")
_COMMIT = re.compile(r"@([0-9a-f]{40})/")


@dataclass(frozen=True, slots=True)
class Rows:
    """What was read, and proof of it."""

    rows: Sequence[dict[str, object]]
    digest: str  # sha256 of the files read (several: of their list of digests), or the hub's commit
    origin: str  # for people: what was read
    files: tuple[str, ...]  # paths read; none for the hub
    sets: int = 0  # of a task that reads several configurations: how many were there


def load_rows(source: DataSource, *, base: Path, override: Path | None = None, split: str | None = None) -> Rows:
    """Returns the rows of one split.

    `base` is the folder of the task file: `file` must lie inside it. `override` is a file or a folder named on the
    command line, and may be anywhere. `split` asks for another split than the source's own (few-shot rows).
    Raises DataError for whatever is missing, unreadable, ambiguous, empty, or not what `sha256` promises.
    """
    asked, own = split or source.split, split in (None, source.split)
    if override is not None:
        return _read_path(_Place(Path(override)), source, asked, own)
    if bool(source.file) == bool(source.hub):
        raise DataError("a task's data needs one of `file` and `hub`", where=str(base), fix="write data: {file: ...}")
    if source.file:
        found = _read_path(_inside(Path(base), source.file), source, asked, own)
        if own and source.sha256 and source.sha256.lower() != found.digest:
            raise DataError(
                f"the data has changed: sha256 is {found.digest}, the task says {source.sha256}",
                where=found.origin,
                fix="restore the file, or write the new sha256 into the task and raise its version",
            )
        return found
    return _read_hub(source, Path(base), asked, own)


def assign_ids(rows: Sequence[Mapping[str, object]], id_column: str | None) -> list[str]:
    """Returns one id a row: the text of `id_column`, or the position ("<_file>/<n>" where rows have `_file`).

    Raises DataError naming the rows (counted from 1) whose id is missing, empty or already taken.
    """
    if id_column is None:
        return _positions(rows)
    ids: list[str] = []
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        if id_column not in row:
            fix = nearest(id_column, row)
            raise DataError(f"row {number} has no column '{id_column}', which holds the ids", where="data: id", fix=fix)
        value = row[id_column]
        name = "" if value is None else str(value).strip()
        if not name:
            raise DataError(f"row {number} has an empty id", where=f"column '{id_column}'", fix="give every row an id")
        if name in seen:
            raise DataError(
                f"rows {ids.index(name) + 1} and {number} have the same id '{name}'",
                where=f"column '{id_column}'",
                fix="make ids unique, or leave out `id:` to number the rows by position",
            )
        seen.add(name)
        ids.append(name)
    return ids


def _positions(rows: Sequence[Mapping[str, object]]) -> list[str]:
    ids: list[str] = []
    count: dict[str | None, int] = {}
    for row in rows:
        held = row.get("_file")
        file = None if held is None else str(held)
        number = count[file] = count.get(file, -1) + 1
        ids.append(str(number) if file is None else f"{file}/{number}")
    return ids


# ---- a path, as the task or the person wrote it ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """A file or folder to read. `within`: whatever is read must lie in this folder, links followed."""

    path: Path
    within: Path | None = None

    def at(self, path: Path) -> _Place:
        return replace(self, path=path)

    def kind(self) -> str:
        """Returns "file" or "folder", or raises DataError: missing, a device, or leading out of `within`."""
        where = str(self.path)
        try:
            mode = self.path.stat().st_mode
            real = self.path.resolve()
        except FileNotFoundError:
            folder = self.path.parent
            there = nearest(self.path.name, beside(self.path)) or "nothing is in its folder"
            fix = there if folder.is_dir() else f"there is no folder {folder}"
            raise DataError("no such data file", where=where, fix=fix) from None
        except (OSError, ValueError, RuntimeError) as error:
            fix = "write the path of a file or folder that exists"
            raise DataError(f"not a path that can be read: {first_line(error)}", where=where[:200], fix=fix) from None
        if self.within is not None and not real.is_relative_to(self.within.resolve()):
            fix = "copy the data into the task's folder, or run with --data TASK=PATH"
            raise DataError(f"the data lies outside the task's folder: it leads to {real}", where=where, fix=fix)
        if stat.S_ISDIR(mode):
            return "folder"
        if not stat.S_ISREG(mode):
            raise DataError("this is a device or pipe, not a file", where=where, fix="save the data in a file")
        return "file"


def _inside(base: Path, file: str) -> _Place:
    """Returns the place of a task's `file:`. A task may read only what lies in its own folder."""
    parts = re.split(r"[/\\]", file)
    if not file.strip() or "\0" in file or ".." in parts or Path(file).is_absolute() or re.match(r"^[A-Za-z]:", file):
        fix = "write a path below the task's folder; for data elsewhere run with --data TASK=PATH"
        raise DataError(f"`file: {file!r}` does not lie in the task's folder", where=str(base), fix=fix)
    return _Place(base / file, within=base)


# ---- a path and a split -> rows --------------------------------------------------------------------------------------


def _read_path(place: _Place, source: DataSource, asked: str | None, own: bool) -> Rows:
    if place.kind() == "folder":
        files, named = _files_of(place, source.config, asked)
        if named is not None:
            return _read_files(place, files, source, named)
        place = place.at(files[0])  # the only file, and not named after a split
    return _read_single(place, source, asked, own)


def _read_single(place: _Place, source: DataSource, asked: str | None, own: bool) -> Rows:
    """Returns one split of a single file: by its column `split`, else the whole file, else from its sibling."""
    path = place.path
    first = next(iter_rows(path, source), {})
    if asked is not None and "split" in first:
        found = _read_files(place, [path], source, named=False)
        rows = picked(found.rows, lambda row: str(row.get("split")) == asked)
        if not rows:
            there = {str(row.get("split")) for row in found.rows}
            raise DataError(f"no row is of split '{asked}'", where=f"{path}, column 'split'", fix=nearest(asked, there))
        return replace(found, rows=rows)
    if own:
        return _read_files(place, [path], source, named=False)
    sibling = sibling_split(path, str(asked))
    if sibling is None:
        end = suffix_of(path)
        raise DataError(
            f"this one file has no column 'split': where is split '{asked}'?",
            where=str(path),
            fix=f"give a folder with one file per split ({asked}{end}, ...), or add the column 'split'",
        )
    place.at(sibling).kind()
    return _read_files(place.at(sibling), [sibling], source, named=False)


def sibling_split(path: Path, split: str) -> Path | None:
    """Returns tickets_train.csv for tickets_test.csv and "train", or train/a_train.csv for test/a_test.csv."""
    folder = path.parent.with_name(split) if path.parent.name.lower() in SPLIT_NAMES else path.parent
    names, parts = [path.name], re.split(r"([-_.])", stem_of(path))
    if at := [index for index, part in enumerate(parts) if part.lower() in SPLIT_NAMES]:
        stem = "".join([*parts[: at[-1]], split, *parts[at[-1] + 1 :]])
        names.insert(0, stem + path.name[len(stem_of(path)) :])
    found = (folder / name for name in names)
    return next((other for other in found if other != path and other.is_file()), None)


def _read_files(place: _Place, files: Sequence[Path], source: DataSource, named: bool) -> Rows:
    """Returns the rows of files in order. `named`: each row is told in `_file` which file it comes from."""
    rows: Sequence[dict[str, object]] = []
    digests = []
    split = files[0].parent.name  # of a folder of files: the files' names may repeat it
    for path in files:
        place.at(path).kind()
        new, digest = read_file(path, source)
        digests.append(digest)
        if named:
            stem = stem_of(path).removesuffix(f"_{split}").removeprefix(f"{split}_")
            new = [{**row, "_file": stem} for row in new]
        rows = new if len(files) == 1 else [*rows, *new]
    if not rows:
        where = str(files[0]) if len(files) == 1 else str(place.path)
        raise DataError("the data holds no rows", where=where, fix="fill it, or name another file")
    digest = digests[0]
    if len(files) > 1:
        listed = "".join(f"{digest}  {path.name}\n" for digest, path in zip(digests, files))
        digest = hashlib.sha256(listed.encode()).hexdigest()
    origin = str(files[0]) if len(files) == 1 else f"{files[0].parent} ({len(files)} files)"
    return Rows(rows if isinstance(rows, Lazy) else tuple(rows), digest, origin, tuple(map(str, files)))


# ---- a folder and a split -> files -----------------------------------------------------------------------------------


def _files_of(place: _Place, config: str | None, split: str | None) -> tuple[list[Path], bool | None]:
    """Returns the files of a split, and whether their names mean something (None: one file, not named by split).

    In order: what README.md says; `<config>/`, `data/` or the folder itself holding `<split>.csv`,
    `<split>-00000-of-00001.parquet` or a folder `<split>/`; one configuration's folder of these; a file with the
    split in its name (`tickets_test.csv`); the only data file there.
    """
    folder = place.path
    if split is None:
        return _files_without_split(folder, config)
    listed = _files_of_card(folder, config, split)
    if listed:
        return listed, False
    roots = [root for root in (folder / str(config), folder / "data" / str(config)) if config and root.is_dir()]
    roots = roots[:1] or [folder, folder / "data"]
    groups = [group for root in roots for group in _groups(root, split)]
    if not groups:
        held = [path for root in roots for path in _data_files(root)]
        groups = [([path], False) for path in held if split in re.split(r"[-_.]", stem_of(path))]
        if config is None:
            inner = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
            groups += [group for root in inner if root not in roots for group in _groups(root, split)]
        if not groups and config == "all":  # a folder for each part of it, as of MMLU's subjects
            parts = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
            if files := [file for part in parts for group, _ in _groups(part, split) for file in group]:
                return files, False
        if not groups and len(held) == 1 and not _splits_named(held):
            return held, None
    if len(groups) > 1:
        named = ", ".join(str(files[0].relative_to(folder)) for files, _ in groups[:6])
        fix = f"name one of them: --data TASK={groups[0][0][0]}" if config else "name `config:`, or one of these paths"
        raise DataError(f"several files could be split '{split}': {named}", where=str(folder), fix=fix)
    if not groups:
        raise _no_split(folder, roots, config, split)
    return groups[0]


def _no_split(folder: Path, roots: Sequence[Path], config: str | None, split: str) -> DataError:
    inner = {entry.name for root in roots if root.is_dir() for entry in root.iterdir() if entry.is_dir()}
    there = _splits_named([path for root in roots for path in _data_files(root)]) | inner
    if config and config not in {root.name for root in roots} and inner:
        return DataError(f"no folder here is config '{config}'", where=str(folder), fix=nearest(config, inner))
    fix = nearest(split, there) or f"put {split}.csv, {split}.jsonl or a folder {split}/ of such files there"
    what = f"no file here is split '{split}'" + (f" of config '{config}'" if config else "")
    return DataError(what, where=str(folder), fix=fix)


def _data_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_data(path)) if folder.is_dir() else []


def _splits_named(files: Iterable[Path]) -> set[str]:
    words = {word for path in files for word in re.split(r"[-_.]", stem_of(path).lower())}
    return words & set(SPLIT_NAMES)


def _files_without_split(folder: Path, config: str | None) -> tuple[list[Path], bool]:
    files = _data_files(folder / config) if config else _data_files(folder) or _data_files(folder / "data")
    splits = _splits_named(files)
    if len(files) > 1 and splits:
        fix = f"name one in the task's data, e.g. split: {min(splits)}"
        raise DataError(f"the folder holds several splits: {', '.join(sorted(splits))}", where=str(folder), fix=fix)
    if not files:
        fix = "put .csv, .jsonl or .parquet files there, or name a `split:`"
        raise DataError("the folder holds no data files", where=str(folder), fix=fix)
    return files, len(files) > 1 and not _shards(files)


def _groups(root: Path, split: str) -> list[tuple[list[Path], bool]]:
    """Returns each set of files in `root` that could be the whole split."""
    groups: list[tuple[list[Path], bool]] = []
    files = _data_files(root)
    sharded = [
        (path, int(match["parts"]))
        for path in files
        if (match := _SHARD.match(stem_of(path))) and match["split"] == split
    ]
    for suffix in sorted({suffix_of(path) for path, _ in sharded}):
        parts = [path for path, _ in sharded if suffix_of(path) == suffix]
        promised = next(promised for path, promised in sharded if path == parts[0])
        if len(parts) != promised:
            what = f"{len(parts)} of the {promised} parts of split '{split}' are there"
            raise DataError(what, where=str(root), fix="download the missing parts")
        groups.append((parts, False))
    groups += [([path], False) for path in files if stem_of(path) == split]
    inner = _data_files(root / split)
    if inner:
        groups.append((inner, not _shards(inner)))
    return groups


def _shards(files: Iterable[Path]) -> bool:
    """Returns whether the files are numbered parts of one table, so that their names say nothing about the rows."""
    return all(_SHARD.match(stem_of(path)) or stem_of(path).isdigit() for path in files)


def _files_of_card(folder: Path, config: str | None, split: str) -> list[Path]:
    """Returns the files that the front matter of README.md lists for a split; none if it lists none."""
    card = folder / "README.md"
    if not card.is_file():
        return []
    with card.open(encoding="utf-8", errors="replace") as handle:
        front = re.match(r"---\r?\n(.{0,200000}?)\n---", handle.read(300_000), re.DOTALL)
    try:
        held = parse_yaml(front[1], card).data.get("configs") if front else None
    except ConfigError:
        return []  # the names of the files say it
    configs = [entry for entry in held if isinstance(entry, dict)] if isinstance(held, list) else []
    names = [str(entry.get("config_name")) for entry in configs]
    if len(configs) > 1 and config is None:
        configs = [entry for entry in configs if entry.get("default")]
        if not configs:
            fix = "name one in the task's data: config: ..."
            raise DataError(f"several configurations: {', '.join(names[:12])}", where=str(card), fix=fix)
    elif config is not None and config in names:
        configs = [configs[names.index(config)]]
    elif config is not None:
        return []
    patterns: list[Any] = []
    for entry in configs[:1]:
        listed = entry.get("data_files")
        for line in listed if isinstance(listed, list) else []:
            if isinstance(line, dict) and line.get("split") == split:
                path = line.get("path")
                patterns += path if isinstance(path, list) else [path]
    safe = [p for p in patterns if isinstance(p, str) and p and not Path(p).is_absolute() and ".." not in Path(p).parts]
    return sorted({path for pattern in safe for path in folder.glob(pattern) if is_data(path)})


# ---- the hub ---------------------------------------------------------------------------------------------------------


def _read_hub(source: DataSource, base: Path, asked: str | None, own: bool) -> Rows:
    hub = str(source.hub)
    if not _HUB_ID.match(hub):
        fix = "write owner/name; for a local copy run with --data TASK=PATH"
        raise DataError(f"'{hub}' is no hub id", where=str(base), fix=fix)
    if source.sha256:
        fix = "pin a hub data set by `revision:` (a commit) and leave out `sha256:`"
        raise DataError("`sha256:` is for files", where=f"hub: {hub}", fix=fix)
    where = f"hub: {hub}" + (f", config: {source.config}" if source.config else "") + f", split: {asked}"
    if asked is None:
        raise DataError("a hub data set needs a split", where=where, fix="add split: test (or another) to the data")
    import datasets

    # The library would rather read a folder of this name in the working folder: then the id is told to be the hub's.
    shadowed = Path(hub).exists()
    try:
        table = datasets.load_dataset(
            f"hf://datasets/{hub}" if shadowed else hub, source.config, split=asked, revision=source.revision
        )
    except (datasets.exceptions.DatasetsError, OSError, ValueError, RuntimeError) as error:
        what = f"the data set cannot be loaded: {first_line(error)}"
        fix = "check the id, config and split, or give a local copy: --data TASK=PATH (a file or folder)"
        if shadowed:
            fix = f"the folder {hub} here is no part of it, and is read only where it is named: --data TASK={hub}"
        raise DataError(what, where=where, fix=fix) from None
    rows = tuple(row for batch in table.with_format("arrow").iter(batch_size=4096) for row in rows_of_arrow(batch))
    if not rows:
        raise DataError("the data holds no rows", where=where, fix="name another split")
    commit = _commit_of(table, source.revision)
    digest = commit or hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    return Rows(rows, digest, f"{hub} ({source.config or 'default'}, {asked}) at {commit or 'unknown revision'}", ())


def _commit_of(table: Any, revision: str | None) -> str | None:
    """Returns the hub commit that the rows come from: as pinned, else as the files' addresses tell; None if neither."""
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    for address in table.info.download_checksums or {}:
        if match := _COMMIT.search(str(address)):
            return match[1]
    return None
