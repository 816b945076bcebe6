"""What `harness tasks` and `harness models` print."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.config import lm_eval_names
from harness.config.files import find_file
from harness.config.machine import MachineConfig, read_machine
from harness.config.run import TaskUse
from harness.config.task import TaskConfig
from harness.cost.projection import lines as projected_lines
from harness.cost.projection import projection, served
from harness.errors import ConfigError, HarnessError
from harness.measure.device_memory import free_memory
from harness.models import find, info, openness, safety
from harness.models.footprint import footprint
from harness.tasks.kinds import read_task, script
from harness.tasks.lm_eval_catalogue import file_of
from harness.tasks.load import load_task, task_names
from harness.tasks.score_answer import right_answers
from harness.tasks.shots import shots_for

WIDTH = 100  # columns of a line
TOKENS = "1000,300"  # in and out, of a request that a projection is for


def tasks(name: str | None, as_json: bool) -> str:
    """Returns the bundled tasks, a line each; those that a word is found in; or one task with a rendered prompt."""
    if name is not None and (
        lm_eval_names.is_named(name) or name in task_names() or name.endswith((".yaml", ".yml")) or "/" in name
    ):
        return _one_task(name, as_json)
    found = [read_task(find_file(each, "tasks"))[0] for each in task_names()]
    if name is not None:
        found = [config for config in found if _speaks_of(config, name)]
        if not found:
            find_file(name, "tasks")  # raises, with the nearest name
    if as_json:
        return json.dumps([_task_json(config) for config in found], ensure_ascii=False)
    width = max(len(config.task) for config in found)
    lines = (f"{c.task:{width}}  {c.kind:12}  {c.licence:15}  {c.asks}" for c in found)
    lines = (line if len(line) <= WIDTH else line[: WIDTH - 1].rstrip() + "…" for line in lines)
    return "\n".join([*lines, "", "one task with a rendered prompt: harness tasks NAME; a search: harness tasks WORD"])


def _speaks_of(config: TaskConfig, word: str) -> bool:
    """Tells if a word stands in a task's name, kind, licence or description, in any case."""
    told = (config.task, config.kind, config.licence, config.asks, config.source)
    return any(word.casefold() in text.casefold() for text in told)


def models(paths: Sequence[str], as_json: bool, machine: str | None = None, tokens: str = TOKENS) -> str:
    """Returns what is known of each model; without paths, of the demo models that ship with the package.

    With a `machine` also what it should do there, projected for requests of `tokens`: as many in, as many out.
    """
    wanted = list(paths) or sorted(path.name for path in find.DEMO.iterdir() if path.is_dir())
    priced, (read, written) = read_machine(machine), _lengths(tokens)
    found = [_model(path) for path in wanted]
    if priced is not None:
        found = [model | {"projected": _projected(Path(model["path"]), priced, read, written)} for model in found]
    if as_json:
        return json.dumps(found, ensure_ascii=False)
    return "\n\n".join("\n".join(_model_lines(model)) for model in found)


def _task_json(config: TaskConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", by_alias=True)


def _one_task(name: str, as_json: bool) -> str:
    path = file_of(name) if lm_eval_names.is_named(name) else find_file(name, "tasks")
    if as_json:
        config = load_task(TaskUse(task=name)).config if lm_eval_names.is_named(name) else read_task(path)[0]
        return json.dumps(_task_json(config), ensure_ascii=False)
    lines = [path.read_text(encoding="utf-8").rstrip(), ""]
    try:
        task = load_task(TaskUse(task=name))
    except HarnessError as error:
        return "\n".join([*lines, "# its data are not on this machine, so no prompt can be shown:", str(error)])
    sample = task.samples[0]
    prompt = script(task.config, sample, shots_for(task, sample, 0))
    shown = [f"# the prompt of sample {sample.id}, of {len(task.samples)}:", prompt]
    return "\n".join([*lines, *shown, *(f"# {line}" for line in right_answers(task.config, sample))])


def _model(path: str) -> dict[str, Any]:
    folder = find.resolve_model(path)
    safety.check_safe(folder)
    known = {**asdict(info.inspect_model(folder)), "openness": asdict(openness.describe(folder))}
    memory = _memory(folder, known["bytes"], known["dtype"])
    return {"path": str(folder), **known, "memory": memory, "files": info.digest_model(folder)}


def _lengths(tokens: str) -> tuple[int, int]:
    """Returns the tokens in and out that `IN,OUT` says."""
    found = re.fullmatch(r"\s*([1-9]\d{0,6})\s*,\s*(\d{1,7})\s*", tokens)
    if found is None:
        raise ConfigError(f"'{tokens}' is no length of a request", where="--tokens", fix=f"as in --tokens {TOKENS}")
    return int(found[1]), int(found[2])


def _projected(folder: Path, machine: MachineConfig, read: int, written: int) -> dict[str, Any]:
    return projection(served(folder, info.inspect_model(folder)), machine, read, written)


CONCURRENCY = (1, 8, 64)  # sequences at a time for which the largest context is given
_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F8_E4M3": "float8", "F8_E5M2": "float8"}


def _memory(folder: Path, weight_bytes: int, dtype: str) -> dict[str, Any]:
    """Returns the bytes a model takes as stored, and the context and concurrency that then fit on this machine."""
    file = folder / "config.json"
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    cache = _DTYPES.get(dtype, "bfloat16")
    needs = replace(footprint(content, parameters=0, dtype=cache), weight_bytes=weight_bytes)
    free, where = free_memory()
    full = needs.context_length
    return {
        "weight_bytes": weight_bytes,
        "cache_bytes_per_token": needs.cache_bytes_per_token,
        "reason": needs.reason,
        "free_bytes": free,
        "free_on": where,
        "largest_context": {str(n): needs.largest_context(free, n) for n in CONCURRENCY},
        "concurrency_at_full_context": None if full is None else needs.concurrency(free, full),
    }


def _memory_lines(memory: dict[str, Any]) -> Iterator[str]:
    each = memory["cache_bytes_per_token"]
    cache = f"{each:,.0f} bytes a token" if each is not None else f"unknown: {memory['reason']}"
    yield f"  memory        {memory['weight_bytes'] / 1e6:,.1f} MB of weights; key-value cache {cache}"
    fits = {n: tokens for n, tokens in memory["largest_context"].items() if tokens is not None}
    if fits:
        shown = ", ".join(f"{n} × {tokens:,}" for n, tokens in fits.items())
        full = f"; {memory['concurrency_at_full_context']:,} × the full context"
        yield f"  fits          {shown} tokens in {memory['free_bytes'] / 1e9:,.1f} GB free ({memory['free_on']}){full}"


def _model_lines(model: dict[str, Any]) -> Iterator[str]:
    declared = openness.describe(Path(model["path"]))
    yield f"{model['name']}  ({model['path']})"
    yield f"  architecture  {model['architecture'] or 'unknown'}"
    yield f"  parameters    {model['parameters']:,} in {model['dtype']}, {model['bytes'] / 1e6:,.1f} MB of weights"
    yield f"  context       {model['context_length'] or 'unknown'} tokens"
    yield from _memory_lines(model["memory"])
    yield from projected_lines(model["projected"]) if "projected" in model else ()
    yield f"  chat template {'yes' if model['has_chat_template'] else 'none'}"
    yield from (f"  {line}" for line in openness.lines(declared))
    yield "  safe to load  yes: safetensors only, no code in its configuration"
    for name, digest in model["files"].items():
        yield f"  sha256        {digest[:16]}…  {name}"
