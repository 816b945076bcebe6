"""One response to one score. Only files are read: no model, no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from harness.config.task import TaskConfig
from harness.tasks.kinds import kind_of
from harness.tasks.kinds.conversation import ConversationTask, turn_of
from harness.tasks.lm_eval_judge import is_judged_by
from harness.tasks.lm_eval_judge import judge as judged_by_lm_eval
from harness.tasks.prompts import answer_text
from harness.tasks.rubric import NOT_ASKED, Told
from harness.values import Failure, Response, Sample, Score

ByTurn = Mapping[int, Told]  # what a judge model said of each turn, from 1; there is one turn but in conversations
NO_TURNS: ByTurn = MappingProxyType({})


def judge(task: TaskConfig, sample: Sample, response: Response, told: Told = NOT_ASKED) -> Score:
    """Returns the judgement of one response: a value, or a named failure. `told`: what a judge model said of it."""
    if response.error is not None:
        return Score(None, None, Failure.BACKEND_ERROR)
    if is_judged_by(task):
        return judged_by_lm_eval(task, sample, response)
    return kind_of(task).score(task, sample, response, told)


def counted(task: TaskConfig, score: Score) -> float | None:
    """Returns what counts in the mean: 0 for a failure that the task counts as wrong, None where it is left out."""
    return 0.0 if score.value is None and score.failure in task.wrong else score.value


def right_answers(task: TaskConfig, sample: Sample) -> Iterator[str]:
    """Yields the right answer to a sample, or to each scored turn of a conversation, where one is known."""
    if not isinstance(task, ConversationTask):
        if sample.expected is not None:
            yield f"right answer: {answer_text(task, sample)}"
        return
    for turn in sample.scored:
        config, one = turn_of(task, sample, turn)
        if one.expected is not None:
            yield f"right answer to turn {turn}: {answer_text(config, one)}"
