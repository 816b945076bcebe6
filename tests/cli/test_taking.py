"""A command that takes a dataclass: each field is an option of its name, with its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from harness.cli.options import Chosen, taking


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(Chosen):
    times: Annotated[int, typer.Option(help="how often", min=1)] = 2
    loud: Annotated[bool, typer.Option("--loud")] = False


def test_fields_are_options_those_of_the_class_above_first():
    heard: list[Wanted] = []
    app = typer.Typer()

    @app.command()
    @taking(Wanted)
    def say(asked: Wanted) -> None:
        """Says it."""
        heard.append(asked)

    told = CliRunner().invoke(app, ["a.yaml", "-m", "one", "-m", "two", "--times", "3", "--data", "t=p"])
    assert told.exit_code == 0, told.output
    assert heard == [Wanted(config="a.yaml", model=["one", "two"], data=["t=p"], times=3)]
    added = heard[0].additions()
    assert (list(added.models), dict(added.data)) == (["one", "two"], {"t": "p"})
    assert CliRunner().invoke(app, ["--times", "0"]).exit_code == 2
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Says it." in shown and shown.index("--model") < shown.index("--times") and "how often" in shown
