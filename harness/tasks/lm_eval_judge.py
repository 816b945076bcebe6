"""Answers to tasks of lm-evaluation-harness, judged by their own code."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from harness.config.lm_eval_names import PREFIX
from harness.config.task import TaskConfig
from harness.errors import TaskError
from harness.scoring import cells
from harness.scoring.scorers import BYTES, NATS, WORDS
from harness.tasks.lm_eval_catalogue import as_lm_eval, catalogue, manager_of
from harness.values import Failure, Response, Sample, Score

NORMALISED = "acc_norm"  # lm-eval's accuracy by log-probability per character
# the metric by which a task's results are published, where it is not the first that lm-eval names
PUBLISHED = {
    **dict.fromkeys(("arc_challenge", "arc_easy", "hellaswag", "openbookqa", "piqa", "sciq"), NORMALISED),
    "drop": "f1",
}
BUILT: dict[str, object] = {}  # lm-eval's task by our `score:` key as JSON; this process only


def is_judged_by(config: TaskConfig) -> bool:
    """Tells if lm-eval judges the answers to a task."""
    return any(isinstance(spec, Mapping) and "lm_eval" in spec for spec in config.scores)


@dataclass(frozen=True, slots=True)
class _Spec:
    """Which of lm-eval's tasks judges, and with which file of a user's, where it is in one."""

    task: str
    multiple_input: bool
    multiple_target: bool
    file: Mapping[str, str] | None = None  # name and sha256


def _spec(config: TaskConfig) -> _Spec:
    return _Spec(**config.scores[0]["lm_eval"])


def refuse_unknown(config: TaskConfig) -> None:
    """Raises TaskError for a task file of a user's that this process was not given: a run folder brings no code."""
    if is_judged_by(config) and (file := _spec(config).file) is not None and key_of(config) not in BUILT:
        raise TaskError(
            f"answers to {config.task} are judged by lm-eval's task file {file['name']}",
            where="a run folder never brings code to run",
            fix="judge it again with the command that made it: harness run CONFIG --out RUN",
        )


def judge(config: TaskConfig, sample: Sample, response: Response) -> Score:
    """Returns lm-eval's judgement: the value is the task's metric, by default the first in [0, 1] that is averaged.

    Metrics carry lm-eval's names, with the filter where there is one ("exact_match,flexible-extract"). Where only all
    answers together tell something (BLEU), single ones have no value; see `aggregated`.
    """
    try:
        found = _results(config, sample, response)
    except Exception as error:  # a scorer's fault is one sample's failure, not the run's
        return Score(None, f"{type(error).__name__}: {error}"[:200], Failure.SCORER_ERROR)
    task = _built(config, sample)
    shares = {name: share for name, value in found.items() if (share := _share(task, name, value)) is not None}
    if config.rolling:
        return _of_text(found, shares, sample, response)
    answer = response.text if config.writes else _preferred(config, sample, response)
    metrics = shares | ({NATS: -float(found["perplexity"])} if "perplexity" in found else {})
    if not shares:
        return Score(None, answer, Failure.UNSCORED, metrics)
    return Score(shares.get(config.headline or "", next(iter(shares.values()))), answer, None, metrics)


def aggregated(config: TaskConfig, answers: Iterable[tuple[Sample, Response]]) -> dict[str, float]:
    """Returns what lm-eval makes of all answers together, for metrics that are no mean of shares; by `lm_eval:name`."""
    items: dict[str, list[Any]] = {}
    task = None
    for sample, response in answers:
        if response.error is not None:
            continue
        task = _built(config, sample)
        with contextlib.suppress(Exception):  # it is a record's scorer_error already
            for name, value in _results(config, sample, response).items():
                items.setdefault(name, []).append(value)
    told = {
        name: values
        for name, values in items.items()
        if name not in _OURS and any(_share(task, name, value) is None for value in values)
    }
    return {f"{PREFIX}{name}": float(_aggregation(task, name)(values)) for name, values in told.items()}


_OURS = {"perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"}  # from the sums in the records


def _results(config: TaskConfig, sample: Sample, response: Response) -> dict[str, Any]:
    """Returns lm-eval's metrics of one answer, by name: those of its first filter first."""
    from lm_eval.api.instance import Instance

    task = _built(config, sample)
    row: Any = sample.row  # as `lm_eval_tasks` made it
    doc = row["doc"]
    asked: list[tuple[Any, ...]]
    answers: list[Any]
    if config.rolling:
        asked, answers, kind = [(row["text"],)], list(response.logprobs or ()), "loglikelihood_rolling"
    elif config.writes:
        asked, answers, kind = [(row["context"], {})], [response.text or ""], "generate_until"
    else:
        given = row["given"] or [""] * len(row["continuations"])
        asked = [(row["context"] + more, text) for more, text in zip(given, row["continuations"], strict=True)]
        greedy = response.greedy or (False,) * len(asked)
        answers = list(zip(response.logprobs or (), greedy, strict=True))
        kind = "loglikelihood"
    named = (config.task, 0, 1)
    instances = [
        Instance(kind, doc, arguments, i, named, [answer])
        for i, (arguments, answer) in enumerate(zip(asked, answers, strict=True))
    ]
    task._instances = instances
    task.apply_filters()
    found: dict[str, object] = {}
    for name in instances[0].filtered_resps:
        for metric, value in task.process_results(doc, [one.filtered_resps[name] for one in instances]).items():
            found[metric if name == "none" else f"{metric},{name}"] = value
    return found


def _of_text(found: Mapping[str, Any], shares: Mapping[str, float], sample: Sample, response: Response) -> Score:
    """Returns the judgement of a whole text: the probability of a byte, and the sums that perplexities are made of."""
    size = {BYTES: "bits_per_byte", WORDS: "word_perplexity"}
    spread = {name: float(found[metric][1]) for name, metric in size.items() if metric in found}
    spread.setdefault(BYTES, float(len(cells.text(sample.row, "text").encode("utf-8", "surrogatepass"))))
    nats = -float((response.logprobs or (math.nan,))[0])
    return Score(math.exp(-max(nats, 0.0) / spread[BYTES]), None, None, {**shares, NATS: nats, **spread})


def _preferred(config: TaskConfig, sample: Sample, response: Response) -> str | None:
    """Returns the likeliest text; with `acc_norm` as the task's metric, the likeliest for its length in characters."""
    logprobs = response.logprobs
    if not logprobs:
        return None
    texts = sample.labels or tuple(str(text).strip() for text in cells.items(sample.row, "continuations"))
    sizes = [len(text) if config.headline == NORMALISED else 1 for text in texts]
    return texts[max(range(len(texts)), key=lambda i: logprobs[i] / sizes[i])]


def _share(task: Any, name: str, value: Any) -> float | None:
    """Returns a value in [0, 1] that lm-eval averages, None for any other."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    mean = getattr(_aggregation(task, name), "__name__", "") == "mean"
    return number if mean and 0.0 <= number <= 1.0 else None


def _aggregation(task: Any, name: str) -> Callable[[Sequence[Any]], Any]:
    from lm_eval.api.metrics import mean

    found: Callable[[Sequence[Any]], Any] = task.aggregation().get(name.partition(",")[0], mean)
    return found


def key_of(config: TaskConfig) -> str:
    """Returns what lm-eval's task is kept by in this process."""
    return json.dumps(config.scores[0], sort_keys=True)


def _built(config: TaskConfig, sample: Sample) -> Any:
    """Returns lm-eval's task: the one that asked, or in a later process one of the catalogue, without its data."""
    if key_of(config) not in BUILT:
        refuse_unknown(config)
        BUILT[key_of(config)] = _rebuilt(_spec(config), sample)
    return BUILT[key_of(config)]


def _rebuilt(score: _Spec, sample: Sample) -> Any:
    from datasets import Dataset

    class One(dict[str, object]):
        def __missing__(self, split: str) -> Any:
            return Dataset.from_list([sample.row["doc"]])

    if find_spec("lm_eval") is None or score.task not in catalogue():
        what = f"answers to {PREFIX}{score.task} are judged by lm-eval, which is not installed or lacks the task"
        raise TaskError(what, where="score", fix="pip install 'openweights-harness[lm-eval]'")
    without = {"custom_dataset": lambda **_: One(), "process_docs": None, "fewshot_config": None, "num_fewshot": 0}
    spec = {"group": "harness", "task": [{"task": score.task, **without}]}
    with as_lm_eval():
        (task,) = manager_of(catalogue()[score.task].parent).load(spec)["tasks"].values()
    task.multiple_input, task.multiple_target = score.multiple_input, score.multiple_target
    return task
