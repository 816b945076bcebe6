"""A file looked at: what its columns are taken for, the task that follows, and what stands out, as a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import ConfigError, nearest
from harness.tasks.authoring.draft import kind_in_words, task_of
from harness.tasks.authoring.remarks import doubts, duplicates, leaks, odd_labels, personal, scale
from harness.tasks.authoring.roles import Roles, Told, asked_of, guess, is_label, refuse_gaps, split_of
from harness.tasks.authoring.words import counted, short
from harness.tasks.data.columns import Column, Table, columns_of, read_table


@dataclass(frozen=True, slots=True)
class Found:
    """A file looked at: its columns, what they are taken for, the task that follows, and what stands out."""

    table: Table
    columns: tuple[Column, ...]
    roles: Roles
    splits: tuple[str, ...]  # values of the column that says which; none without one
    task: Mapping[str, object]  # the keys of the task file, without `data`
    remarks: Mapping[str, str]  # key of the task file -> a comment for its line
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def text(self) -> str:
        """Returns the report."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        parts = (f"{len(self.table.rows):,} rows", self.table.encoding, counted(len(self.columns), "column"))
        yield f"{self.table.path.name}  {' · '.join(parts)}"
        width = min(28, max(len(column.name) for column in self.columns))
        for column in self.columns:
            role = self.role_of(column.name)
            line = f"  {short(column.name, width):{width}}  {described(column)}"
            yield f"{line:60}  -> {role}" if role else line
        yield from (f"  warn  {line}" for line in self.warnings)
        yield from (f"  info  {line}" for line in self.notes)

    def role_of(self, name: str) -> str:
        """Returns what a column is for, "" if for nothing."""
        roles = self.roles
        named = [
            *(["input"] if name in roles.inputs else []),
            *([f"answer ({kind_in_words(self.task)})"] if name == roles.answer else []),
            *(["choices"] if name in roles.choices else []),
            *(["id"] if name == roles.id else []),
            *(["cluster"] if name == roles.cluster else []),
            *(["split"] if roles.split is not None and name == "split" else []),
        ]
        return ", ".join(named)

    def as_json(self) -> dict[str, object]:
        """Returns the report as JSON values."""
        columns = [
            {"name": c.name, "kind": c.kind, "filled": c.filled, "empty": len(c.empty), "distinct": c.distinct}
            | {"median_words": c.words, "longest_characters": c.longest}
            for c in self.columns
        ]
        return {
            "file": str(self.table.path),
            "rows": len(self.table.rows),
            "encoding": self.table.encoding,
            "columns": columns,
            "roles": asdict(self.roles),
            "task": dict(self.task),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def described(column: Column) -> str:
    """Returns what stands in a column, in a few words."""
    if column.kind == "empty":
        return "empty"
    if column.distinct == 1 and column.filled > 1 and column.counts:
        return f"always {short(next(iter(column.counts)), 30)}"
    if column.unique and column.kind in ("text", "number") and column.longest <= 40 and column.words <= 1:
        kind = "number, unique" if column.kind == "number" else "text, unique"
        return kind
    if is_label(column) and column.counts:
        common = Counter(column.counts).most_common(2)
        shown = ", ".join(f"{short(name, 16)} {100 * count / column.filled:.0f} %" for name, count in common)
        return f"{column.distinct} values ({shown}{', ...' if (column.distinct or 0) > 2 else ''})"
    if column.kind in ("text", "mixed"):
        longest = f"{column.longest:,} characters"
        return f"{column.kind}, median {counted(column.words, 'word')}, longest {longest}"
    return column.kind


def look(
    path: Path,
    *,
    sheet: str | None = None,
    input: str | None = None,
    answer: str | None = None,
    id: str | None = None,
    cluster: str | None = None,
) -> Found:
    """Returns what a data file seems to be. Columns that are given are not guessed; "" for `id` or `cluster`: none.

    Raises DataError for a file that cannot be read or holds nothing that could be asked or answered, ConfigError for
    a column that it does not have.
    """
    table = read_table(path, sheet)
    every = columns_of(table.rows)
    for key, name in (("--input", input), ("--answer", answer), ("--id", id), ("--cluster", cluster)):
        if name and name not in {column.name for column in every}:
            what = f"{key} names column '{name}', which the file does not have"
            raise ConfigError(what, where=str(path), fix=nearest(name, [column.name for column in every]))
    split = split_of(every)
    rows = asked_of(table.rows, split)
    columns = columns_of(rows) if split else every
    roles, others = guess(columns, rows, path, Told(input, answer, id, cluster), split)
    refuse_gaps(columns, roles, rows, path, split)
    task, remarks = task_of(columns, roles, rows, path)
    kinds = personal(columns, rows)
    task["sensitivity"] = "restricted" if kinds else "internal"
    remarks["sensitivity"] = "public, internal, or restricted: never leaves this machine"
    warnings = [*doubts(columns, roles, others, task), *duplicates(roles, rows), *odd_labels(columns, roles, task)]
    splits = () if split is None else tuple(next(c for c in every if c.name == "split").counts)
    warnings += [*leaks(table, rows, roles, split, splits), *kinds]
    notes = (*table.notes, *scale(task, columns, roles, rows))
    return Found(table, columns, roles, splits, task, remarks, tuple(warnings), notes)


def questions(found: Found) -> tuple[tuple[str, str, str], ...]:
    """Returns what to ask a person: (keyword of `look`, question, what is guessed)."""
    roles = found.roles
    return (
        ("input", "Which column is shown to the model?", roles.inputs[-1]),
        ("answer", "Which column holds the right answer?", roles.answer),
        ("id", "Which column names the rows? (empty: none)", roles.id or ""),
        ("cluster", "Rows that belong together share which column? (empty: none)", roles.cluster or ""),
    )
