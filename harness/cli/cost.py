"""`harness cost` and `harness prices`: what a run costs, here and at an API."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options as given
from harness.cli.terminal import say, show, show_json, width, working

Machine = Annotated[str | None, typer.Option(help="a machine file or bundled name; default: the run's own")]
Volume = Annotated[float | None, typer.Option(help="requests a month", min=1, max=1e15)]
Against = Annotated[str | None, typer.Option(metavar="PROVIDER/MODEL", help="an API of `harness prices`")]
Bench = Annotated[Path | None, typer.Option(help="a folder of `harness bench`: the capacity is read there")]
Plots = Annotated[bool, typer.Option("--plots", help="draw figures into a folder beside you (extra report)")]


def cost(
    run: given.Run,
    machine: Machine = None,
    volume: Volume = None,
    against: Against = None,
    bench: Bench = None,
    plots: Plots = False,
    as_json: given.Json = False,
) -> None:
    """Say what a recorded run costs: by token, request and correct answer, at several utilisations, against an API.

    Use it after a run, to decide between a machine of your own and an API.

        harness cost results/RUN --machine l4 --against openai/gpt-5-mini
    """
    from harness import api
    from harness.analysis import costs
    from harness.reports import cost_text

    with working("pricing"):
        found = api.cost_of(run, machine=machine, volume=volume, against=against, bench=bench)
    show_json(costs.as_json(found)) if as_json else show(cost_text.text(found, width()))
    if plots:
        to = Path(f"{run.resolve().name}-cost")  # a run is only read
        say(f"drew {', '.join(str(file) for file in cost_text.plots(to, found, api.open_run(run).rows))}")


def prices(as_json: given.Json = False) -> None:
    """List the API prices that ship with the package, with the day each was read; warn where they are old.

    Use it to find the name of an API for `harness cost --against` and for `price:` in a run file.
    """
    from datetime import UTC, datetime

    from harness.cost.prices import list_prices, read_prices
    from harness.reports import cost_text

    rows = list_prices(read_prices(), datetime.now(UTC).date())
    show_json([asdict(row) for row in rows]) if as_json else show(cost_text.prices(rows))
