"""The kinds of task, one module each; `harness.tasks.kinds.base` says what a module gives.

To add one: write the module, and name it in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from harness.config.base import _checked
from harness.config.task import TaskConfig
from harness.config.yaml_file import YamlFile, read_yaml
from harness.errors import ConfigError, HarnessError, TaskError, nearest
from harness.tasks.data.read import Rows
from harness.tasks.kinds import choice, cloze, conversation, generate, pairs, perplexity
from harness.tasks.kinds.base import Kind
from harness.tasks.prompts import ANSWER, ASKED, columns_of
from harness.tasks.samples import table_of
from harness.values import Prompt, Sample

KINDS: Mapping[str, Kind[Any]] = {
    "choice": choice,
    "cloze": cloze,
    "generate": generate,
    "conversation": conversation,
    "perplexity": perplexity,
    "pairs": pairs,
}


def kind_of(config: TaskConfig) -> Kind[Any]:
    """Returns the kind of a task."""
    return KINDS[config.kind]


# --- task files ------------------------------------------------------------------------------------------------------


def read_task(path: Path) -> tuple[TaskConfig, YamlFile]:
    """Returns the task of a file, and the file (for the lines that messages name)."""
    file = read_yaml(path)
    return _read(file, TaskError, unwritten=False), file


def task_from(values: Mapping[str, object], where: str) -> TaskConfig:
    """Returns a task from the keys of its file; `where` is what messages name. Raises ConfigError."""
    return _read(YamlFile(Path(where), values, {}), ConfigError, unwritten=True)


def task_from_old(values: Mapping[str, object]) -> TaskConfig:
    """Returns a task from what a run folder holds of it.

    Runs written before a kind had keys of its own hold every key of every kind: those that this kind does not have
    meant nothing then, and are left out. Raises ValueError for what is no task.
    """
    kind = values.get("kind") if isinstance(values, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind {kind!r:.60} is no kind of task")
    known = KINDS[kind].CONFIG
    return _config(known.model_validate({key: value for key, value in values.items() if key in keys_of(known)}))


def _stored(value: Any) -> TaskConfig:
    return value if isinstance(value, TaskConfig) else task_from_old(value)


StoredTask = Annotated[SerializeAsAny[TaskConfig], BeforeValidator(_stored)]  # a task as run folders hold it


def keys_of(config: type[TaskConfig]) -> frozenset[str]:
    """Returns the keys of a class of task files, as a file has them."""
    return frozenset(field.alias or name for name, field in config.model_fields.items())


def _read(file: YamlFile, error: type[HarnessError], unwritten: bool) -> TaskConfig:
    kind = file.data.get("kind")
    if kind is None:
        if misspelt := get_close_matches("kind", map(str, file.data), n=1, cutoff=0.7):
            raise error(f"unknown key '{misspelt[0]}'", where=file.where((misspelt[0],)), fix="did you mean 'kind'?")
        raise error("key 'kind' is missing", where=file.where(("kind",)), fix=f"add `kind: ...`: {', '.join(KINDS)}")
    if not isinstance(kind, str) or kind not in KINDS:
        what = f"kind: '{kind!s:.60}' is no kind of task"
        raise error(what, where=file.where(("kind",)), fix=nearest(str(kind), KINDS))
    known = KINDS[kind].CONFIG
    own = keys_of(known) - (frozenset() if unwritten else known.unwritten)
    for key in file.data:
        others = [name for name, other in KINDS.items() if key in keys_of(other.CONFIG) - other.CONFIG.unwritten]
        if key not in own and others:
            what = f"a {kind} task has no `{key}`"
            raise error(what, where=file.where((key,)), fix=f"leave it out: it is for `kind: {'`, `'.join(others)}`")
    return _config(_checked(known, file, error))


def _config(config: Any) -> TaskConfig:
    assert isinstance(config, TaskConfig)
    return config


# --- what is asked of a task whatever its kind ---------------------------------------------------------------------


def samples_of(config: TaskConfig, rows: Rows, path: Path, id_column: str | None) -> Sequence[Sample]:
    """Returns a sample for each row of a task. Raises TaskError or DataError for what would make the score wrong."""
    return kind_of(config).samples(config, table_of(config, rows, path, id_column))


def prompt_of(config: TaskConfig, sample: Sample, shots: Sequence[Sample], chat: bool) -> Prompt:
    """Returns what is asked about one sample, or what the first answer of a conversation follows."""
    return kind_of(config).prompt(config, sample, shots, chat)


def script(config: TaskConfig, sample: Sample, shots: Sequence[Sample]) -> str:
    """Returns what is asked about one sample, for people: of a conversation all turns, as text."""
    kind = kind_of(config)
    prompt = kind.prompt(config, sample, shots, False)
    for more in kind.later(config, sample, False):
        prompt = prompt.answered(kind.replied(config, ANSWER, False), more)
    return prompt.content


def check_prompts_differ(config: TaskConfig, samples: Sequence[Sample], where: str) -> None:
    """Raises TaskError where all samples, of which there are several, are asked the very same.

    The choices of a row are part of what is asked. Nothing is asked before a text, nor in front of lm-eval's pairs.
    Two rows may hold the same question by chance; a prompt that names no column is a mistake for two as well.
    """
    templates = [getattr(config, key, None) or "" for key in ASKED] + list(config.turn_texts)
    fewest = 3 if any(map(columns_of, templates)) else 2
    if not config.templated or len(samples) < fewest:
        return
    asked = ((script(config, sample, ()), sample.choices) for sample in samples)
    first = next(asked)
    if all(one == first for one in asked):
        what = f"all {len(samples)} samples are asked the very same: '{first[0].strip()[:60]}'"
        raise TaskError(
            what, where=where, fix="name what differs as {column}; for several answers to one question: epochs"
        )
