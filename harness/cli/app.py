"""The command line: each command reads its arguments, calls the library, and prints.

Results go to stdout, progress and log to stderr. Exit codes: 0 done, 1 a check failed, 2 a mistake in what was given,
3 the run is incomplete, 130 interrupted (the run can be resumed).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.config.base import validate
from harness.config.bench import LatencyConfig
from harness.config.model import model_from_path
from harness.config.run import RunConfig, TaskUse, read_run
from harness.errors import ConfigError, HarnessError, nearest
from harness.security.seal import QUIET
from harness.security.secrets import Redacting, redact

app = typer.Typer(
    name="harness",
    help="Evaluate language models on your own work: accuracy, latency and cost in one table, on your own machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="First steps: harness run quickstart · harness tasks · harness check TASK.yaml",
)


def _version(wanted: bool) -> None:
    from importlib.metadata import PackageNotFoundError, version

    if not wanted:
        return
    try:
        print(f"harness {version('openweights-harness')}")
    except PackageNotFoundError:
        print("harness, run from its source: it is not installed")
    raise typer.Exit


Version = Annotated[bool, typer.Option("--version", help="print the version", callback=_version, is_eager=True)]
Config = Annotated[
    str | None, typer.Argument(help="a run file, the name of a bundled one (quickstart), or a task file")
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="PATH", help="a model folder, demo model or hub id; repeat for more"),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", "-t", metavar="NAME", help="a bundled task, a task file, or lm_eval:NAME; repeat for more"),
]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="TASK=PATH", help="read a task's data from a local file or folder"),
]
Limit = Annotated[int | None, typer.Option(help="a seeded random subset of N samples of each task", min=1)]
First = Annotated[int | None, typer.Option(help="the first N samples of each task, in order", min=1)]
Formats = Annotated[int | None, typer.Option(help="N variants of each prompt's format: their range is shown", min=0)]
Seed = Annotated[int | None, typer.Option(help="of subsets, shots and sampling")]
Machine = Annotated[str | None, typer.Option(help="a machine file or bundled name: what an hour costs")]
Baseline = Annotated[str | None, typer.Option(help="the model that the others are compared with")]
Judge = Annotated[str | None, typer.Option(metavar="MODEL", help="the model that scores tasks with a rubric")]
Latency = Annotated[int | None, typer.Option("--latency", help="requests timed one at a time; 0: none", min=0)]
ResponsesOnly = Annotated[
    bool, typer.Option("--responses-only", help="write down unjudged what only a sandbox could judge: code")
]
MaxCost = Annotated[float | None, typer.Option(metavar="USD", help="spend no more at providers, all models together")]
Json = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Runs = Annotated[list[Path], typer.Argument(help="run folders")]
Run = Annotated[Path, typer.Argument(help="a run folder")]


@app.callback()
def every_command(version: Version = False) -> None:
    pass


@app.command("run")
def run_command(
    config: Config = None,
    model: Models = None,
    task: Tasks = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="the run folder; default: a new one under results/")] = None,
    limit: Limit = None,
    first: First = None,
    formats: Formats = None,
    seed: Seed = None,
    machine: Machine = None,
    baseline: Baseline = None,
    judge: Judge = None,
    latency: Latency = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="compose batches alike whatever memory is free: bit-equal runs")
    ] = False,
    responses_only: ResponsesOnly = False,
    max_cost: MaxCost = None,
    seal: Annotated[bool, typer.Option(help="keep this process off the network where the run needs none")] = True,
    as_json: Json = False,
) -> None:
    """Run models on tasks, or go on where a run stopped, and print the table.

    A run file, or a task and models:

        harness run quickstart
        harness run tickets.yaml --model ./my-model --limit 200
    """
    from harness.api import finish, folder_for
    from harness.cli.progress import shown
    from harness.runs.carry_out import carry_out
    from harness.runs.plan import make_plan
    from harness.runs.spending import estimate
    from harness.security import seal as seals
    from harness.store.rows import answered

    given = (config, model, task, data, limit, first, seed, machine, baseline, latency, judge, max_cost)
    wanted = _configuration(*given, formats=formats)
    if deterministic:
        pinned = tuple(each.model_copy(update={"deterministic": True}) for each in wanted.models)
        wanted = wanted.model_copy(update={"models": pinned})
    if responses_only:
        wanted = wanted.model_copy(update={"responses_only": True})
    off = seals.Seal("none", "switched off by --no-seal")
    sealed = seals.seal_run(wanted, ("kernel", "namespace")) if seal else off
    with _working("reading models and data"):
        plan = make_plan(wanted)
    folder = folder_for(plan, out)
    _say(f"run folder: {folder}")
    _say(f"sealed: {sealed}")
    for spending in estimate(plan, answered(folder)):
        _say(spending.line())
    try:
        shown(plan, carry_out(plan, folder, sealed=sealed))
    except KeyboardInterrupt:
        _say(f"interrupted: the same command goes on where it stopped ({folder})")
        raise typer.Exit(130) from None
    with _working("judging"):
        result = finish(folder)
    print(json.dumps(result.summary, ensure_ascii=False) if as_json else result.table(width=_width()))
    if not as_json:
        _next_steps(folder)
    if not result.complete:
        raise typer.Exit(3)


@app.command("bench")
def bench_command(
    config: Config = None,
    model: Models = None,
    task: Tasks = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="the folder; default: a new one under results/")] = None,
    limit: Limit = None,
    seed: Seed = None,
    machine: Machine = None,
    plots: Annotated[bool, typer.Option("--plots", help="draw figures into the folder (extra report)")] = False,
    seal: Annotated[bool, typer.Option(help="keep this process off the network where the models need none")] = True,
    as_json: Json = False,
) -> None:
    """Measure latency and load on the tasks' own prompts, or on made-up ones of stated lengths.

    What is measured stands under `bench:` in a run file: single requests, so
    many at a time, so many a second, or all at once, until the target is
    saturated or a bound is hopeless.

        harness bench bench-demo
        harness bench --model ./my-model --task invoice-fields
    """
    from harness.analysis import bench as measured
    from harness.reports import bench_text
    from harness.runs import bench as benches
    from harness.security import seal as seals
    from harness.store.schema import BENCHES

    wanted = _configuration(config, model, task, data, limit, None, seed, machine, None, None)
    off = seals.Seal("none", "switched off by --no-seal")
    sealed = seals.seal_run(wanted, ("kernel", "namespace")) if seal else off
    with _working("reading models and data"):
        made = benches.make_bench(wanted)
    folder = benches.folder_for(made, out)
    _say(f"folder: {folder}")
    _say(f"sealed: {sealed}")
    for _ in benches.carry_out(made, folder, sealed=str(sealed)):
        pass
    summary = measured.finish(folder)
    print(json.dumps(BENCHES.write(summary), ensure_ascii=False) if as_json else bench_text.text(summary))
    if plots:
        _say(f"drew {', '.join(str(file) for file in bench_text.plots(folder, summary))}")
    _say(f"everything is in {folder} (summary.json, measurements.jsonl: a line for each request)")


@app.command()
def cost(
    run: Run,
    machine: Annotated[str | None, typer.Option(help="a machine file or bundled name; default: the run's own")] = None,
    volume: Annotated[float | None, typer.Option(help="requests a month", min=1, max=1e15)] = None,
    against: Annotated[str | None, typer.Option(metavar="PROVIDER/MODEL", help="an API of `harness prices`")] = None,
    bench: Annotated[Path | None, typer.Option(help="a folder of `harness bench`: the capacity is read there")] = None,
    plots: Annotated[bool, typer.Option("--plots", help="draw figures into the run (extra report)")] = False,
    as_json: Json = False,
) -> None:
    """Say what a recorded run costs: by token, request and correct answer, at several utilisations, against an API.

    harness cost results/RUN --machine l4 --against openai/gpt-5-mini
    """
    from harness.analysis import costs
    from harness.analysis.old_rows import typed
    from harness.api import open_run
    from harness.reports import cost_text

    with _working("pricing"):
        summary = typed(open_run(run).summary)
        found = costs.report(run, summary, machine, volume, against, bench)
    print(json.dumps(costs.as_json(found), ensure_ascii=False) if as_json else cost_text.text(found))
    if plots:
        _say(f"drew {', '.join(str(file) for file in cost_text.plots(run, found, summary.rows))}")


@app.command("prices")
def prices_command(as_json: Json = False) -> None:
    """List the API prices that ship with the package, with the day each was read; warn where they are old."""
    from datetime import UTC, datetime

    from harness.cost.prices import list_prices, read_prices
    from harness.reports import cost_text

    rows = list_prices(read_prices(), datetime.now(UTC).date())
    print(json.dumps([asdict(row) for row in rows], ensure_ascii=False) if as_json else cost_text.prices(rows))


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="your data: CSV, TSV, Excel, JSONL, JSON or Parquet")],
    out: Annotated[Path | None, typer.Option(help="the task file; default: beside the data")] = None,
    sheet: Annotated[str | None, typer.Option(help="of an Excel file")] = None,
    input: Annotated[str | None, typer.Option("--input", metavar="COLUMN", help="what the model is shown")] = None,
    answer: Annotated[str | None, typer.Option("--answer", metavar="COLUMN", help="what is right")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="confirm each guess")] = False,
    as_json: Json = False,
) -> None:
    """Write a task file for your own data: guesses what each column is, and says what stands out in them."""
    from harness.tasks import authoring as inits

    with _working(f"reading {file.name}"):
        found = inits.look(file, sheet=sheet, input=input, answer=answer)
    if ask:
        told = {key: typer.prompt(text, default=guess, err=True) for key, text, guess in inits.questions(found)}
        found = inits.look(file, sheet=sheet, **told)
    written = inits.write(found, out)
    print(
        json.dumps({**found.as_json(), "written": str(written.task)}, ensure_ascii=False) if as_json else found.text()
    )
    if written.data is not None:
        _say(f"copied the data to {written.data}: a task reads only what lies in its own folder")
    _say(f"wrote {written.task}\nnext: harness check {written.task}")


@app.command()
def check(
    config: Config = None,
    model: Models = None,
    task: Tasks = None,
    data: Data = None,
    limit: Limit = None,
    first: First = None,
    formats: Formats = None,
    seed: Seed = None,
    machine: Machine = None,
    judge: Judge = None,
    max_cost: MaxCost = None,
    policy: Annotated[str | None, typer.Option(help="a policy file or bundled name that the run must keep")] = None,
    probe: Annotated[int | None, typer.Option(help="load the local models and time N requests a task", min=1)] = None,
    responses_only: ResponsesOnly = False,
    as_json: Json = False,
) -> None:
    """Show what a run would do and test its tasks' scorers; sends nothing, and loads no weights without --probe.

    Prints a rendered prompt, the verdicts on gold, empty and wrong answers, and
    where the data would go. With --policy, what breaks it is named, and the
    exit code is 1.
    """
    from harness.runs import check as checks
    from harness.security.policy import read_policy

    rules = None if policy is None else read_policy(policy)
    given = (config, model, task, data, limit, first, seed, machine, None, None, judge, max_cost)
    wanted = _configuration(*given, check=True, formats=formats)
    if responses_only:
        wanted = wanted.model_copy(update={"responses_only": True})
    with _working("checking"):
        found = checks.report(wanted, rules, probe or 0)
    print(json.dumps(found.as_json(), ensure_ascii=False) if as_json else found.text())
    if not found.passed:
        raise typer.Exit(2)
    if found.breaks:
        raise typer.Exit(1)


@app.command()
def score(run: Run, as_json: Json = False) -> None:
    """Judge the responses of a run again and print its table; needs no model and no data."""
    from harness.api import finish

    with _working("judging"):
        result = finish(run)
    print(json.dumps(result.summary, ensure_ascii=False) if as_json else result.table(width=_width()))


@app.command()
def table(
    runs: Runs,
    form: Annotated[str, typer.Option("--format", "-f", help="text, markdown, csv, latex or json")] = "text",
    slices: Annotated[bool, typer.Option("--slices", help="a row for each value of the tasks' `slices`")] = False,
    labels: Annotated[
        bool, typer.Option("--labels", help="a row for each label, and which is taken for which")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the table of one run, or of several side by side."""
    from harness.analysis.merge import merged
    from harness.api import open_run, with_labels
    from harness.reports import formats

    wanted = "json" if as_json else form
    if wanted != "json" and wanted not in formats.FORMATS:
        raise ConfigError(f"no format '{form}'", fix=nearest(form, [*formats.FORMATS, "json"]))
    with _working("reading"):
        results = [open_run(run) for run in runs]
        summaries = [with_labels(result) if labels else result.summary for result in results]
    summary = summaries[0] if len(summaries) == 1 else merged(summaries, [str(run) for run in runs])
    if labels and not any(row["labels"] for row in summary["rows"]):
        raise ConfigError(
            "no task here has labels", fix="they are in tasks with fixed `choices`, or `score: multi_label`"
        )
    view = "labels" if labels else "slices" if slices else "run"
    if slices and not any(row.get("slices") for row in summary["rows"]):
        raise ConfigError("no task here has slices", fix="add `slices: [COLUMN]` to the task file, and run it again")
    how = {"width": _width()} if wanted == "text" else {}
    shown = (
        json.dumps(summary, ensure_ascii=False) if wanted == "json" else formats.FORMATS[wanted](summary, view, **how)
    )
    print(shown.rstrip("\n"))


@app.command()
def verify(runs: Runs, as_json: Json = False) -> None:
    """Check that the responses of a run are as they were written and that its scores follow from them.

    Prints the head of the hash chain, or the first line where it breaks.
    """
    from harness.analysis.verify import verified

    with _working("checking"):
        reports = [verified(run) for run in runs]
    print(json.dumps(reports, ensure_ascii=False) if as_json else "\n".join(report["says"] for report in reports))
    if not all(report["ok"] for report in reports):
        raise typer.Exit(1)


@app.command("tasks")
def tasks_command(
    name: Annotated[
        str | None, typer.Argument(help="a task to show, or a word to search for; default: list all")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the tasks that ship with the package, search them, or show one."""
    from harness.cli import listing

    print(listing.tasks(name, as_json))


@app.command("models")
def models_command(
    paths: Annotated[list[str] | None, typer.Argument(help="model folders or ids; default: the demo models")] = None,
    machine: Annotated[str | None, typer.Option(help="project speed and cost for a machine file or name")] = None,
    tokens: Annotated[
        str | None, typer.Option(metavar="IN,OUT", help="of a projected request; default: 1000,300")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what is known of a model folder or id: size, architecture, licence, whether it is safe to load.

    With --machine also what it should do and cost there: projected from its files and the chip's sheet, not measured.
    """
    from harness.cli import listing

    with _working("reading"):
        shown = listing.models(paths or [], as_json, machine, tokens or listing.TOKENS)
    print(shown)


def _configuration(
    config: str | None,
    models: list[str] | None,
    tasks: list[str] | None,
    data: list[str] | None,
    limit: int | None,
    first: int | None,
    seed: int | None,
    machine: str | None,
    baseline: str | None,
    latency: int | None,
    judge: str | None = None,
    max_cost: float | None = None,
    check: bool = False,
    formats: int | None = None,
) -> RunConfig:
    """Returns the run file with what the command line adds to it, or a run made of the command line alone."""
    is_task = config is not None and _is_task_file(config)
    values: dict[str, Any] = {"run": "run", "tasks": [], "models": []}
    if is_task:
        tasks = [str(config), *(tasks or [])]
    elif config is not None:
        values |= read_run(config).model_dump(mode="json", exclude_unset=True)
    if models:
        values["models"] = [*values["models"], *map(model_from_path, models)]
    if tasks:
        values["tasks"] = [*values["tasks"], *({"task": name} for name in tasks)]
    if check and not values["models"]:
        from harness.runs.check import NO_MODEL

        values["models"] = [NO_MODEL.model_dump(mode="json")]
    for key, noun in (("models", "--model PATH"), ("tasks", "--task NAME")):
        if not values[key] and not (key == "tasks" and values.get("bench", {}).get("lengths")):
            raise ConfigError(f"no {key} to run", fix=f"name a run file, or add {noun}")
    values["tasks"] = _with_data(values["tasks"], data or [])
    if limit is not None or first is not None:
        values |= {"limit": limit, "first": first}
    given = {"formats": formats, "seed": seed, "machine": machine, "baseline": baseline}
    given |= {"judge": judge, "max_cost": max_cost}
    values |= {key: value for key, value in given.items() if value is not None}
    if latency is not None:
        values["latency"] = {**LatencyConfig().model_dump(), **values.get("latency", {}), "requests": latency}
    return validate(RunConfig, values, config or "command line")


def _is_task_file(name: str) -> bool:
    from harness.config.files import find_file
    from harness.config.lm_eval_names import is_named
    from harness.config.yaml_file import read_yaml
    from harness.tasks.load import task_names

    if is_named(name):
        return True
    if name.endswith((".yaml", ".yml")):
        return "task" in read_yaml(find_file(name, "tasks")).data
    return name in task_names()


def _with_data(tasks: list[dict[str, Any]], given: list[str]) -> list[dict[str, Any]]:
    places = {}
    for item in given:
        name, equals, path = item.partition("=")
        if not equals or not path:
            raise ConfigError(f"--data {item}", fix="write --data TASK=PATH")
        places[name] = path
    names = [TaskUse(**use).task for use in tasks]
    for name in places:
        if name not in names:
            raise ConfigError(f"--data names task '{name}', which is not in the run", fix=nearest(name, names))
    return [{**use, "data": places.get(use["task"], use.get("data"))} for use in tasks]


def _next_steps(folder: Path) -> None:
    _say("")
    _say(f"everything is in {folder} (table.md, table.csv, summary.json, records.jsonl)")
    _say("next: harness verify " + str(folder) + "   ·   your own data: see README, 'Your own CSV'")


def _width() -> int:
    """Returns the columns for a table: those of the terminal, at most 100; 100 where the output goes elsewhere."""
    return min(100, max(60, shutil.get_terminal_size().columns)) if sys.stdout.isatty() else 100


@contextmanager
def _working(what: str) -> Iterator[None]:
    """Shows on a terminal that something is under way and for how long, and takes it away at the end.

    Not while latencies are measured: drawing takes time of its own.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4) as progress:
        progress.add_task(what, total=None)
        yield


def _say(text: str) -> None:
    print(text, file=sys.stderr)


_NOISY = (
    *("httpx", "httpx2", "openai", "anthropic", "google_genai", "urllib3"),
    *("datasets", "transformers", "huggingface_hub", "filelock"),
)


def main() -> None:
    """Runs the command line; a HarnessError becomes three lines and exit code 2."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Redacting("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        app()
    except HarnessError as error:
        print(redact(str(error)), file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except Exception:
        print(redact(traceback.format_exc()), file=sys.stderr, end="")  # a mistake of ours: it keeps its traceback
        raise SystemExit(1) from None
