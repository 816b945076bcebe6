"""A summary as HTML for the cell of a notebook: tables without style or script, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.reports.formats import below
from harness.reports.layout import Table
from harness.reports.plain import html as escaped
from harness.reports.tables import tables
from harness.store.schema import Summary


def html(summary: Summary) -> str:
    """Returns the tables and notes of a summary."""
    notes = below(summary)
    parts = [part for table in tables(summary) for part in _table(table)]
    return "\n".join([*parts, "<ul>", *(f"<li>{escaped(note)}</li>" for note in notes), "</ul>"])


def _table(table: Table) -> Iterator[str]:
    yield f"<h4>{escaped(table.title)}</h4>"
    yield f"<table><thead>{_cells(table.columns, 'th')}</thead><tbody>"
    for title, rows in table.groups:
        if title:
            yield f'<tr><th colspan="{len(table.columns)}">{escaped(title)}</th></tr>'
        yield from (_cells(row, "td") for row in rows)
    yield "</tbody></table>"


def _cells(texts: Iterable[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escaped(text)}</{tag}>" for text in texts) + "</tr>"
