"""A file looked at: what its columns are taken for, the task that follows, and what stands out, as a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import ConfigError, DataError, nearest
from harness.scoring.value_text import text_of as as_text
from harness.tasks.authoring.draft import kind_in_words, spellings_of, task_of
from harness.tasks.authoring.remarks import doubts, duplicates, leaks, odd_labels, personal, scale
from harness.tasks.authoring.roles import (
    Roles,
    Told,
    asked_of,
    guess,
    is_label,
    is_test,
    refuse_gaps,
    split_of,
    unanswered,
)
from harness.tasks.authoring.words import counted, row_list, short
from harness.tasks.data.columns import Column, Table, columns_of, read_table
from harness.tasks.data.lazy import picked


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
    left_out: tuple[str, ...] = ()  # rows that are not asked about, and why
    without: tuple[str, ...] = ()  # what stands in the answer's column of rows that are left out for it

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
        yield from (f"  left out  {line}" for line in self.left_out)
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
            "left_out": list(self.left_out),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def described(column: Column) -> str:
    """Returns what stands in a column, in a few words."""
    if column.kind == "empty":
        return "empty"
    if column.distinct == 1 and column.filled > 1 and column.counts:
        only = short(next(iter(column.counts)), 30)
        return f"{only} in {counted(column.filled, 'row')}, else empty" if column.empty else f"always {only}"
    if column.unique and column.kind in ("text", "number") and column.longest <= 40 and column.words <= 1:
        kind = "number, unique" if column.kind == "number" else "text, unique"
        return kind
    if is_label(column) and column.counts:
        common = Counter(column.counts).most_common(2)
        shown = ", ".join(f"{short(name, 16)} {100 * count / column.filled:.0f} %" for name, count in common)
        return f"{column.distinct} values ({shown}{', ...' if (column.distinct or 0) > 2 else ''}){_gaps_in(column)}"
    if column.kind in ("text", "mixed"):
        longest = f"{column.longest:,} characters"
        return f"{column.kind}, median {counted(column.words, 'word')}, longest {longest}{_gaps_in(column)}"
    return column.kind + _gaps_in(column)


def _gaps_in(column: Column) -> str:
    return f", empty in {counted(len(column.empty), 'row')}" if column.empty else ""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person wants of the rows and labels of a file."""

    split: str | None = None  # which value of column `split` is asked about; default: the test split
    drop_unanswered: bool = False  # leave out rows without an answer, which are refused else
    keep_spellings: bool = False  # labels that differ in case or blanks only are several choices


NO_WISHES = Wishes()


def look(
    path: Path,
    *,
    sheet: str | None = None,
    input: str | None = None,
    answer: str | None = None,
    id: str | None = None,
    cluster: str | None = None,
    wishes: Wishes = NO_WISHES,
) -> Found:
    """Returns what a data file seems to be. Columns that are given are not guessed; "" for `id` or `cluster`: none.

    Raises DataError for a file that cannot be read or holds nothing that could be asked or answered, ConfigError for
    a column or split that it does not have.
    """
    return _look(read_table(path, sheet), Told(input, answer, id, cluster), wishes)


def _look(table: Table, told: Told, wishes: Wishes) -> Found:
    path = table.path
    every = columns_of(table.rows)
    _refuse_strange(told, every, path)
    asked = split_of(every, path, wishes.split)
    rows = asked_of(table.rows, asked)
    columns = columns_of(rows) if asked else every
    roles, others = guess(columns, rows, path, told, asked)
    warnings, kinds = [*duplicates(roles, rows)], personal(columns, rows)
    answer, whole, seen = next(c for c in columns if c.name == roles.answer), rows, columns
    left_out = list(_other_splits(every, asked, roles, answer, table))
    gaps = unanswered(answer, rows)
    if not wishes.drop_unanswered:
        refuse_gaps(answer, rows, path, asked)
        warnings += [f"{line}: no answer? --drop-unanswered leaves it out" for line in _gaps(gaps, answer)]
    elif gaps:
        left_out += _gaps(gaps, answer)
        rows = picked(rows, lambda row: as_text(row.get(roles.answer)).strip() not in gaps)
        if not rows:
            raise DataError("no row has an answer", where=str(path), fix="name another column: --answer COLUMN")
        columns = columns_of(rows)
        answer = next(c for c in columns if c.name == roles.answer)
    spellings = spellings_of(_labels(answer, every, table), not wishes.keep_spellings)
    task, remarks = task_of(columns, roles, rows, path, spellings)
    task["sensitivity"] = "restricted" if kinds.lines else "internal"
    remarks["sensitivity"] = "public, internal, or restricted: never leaves this machine"
    labels = odd_labels(spellings, columns, roles) if isinstance(task.get("choices"), list) else ()
    splits = () if asked is None else tuple(next(c for c in every if c.name == "split").counts)
    leaked = leaks(table, whole, roles, asked, splits)
    warnings = [*doubts(columns, roles, others, task), *warnings, *labels, *leaked, *kinds.lines]
    notes = (*table.notes, *kinds.notes, *scale(task, columns, roles, rows, spellings))
    shown = tuple(next((one for one in every if one.name == c.name == "split"), c) for c in seen)
    without = tuple(gaps) if wishes.drop_unanswered else ()
    return Found(table, shown, roles, splits, task, remarks, tuple(warnings), notes, tuple(left_out), without)


def _labels(answer: Column, columns: Sequence[Column], table: Table) -> Mapping[str, int]:
    """Returns the answers of the rows that are asked about, and of the splits that are there to learn from."""
    counts = Counter(answer.counts)
    splits = next((c.counts for c in columns if c.name == "split" and c.kind == "text"), {})
    for name in splits if answer.counts else ():
        if not is_test(name):
            counts.update(as_text(row.get(answer.name)) for row in asked_of(table.rows, name))
    return {text: count for text, count in counts.items() if text.strip()}


def _refuse_strange(told: Told, columns: Sequence[Column], path: Path) -> None:
    for key, name in (
        ("--input", told.input),
        ("--answer", told.answer),
        ("--id", told.id),
        ("--cluster", told.cluster),
    ):
        if name and name not in {column.name for column in columns}:
            what = f"{key} names column '{name}', which the file does not have"
            raise ConfigError(what, where=str(path), fix=nearest(name, [column.name for column in columns]))


def _gaps(gaps: Mapping[str, Sequence[int]], answer: Column) -> list[str]:
    """Returns "2 rows with nothing in 'team': rows 8, 31", "1 row with 'n/a' in 'team': row 21"."""
    named = {text: f"'{short(text, 20)}'" if text else "nothing" for text in gaps}
    return [
        f"{counted(len(places), 'row')} with {named[text]} in '{answer.name}': {row_list(places)}"
        for text, places in gaps.items()
    ]


def _other_splits(
    columns: Sequence[Column], asked: str | None, roles: Roles, answer: Column, table: Table
) -> Iterator[str]:
    """Yields the rows of the splits that are not asked about; of a further test split also what its answers are."""
    column = next((c for c in columns if c.name == "split"), None)
    if asked is None or column is None:
        return
    for name, count in column.counts.items():
        if name == asked:
            continue
        line = f"{counted(count, 'row')} of split '{short(name, 30)}': '{asked}' is asked about"
        if is_test(name) and answer.counts:
            rows = asked_of(table.rows, name)
            new = {text for row in rows if (text := as_text(row.get(roles.answer)).strip())} - set(answer.counts)
            if new:
                named = ", ".join(f"'{short(text, 30)}'" for text in sorted(new)[:3])
                line += f", which has no {named}"
        yield line + f". For it: --split {name}"


def questions(found: Found) -> tuple[tuple[str, str, str], ...]:
    """Returns what to ask a person: (keyword of `look`, question, what is guessed)."""
    roles = found.roles
    return (
        ("input", "Which column is shown to the model?", roles.inputs[-1]),
        ("answer", "Which column holds the right answer?", roles.answer),
        ("id", "Which column names the rows? (empty: none)", roles.id or ""),
        ("cluster", "Rows that belong together share which column? (empty: none)", roles.cluster or ""),
    )
