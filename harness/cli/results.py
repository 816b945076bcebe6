"""`harness score`, `table` and `verify`: run folders, read and judged without a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as given
from harness.cli.terminal import show, show_json, width, working

if TYPE_CHECKING:
    from harness.reports.layout import View

FORMS = ("text", "markdown", "csv", "latex", "json")
Form = Annotated[
    str, typer.Option("--format", "-f", help="text, markdown, csv, latex or json", autocompletion=lambda: FORMS)
]
Slices = Annotated[bool, typer.Option("--slices", help="a row for each value of the tasks' `slices`")]
Labels = Annotated[bool, typer.Option("--labels", help="a row for each label, and which is taken for which")]


def score(run: given.Run, as_json: given.Json = False) -> None:
    """Judge the responses of a run again and print its table; needs no model and no data.

    Use it on a run that was stopped, or that a newer version shall judge.
    """
    from harness import api

    with working("judging"):
        found = api.score(run)
    show_json(found.as_json()) if as_json else show(found.table(width=width()))


def table(
    runs: given.Runs, form: Form = "text", slices: Slices = False, labels: Labels = False, as_json: given.Json = False
) -> None:
    """Print the table of one run, or of several side by side.

    Use it to see a run again, to put runs beside each other, or for a paper:

        harness table results/A results/B --format latex
    """
    from harness import api

    view: View = "labels" if labels else "slices" if slices else "run"
    with working("reading"):
        shown = api.tables(runs, "json" if as_json else form, view, width=width())
    show(shown)


def verify(runs: given.Runs, as_json: given.Json = False) -> None:
    """Check that the responses of a run are as they were written and that its scores follow from them.

    Use it on a run folder that you were given, or before you rely on one.
    Prints the head of the hash chain, or the first line where it breaks; the
    exit code is then 1.
    """
    from harness import api

    with working("checking"):
        reports = [api.verify(run) for run in runs]
    show_json([asdict(report) for report in reports]) if as_json else show("\n".join(one.says for one in reports))
    if not all(report.ok for report in reports):
        raise typer.Exit(1)
