"""Writes docs/reference and docs/rooms.md from the code: `make docs`, or python -m docs.generate.

    reference/NAME.md            every key of a sort of file: type, default, unit, an example and what it means
    reference/NAME.schema.json   the same for editors and other programs
    rooms.md                     what stands in each room of the package, and where a new thing goes (docs/rooms.py)

What a key means is the comment behind it in the class, where whoever changes the key sees it; its example is taken
from the files of docs/examples, tasks and configs, which the harness itself reads. A test fails when what stands in
docs/reference is not what this writes, or when a key lacks one of the four.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import sys
import tokenize
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field, TypeAdapter
from pydantic.fields import FieldInfo

from docs import rooms
from harness.backends.recorded.backend import Script as RecordedScript
from harness.backends.scripted import Script as Rules
from harness.config.base import Strict, validate
from harness.config.machine import MachineConfig
from harness.config.model import BACKENDS, ModelConfig, RecordedModel, ScriptedModel
from harness.config.run import RunConfig
from harness.config.task import TaskConfig
from harness.config.yaml_file import read_yaml
from harness.cost.prices import PriceFile
from harness.security.policy import PolicyConfig
from harness.tasks.kinds import KINDS, read_task

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
REFERENCE = DOCS / "reference"
ROOMS = DOCS / "rooms.md"
WIDTH = 60  # characters of an example; a longer one is cut

# What a number counts, by the name of its key. A test asks that every number has one and that each of these is used.
UNITS = {
    "above_input_tokens": "tokens",
    "attainment": "share, 0 to 1",
    "attempts": "attempts",
    "batch_tokens": "tokens",
    "budget": "tokens",
    "cache_read": "USD for 1M tokens",
    "cache_write": "USD for 1M tokens",
    "cache_write_1h": "USD for 1M tokens",
    "colocation_per_hour": "USD an hour",
    "concurrency": "requests",
    "decode_s_per_token": "seconds a token",
    "epochs": "answers",
    "financing_rate": "share of the price a year",
    "first": "samples",
    "formats": "layouts",
    "gb": "10⁹ bytes",
    "gb_per_s": "10⁹ bytes a second",
    "gpus": "accelerators",
    "grid_g_per_kwh": "g CO2 a kWh",
    "headroom": "share of the peak",
    "hours_available": "hours a year",
    "input": "tokens; in prices USD for 1M tokens",
    "limit": "samples",
    "link_gb_per_s": "10⁹ bytes a second",
    "logprobs": "nats",
    "max_cost": "USD",
    "max_errors": "share of samples, 0 to 1",
    "max_length": "tokens",
    "max_seconds": "seconds",
    "max_tokens": "tokens",
    "min_p": "probability",
    "n": "examples",
    "num_fewshot": "examples",
    "output": "tokens; in prices USD for 1M tokens",
    "peak_to_mean": "ratio",
    "per_hour": "USD an hour",
    "power_price": "USD a kWh",
    "prefill_s_per_token": "seconds a token",
    "price": "USD",
    "pue": "ratio",
    "rate": "requests a second",
    "redundancy": "machines",
    "repetition_penalty": "factor",
    "replicas": "copies",
    "requests": "requests",
    "response_s": "seconds",
    "rotate": "places",
    "salvage": "USD",
    "sample_s": "seconds",
    "scale": "points",
    "seconds": "seconds",
    "seed": "–",
    "scored": "turns",
    "silence_s": "seconds",
    "sleep_s": "seconds",
    "staff_per_hour": "USD an hour",
    "temperature": "–",
    "tflops": "10¹² operations a second",
    "tflops_32bit": "10¹² operations a second",
    "tflops_8bit": "10¹² operations a second",
    "threads": "processors",
    "top_k": "tokens",
    "top_p": "probability",
    "tpot_s": "seconds a token",
    "ttft_s": "seconds",
    "utilisation": "share of paid time, 0 to 1",
    "version": "–",
    "wall_s": "seconds",
    "warmup": "requests",
    "watts": "watts",
    "years": "years",
    "costs": "what a wrong answer costs, in any unit",
}
Kind = type[Strict]


@dataclass(frozen=True, slots=True)
class Page:
    """One sort of file and the classes that check it."""

    name: str
    title: str
    about: str
    roots: Mapping[str, Kind]  # what a reader calls each -> its class
    files: tuple[str, ...]  # patterns of files that show its keys, from the checkout's folder
    schema: bool = True


PAGES = (
    Page(
        "task",
        "Task files",
        "One evaluation, complete in itself: `tasks/NAME.yaml`. The heading of a table names the kinds that have it.",
        {name: kind.CONFIG for name, kind in KINDS.items() if name != "pairs"},
        ("docs/examples/task-*.yaml", "tasks/*.yaml"),
    ),
    Page(
        "run",
        "Run files",
        "Which models do which tasks, on what: `configs/NAME.yaml`. The entries of `models` have a page of their own: "
        "[model.md](model.md).",
        {"run": RunConfig},
        ("docs/examples/run*.yaml", "configs/*.yaml"),
    ),
    Page(
        "model",
        "Models in a run file",
        "An entry of `models`, or of `judge`, in a [run file](run.md). Which keys it has follows from its `backend`.",
        {kind.__name__: kind for entry in BACKENDS.values() for kind in (entry.settings, entry.addressed) if kind}
        | {"script: of backend scripted": Rules, "script: of backend recorded": RecordedScript},
        ("docs/examples/run*.yaml", "configs/*.yaml"),
        schema=False,
    ),
    Page(
        "machine",
        "Machine files",
        "Hardware and what an hour of it costs: `configs/machines/NAME.yaml`.",
        {"machine": MachineConfig},
        ("docs/examples/machine*.yaml", "configs/machines/*.yaml"),
    ),
    Page(
        "prices",
        "Price files",
        "List prices of APIs: `configs/prices/api.yaml`.",
        {"prices": PriceFile},
        ("docs/examples/prices*.yaml", "configs/prices/*.yaml"),
    ),
    Page(
        "policy",
        "Policy files",
        "What a house allows: `configs/policies/NAME.yaml`, asked for by `harness check RUN --policy NAME`.",
        {"policy": PolicyConfig},
        ("docs/examples/policy*.yaml", "configs/policies/*.yaml"),
    ),
)


# --- what a key means ------------------------------------------------------------------------------------------------


@cache
def _comments(module: str) -> Mapping[tuple[str, str], str]:
    """Returns the comment behind each field of a module's classes, by class and field."""
    text = inspect.getsource(sys.modules[module])
    marks = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT]
    found = {}
    for node in ast.walk(ast.parse(text)):
        for line in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                own = [mark.string for mark in marks if line.lineno <= mark.start[0] <= (line.end_lineno or 0)]
                if own:
                    found[node.name, line.target.id] = own[-1].lstrip("# ")
    return found


def owner(kind: Kind, name: str) -> Kind:
    """Returns the class that a field is written in."""
    return next(one for one in kind.__mro__ if name in vars(one).get("__annotations__", {}))


def meaning(kind: Kind, name: str) -> str:
    """Returns what a key means, as a sentence; "" where the class does not say it."""
    for one in (one for one in kind.__mro__ if name in vars(one).get("__annotations__", {})):
        text = _comments(one.__module__).get((one.__name__, name), "")
        if text:
            return _sentence(text, kind.model_fields[name].annotation)
    return ""


def _sentence(text: str, annotation: Any) -> str:
    """Returns a comment as a sentence; a value that it opens with stands as one."""
    first, colon, _ = text.partition(": ")
    values = {str(one) for part in _parts(annotation) if get_origin(part) is Literal for one in get_args(part)}
    values |= {"true", "false", "on", "off", "0", "1"}
    text = text.rstrip(".") + "."
    if colon and first in values:
        return f"`{first}`{text[len(first) :]}"
    return text if text.startswith("http") else text[0].upper() + text[1:]


def key_of(kind: Kind, name: str) -> str:
    return kind.model_fields[name].alias or name


# --- of what type it is ----------------------------------------------------------------------------------------------


def _parts(annotation: Any) -> Iterator[Any]:
    """Yields the members of a union, without None and what `Annotated` adds; an annotation that is none as it is."""
    if get_origin(annotation) is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _parts(one)
    elif annotation is not type(None):
        yield annotation


def classes_in(annotation: Any) -> Iterator[Kind]:
    """Yields the classes of keys that stand anywhere in an annotation."""
    for part in _parts(annotation):
        if inspect.isclass(part) and issubclass(part, Strict):
            yield part
        for inner in get_args(part):
            if inner is not Ellipsis and get_origin(part) is not Literal:
                yield from classes_in(inner)


def numbers_in(annotation: Any) -> bool:
    """Returns whether a key takes a number, or several."""
    return any(
        part in (int, float) or (get_origin(part) in (tuple, Mapping) and any(map(numbers_in, get_args(part))))
        for part in _parts(annotation)
    )


def anchor(title: str) -> str:
    """Returns how a link names a heading."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def _bounds(metadata: Iterable[Any]) -> str:
    marks = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}
    found = []
    for one in metadata:
        for inner in getattr(one, "metadata", [one]):
            mark = marks.get(type(inner))
            if mark:
                found.append(f"{mark} {getattr(inner, type(inner).__name__.lower()):,}")
    return ", ".join(found)


def _metadata(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from get_args(annotation)[1:]
        yield from _metadata(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _metadata(one)


NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false", date: "date"}
NAMES |= {Any: "see text", object: "see text"}


def _type(page: Page, annotation: Any) -> str:
    """Returns a type in words, with links to the tables of its keys."""
    said = []
    for part in _parts(annotation):
        arguments = get_args(part)
        if get_origin(part) is Literal:
            said.append(", ".join(f"`{_flow(one)}`" for one in arguments))
        elif get_origin(part) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
            said.append(f"list of {_type(page, arguments[0])}")
        elif get_origin(part) is tuple:
            said.append(f"list of {len(arguments)}: {_type(page, arguments[0])}")
        elif arguments:
            said.append(f"mapping of {_type(page, arguments[0])} to {_type(page, arguments[1])}")
        elif inspect.isclass(part) and issubclass(part, Strict) and (other := elsewhere(page, part)):
            said.append(f"[{other}]({other}.md)")
        elif inspect.isclass(part) and issubclass(part, Strict):
            said.append(f"[{part.__name__}](#{anchor(part.__name__)})")
        else:
            said.append(NAMES[part])
    bounds = _bounds(_metadata(annotation))
    return " or ".join(dict.fromkeys(said)) + (f", {bounds}" if bounds else "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, Strict):
        return "as its keys"
    return f"`{_flow(value)}`"


class _OneLine(yaml.SafeDumper):
    """Writes text with line breaks in double quotes, so that they are seen."""


_OneLine.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\n" in text else None),
)


def _flow(value: Any) -> str:
    """Returns a value as YAML on one line."""
    plain = json.loads(json.dumps(value, default=lambda one: list(one) if isinstance(one, tuple) else str(one)))
    text = yaml.dump(plain, Dumper=_OneLine, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def unit(kind: Kind, name: str) -> str:
    """Returns what a number counts; "" for a key that takes none. Raises KeyError for one that is not in UNITS."""
    return UNITS[key_of(kind, name)] if numbers_in(kind.model_fields[name].annotation) else ""


# --- an example of it ------------------------------------------------------------------------------------------------


_EXAMPLES: dict[str, dict[tuple[Kind, str], Any]] = {}  # by page: files are read once


def _read(page: Page, path: Path) -> Strict:
    if page.name == "task":
        return read_task(path)[0]
    kind = RunConfig if page.name == "model" else next(iter(page.roots.values()))
    return validate(kind, read_yaml(path).data, str(path))


def files_of(page: Page) -> list[Path]:
    """Returns the files that show the keys of a page, the ones made to show them first."""
    return [path for pattern in page.files for path in sorted(ROOT.glob(pattern))]


def _walk(value: Any) -> Iterator[tuple[Kind, str, Any]]:
    """Yields each key that is given somewhere in a value, with the class that has it."""
    if isinstance(value, Strict):
        for name in type(value).model_fields:
            if name in value.model_fields_set:
                given = getattr(value, name)
                yield owner(type(value), name), name, given
                yield from _walk(given)
        if isinstance(value, ScriptedModel | RecordedModel) and isinstance(value.script, Mapping):
            yield from _walk(
                (Rules if isinstance(value, ScriptedModel) else RecordedScript).model_validate(value.script)
            )
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _walk(one)
    elif isinstance(value, tuple):
        for one in value:
            yield from _walk(one)


def _examples(page: Page) -> Mapping[tuple[Kind, str], Any]:
    if page.name in _EXAMPLES:
        return _EXAMPLES[page.name]
    found = _EXAMPLES.setdefault(page.name, {})
    for path in files_of(page):
        for kind, name, given in _walk(_read(page, path)):
            found.setdefault((kind, name), given)
    return found


def example(page: Page, kind: Kind, name: str) -> str:
    """Returns a key with a value, as it stands in some file; "" where no file shows it."""
    shown = (given for (one, key), given in _examples(page).items() if key == name and issubclass(one, kind))
    given = next(shown, None)
    if given is None:
        return ""
    plain = given.model_dump(mode="json", by_alias=True, exclude_unset=True) if isinstance(given, Strict) else given
    plain = [_plain(one) for one in plain] if isinstance(plain, tuple) else _plain(plain)
    text = f"{key_of(kind, name)}: {_flow(plain)}"
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 2]} …"


def _plain(value: Any) -> Any:
    if isinstance(value, Strict):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return value


# --- pages and schemas -----------------------------------------------------------------------------------------------


def elsewhere(page: Page, kind: Kind) -> str | None:
    """Returns the page that a class of keys has its table on, if it is another one."""
    for root, name in ((ModelConfig, "model"), (MachineConfig, "machine")):
        if issubclass(kind, root) and page.name != name:
            return name
    return None


def sections(page: Page) -> dict[Kind, list[str]]:
    """Returns the classes of keys of a page in reading order, each with its own keys."""
    found: dict[Kind, list[str]] = {}
    waiting = list(page.roots.values())
    while waiting:
        kind = waiting.pop(0)
        blocks = [one for one in reversed(kind.__mro__) if issubclass(one, Strict) and one is not Strict]
        for block in blocks:
            if block in found:
                continue
            own = vars(block).get("__annotations__", {})
            above = {name for other in found if issubclass(block, other) for name in other.model_fields}
            known = block.model_fields.keys() - above - _unwritten(block)
            found[block] = [name for name in own if name in known]
            for name in found[block]:
                inner = classes_in(block.model_fields[name].annotation)
                waiting += [one for one in inner if elsewhere(page, one) is None]
    return {kind: names for kind, names in found.items() if names}


def _unwritten(kind: Kind) -> frozenset[str]:
    return kind.unwritten if issubclass(kind, TaskConfig) else frozenset()


def _heading(page: Page, kind: Kind) -> str:
    """Returns under which name a reader looks for a class: that of its file, or of the block it is."""
    users = [name for name, root in page.roots.items() if issubclass(root, kind)]
    if page.name == "task" and users:
        return "Keys of every task" if len(users) == len(page.roots) else f"Keys of {', '.join(users)}"
    if page.name == "model" and users:
        return users[0] if len(users) == 1 else f"Keys of {', '.join(users)}"
    return {root: page.title for root in page.roots.values()}.get(kind, kind.__name__)


def _table(page: Page, kind: Kind, names: Sequence[str]) -> Iterator[str]:
    yield "| key | type | default | unit | example | what it is |"
    yield "|---|---|---|---|---|---|"
    for name in names:
        field = kind.model_fields[name]
        cells = [f"`{key_of(kind, name)}`", _type(page, _annotated(kind, name)), _default(field), unit(kind, name)]
        cells += [f"`{example(page, kind, name)}`", meaning(kind, name)]
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _annotated(kind: Kind, name: str) -> Any:
    field = kind.model_fields[name]
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def text_of(page: Page) -> str:
    """Returns a page of the reference."""
    lines = [f"# {page.title}", "", page.about, ""]
    if page.schema:
        schema = f"{page.name}.schema.json"
        lines += [
            f"An editor completes and checks it by [{schema}]({schema}), which a file names in its first line:",
            "",
        ]
        lines += ["```yaml", f"# yaml-language-server: $schema=docs/reference/{schema}", "```", ""]
    if page.name == "model":
        lines += ["| `backend` | keys of |", "|---|---|"]
        for name, entry in BACKENDS.items():
            kinds = entry.settings.__name__
            kinds += f"; with a `base_url` {entry.addressed.__name__}" if entry.addressed else ""
            without = f", without {', '.join(f'`{key}`' for key in sorted(entry.without))}" if entry.without else ""
            lines.append(f"| `{name}` | {kinds}{without} |")
        lines.append("")
    for kind, names in sections(page).items():
        lines += [f"## {_heading(page, kind)}", "", inspect.cleandoc(kind.__doc__ or ""), ""]
        lines += [*_table(page, kind, names), ""]
    lines += [f"Written by `make docs` from the classes that check {page.title.lower()}; do not change it here.", ""]
    return "\n".join(lines)


def schema_of(page: Page) -> dict[str, Any]:
    """Returns the JSON Schema of a sort of file. An editor may call a file good that the harness still refuses."""
    roots = tuple(page.roots.values())
    kind: Any = Annotated[Union[roots], Field(discriminator="kind")] if len(roots) > 1 else roots[0]  # noqa: UP007
    schema = TypeAdapter(kind).json_schema(by_alias=True)
    known = {root.__name__: root for root in sections(page)} | {kind.__name__: kind for kind in sections(PAGES[2])}
    for name, part in {**schema.get("$defs", {}), **({roots[0].__name__: schema} if len(roots) == 1 else {})}.items():
        for field in known[name].model_fields if name in known else ():
            key = key_of(known[name], field)
            if key in part.get("properties", {}) and (told := meaning(known[name], field)):
                part["properties"][key]["description"] = told
        _as_written(name, part)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": page.title, **schema}


def _as_written(name: str, part: dict[str, Any]) -> None:
    """Adds to a class's schema the short forms in which its keys may be written, and its `backend`."""
    keys = part.get("properties", {})
    text = {"type": "string"}
    if name == "RunConfig":
        for key in ("tasks", "models"):
            keys[key]["items"] = {"anyOf": [text, keys[key]["items"]]}
        keys["judge"] = {"anyOf": [text, keys["judge"]]}
    if name == "BenchConfig":
        keys["lengths"] = {"anyOf": [keys["lengths"]["items"], keys["lengths"]]}
    for one in keys.get("prompts", {}).get("anyOf", ()):
        if "additionalProperties" in one:
            one["additionalProperties"] = {"anyOf": [text, one["additionalProperties"]]}
        for pattern, inner in one.get("patternProperties", {}).items():
            one["patternProperties"][pattern] = {"anyOf": [text, inner]}
    backends = [at for at, entry in BACKENDS.items() if name in {_name(entry.settings), _name(entry.addressed)}]
    if backends:
        keys["backend"] |= {"enum": backends}
        if "transformers" not in backends:
            part["required"] = sorted({*part.get("required", ()), "backend"})


def _name(kind: Kind | None) -> str:
    return "" if kind is None else kind.__name__


def written() -> dict[Path, str]:
    """Returns what docs/reference holds, and the page of the rooms, by file."""
    found = {ROOMS: rooms.text()} | {REFERENCE / f"{page.name}.md": text_of(page) for page in PAGES}
    for page in PAGES:
        if page.schema:
            text = json.dumps(schema_of(page), indent=1, ensure_ascii=False, sort_keys=False)
            found[REFERENCE / f"{page.name}.schema.json"] = text + "\n"
    return found


def main() -> None:
    REFERENCE.mkdir(exist_ok=True)
    for path, text in written().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
