"""`harness check`: what a run would do, before anything is asked or spent."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli import options as given
from harness.cli.terminal import show, show_json, working

Probe = Annotated[int | None, typer.Option(help="load the local models and time N requests a task", min=1)]


def check(
    config: given.Config = None,
    model: given.Models = None,
    task: given.Tasks = None,
    data: given.Data = None,
    limit: given.Limit = None,
    first: given.First = None,
    formats: given.Formats = None,
    seed: given.Seed = None,
    machine: given.Machine = None,
    judge: given.Judge = None,
    max_cost: given.MaxCost = None,
    policy: given.Policy = None,
    probe: Probe = None,
    responses_only: given.ResponsesOnly = False,
    as_json: given.Json = False,
) -> None:
    """Show what a run would do and test its tasks' scorers; sends nothing, and loads no weights without --probe.

    Use it before a run, and while you write a task. Prints a rendered prompt,
    the verdicts on gold, empty and wrong answers, and where the data would go.
    With --policy, what breaks it is named, and the exit code is 1.
    """
    from harness import api

    more: dict[str, object] = {
        "limit": limit,
        "first": first,
        "formats": formats,
        "seed": seed,
        "machine": machine,
        "judge": judge,
    }
    more |= {"max_cost": max_cost, "responses_only": responses_only or None, "stand_in": api.NO_MODEL}
    with working("checking"):
        wanted = api.assemble(config, given.additions(model, task, data, **more))
        found = api.check(wanted, policy=policy, probe=probe or 0)
    show_json(found.as_json()) if as_json else show(found.text())
    if not found.passed:
        raise typer.Exit(2)
    if found.breaks:
        raise typer.Exit(1)
