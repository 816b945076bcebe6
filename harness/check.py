"""What a run would do, and whether its tasks judge rightly, before anything is asked or spent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.extract import extract
from harness.plan import Cell, Plan
from harness.prompts import answer_text
from harness.score import judge
from harness.tasks import Task
from harness.values import Failure, Response, Sample

TRIED = 500  # samples of each task that the self-test goes through


@dataclass(frozen=True, slots=True)
class SelfTest:
    """How the scorer of a task judges answers whose verdict is known."""

    task: str
    tried: int
    gold_fails: tuple[str, ...]  # ids whose right answer does not score 1
    empty_passes: tuple[str, ...]  # ids where an empty answer scores above 0
    wrong_passes: tuple[str, ...]  # ids where another sample's answer scores 1
    wrong_tried: int

    @property
    def passed(self) -> bool:
        """Returns whether every verdict was as it must be."""
        return not (self.gold_fails or self.empty_passes or self.wrong_passes)

    def lines(self) -> Iterator[str]:
        """Yields what to tell a person."""
        for name, ids, tried in (
            ("gold answer scores 1", self.gold_fails, self.tried),
            ("empty answer scores 0", self.empty_passes, self.tried),
            ("wrong answer scores below 1", self.wrong_passes, self.wrong_tried),
        ):
            verdict = "ok" if not ids else f"FAILS for {len(ids)}: sample {', '.join(ids[:5])}"
            yield f"{name}: {verdict} ({tried} tried)"


def self_test(task: Task) -> SelfTest:
    """Returns how the task judges gold, empty and wrong answers of its first samples."""
    samples = task.samples[:TRIED]
    gold_fails, empty_passes, wrong_passes, wrong_tried = [], [], [], 0
    for i, sample in enumerate(samples):
        if _value(task, sample, _gold(sample)) != 1.0:
            gold_fails.append(sample.id)
        empty = _value(task, sample, Response(key="", prompt=None, text="", finish_reason="stop"))
        if not sample.labels and empty > 0:
            empty_passes.append(sample.id)
        wrong = _wrong(task, sample, samples, i)
        if wrong is not None:
            wrong_tried += 1
            if _value(task, sample, wrong) == 1.0:
                wrong_passes.append(sample.id)
    return SelfTest(task.name, len(samples), tuple(gold_fails), tuple(empty_passes), tuple(wrong_passes), wrong_tried)


def _gold(sample: Sample) -> Response:
    if sample.labels:
        return _preferring(sample, sample.gold or 0)
    return Response(key="", prompt=None, text=answer_text(sample), finish_reason="stop")


def _wrong(task: Task, sample: Sample, samples: tuple[Sample, ...], i: int) -> Response | None:
    if sample.labels:
        return _preferring(sample, ((sample.gold or 0) + 1) % len(sample.labels))
    others = (other for other in samples[i + 1 :] + samples[:i] if not _same_answer(task, sample, other))
    other = next(others, None)
    return None if other is None else Response(key="", prompt=None, text=answer_text(other), finish_reason="stop")


def _same_answer(task: Task, sample: Sample, other: Sample) -> bool:
    """Returns whether two samples' reference answers say the same, as the task finds answers."""
    found = [extract(task.config.extract, answer_text(one)) for one in (sample, other)]
    return found[0] == found[1] or sample.expected == other.expected


def _preferring(sample: Sample, choice: int) -> Response:
    # the gap is wide so that the length of a choice does not decide
    logprobs = tuple(-1.0 if i == choice else -1e6 for i in range(len(sample.labels)))
    return Response(key="", prompt=None, logprobs=logprobs)


def _value(task: Task, sample: Sample, response: Response) -> float:
    if sample.labels and response.logprobs is None:
        return 0.0
    score = judge(task.config, sample, response)
    if score.failure is Failure.SCORER_ERROR:
        return float("nan")
    return score.value or 0.0


def longest(cell: Cell) -> Sample:
    """Returns the sample of a cell whose prompt has the most characters."""
    sizes = [len(str(request.prompt)) for request in cell.requests]
    return cell.samples[sizes.index(max(sizes))]


def size(plan: Plan) -> dict[str, int]:
    """Returns how many requests the plan makes, and characters it sends."""
    requests = [request for cell in plan.cells for request in cell.requests]
    return {"requests": len(requests), "characters": sum(len(str(request.prompt)) for request in requests)}
