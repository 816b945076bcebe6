"""`harness models`: what is known of a model before it is loaded."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli import options as given
from harness.cli.terminal import show, working

Paths = Annotated[
    list[str] | None,
    typer.Argument(help="model folders or ids; default: the demo models", autocompletion=given._models),
]
Machine = Annotated[
    str | None,
    typer.Option(help="project speed and cost for a machine file or name", autocompletion=given._machines),
]
Tokens = Annotated[str | None, typer.Option(metavar="IN,OUT", help="of a projected request; default: 1000,300")]


def models(paths: Paths = None, machine: Machine = None, tokens: Tokens = None, as_json: given.Json = False) -> None:
    """Say what is known of a model folder or id: size, architecture, licence, whether it is safe to load.

    Use it before you download or load a model, to see whether it fits and what
    you may do with it. With --machine also what it should do and cost there:
    projected from its files and the chip's sheet, not measured.
    """
    from harness.cli import listing

    with working("reading"):
        shown = listing.models(paths or [], as_json, machine, tokens or listing.TOKENS)
    show(shown)
