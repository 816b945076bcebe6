"""What a task wants of a generated text to what its requests hold, checked against the model before it is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.backends import Capabilities
from harness.config.model import LocalModel, ModelConfig
from harness.config.task import Writing
from harness.config.yaml_file import read_yaml
from harness.engine.generate.constrained import check_supported
from harness.errors import BackendError, ModelError, TaskError
from harness.models.info import ModelInfo
from harness.tasks.answer_form import form_of
from harness.tasks.task import Task
from harness.values import Sampling

UNHEEDED = {  # of a generation_config.json: would change what is drawn, and is not done here
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "num_beams": 1,
    "min_length": 0,
    "min_new_tokens": 0,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "penalty_alpha": None,
}


def sampling_of(task: Writing, config: ModelConfig, info: ModelInfo | None, seed: int) -> Sampling:
    """Returns how tokens are drawn: as the task says, or with `model_defaults` as `generate` would for this model.

    Keys that the task itself gives go before the model's. Raises ModelError for a model without such a file, or with a
    setting that is not done here.
    """
    asked = task.generation.model_dump()
    if not task.model_defaults:
        return Sampling(**asked, seed=seed)
    where = f"model {config.name}, generation_config.json"
    stated = generation_defaults(config, info)
    if stated is None:
        raise ModelError(
            "the task follows the model's own settings (model_defaults), and it states none",
            where=where,
            fix="set `model_defaults: false` and the settings under `generation`",
        )
    for name, none in UNHEEDED.items():
        if stated.get(name) not in (None, none):
            raise ModelError(
                f"the model's own settings have {name}: {stated[name]}, which is not done here",
                where=where,
                fix="set `model_defaults: false` and the settings under `generation`",
            )
    own = {"temperature": 1.0, "top_k": 50} | {name: stated[name] for name in asked if stated.get(name) is not None}
    if not stated.get("do_sample"):
        own = {name: own[name] for name in ("repetition_penalty",) if name in own}
    given = {name: asked[name] for name in task.generation.model_fields_set}
    return Sampling(**(asked | own | given), seed=seed)


def generation_defaults(config: ModelConfig, info: ModelInfo | None) -> dict[str, Any] | None:
    """Returns the model's own generation_config.json; None if it has none, or is no model folder."""
    if info is None or not isinstance(config, LocalModel):
        return None
    try:
        found = json.loads((Path(config.path) / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def check_writing(task: Task, wanted: Writing, config: ModelConfig, info: ModelInfo | None, can: Capabilities) -> None:
    """Raises a HarnessError, with the line of the task file, for what this model cannot do for this generated task.

    `wanted` is the task's configuration.
    """
    _refuse_beyond(task, wanted, config, can)
    if can.grammars:
        _check_form(task, wanted)
    stated = config.max_length if isinstance(config, LocalModel) else None
    context = stated or (info.context_length if info is not None else None)
    if context is not None and wanted.max_tokens >= context:
        raise TaskError(
            f"max_tokens {wanted.max_tokens} leaves no room for a prompt in the {context} tokens that "
            f"{config.name} reads",
            where=_line(task, "max_tokens"),
            fix="lower `max_tokens`",
        )


def _check_form(task: Task, wanted: Writing) -> None:
    """Raises TaskError naming what of a schema or regex an answer cannot be held to."""
    held = wanted.constrain
    if held is not None and held.enforce:
        check_supported(form_of(held, task.samples[0]), _line(task, "constrain"))


def _refuse_beyond(task: Task, wanted: Writing, config: ModelConfig, able: Capabilities) -> None:
    """Raises BackendError for what the task asks and the model's interface has no word for."""
    can, held = able.writing, wanted.constrain
    form = asdict(form_of(held, task.samples[0])) if held is not None and held.enforce else {}
    switched, bounded = wanted.thinking.switch != "auto", wanted.thinking.budget is not None
    beyond: Mapping[str, tuple[bool, str]] = {
        "constrain": (
            any(value and kind not in can for kind, value in form.items()),
            "add `enforce: false`: answers are then checked, not held",
        ),
        "prefill": (
            bool(wanted.prefill) and "prefill" not in can,
            "leave it out, or use a server with `api: completions`",
        ),
        "thinking": (
            (switched and "switch" not in can) or (bounded and "budget" not in can),
            "set it in the model's `extra`, as its server has it",
        ),
        "logprobs": (wanted.logprobs and "logprobs" not in can, "leave it out: its server tells none"),
        "model_defaults": (
            wanted.model_defaults and "model_defaults" not in can,
            "leave it out: a server draws as `generation` says",
        ),
        "wall_s": (wanted.wall_limit_s is not None and "wall_s" not in can, "set the model's `limits`"),
    }
    for key, (asked, fix) in beyond.items():
        if asked:
            what = f"`{key}` of task '{task.name}' cannot be asked of {config.name}, which runs on a server"
            raise BackendError(what, where=_line(task, key), fix=fix)


def _line(task: Task, key: str) -> str:
    """Returns "file:line" of a key of the task file."""
    return read_yaml(task.path).where((key,))
