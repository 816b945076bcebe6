"""Tables as text for a terminal, as Markdown, LaTeX and CSV. JSON is the summary itself."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any, Literal

from harness.reports import plain
from harness.reports.layout import Table, View
from harness.reports.notes import sentence
from harness.reports.spreadsheet import csv_text
from harness.reports.tables import legend, tables
from harness.store.schema import Summary


def below(summary: Summary, view: View = "run") -> tuple[str, ...]:
    """Returns what stands below the tables: what their columns mean, and the notes."""
    return (*legend(summary, view), *map(sentence, summary.notes))


def markdown(summary: Summary, view: View = "run") -> str:
    """Returns the tables and the notes as Markdown."""
    parts = [f"## {plain.markdown_line(summary.run)}", ""]
    for table in tables(summary, view):
        parts += [f"### {plain.markdown_line(table.title)}", "", *_markdown_rows(table), ""]
    return "\n".join([*parts, *(f"- {plain.markdown_line(note)}" for note in below(summary, view)), ""])


def _markdown_rows(table: Table) -> Iterable[str]:
    yield "| " + " | ".join(map(plain.markdown, table.columns)) + " |"
    yield "|---|" + "---:|" * (len(table.columns) - 1)
    for title, rows in table.groups:
        yield f"| **{plain.markdown_bold(title)}** |" + " |" * (len(table.columns) - 1)
        for row in rows:
            yield "| " + " | ".join(map(plain.markdown, row)) + " |"


def latex(summary: Summary, view: View = "run") -> str:
    """Returns the tables as LaTeX tabulars (package booktabs) and the notes as comments."""
    parts = []
    for table in tables(summary, view):
        width = len(table.columns)
        lines = [f"% {plain.plain(table.title)}", f"\\begin{{tabular}}{{l{'r' * (width - 1)}}}", "\\toprule"]
        lines += [" & ".join(map(plain.tex, table.columns)) + " \\\\"]
        for title, rows in table.groups:
            lines += ["\\midrule", f"\\multicolumn{{{width}}}{{l}}{{{plain.tex(title)}}} \\\\"]
            lines += [" & ".join(map(plain.tex, row)) + " \\\\" for row in rows]
        parts += [*lines, "\\bottomrule", "\\end{tabular}", ""]
    return "\n".join([*parts, *(f"% {plain.plain(note)}" for note in below(summary, view)), ""])


def terminal(summary: Summary, view: View = "run", width: int = 100) -> str:
    """Returns the tables and the notes as text for a terminal of `width` columns."""
    return set_text(tables(summary, view), below(summary, view), width)


def set_text(shown: Iterable[Table], notes: Iterable[str], width: int = 100) -> str:
    """Returns tables and the notes below them as text for a terminal of `width` columns."""
    from rich.console import Console
    from rich.text import Text

    written = io.StringIO()
    console = Console(file=written, width=width, force_terminal=False, highlight=False, emoji=False)
    for table in shown:
        console.print(Text(f"{plain.plain(table.title)}\n"))
        for i, (title, _) in enumerate(table.groups):
            if title:
                console.print(Text(plain.plain(title)))
            console.print(_rich(table, i, width))
    for note in notes:
        console.print(Text(plain.plain(note)))
    lines = written.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def _widths(table: Table, width: int) -> tuple[list[int], int]:
    """Returns the columns' widths and the blanks between them: each cell on one line where there is room, else the
    widest broken between words.
    """
    rows = [row for _, rows in table.groups for row in rows]
    columns = [[plain.plain(name), *(plain.plain(row[i]) for row in rows)] for i, name in enumerate(table.columns)]
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
        justify: Literal["left", "right"] = "left" if i == 0 else "right"
        shown.add_column(Text(plain.plain(column)), justify=justify, width=widths[i], overflow="fold")
    for row in table.groups[group][1]:
        shown.add_row(*(Text(plain.plain(cell)) for cell in row))
    shown.add_row()
    return shown


FORMATS: dict[str, Callable[..., str]] = {
    "text": terminal,
    "markdown": markdown,
    "csv": csv_text,
    "latex": latex,
}
