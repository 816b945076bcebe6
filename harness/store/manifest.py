"""The manifest of a run folder: what each file was when the run was last judged, and which files differ from it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from harness.errors import StoreError
from harness.store.chain import canonical, head_of, last_line
from harness.store.files import (
    MANIFEST,
    MEASURED,
    PLAN,
    RECORDS,
    RESPONSES,
    SAMPLES,
    SHEET,
    SUMMARY,
    TABLE,
    VERDICTS,
    write_json_atomic,
)
from harness.store.lines import unchained_measurements
from harness.store.log import holds
from harness.store.opening import FIX, opened, parsed, read_lines, read_whole, there
from harness.store.rows import read_object
from harness.store.schema.manifest import MANIFESTS, FileDigest, Manifest

FILES = (PLAN, SAMPLES, RESPONSES, VERDICTS, MEASURED, RECORDS, SUMMARY, TABLE, SHEET)  # of a run, but the manifest


def write_manifest(folder: Path) -> None:
    """Writes down what the files of a run are now. Raises StoreError for one that cannot be read."""
    found = Manifest(files={name: _digest(folder / name) for name in FILES if there(folder / name)}, digest="")
    write_json_atomic(folder / MANIFEST, MANIFESTS.write(replace(found, digest=_own(MANIFESTS.write(found)))))


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest of a run; None where there is none. Raises StoreError for one that was changed."""
    file = folder / MANIFEST
    if not there(file):
        return None
    content = read_object(file)
    found = MANIFESTS.read(content, str(file))
    if found.digest != _own(content):
        raise StoreError("the manifest was changed: its digest does not fit", where=str(file), fix=FIX)
    return found


def differing(folder: Path, manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yields each file that says something else than when the manifest was written, with what became of it."""
    for name in FILES:
        noted = manifest.files.get(name)
        if noted is None:
            if there(folder / name):
                yield name, "was added"
        elif not there(folder / name):
            yield name, "is missing"
        elif noted.sha256 != _sha256(folder / name) and noted.content != _content(folder / name):
            yield name, "was changed"
    for name in manifest.files.keys() - set(FILES):
        yield name, "is no file of a run"


def untouched(folder: Path) -> bool:
    """Returns whether every file of a run is, byte for byte, what its manifest says; not where it has none."""
    try:
        noted = read_manifest(folder)
        return noted is not None and all(
            there(folder / name) == (name in noted.files)
            and (name not in noted.files or noted.files[name].sha256 == _sha256(folder / name))
            for name in FILES
        )
    except StoreError:
        return False


def refuse_cut(folder: Path) -> None:
    """Raises StoreError where a log of a run has lost lines that it had when the run was last judged."""
    heads = _noted_heads(folder)
    logs = (RESPONSES, VERDICTS) if unchained_measurements(folder) else (RESPONSES, VERDICTS, MEASURED)
    for name in logs:
        head = heads.get(name)
        if head is not None and not (there(folder / name) and holds(folder / name, head)):
            what = f"{name} has lost lines that it had when this run was judged"
            fix = "restore it from a copy; to have them asked again, give the command that made the run"
            raise StoreError(what, where=str(folder / name), fix=fix)


def _noted_heads(folder: Path) -> dict[str, str | None]:
    """Returns the heads of a run's logs when it was last judged, of those that are known; a new judging mends files."""
    try:
        noted = read_manifest(folder)
        if noted is not None:
            return {name: file.content for name, file in noted.files.items()}
        held = read_object(folder / SUMMARY) if there(folder / SUMMARY) else {}
        return {RESPONSES: held.get("head"), VERDICTS: held.get("verdicts_head")}
    except StoreError:
        return {}


def _own(content: Mapping[str, object]) -> str:
    """Returns the digest of what a manifest says, but for its digest."""
    return canonical({name: value for name, value in content.items() if name != "digest"})


def _digest(path: Path) -> FileDigest:
    return FileDigest(path.stat().st_size, _sha256(path), _content(path))


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with opened(path) as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def _content(path: Path) -> str:
    """Returns the digest of what a file says: of a chain its head; else whatever its blanks and ends of lines."""
    if path.suffix == ".jsonl":
        return head_of(last_line(path)) or _of_lines(path)
    data = read_whole(path)
    try:
        return canonical(parsed(data)) if path.suffix == ".json" else _of_text(data)
    except ValueError:
        return hashlib.sha256(data).hexdigest()


def _of_text(data: bytes) -> str:
    return hashlib.sha256(data.replace(b"\r\n", b"\n").rstrip()).hexdigest()


def _of_lines(path: Path) -> str:
    found = hashlib.sha256()
    for line in read_lines(path):
        try:
            found.update(canonical(parsed(line)).encode())
        except ValueError:
            found.update(line)
    return found.hexdigest()
