"""Tasks in lines for a person: the bundled ones, or one with a rendered prompt."""

from __future__ import annotations

from collections.abc import Sequence

from harness.config.run import TaskUse
from harness.config.task import TaskConfig
from harness.errors import HarnessError
from harness.tasks.catalogue import file_of
from harness.tasks.kinds import script
from harness.tasks.load import load_task
from harness.tasks.score_answer import right_answers
from harness.tasks.shots import shots_for

WIDTH = 100  # columns of a line
_MORE = "one task with a rendered prompt: harness tasks NAME; a search: harness tasks WORD"


def catalogue(tasks: Sequence[TaskConfig]) -> str:
    """Returns a line for each task: name, kind, licence, what it asks."""
    width = max((len(config.task) for config in tasks), default=0)
    lines = (f"{c.task:{width}}  {c.kind:12}  {c.licence:15}  {c.asks}" for c in tasks)
    lines = (line if len(line) <= WIDTH else line[: WIDTH - 1].rstrip() + "…" for line in lines)
    return "\n".join([*lines, "", _MORE])


def one(name: str) -> str:
    """Returns the file of a task and, where its data are on this machine, the prompt of its first sample."""
    lines = [file_of(name).read_text(encoding="utf-8").rstrip(), ""]
    try:
        task = load_task(TaskUse(task=name))
    except HarnessError as error:
        return "\n".join([*lines, "# its data are not on this machine, so no prompt can be shown:", str(error)])
    sample = task.samples[0]
    prompt = script(task.config, sample, shots_for(task, sample, 0))
    shown = [f"# the prompt of sample {sample.id}, of {len(task.samples)}:", prompt]
    return "\n".join([*lines, *shown, *(f"# {line}" for line in right_answers(task.config, sample))])
