"""A summary to tables people read: terminal, Markdown, LaTeX, CSV. JSON is the summary itself."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.reports.layout import UNKNOWN, Row, Table, View
from harness.reports.tables import _legend, tables


def markdown(summary: Mapping[str, Any], view: View = "run") -> str:
    """Returns the tables and the notes as Markdown."""
    parts = [f"## {summary['run']}", ""]
    for table in tables(summary, view):
        parts += [f"### {table.title}", "", *_markdown_rows(table), ""]
    return "\n".join([*parts, *(f"- {note}" for note in (*_legend(summary, view), *summary["notes"])), ""])


def _markdown_rows(table: Table) -> Iterable[str]:
    yield "| " + " | ".join(map(_plain, table.columns)) + " |"
    yield "|---|" + "---:|" * (len(table.columns) - 1)
    for title, rows in table.groups:
        yield f"| **{_escaped(title)}** |" + " |" * (len(table.columns) - 1)
        for row in rows:
            yield "| " + " | ".join(map(_escaped, row)) + " |"


def _escaped(cell: str) -> str:
    return re.sub(r"([\\|<>*_`\[\]])", r"\\\1", _plain(cell)) if re.search(r"[|<>`]", cell) else _plain(cell)


def latex(summary: Mapping[str, Any], view: View = "run") -> str:
    """Returns the tables as LaTeX tabulars (package booktabs) and the notes as comments."""
    parts = []
    for table in tables(summary, view):
        width = len(table.columns)
        lines = [f"% {table.title}", f"\\begin{{tabular}}{{l{'r' * (width - 1)}}}", "\\toprule"]
        lines += [" & ".join(map(_tex, table.columns)) + " \\\\"]
        for title, rows in table.groups:
            lines += ["\\midrule", f"\\multicolumn{{{width}}}{{l}}{{{_tex(title)}}} \\\\"]
            lines += [" & ".join(map(_tex, row)) + " \\\\" for row in rows]
        parts += [*lines, "\\bottomrule", "\\end{tabular}", ""]
    return "\n".join([*parts, *(f"% {_plain(note)}" for note in (*_legend(summary, view), *summary["notes"])), ""])


_WORDS = {"loglikelihood": "score"}  # of the column `mode` since the first CSV: spreadsheets look for them


def csv_text(summary: Mapping[str, Any], view: View = "run") -> str:
    """Returns one line a row (or a slice, or a label) with every number at full precision; unknown is empty.

    A text that a spreadsheet would run as a formula is given a leading apostrophe.
    """
    flat = [_flat(row) for row in summary["rows"]]
    if view != "run":
        named = ("model", "task", "task_version", "mode")
        parts = [(row, part) for row in summary["rows"] for part in _parts(row, view)]
        flat = [{key: row[key] for key in named} | _flat(part) for row, part in parts]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: _safe(_WORDS.get(value, value) if key == "mode" else value) for key, value in row.items()} for row in flat
    )
    return out.getvalue()


def _parts(row: Row, view: View) -> Sequence[Row]:
    if view == "slices":
        return row["slices"]
    return row["labels"]["labels"] if row.get("labels") else ()


def _flat(row: Row, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key in {"reasons", "intervals", "parts", "slices"}:
            continue
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}_")
        else:
            flat[prefix + key] = value
    return flat


def _safe(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _plain(f"'{value}" if value[:1] in ("=", "+", "-", "@") else value)


def terminal(summary: Mapping[str, Any], view: View = "run", width: int = 100) -> str:
    """Returns the tables and the notes as text for a terminal of `width` columns."""
    return set_text(tables(summary, view), (*_legend(summary, view), *summary["notes"]), width)


def set_text(shown: Iterable[Table], notes: Iterable[str], width: int = 100) -> str:
    """Returns tables and the notes below them as text for a terminal of `width` columns."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=io.StringIO(), width=width, force_terminal=False, highlight=False, emoji=False)
    for table in shown:
        console.print(Text(f"{table.title}\n"))
        for i, (title, _) in enumerate(table.groups):
            if title:
                console.print(Text(_plain(title)))
            console.print(_rich(table, i, width))
    for note in notes:
        console.print(Text(_plain(note)))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in lines)


def _widths(table: Table, width: int) -> tuple[list[int], int]:
    """Returns the columns' widths and the blanks between them: each cell on one line where there is room, else the
    widest broken between words.
    """
    rows = [row for _, rows in table.groups for row in rows]
    columns = [[name, *(_plain(row[i]) for row in rows)] for i, name in enumerate(table.columns)]
    least = [min(24, max(len(word) for text in texts for word in text.split(" "))) for texts in columns]
    widths = [min(24, max(least[i], *map(len, texts[1:]))) for i, texts in enumerate(columns)]
    gap = 2 if sum(least) + 2 * (len(widths) - 1) <= width else 1
    while sum(widths) + gap * (len(widths) - 1) > width and widths != least:
        widths[max(range(len(widths)), key=lambda i: (widths[i] > least[i], widths[i]))] -= 1
    return widths, gap


def _rich(table: Table, group: int, width: int) -> Any:
    """Returns one group as a rich table; the columns of all groups are equally wide."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    widths, gap = _widths(table, width)
    shown = RichTable(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False)
    for i, column in enumerate(table.columns):
        justify = "left" if i == 0 else "right"
        shown.add_column(Text(column), justify=justify, width=widths[i], overflow="fold")
    for row in table.groups[group][1]:
        shown.add_row(*(Text(_plain(cell)) for cell in row))
    shown.add_row()
    return shown


FORMATS: dict[str, Callable[..., str]] = {
    "text": terminal,
    "markdown": markdown,
    "csv": csv_text,
    "latex": latex,
}


def _plain(text: str) -> str:
    """Returns the text with control and direction characters made visible: names may come from anywhere."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", lambda m: f"\\u{ord(m[0]):04x}", text)


_TEX = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", UNKNOWN: "--"}


def _tex(text: str) -> str:
    return "".join(_TEX.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in _plain(text))
