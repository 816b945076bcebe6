"""What a judge model is asked about the answers of a run: one request for each text, or each pair in both orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.config.task import Judging
from harness.tasks.kinds.conversation import ConversationTask, turn_of
from harness.tasks.kinds.written import answer_to_judge, text_to_judge
from harness.tasks.rubric import NOTHING, Judge, ask, rubric_of, texts_of
from harness.values import AnswerPlace, Request, Response, ResponseLine, Sample

Samples = Mapping[tuple[str, str], Sample]  # by task and sample id


def name_of(judge: str) -> str:
    """Returns what a judge is called among the models of a run. No model can have such a name."""
    return f"judge {judge}"


def _wanted(
    tasks: Mapping[str, Judging], samples: Samples, responses: Sequence[ResponseLine], judge: Judge, baseline: str
) -> dict[str, dict[str, Request]]:
    """Returns all that the judge is to be asked, by task and key."""
    found: dict[str, dict[str, Request]] = {name: {} for name in tasks}
    for (_, name, _, _), by_turn in _asked(tasks, samples, responses, judge, baseline).items():
        found[name] |= {request.key: request for requests in by_turn.values() for request in requests or ()}
    for name, task in tasks.items():
        labelled = _labelled(task, _of_task(samples, name), judge)
        found[name] |= {request.key: request for requests in labelled.values() for request in requests}
    return found


def _asked(
    tasks: Mapping[str, Judging], samples: Samples, responses: Sequence[ResponseLine], judge: Judge, baseline: str
) -> dict[AnswerPlace, dict[int, tuple[Request, ...] | None]]:
    """Returns what is asked about each answer, or each scored turn of a conversation, by turn from 1.

    None: the baseline's own answer, where answers are compared with those. There is no request about an answer that
    is not there, nor about a pair whose other answer failed for a reason that the task does not count as wrong.
    """
    rivals = {response.place[1:]: response for response in responses if response.model == baseline}
    said: dict[AnswerPlace, list[ResponseLine]] = {}
    found: dict[AnswerPlace, dict[int, tuple[Request, ...] | None]] = {}
    for response in responses:
        where = response.place
        task, sample = tasks[where[1]], samples[where[1], where[2]]
        before = said.setdefault(where, [])  # the log has the turns of a conversation in their order
        before.append(response)
        if sample.scored and len(before) not in sample.scored:
            continue
        if isinstance(task, ConversationTask):
            task, sample = turn_of(task, sample, len(before), before)
        answer = answer_to_judge(task, sample, response)
        by_turn = found.setdefault(where, {})
        if rubric_of(task).against is None:
            by_turn[len(before)] = () if answer is None else ask(task, sample, answer, judge)
        elif where[0] == baseline:
            by_turn[1] = None
        else:
            rival = _rival(task, sample, rivals.get(where[1:]))
            by_turn[1] = () if answer is None or rival is None else ask(task, sample, answer, judge, rival)
    return found


def _rival(task: Judging, sample: Sample, response: Response | None) -> str | None:
    """Returns the baseline's answer; that it gave none is an answer too, unless it was never really asked."""
    if response is None or response.error is not None:
        return None
    return answer_to_judge(task, sample, response) or NOTHING


def _labelled(task: Judging, samples: Sequence[Sample], judge: Judge) -> dict[str, tuple[Request, ...]]:
    """Returns what is asked about each text, or pair of texts, that people judged, by sample id."""
    rubric, found = rubric_of(task), {}
    if rubric.human is None:
        return {}
    for sample in samples:
        cells = [sample.row.get(column) for column in texts_of(rubric)]
        if sample.row.get(rubric.human) in (None, "") or not all(cells):
            continue
        read = [text_to_judge(task, sample, str(cell)) for cell in cells]
        texts = [text for text in read if text is not None]
        if len(texts) == len(read):
            found[sample.id] = ask(task, sample, texts[0], judge, *texts[1:])
    return found


def _of_task(samples: Samples, name: str) -> list[Sample]:
    return [sample for (task, _), sample in samples.items() if task == name]
