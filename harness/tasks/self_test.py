"""Whether a task judges rightly: gold, empty, wrong and messily dressed answers whose verdict is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from harness.config.task import RubricConfig, TaskConfig
from harness.scoring.extractors import extract
from harness.tasks.answer_form import form_of, is_valid
from harness.tasks.lm_eval_tasks import is_judged_by
from harness.tasks.prompts import answer_text
from harness.tasks.rubric import NOT_ASKED, Told, best_reply, worst_reply
from harness.tasks.score_answer import judge, turn_of
from harness.tasks.task import Task
from harness.values import Failure, Response, Sample

DRESSES: Mapping[str, str] = {
    "as it is": "{}",
    "in a fence": "```\n{}\n```",
    "in bold": "**{}**",
    "in a sentence": "The answer is {}.",
    "with words before": "Sure, here it is:\n{}",
}


def dressed(answer: str) -> Iterator[tuple[str, str]]:
    """Yields the right answer as models tend to write it, each with the name of its dress."""
    yield from ((name, form.replace("{}", answer)) for name, form in DRESSES.items())
    yield "in other case", answer.upper() if answer != answer.upper() else answer.lower()


TRIED = 500  # samples of each task that the self-test goes through
DRESSED = 100  # of them whose right answer is also judged in messy dress


@dataclass(frozen=True, slots=True)
class SelfTest:
    """How the scorer of a task judges answers whose verdict is known."""

    task: str
    tried: int
    gold_tried: int  # of them, those whose right answer is known
    gold_fails: tuple[str, ...]  # ids whose right answer does not score 1
    empty_passes: tuple[str, ...]  # ids where an empty answer scores above 0
    wrong_passes: tuple[str, ...]  # ids where another sample's answer scores 1
    wrong_tried: int
    unfit: tuple[str, ...] = ()  # ids whose right answer is none of those that `constrain` lets a model write

    @property
    def passed(self) -> bool:
        """Returns whether every verdict was as it must be."""
        return not (self.gold_fails or self.empty_passes or self.wrong_passes or self.unfit)

    def lines(self) -> Iterator[str]:
        """Yields what to tell a person."""
        for name, ids, tried in (
            ("gold answer scores 1", self.gold_fails, self.gold_tried),
            ("empty answer scores 0", self.empty_passes, self.tried),
            ("wrong answer scores below 1", self.wrong_passes, self.wrong_tried),
        ):
            if not tried:
                yield f"{name}: not tested, for want of a right answer that can be judged"
                continue
            verdict = "ok" if not ids else f"FAILS for {len(ids)}: sample {', '.join(ids[:5])}"
            yield f"{name}: {verdict} ({tried} tried)"
        if self.unfit:
            where = f"sample {', '.join(self.unfit[:5])}"
            yield f"right answer may be written: FAILS for {len(self.unfit)}: `constrain` does not allow it ({where})"


def self_test(task: Task) -> SelfTest:
    """Returns how the task judges gold, empty and wrong answers of its first samples, and turns of them."""
    gold_fails, empty_passes, wrong_passes, unfit, tried, gold_tried, wrong_tried = [], [], [], [], 0, 0, 0
    for part in _by_turn(task, TRIED):
        tried += len(part.samples)
        for i, sample in enumerate(part.samples):
            if not _unjudged(part, sample):
                gold_tried += 1
                if _value(part, sample, _gold(part, sample), _told(task, best_reply)) != 1.0:
                    gold_fails.append(sample.id)
                if not _may_be_written(part, sample):
                    unfit.append(sample.id)
            empty = _value(part, sample, _text(""))
            if empty > 0:
                empty_passes.append(sample.id)
            wrong = _wrong(part, sample, part.samples, i)
            if wrong is not None:
                wrong_tried += 1
                if _value(part, sample, wrong, _told(task, worst_reply)) == 1.0:
                    wrong_passes.append(sample.id)
    found = (tuple(ids) for ids in (gold_fails, empty_passes, wrong_passes))
    return SelfTest(task.name, tried, gold_tried, *found, wrong_tried, tuple(unfit))


def _may_be_written(task: Task, sample: Sample) -> bool:
    """Returns whether a model held to the task's schema or choices can be right; of a pattern that is not known."""
    held = task.config.constrain
    if held is None or held.regex is not None or task.config.kind != "generate":
        return True
    form = form_of(held, sample)
    if form.choices:
        written = (_text(choice) for choice in form.choices)
        return any(_value(task, sample, one) == 1.0 for one in written)
    return is_valid(form, answer_text(task.config, sample))


def _by_turn(task: Task, first: int) -> tuple[Task, ...]:
    """Returns the task with its first samples; a conversation as a task for each scored turn, all right before it."""
    if task.config.kind != "conversation":
        return (replace(task, samples=task.samples[:first]),)
    parts: dict[int, tuple[TaskConfig, list[Sample]]] = {}
    for sample in task.samples[:first]:
        said = {turn: Response(key="", prompt=None, text="") for turn in range(1, sample.scored[-1])}
        for turn in sample.scored:
            config, asked = turn_of(task.config, sample, turn, tuple(said.values()))
            said[turn] = _writing(replace(task, config=config), asked)
            parts.setdefault(turn, (config, []))[1].append(replace(asked, id=f"{sample.id} turn {turn}"))
    return tuple(replace(task, config=parts[n][0], samples=tuple(parts[n][1])) for n in sorted(parts))


def _unjudged(task: Task, sample: Sample) -> bool:
    """Returns whether no right answer is known or can be judged: a pattern is expected, instructions, code to run."""
    if sample.expected is None:
        return True
    if is_judged_by(task.config):
        return not sample.labels
    if task.config.score == "promptfoo":
        return sample.row.get("assertion") == "regex"
    return task.config.score in ("regex", "instructions", "code")


def _told(task: Task, reply: Callable[[RubricConfig], tuple[Response, ...]]) -> Told:
    """Returns what stands for a judge in the self-test of a task with a rubric: no model is asked here."""
    return NOT_ASKED if task.config.rubric is None else Told(reply(task.config.rubric))


def messy(task: Task) -> dict[str, float]:
    """Returns the share of right answers that still score 1 in each messy dress; empty where no scorer reads them."""
    if task.config.rubric is not None:
        return {}
    tried = [
        (part, s)
        for part in _by_turn(task, DRESSED)
        for s in part.samples
        if not _is_chosen(part, s) and not _unjudged(part, s)
    ]
    found: dict[str, list[bool]] = {}
    for part, sample in tried:
        for name, text in dressed(_gold(part, sample).text or ""):
            value = _value(part, sample, _text(text))
            found.setdefault(name, []).append(value == 1.0)
    return {name: sum(passed) / len(passed) for name, passed in found.items()}


def _gold(task: Task, sample: Sample) -> Response:
    if task.config.kind in {"cloze", "perplexity"}:
        return Response(key="", prompt=None, logprobs=(0.0,), greedy=(True,))
    if _is_chosen(task, sample):
        return _preferring(sample, *(sample.right or (sample.gold or 0,)))
    return _writing(task, sample)


def _wrong(task: Task, sample: Sample, samples: tuple[Sample, ...], i: int) -> Response | None:
    if sample.expected is None:
        return None
    if task.config.kind in {"cloze", "perplexity"}:
        return Response(key="", prompt=None, logprobs=(-1.0,), greedy=(False,))
    if sample.labels:
        wrong = min(set(range(len(sample.labels))) - {sample.gold or 0, *sample.right}, default=None)
        if wrong is None:
            return None
        return _preferring(sample, wrong) if _is_chosen(task, sample) else _text(sample.labels[wrong])
    others = (other for other in samples[i + 1 :] + samples[:i] if not _same_answer(task, sample, other))
    other = next(others, None)
    if other is None:
        return None
    return _writing(task, other)


def _is_chosen(task: Task, sample: Sample) -> bool:
    """Returns whether an answer is a choice by log-probability: a choice task asked as text has labels as well."""
    return bool(sample.labels) and task.config.kind != "generate"


def _writing(task: Task, sample: Sample) -> Response:
    """Returns the response of a model that writes the right answer of a sample, after the task's beginning of it."""
    return _text(answer_text(task.config, sample).removeprefix(task.config.prefill))


def _text(text: str) -> Response:
    return Response(key="", prompt=None, text=text, finish_reason="stop")


def _same_answer(task: Task, sample: Sample, other: Sample) -> bool:
    """Returns whether two samples' reference answers say the same, as the task finds answers."""
    if _unjudged(task, sample) or _unjudged(task, other):
        return True
    found = [extract(task.config.extract, answer_text(task.config, one)) for one in (sample, other)]
    if task.config.score == "promptfoo":  # a part of another answer may be asked for
        return str(sample.expected).casefold() in str(other.expected).casefold()
    return found[0] == found[1] or sample.expected == other.expected


def _preferring(sample: Sample, *choices: int) -> Response:
    # the gap is wide so that the length of a choice does not decide
    logprobs = tuple(-1.0 if i in choices else -1e6 for i in range(len(sample.labels)))
    return Response(key="", prompt=None, logprobs=logprobs)


def _value(task: Task, sample: Sample, response: Response, told: Told = NOT_ASKED) -> float:
    if task.config.kind != "generate" and response.logprobs is None:
        return 0.0
    score = judge(task.config, sample, response, told)
    if score.failure is Failure.SCORER_ERROR:
        return float("nan")
    return score.value or 0.0
