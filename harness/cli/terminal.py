"""What is printed: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harness.reports.plain import plain, plain_lines


def show(text: str) -> None:
    """Prints a result; whatever it is of, it moves no cursor."""
    print(plain_lines(text.rstrip("\n")))


def show_json(value: object) -> None:
    """Prints a result for machines, on one line."""
    print(plain(json.dumps(value, ensure_ascii=False)))  # what is written out so is JSON's own way to write it


def say(text: str) -> None:
    """Prints what is no result: where a run is, what is next."""
    print(plain_lines(text), file=sys.stderr, flush=True)


def width() -> int:
    """Returns the columns for a table: those of the terminal, at most 100; 100 where the output goes elsewhere."""
    return min(100, max(60, shutil.get_terminal_size().columns)) if sys.stdout.isatty() else 100


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows on a terminal that something is under way and for how long, and takes it away at the end.

    Not while latencies are measured: drawing takes time of its own.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as progress:
        progress.add_task(what, total=None)
        yield
