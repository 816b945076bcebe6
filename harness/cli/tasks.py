"""`harness init` and `harness tasks`: a task of your own data, and those that ship with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options as given
from harness.cli.terminal import say, show, show_json, working

File = Annotated[Path, typer.Argument(help="your data: CSV, TSV, Excel, JSONL, JSON or Parquet")]
Out = Annotated[Path | None, typer.Option(help="the task file; default: beside the data")]
Sheet = Annotated[str | None, typer.Option(help="of an Excel file")]
Input = Annotated[str | None, typer.Option("--input", metavar="COLUMN", help="what the model is shown")]
Answer = Annotated[str | None, typer.Option("--answer", metavar="COLUMN", help="what is right")]
Split = Annotated[str | None, typer.Option("--split", metavar="NAME", help="of a column `split`: whose rows are asked")]
Drop = Annotated[bool, typer.Option("--drop-unanswered", help="leave out rows without an answer")]
Keep = Annotated[bool, typer.Option("--keep-spellings", help="labels that differ in case or blanks are several")]
Ask = Annotated[bool, typer.Option("--ask", help="confirm each guess")]
Name = Annotated[
    str | None,
    typer.Argument(
        help="a task to show, or a word to search for; default: list all",
        autocompletion=given._tasks,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToInit:
    """What `harness init` takes."""

    file: File
    out: Out = None
    sheet: Sheet = None
    input: Input = None
    answer: Answer = None
    split: Split = None
    drop_unanswered: Drop = False
    keep_spellings: Keep = False
    ask: Ask = False
    as_json: given.Json = False


@given.taking(ToInit)
def init(asked: ToInit) -> None:
    """Write a task file for your own data: guesses what each column is, and says what stands out in them.

    Use it first, on your own file; then `harness check` on what it wrote.
    """
    from harness.tasks import authoring

    wishes = authoring.Wishes(asked.split, asked.drop_unanswered, asked.keep_spellings)
    with working(f"reading {asked.file.name}"):
        found = authoring.look(asked.file, sheet=asked.sheet, input=asked.input, answer=asked.answer, wishes=wishes)
    if asked.ask:
        told = {key: typer.prompt(text, default=guess, err=True) for key, text, guess in authoring.questions(found)}
        found = authoring.look(asked.file, sheet=asked.sheet, wishes=wishes, **told)
    written = authoring.write(found, asked.out)
    show_json({**found.as_json(), "written": str(written.task)}) if asked.as_json else show(found.text())
    if written.data is not None:
        say(f"copied the data to {written.data}: a task reads only what lies in its own folder")
    say(f"wrote {written.task}\nnext: harness check {written.task}")


def tasks(name: Name = None, as_json: given.Json = False) -> None:
    """List the tasks that ship with the package, search them, or show one.

    Use it to find a task to run, or one to copy and change.
    """
    from harness.cli import listing

    show(listing.tasks(name, as_json))
