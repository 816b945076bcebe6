"""Tasks of lm-evaluation-harness (extra `lm-eval`), asked by our engine and judged by their own code.

    lm_eval:arc_easy                 a task, group or tag of the installed catalogue
    lm_eval:my_tasks/tickets.yaml    a task file in lm-eval's form

Their task objects write the prompts (all of them, in order: their shots come from one stream of random numbers) and
judge the answers; between the two everything is ours. A task file of one's own may bring Python, so its answers are
judged only by a process that was given the file. Tasks that run code or show pictures are refused. One difference: of
a whole text (rolling), the token that opens it is not judged; lm-eval does so too with add_bos_token=False.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config.lm_eval_names import PREFIX, _is_path, _text
from harness.config.task import TaskConfig
from harness.errors import DataError, HarnessError, TaskError
from harness.tasks.data.formats import DataSource
from harness.tasks.data.read import load_rows
from harness.tasks.kinds import KINDS, keys_of, task_from
from harness.tasks.lm_eval_catalogue import SEEDS, as_lm_eval, file_of, manager_of, need_lm_eval
from harness.tasks.lm_eval_judge import BUILT, PUBLISHED, key_of
from harness.values import Sample

ANSWER_TOKENS = 256  # where the task says nothing: lm-eval's default for models in process
ASKED_AS = {"loglikelihood": "pairs", "generate_until": "generate", "loglikelihood_rolling": "perplexity"}
SETTINGS = {  # of `generation_kwargs`, beside those read below: what changes nothing
    "num_beams": (1,),
    "return_full_text": (False,),
    "early_stopping": (False,),
    "num_return_sequences": (1,),
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A task of lm-eval as ours: how it is asked, and its samples."""

    config: TaskConfig
    samples: tuple[Sample, ...]
    origin: str


def load(task: str, data: Path | None, num_fewshot: int | None) -> tuple[Loaded, ...]:
    """Returns a task of lm-eval, or all of a group or tag, with their prompts written.

    `data` is a local copy in place of what lm-eval would fetch; `num_fewshot` is lm-eval's. Raises TaskError for what
    is not there or cannot be asked here, DataError for data that cannot be read.
    """
    need_lm_eval(task)
    name = task.removeprefix(PREFIX)
    with as_lm_eval():
        try:
            found = _build(name, data)
            return tuple(_loaded(one, file, data, num_fewshot) for one, file in found)
        except HarnessError:
            raise
        except Exception as error:  # of code that is not ours: its data, its templates, its Python
            what = f"lm-eval cannot make the task '{name}': {type(error).__name__}: {str(error).strip()[:200]}"
            fix = f"--data {task}=FILE_OR_FOLDER reads a local copy of its data; `lm_eval validate` says more"
            raise TaskError(what, where=task, fix=fix) from None


def _build(name: str, data: Path | None) -> list[tuple[Any, Path | None]]:
    """Returns lm-eval's task objects, each with its file if that is the user's own."""
    own = _is_path(name)
    path = file_of(name)
    if re.search(r"^unsafe_code:\s*true", _text(path), re.MULTILINE):  # its import alone would load what runs code
        _refuse_code(name)
    manager = manager_of(path.parent)
    index = manager.task_index
    if own:
        name = next((each for each, entry in index.items() if _is_at(entry, path)), "")
    if name not in index:
        raise TaskError(f"{path} is no task of lm-eval", where="tasks", fix="it needs `task:` with a name")
    spec: Any = name
    if data is not None:
        if index[name].kind.name not in ("TASK", "PY_TASK"):
            what = f"'{name}' is a group of tasks, one local copy of data is not enough"
            raise TaskError(what, where=f"--data {PREFIX}{name}", fix="name its tasks one by one")
        splits = _Splits(data, index[name].cfg or {})
        spec = {"group": "harness", "task": [{"task": name, "custom_dataset": lambda **_: splits}]}
        built = _with_splits(lambda: manager.load(spec)["tasks"].values(), splits)
    else:
        built = list(manager.load(spec)["tasks"].values())
    return [(task, Path(index[task.task_name].yaml_path).resolve() if own else None) for task in built]


def _is_at(entry: Any, path: Path) -> bool:
    return entry.yaml_path is not None and Path(entry.yaml_path).resolve() == path.resolve()


class _Splits(dict[str, object]):
    """The splits of a local copy, read when lm-eval asks for them. One that is missing is empty, and remembered."""

    def __init__(self, data: Path, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.data = data
        self.judged = config.get("test_split") or config.get("validation_split")
        self.missing: DataError | None = None

    def __missing__(self, split: str) -> Any:
        from datasets import Dataset

        try:
            rows = load_rows(
                DataSource(hub="x/x", split=self.judged), base=Path(), override=self.data, split=split
            ).rows
        except DataError as error:
            if split == self.judged:
                raise
            self.missing, rows = error, ()
        self[split] = Dataset.from_list([dict(row) for row in rows])
        return self[split]


def _with_splits(build: Callable[[], Iterable[Any]], splits: _Splits) -> list[Any]:
    """Returns tasks whose shots, if they show any, are there."""
    built = list(build())
    if splits.missing is not None and any(task.get_config("num_fewshot") for task in built):
        raise splits.missing
    return built


def _refuse_code(name: str) -> None:
    what = f"'{name}' judges answers by running code, and there is no sandbox to do that in yet"
    raise TaskError(
        what, where=f"{PREFIX}{name}", fix="leave it out; humaneval and mbpp can be asked with --responses-only"
    )


def _loaded(task: Any, file: Path | None, data: Path | None, num_fewshot: int | None) -> Loaded:
    name = f"{PREFIX}{task.task_name}"
    if getattr(task, "UNSAFE_CODE", False):
        _refuse_code(task.task_name)
    if getattr(task, "MULTIMODAL", False):
        raise TaskError(f"'{name}' shows pictures or sound", where=name, fix="only tasks of text can be asked here")
    if (task.get_config("repeats") or 1) > 1:
        what = f"'{name}' draws {task.get_config('repeats')} answers to each question and judges them together"
        raise TaskError(what, where=name, fix="a task of ours can, with `epochs` and `reduce`")
    _set_shots(task, name, num_fewshot)
    task.build_all_requests()
    by_doc: dict[int, list[Any]] = {}
    for instance in task.instances:
        by_doc.setdefault(instance.doc_id, []).append(instance)
    kind = _kind(by_doc.values(), name)
    score = {"task": task.task_name, "file": None if file is None else _digested(file)}
    score |= {"multiple_input": bool(task.multiple_input), "multiple_target": bool(task.multiple_target)}
    known = KINDS[kind].CONFIG
    asked = generation_of(next(iter(by_doc.values()))[0].args[1], name) if known.writes else {}
    hub = str(task.get_config("dataset_path") or "lm-eval")
    if file is None and data is None and Path(hub).exists():  # the library that lm-eval uses has read that instead
        what = f"'{hub}' here would stand in the place of the hub's data set"
        raise TaskError(what, where=name, fix=f"rename it; or, if it is what you want: --data {name}={hub}")
    values = {
        "task": name,
        "version": _version(task),
        "asks": f"what lm-eval's task {task.task_name} asks",
        "source": f"lm-evaluation-harness {_lm_eval_version()}",
        "data": {"hub": hub},
        "kind": kind,
        "prompt": "{context}",
        "delimiter": "",
        "answer": "text" if known.rolling else "target",
        "chat": "off",
        "extract": "raw",
        "score": {"lm_eval": score},
        "metric": PUBLISHED.get(task.task_name),
        **asked,
    }
    config = task_from({key: value for key, value in values.items() if key in keys_of(known)}, name)
    BUILT[key_of(config)] = task
    samples = tuple(_sample(config, task, str(doc_id), instances) for doc_id, instances in by_doc.items())
    return Loaded(config, samples, str(data) if data is not None else f"lm-eval's {hub}")


def _set_shots(task: Any, name: str, num_fewshot: int | None) -> None:
    fixed = task.get_config("num_fewshot")
    if num_fewshot is not None and fixed == 0:
        what = f"lm-eval asks '{name}' without examples, whatever it is told"
        raise TaskError(what, where=f"{name}: num_fewshot", fix="leave num_fewshot out")
    if num_fewshot is not None or fixed is None:
        task.set_config("num_fewshot", num_fewshot or 0)
    splits = getattr(task, "dataset", None)
    if task.get_config("num_fewshot") and isinstance(splits, _Splits) and splits.missing is not None:
        raise splits.missing
    task.set_fewshot_seed(SEEDS["shots"])


def _kind(docs: Iterable[Sequence[Any]], name: str) -> str:
    """Returns how a task is asked; raises TaskError where one question takes requests of several types."""
    types = {instance.request_type for instances in docs for instance in instances}
    alone = all(len(instances) == 1 for instances in docs)
    if len(types) > 1 or (types != {"loglikelihood"} and not alone):
        what = f"'{name}' asks {' and '.join(sorted(types))} about one question"
        raise TaskError(what, where=name, fix="only tasks that ask one kind of thing can be asked here")
    return ASKED_AS[types.pop()]


def generation_of(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the keys of our task for lm-eval's `generation_kwargs`, read as its models in process read them."""
    rest = dict(settings)
    until = rest.pop("until", None) or []
    limits = [rest.pop(key, None) for key in ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")]
    drawn = rest.pop("do_sample", None)
    drawing = {key: rest.pop(key) for key in ("temperature", "top_p", "top_k", "min_p") if key in rest}
    penalty = {"repetition_penalty": rest.pop("repetition_penalty")} if "repetition_penalty" in rest else {}
    strange = [key for key, value in rest.items() if key not in SETTINGS or value not in SETTINGS[key]]
    if strange:
        what = f"'{name}' generates with {strange[0]}: {rest[strange[0]]!r:.60}, which the engine here does not know"
        raise TaskError(what, where=name, fix="leave it out")
    found = {
        "stop": [text for text in ([until] if isinstance(until, str) else until) if text],
        "max_tokens": int(next((limit for limit in limits if limit is not None), ANSWER_TOKENS)),
    }
    return {**found, "generation": (drawing if drawn else {}) | penalty}


def _sample(config: TaskConfig, task: Any, id: str, instances: Sequence[Any]) -> Sample:
    doc = _plain(instances[0].doc)
    row = {"doc": doc, "target": _plain(task.doc_to_target(instances[0].doc))}
    if config.rolling:
        return Sample(id, config.task, row | {"text": instances[0].args[0]}, instances[0].args[0])
    contexts = [instance.args[0] for instance in instances]
    row["context"] = os.path.commonprefix(contexts)  # noqa: RUF071  (of texts)
    if config.writes:
        return Sample(id, config.task, row, row["target"])
    given = [context[len(row["context"]) :] for context in contexts]
    row |= {"given": given if any(given) else [], "continuations": [instance.args[1] for instance in instances]}
    choices, gold = _choices(task, instances[0].doc, row["target"])
    if gold is None or len(choices) != len(instances):
        return Sample(id, config.task, row, row["target"])
    return Sample(id, config.task, row, choices[gold], choices, choices, gold)


def _choices(task: Any, doc: Any, target: Any) -> tuple[tuple[str, ...], int | None]:
    """Returns the choices of a question and which is right, if it is one of them."""
    if task.get_config("doc_to_choice") is None:
        return (), None
    choices = tuple(map(str, task.doc_to_choice(doc)))
    right = task.doc_to_text(doc) if task.multiple_input else target
    if isinstance(right, str):
        right = choices.index(right) if right in choices else None
    known = isinstance(right, int) and not isinstance(right, bool) and 0 <= right < len(choices)
    return choices, right if known else None


def _plain(value: Any) -> Any:
    """Returns a value as JSON holds it: what a run folder keeps of a row."""
    return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)


def _version(task: Any) -> int:
    try:
        return max(1, int(float(task.VERSION)))
    except (TypeError, ValueError):
        return 1


def _lm_eval_version() -> str:
    from importlib.metadata import version

    return version("lm_eval")


def _digested(file: Path) -> dict[str, str]:
    return {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
