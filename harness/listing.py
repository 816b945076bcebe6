"""What `harness tasks` and `harness models` print."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import models as folders
from harness import openness
from harness.config import TaskConfig, TaskUse, find_file, read_task
from harness.errors import HarnessError
from harness.prompts import answer_text, render
from harness.tasks import load_task, shots_for, task_names


def tasks(name: str | None, as_json: bool) -> str:
    """Returns the bundled tasks, a line each; or one task with a rendered prompt."""
    if name is not None:
        return _one_task(name, as_json)
    found = [read_task(find_file(each, "tasks"))[0] for each in task_names()]
    if as_json:
        return json.dumps([_task_json(config) for config in found], ensure_ascii=False)
    width = max(len(config.task) for config in found)
    lines = (f"{c.task:{width}}  {c.kind:8}  {c.licence:16}  {_where(c):28}  {c.asks}" for c in found)
    return "\n".join([*lines, "", "one task with a rendered prompt: harness tasks NAME"])


def models(paths: Sequence[str], as_json: bool) -> str:
    """Returns what is known of each model; without paths, of the demo models that ship with the package."""
    wanted = list(paths) or sorted(path.name for path in folders.DEMO.iterdir() if path.is_dir())
    found = [_model(path) for path in wanted]
    if as_json:
        return json.dumps(found, ensure_ascii=False)
    return "\n\n".join("\n".join(_model_lines(model)) for model in found)


def _task_json(config: TaskConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", by_alias=True)


def _where(config: TaskConfig) -> str:
    return config.data.hub or "bundled"


def _one_task(name: str, as_json: bool) -> str:
    path = find_file(name, "tasks")
    config, _ = read_task(path)
    if as_json:
        return json.dumps(_task_json(config), ensure_ascii=False)
    lines = [path.read_text(encoding="utf-8").rstrip(), ""]
    try:
        task = load_task(TaskUse(task=name))
    except HarnessError as error:
        return "\n".join([*lines, "# its data are not on this machine, so no prompt can be shown:", str(error)])
    sample = task.samples[0]
    prompt = render(task.config, sample, shots_for(task, sample, 0), chat=False)
    shown = [f"# the prompt of sample {sample.id}, of {len(task.samples)}:", str(prompt)]
    return "\n".join([*lines, *shown, f"# right answer: {answer_text(task.config, sample)}"])


def _model(path: str) -> dict[str, Any]:
    folder = folders.resolve_model(path)
    folders.check_safe(folder)
    known = {**asdict(folders.inspect_model(folder)), "openness": asdict(openness.describe(folder))}
    return {"path": str(folder), **known, "files": folders.digest_model(folder)}


def _model_lines(model: dict[str, Any]) -> Iterator[str]:
    declared = openness.describe(Path(model["path"]))
    yield f"{model['name']}  ({model['path']})"
    yield f"  architecture  {model['architecture'] or 'unknown'}"
    yield f"  parameters    {model['parameters']:,} in {model['dtype']}, {model['bytes'] / 1e6:,.1f} MB of weights"
    yield f"  context       {model['context_length'] or 'unknown'} tokens"
    yield f"  chat template {'yes' if model['has_chat_template'] else 'none'}"
    yield from (f"  {line}" for line in openness.lines(declared))
    yield "  safe to load  yes: safetensors only, no code in its configuration"
    for name, digest in model["files"].items():
        yield f"  sha256        {digest[:16]}…  {name}"
