"""`harness check`: what a run would do, before anything is asked or spent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as given
from harness.cli.terminal import show, show_json, working

if TYPE_CHECKING:
    from harness.config.run import RunConfig

Probe = Annotated[int | None, typer.Option(help="load the local models and time N requests a task", min=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToCheck(given.Chosen):
    """What `harness check` takes."""

    limit: given.Limit = None
    first: given.First = None
    formats: given.Formats = None
    seed: given.Seed = None
    machine: given.Machine = None
    judge: given.Judge = None
    max_cost: given.MaxCost = None
    policy: given.Policy = None
    probe: Probe = None
    responses_only: given.ResponsesOnly = False
    as_json: given.Json = False

    def wanted(self) -> RunConfig:
        """Returns the run: the file with what is added to it; without a model, one that is not there."""
        from harness.api import NO_MODEL
        from harness.config.assemble import assemble

        added = replace(
            self.additions(),
            limit=self.limit,
            first=self.first,
            formats=self.formats,
            seed=self.seed,
            machine=self.machine,
            judge=self.judge,
            max_cost=self.max_cost,
            responses_only=self.responses_only or None,
            stand_in=NO_MODEL,
        )
        return assemble(self.config, added)


@given.taking(ToCheck)
def check(asked: ToCheck) -> None:
    """Show what a run would do and test its tasks' scorers; sends nothing, and loads no weights without --probe.

    Use it before a run, and while you write a task. Prints a rendered prompt,
    the verdicts on gold, empty and wrong answers, and where the data would go.
    With --policy, what breaks it is named, and the exit code is 1.
    """
    from harness import api

    with working("checking"):
        found = api.check(asked.wanted(), policy=asked.policy, probe=asked.probe or 0)
    show_json(found.as_json()) if asked.as_json else show(found.text())
    if not found.passed:
        raise typer.Exit(2)
    if found.breaks:
        raise typer.Exit(1)
