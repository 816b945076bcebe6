"""`harness run`: models on tasks, to a folder and a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as given
from harness.cli.terminal import say, show, show_json, width, working
from harness.errors import BackendError

if TYPE_CHECKING:
    from harness.api import Prepared, PreparedBench
    from harness.config.run import RunConfig
    from harness.security.seal import Seal

Out = Annotated[Path | None, typer.Option(help="the run folder; default: a new one under results/")]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="compose batches alike whatever memory is free: bit-equal runs")
]
Sealed = Annotated[bool, typer.Option("--seal/--no-seal", help="keep this process off the network where it needs none")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToRun(given.Chosen):
    """What `harness run` takes."""

    out: Out = None
    limit: given.Limit = None
    first: given.First = None
    formats: given.Formats = None
    seed: given.Seed = None
    machine: given.Machine = None
    baseline: given.Baseline = None
    judge: given.Judge = None
    latency: given.Latency = None
    deterministic: Deterministic = False
    responses_only: given.ResponsesOnly = False
    despite_self_test: Annotated[bool, typer.Option(help="run tasks that judge known answers wrongly too")] = False
    max_cost: given.MaxCost = None
    policy: given.Policy = None
    seal: Sealed = True
    as_json: given.Json = False

    def wanted(self) -> RunConfig:
        """Returns the run: the file with what is added to it."""
        from harness.config.assemble import assemble

        added = replace(
            self.additions(),
            limit=self.limit,
            first=self.first,
            formats=self.formats,
            seed=self.seed,
            machine=self.machine,
            baseline=self.baseline,
            judge=self.judge,
            latency=self.latency,
            deterministic=self.deterministic,
            responses_only=self.responses_only or None,
            despite_self_test=self.despite_self_test or None,
            max_cost=self.max_cost,
            policy=self.policy,
        )
        return assemble(self.config, added)


@given.taking(ToRun)
def run(asked: ToRun) -> None:
    """Run models on tasks, or go on where a run stopped, and print the table.

    Use it to measure: accuracy, latency and cost of each model on each task,
    in a folder that every other command reads. A run file, or a task and
    models:

        harness run quickstart
        harness run tickets.yaml --model ./my-model --limit 200
    """
    from harness import api

    wanted = asked.wanted()
    sealed = seal_or_not(wanted, asked.seal)
    with working("reading models and data"):
        prepared = api.prepare(wanted, sealed, asked.out)
    say(f"run folder: {prepared.folder}")
    say_sealed(sealed)
    for spending in prepared.spending():
        say(spending.line())
    carried_out(prepared)
    with working("judging"):
        found = prepared.finish()
    if not asked.as_json and (failed := found.failed) is not None:  # there is nothing to put into a table
        fix = "mend that and give the same command again; what may succeed now is asked again"
        say(str(BackendError(failed, where=str(found.folder), fix=fix)))
        raise typer.Exit(3)
    show_json(found.as_json()) if asked.as_json else show(found.table(width=width()))
    if not asked.as_json:
        _next_steps(found.folder)
    if not found.complete:
        raise typer.Exit(3)


def carried_out(prepared: Prepared | PreparedBench) -> None:
    """Carries out what is prepared, and shows how far it is."""
    from harness.cli.bar import shown

    try:
        with shown() as listen:
            for event in prepared.events():
                listen(event)
    except KeyboardInterrupt:
        say(f"interrupted: the same command goes on where it stopped ({prepared.folder})")
        raise typer.Exit(130) from None


def seal_or_not(config: RunConfig, seal: bool) -> Seal:
    """Returns what keeps a run on this machine from here on, or why nothing does."""
    from harness.security import seal as seals

    if not seal:
        return seals.Seal("none", "switched off by --no-seal")
    return seals.seal_run(config, ("kernel", "namespace"))


def say_sealed(sealed: Seal) -> None:
    """Prints whether the run is sealed; where this system has no seal, also what to do about it."""
    say(f"sealed: {sealed}")
    if sealed.fix:
        say(f"  at  this machine\n  fix {sealed.fix}")


def _next_steps(folder: Path) -> None:
    say("")
    say(f"everything is in {folder} (table.md, table.csv, summary.json, records.jsonl)")
    say(f"next: harness verify {folder}   ·   your own data: harness init FILE")
