"""A task file and its rows to samples, and the shots shown before each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.config import lm_eval_names
from harness.config.files import bundled, bundled_names, find_file
from harness.config.run import TaskUse
from harness.config.task import Judging, OneAnswer, Question, TaskConfig, Writing
from harness.config.yaml_file import YamlFile
from harness.errors import TaskError, nearest
from harness.scoring import extractors, scorers
from harness.scoring.scorers import COUNTS, FOLLOWED, own_python
from harness.tasks import lm_eval_tasks
from harness.tasks.answer_form import check_form
from harness.tasks.data.prepare import PREPARE
from harness.tasks.data.read import Rows
from harness.tasks.kinds import kind_of, read_task, samples_of
from harness.tasks.kinds.choice import ChoiceTask
from harness.tasks.kinds.conversation import ConversationTask
from harness.tasks.lm_eval_judge import is_judged_by
from harness.tasks.prompt_layouts import asked_by
from harness.tasks.rows import _rows, digest
from harness.tasks.rubric import NOT_ASKED, Told, best_reply
from harness.tasks.samples import NO_ANSWER, need_column, rows_of
from harness.tasks.score_answer import judge
from harness.tasks.shots import pool_of
from harness.tasks.task import Task
from harness.values import SENSITIVITIES


def load_tasks(use: TaskUse) -> tuple[Task, ...]:
    """Returns the task a run uses, once for each of its prompts: then named `task[prompt]`. Raises as `load_task`."""
    if lm_eval_names.is_named(use.task):
        return _of_lm_eval(use)
    if use.num_fewshot is not None:
        fix = "change `shots` in the task file; num_fewshot is for lm_eval: tasks"
        raise TaskError(f"task '{use.task}' has no num_fewshot", where="tasks", fix=fix)
    task = _load(use)
    prompts = task.config.prompts if isinstance(task.config, Question) else None
    return tuple(asked_by(task, name, prompt) for name, prompt in (prompts or {}).items()) or (task,)


def _of_lm_eval(use: TaskUse) -> tuple[Task, ...]:
    found = lm_eval_tasks.load(use.task, Path(use.data) if use.data is not None else None, use.num_fewshot)
    return tuple(
        Task(
            _raised(one.config, use), Path(use.task), one.samples, (), digest([s.row for s in one.samples]), one.origin
        )
        for one in found
    )


def load_task(use: TaskUse) -> Task:
    """Returns the task a run uses (with the first of its prompts), its data read and every row checked.

    Raises TaskError or DataError for anything that would make the score wrong: a missing column, a row without an
    answer, an answer that is none of the choices, an id that stands twice, an unknown extractor or scorer.
    """
    return load_tasks(use)[0]


def _load(use: TaskUse) -> Task:
    path = find_file(use.task, "tasks")
    config, file = read_task(path)
    return task_of(_raised(config, use), file, path, Path(use.data) if use.data is not None else None)


def task_of(
    config: TaskConfig, file: YamlFile, path: Path, override: Path | None = None, rows: Rows | None = None
) -> Task:
    """Returns a task of its checked file and its data: `rows`, else those that the file or `override` names."""
    if config.prepare is not None and config.prepare not in PREPARE:
        raise TaskError(
            f"no function '{config.prepare}'", where=file.where(("prepare",)), fix=nearest(config.prepare, PREPARE)
        )
    _check_extractors(config, file)
    config = _admitted(config, path, file)
    _check_costs(config, file)
    if isinstance(config, Writing) and config.constrain is not None:
        check_form(config.constrain, file.where(("constrain",)))
    rows = rows or _rows(config, path, override, config.data.split)
    samples = samples_of(config, rows, path, config.data.id)
    for scorer, column in (named for spec in config.scores for named in scorers.columns_of(spec)):
        for i, row in enumerate(rows_of(samples)):
            if column not in row:
                need_column(row, column, f"score: {scorer}", f"{path} ({rows.origin}) sample {samples[i].id}")
    left_out = len(rows.rows) - len(samples) if config.data.without else 0
    pool = pool_of(config, path, override, samples)
    task = Task(config, path, samples, pool, rows.digest, rows.origin, left_out, rows.sets)
    _check_metric(task, file)
    return task


JUDGED = 20  # samples whose metrics are looked at, to know which there are


def _check_metric(task: Task, file: YamlFile) -> None:
    """Raises TaskError for a `metric` that no judgement of the task's right, wrong and empty answers tells."""
    wanted = task.config.headline
    if wanted is None or is_judged_by(task.config):
        return
    known = dict.fromkeys(name for name in _metrics_of(task) if name not in {*COUNTS, *FOLLOWED})
    if wanted not in known:
        what = f"metric: '{wanted:.60}' is none that answers to this task have"
        fix = nearest(wanted, known) if known else "leave it out: the scorer gives one value and nothing beside it"
        raise TaskError(what, where=file.where(("metric",)), fix=fix)


def _metrics_of(task: Task) -> Iterator[str]:
    """Yields the metrics of the task's first answers whose judgement is known, as if it named none."""
    plain = task.config.model_copy(update={"metric": None})
    told = NOT_ASKED if plain.judged_by is None else Told(best_reply(plain.judged_by))
    if isinstance(plain, ChoiceTask):
        yield "accuracy"
    for one in kind_of(plain).examples(plain, tuple(task.samples[:JUDGED])):
        for response in (one.gold, one.wrong, one.empty):
            if response is not None:
                yield from judge(one.config, one.sample, response, told).metrics


def _own_folder(config: TaskConfig, path: Path) -> Path | None:
    """Returns the folder from which a task may load its own Python: None for a bundled task, and for hub data."""
    ours = path.resolve().is_relative_to(bundled("tasks").resolve())
    return None if ours or config.data.file is None else path.parent


def _check_extractors(config: TaskConfig, file: YamlFile) -> None:
    for key, spec in _extractors(config):
        if spec is not None:
            extractors.check_spec(spec, file.where(key))


def _extractors(config: TaskConfig) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yields each `extract:` of a task file, and each of its `also:`, after the keys under which it stands."""
    if isinstance(config, Judging):
        yield ("extract",), config.extract
    if isinstance(config, Writing):
        yield from ((("also", name), spec) for name, spec in config.also.items())
    if isinstance(config, Question):
        yield from ((("prompts", name, "extract"), one.extract) for name, one in (config.prompts or {}).items())
    if isinstance(config, ConversationTask):
        yield from ((("scored", turn, "extract"), judged.extract) for turn, judged in (config.scored or {}).items())


def _admitted(config: TaskConfig, path: Path, file: YamlFile) -> TaskConfig:
    """Returns the task with every `score:` checked, and the Python that they name loaded."""

    def checked(spec: Any, *key: str | int) -> Any:
        if spec is None:
            return None
        scorers.check_spec(spec, file.where(key))
        return own_python.admit(spec, _own_folder(config, path), str(path))

    changes: dict[str, object] = {}
    if isinstance(config, ConversationTask):
        turns = {
            turn: judged.model_copy(update={"score": checked(judged.score, "scored", turn, "score")})
            for turn, judged in (config.scored or {}).items()
        }
        changes["scored"] = turns or None
    if isinstance(config, OneAnswer | Judging):
        changes["score"] = checked(config.score, "score")
    return config.model_copy(update=changes)


def _check_costs(config: TaskConfig, file: YamlFile) -> None:
    """Raises TaskError for a label in `costs` that is none of the task's choices, where those are a fixed list."""
    if not isinstance(config, ChoiceTask) or config.costs is None or not isinstance(config.choices, tuple):
        return
    for right, costs in config.costs.items():
        for label in (right, *costs):
            known = config.choices if label == right else (*config.choices, NO_ANSWER)
            if label not in known:
                raise TaskError(
                    f"costs: '{label}' is none of the choices", where=file.where(("costs",)), fix=nearest(label, known)
                )


def task_names() -> list[str]:
    """Returns the names of the tasks that ship with the package."""
    return bundled_names("tasks")


def _raised(config: TaskConfig, use: TaskUse) -> TaskConfig:
    if use.sensitivity is None:
        return config
    if SENSITIVITIES.index(use.sensitivity) < SENSITIVITIES.index(config.sensitivity):
        raise TaskError(
            f"sensitivity '{config.sensitivity}' cannot be lowered to '{use.sensitivity}'",
            where=f"task {config.task} in the run file",
            fix="sensitivity travels with the data: change the task file if it is wrong",
        )
    return config.model_copy(update={"sensitivity": use.sensitivity})
