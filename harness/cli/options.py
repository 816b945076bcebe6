"""What several commands take from the command line, and what the shell completes it with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, Field, dataclass, fields
from functools import wraps
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from harness.errors import ConfigError

if TYPE_CHECKING:
    from harness.config.assemble import Additions

Taken = TypeVar("Taken", bound=Any)  # a dataclass


def _bundled(folder: str) -> list[str]:
    from harness.config.files import bundled

    return sorted(path.stem for path in (bundled("configs") / folder).glob("*.yaml"))


def _begin(names: Iterable[str], typed: str) -> Iterator[str]:
    return (name for name in names if name.startswith(typed))


def _runs_and_tasks(typed: str) -> Iterator[str]:
    from harness.config.files import bundled_names

    return _begin([*bundled_names("configs"), *bundled_names("tasks"), *_files(typed)], typed)


def _tasks(typed: str) -> Iterator[str]:
    from harness.config.files import bundled_names

    return _begin([*bundled_names("tasks"), *_files(typed)], typed)


def _models(typed: str) -> Iterator[str]:
    from harness.models.find import DEMO

    return _begin(sorted(path.name for path in DEMO.iterdir() if path.is_dir()), typed)


def _machines(typed: str) -> Iterator[str]:
    return _begin(_bundled("machines"), typed)


def _policies(typed: str) -> Iterator[str]:
    return _begin(_bundled("policies"), typed)


def _files(typed: str) -> list[str]:
    """Returns the task and run files where the typed path leads: a shell completes no files beside names of ours."""
    folder = Path(typed).parent if typed and not typed.endswith("/") else Path(typed or ".")
    found = sorted(path for path in folder.glob("*.y*ml")) if folder.is_dir() else []
    return [str(path) for path in found]


Config = Annotated[
    str | None,
    typer.Argument(
        help="a run file, the name of a bundled one (quickstart), or a task file", autocompletion=_runs_and_tasks
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="PATH",
        help="a model folder, demo model or hub id; repeat for more",
        autocompletion=_models,
    ),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        "-t",
        metavar="NAME",
        help="a bundled task, a task file, or lm_eval:NAME; repeat for more",
        autocompletion=_tasks,
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="TASK=PATH", help="read a task's data from a local file or folder"),
]
Limit = Annotated[int | None, typer.Option(help="a seeded random subset of N samples of each task", min=1)]
First = Annotated[int | None, typer.Option(help="the first N samples of each task, in order", min=1)]
Formats = Annotated[int | None, typer.Option(help="N variants of each prompt's format: their range is shown", min=0)]
Seed = Annotated[int | None, typer.Option(help="of subsets, shots and sampling")]
Machine = Annotated[
    str | None,
    typer.Option(help="a machine file or bundled name: what an hour costs", autocompletion=_machines),
]
Baseline = Annotated[str | None, typer.Option(help="the model that the others are compared with")]
Judge = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="the model that scores tasks with a rubric", autocompletion=_models),
]
Latency = Annotated[int | None, typer.Option("--latency", help="requests timed one at a time; 0: none", min=0)]
Policy = Annotated[
    str | None,
    typer.Option(help="a policy file or bundled name that the run must keep", autocompletion=_policies),
]
ResponsesOnly = Annotated[
    bool, typer.Option("--responses-only", help="write down unjudged what only a sandbox could judge: code")
]
MaxCost = Annotated[float | None, typer.Option(metavar="USD", help="spend no more at providers, all models together")]
Json = Annotated[bool, typer.Option("--json", help="print JSON for machines")]
Runs = Annotated[list[Path], typer.Argument(help="run folders")]
Run = Annotated[Path, typer.Argument(help="a run folder")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A run file, and the models, tasks and data that are joined to it."""

    config: Config = None
    model: Models = None
    task: Tasks = None
    data: Data = None

    def additions(self) -> Additions:
        """Returns what is joined to the run file. Raises ConfigError for a `--data` that is no TASK=PATH."""
        from harness.config.assemble import Additions

        return Additions(models=self.model or (), tasks=self.task or (), data=_places(self.data or []))


def taking(kind: type[Taken]) -> Callable[[Callable[[Taken], None]], Callable[..., None]]:
    """Lets a command take one value of a dataclass: each of its fields is an option, or an argument, of that name."""
    hints = get_type_hints(kind, include_extras=True)

    def decorated(command: Callable[[Taken], None]) -> Callable[..., None]:
        @wraps(command)
        def called(**values: object) -> None:
            command(kind(**values))

        del called.__wrapped__  # what it takes is the fields
        called.__annotations__ = {**hints, "return": None}
        called.__signature__ = Signature(  # type: ignore[attr-defined]  # what Typer asks for
            [_parameter(field, hints[field.name]) for field in fields(kind)]
        )
        return called

    return decorated


def _parameter(field: Field[object], kind: object) -> Parameter:
    default = Parameter.empty if field.default is MISSING else field.default
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _places(given: list[str]) -> dict[str, str]:
    places = {}
    for item in given:
        name, equals, path = item.partition("=")
        if not equals or not path:
            raise ConfigError(f"--data {item}", fix="write --data TASK=PATH")
        places[name] = path
    return places
