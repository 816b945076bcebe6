"""The task file: YAML as a person would write it, commented, with nothing in it that could be read otherwise."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config.run import TaskUse
from harness.config.yaml_file import parse_yaml
from harness.errors import ConfigError, HarnessError
from harness.tasks.authoring.draft import words
from harness.tasks.authoring.report import Found
from harness.tasks.authoring.roles import is_test
from harness.tasks.authoring.words import short
from harness.tasks.data.formats import stem_of
from harness.tasks.load import load_task
from harness.tasks.prompts import check_columns


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the task file, and the copy of the data where it did not lie in the task's folder."""

    task: Path
    data: Path | None


def write(found: Found, out: Path | None = None) -> Written:
    """Writes the task file and returns where; default: beside the data. A file that is there is never replaced.

    A task reads only what lies in its own folder, so for another folder the data are copied there. The file is loaded
    and its scorer tested before this returns; a task that fails that is not left behind.
    """
    source = found.table.path
    out = out or source.with_name(stem_of(source) + ".yaml")
    if out.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"'{out.name}' is no name for a task file", where=str(out), fix="end it in .yaml")
    if out.exists():
        raise ConfigError("the task file is there already", where=str(out), fix="name another: --out FILE.yaml")
    file, copy = _place(source, out)
    text = _file_text(found, out, file)
    parse_yaml(text, out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if copy is not None:
            shutil.copyfile(source, copy)
        with out.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except OSError as error:
        what = f"the task file cannot be written: {error.strerror}"
        raise ConfigError(what, where=str(out), fix="name a place that can be written: --out FILE.yaml") from None
    try:
        task = load_task(TaskUse(task=str(out)))
        check_columns(task.config, task.samples, task.where)
    except HarnessError:
        out.unlink()
        if copy is not None:
            copy.unlink()
        raise
    return Written(out, copy)


def _place(source: Path, out: Path) -> tuple[str, Path | None]:
    """Returns how the task file names the data, and where they have to be copied to for that (None: nowhere)."""
    folder = out.parent.resolve()
    if source.resolve().is_relative_to(folder):
        return str(source.resolve().relative_to(folder)), None
    copy = out.parent / source.name
    if copy.exists() and copy.read_bytes() != source.read_bytes():
        what = f"another file named {source.name} is in the task's folder"
        raise ConfigError(what, where=str(copy), fix="name another folder: --out FOLDER/FILE.yaml")
    return source.name, None if copy.exists() else copy


def _file_text(found: Found, out: Path, file: str) -> str:
    """Returns the task file as text, commented."""
    table, roles, task = found.table, found.roles, dict(found.task)
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", out.stem).strip("-._+")[:100] or "task"
    data: dict[str, object] = {"file": file, "sha256": table.digest}
    data |= {"split": roles.split} if roles.split else {}
    data |= {"id": roles.id} if roles.id else {}
    for key in ("sheet", "delimiter", "encoding", "header"):
        if value := getattr(table.source, key):
            data[key] = list(value) if isinstance(value, tuple) else value
    if found.without:
        data["without"] = {roles.answer: list(found.without)}
    sensitivity = task.pop("sensitivity")
    remarks = {"data": "sha256: the score is of these very rows; take it out to let the file change"} | dict(
        found.remarks
    )
    head = {
        "task": name,
        "version": 1,
        "asks": f"{words(roles.answer)}, given {' and '.join(map(words, roles.inputs))}"[:200],
        "source": table.path.name,
        "licence": "not stated",
        "sensitivity": sensitivity,
        "data": data,
    }
    lines = [f"# harness run {_plain(str(out))} --model PATH", f"# {_comment(found)}"]
    for key, value in (head | task).items():
        lines.append(_line(key, value, remarks.get(key, "")))
    if roles.cluster:
        lines.append(_line("cluster", roles.cluster, "rows that share it are not independent: intervals allow for it"))
    train = next((one for one in found.splits if one != roles.split and not is_test(one)), None)
    if train is not None:
        lines.append(f"# shots: {{n: 5, from: {_scalar(train)}}}    # show solved examples first")
    unused = [c.name for c in found.columns if not found.role_of(c.name) and c.kind != "empty" and c.name != "split"]
    if unused:
        lines.append(f"# columns not used: {', '.join(_plain(short(one, 40)) for one in unused[:20])}")
    return "\n".join(lines) + "\n"


def _comment(found: Found) -> str:
    return f"written from {_plain(found.table.path.name)} ({len(found.table.rows):,} rows): read it, mend what is wrong"


def _line(key: str, value: Any, remark: str) -> str:
    end = f"    # {remark}" if remark else ""
    if isinstance(value, str) and "\n" in value and all(map(_printable, value.split("\n"))) and value == value.strip():
        return "\n".join([f"{key}: |-{end}", *(f"  {line}" for line in value.split("\n"))])
    if isinstance(value, list) and len(value) > 8:
        return "\n".join([f"{key}:{end}", *(f"  - {_value(item)}" for item in value)])
    return f"{key}: {_value(value)}{end}"


def _printable(line: str) -> bool:
    return line.isprintable() and line == line.strip()


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(str(key))}: {_value(held)}" for key, held in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """Returns a value as YAML reads it back: a plain word where that is safe, else in double quotes."""
    if not isinstance(value, str):
        return "true" if value is True else "false" if value is False else str(value)
    plain = re.fullmatch(r"[A-Za-z_](?:[\w./-]| (?=\w))*", value) and value.isascii()
    if plain and value.lower() not in {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable() and character != "\ufeff":
        return character
    code = ord(character)
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
