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


Head = Annotated[
    str | None, typer.Option(metavar="HASH", help="the head, or the manifest's digest, as you noted it before")
]
Weights = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="[NAME=]PATH", help="a model folder: are these the weights of the run"),
]
Source = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="[TASK=]PATH", help="a data file: are these the rows of the run"),
]


def verify(
    runs: given.Runs, head: Head = None, model: Weights = None, data: Source = None, as_json: given.Json = False
) -> None:
    """Check that every file of a run is as it was written, and that its figures follow from its responses.

    Use it on a run folder that you were given, or before you rely on one.
    Prints the head of the hash chain and the digest of the manifest, or the
    first file and line that was changed; the exit code is then 1. A run that
    was cut at its end, or written anew as a whole, is found by what you noted:

        harness verify results/RUN --head HASH
    """
    from harness import api
    from harness.errors import ConfigError

    if head is not None and len(runs) > 1:
        raise ConfigError("--head is that of one run", where=f"{len(runs)} runs", fix="verify them one by one")
    with working("checking"):
        reports = [api.verify(run, head=head, models=model or (), data=data or ()) for run in runs]
    show_json([asdict(report) for report in reports]) if as_json else show("\n".join(one.says for one in reports))
    if not all(report.ok for report in reports):
        raise typer.Exit(1)
