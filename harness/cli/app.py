"""The command line: each command reads its arguments, calls the library, and prints.

Results go to stdout, progress and log to stderr. Exit codes: 0 done, 1 a check failed, 2 a mistake in what was given,
3 the run is incomplete, 130 interrupted (the run can be resumed).
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from harness.cli import bench, check, cost, models, results, run, tasks
from harness.cli.terminal import say
from harness.errors import HarnessError
from harness.security.environment import QUIET
from harness.security.secrets import Redacting, redact

app = typer.Typer(
    name="harness",
    help="Evaluate language models on your own work: accuracy, latency and cost in one table, on your own machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="First steps: harness run quickstart · harness tasks · harness check TASK.yaml",
)
COMMANDS: dict[str, Callable[..., None]] = {  # in the order in which --help lists them
    "init": tasks.init,
    "check": check.check,
    "run": run.run,
    "bench": bench.bench,
    "score": results.score,
    "table": results.table,
    "verify": results.verify,
    "cost": cost.cost,
    "prices": cost.prices,
    "tasks": tasks.tasks,
    "models": models.models,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


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


@app.callback()
def every_command(version: Version = False) -> None:
    pass


_NOISY = (
    *("httpx", "httpx2", "openai", "anthropic", "google_genai", "urllib3"),
    *("datasets", "transformers", "huggingface_hub", "filelock"),
)


def main() -> None:
    """Runs the command line; a HarnessError becomes three lines and exit code 2."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows another in its place
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="replace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Redacting("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        app()
    except HarnessError as error:
        say(redact(str(error)))
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except Exception:
        print(redact(traceback.format_exc()), file=sys.stderr, end="")  # a mistake of ours: it keeps its traceback
        raise SystemExit(1) from None
