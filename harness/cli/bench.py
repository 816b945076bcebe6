"""`harness bench`: latency and load."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options as given
from harness.cli.run import Sealed, carried_out, say_sealed, seal_or_not
from harness.cli.terminal import say, show, show_json, width, working

Out = Annotated[Path | None, typer.Option(help="the folder; default: a new one under results/")]
Plots = Annotated[bool, typer.Option("--plots", help="draw figures into the folder (extra report)")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToBench(given.Chosen):
    """What `harness bench` takes."""

    out: Out = None
    limit: given.Limit = None
    seed: given.Seed = None
    machine: given.Machine = None
    max_cost: given.MaxCost = None
    policy: given.Policy = None
    plots: Plots = False
    seal: Sealed = True
    as_json: given.Json = False


@given.taking(ToBench)
def bench(asked: ToBench) -> None:
    """Measure latency and load on the tasks' own prompts, or on made-up ones of stated lengths.

    Use it to learn how many users a model on a machine serves, and how long
    they wait. What is measured stands under `bench:` in a run file: single
    requests, so many at a time, so many a second, or all at once, until the
    target is saturated or a bound is hopeless. Stopped, it goes on where it was
    with the same command.

        harness bench bench-demo
        harness bench --model ./my-model --task invoice-fields
    """
    from harness import api
    from harness.reports import bench_text
    from harness.store.schema import BENCHES

    added = replace(asked.additions(), limit=asked.limit, seed=asked.seed)
    added = replace(added, machine=asked.machine, max_cost=asked.max_cost, policy=asked.policy)
    wanted = api.assemble(asked.config, added)
    sealed = seal_or_not(wanted, asked.seal)
    with working("reading models and data"):
        prepared = api.prepare_bench(wanted, sealed, asked.out)
    say(f"folder: {prepared.folder}")
    say_sealed(sealed)
    for spending in prepared.spending():
        say(spending.line())
    carried_out(prepared)
    summary = prepared.finish()
    show_json(BENCHES.write(summary)) if asked.as_json else show(bench_text.text(summary, width()))
    if asked.plots:
        say(f"drew {', '.join(str(file) for file in bench_text.plots(prepared.folder, summary))}")
    say(f"everything is in {prepared.folder} (summary.json, measurements.jsonl: a line for each request)")
    if not summary.complete:
        raise typer.Exit(3)
