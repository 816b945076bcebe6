"""Whether a task judges rightly: gold, empty, wrong and messily dressed answers whose verdict is known."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from harness.config.task import RubricConfig
from harness.errors import TaskError
from harness.scoring.scorers.text import aliases
from harness.tasks.kinds import kind_of
from harness.tasks.kinds.base import Example, text_response
from harness.tasks.kinds.choice import ChoiceTask
from harness.tasks.kinds.conversation import ConversationTask
from harness.tasks.kinds.generate import GenerateTask
from harness.tasks.rubric import NOT_ASKED, Told, best_reply, worst_reply
from harness.tasks.score_answer import judge
from harness.tasks.task import Task
from harness.values import Failure, Response

DRESSES: Mapping[str, str] = {
    "as it is": "{}",
    "in a fence": "```\n{}\n```",
    "in bold": "**{}**",
    "in a sentence": "The answer is {}.",
    "in quotes": '"{}"',
    "with a full stop": "{}.",
    "with words before": "Sure, here it is:\n{}",
}


def dressed(answer: str) -> Iterator[tuple[str, str]]:
    """Yields the right answer as models tend to write it, each with the name of its dress."""
    yield from ((name, form.replace("{}", answer)) for name, form in DRESSES.items())
    yield "in other case", answer.upper() if answer != answer.upper() else answer.lower()
    if re.fullmatch(r"-?\d+(\.0)?", answer):
        yield "as another type", answer.removesuffix(".0") if answer.endswith(".0") else f"{answer}.0"
    if answer.casefold() in ("true", "false"):
        yield "as another type", answer.lower() if answer != answer.lower() else answer.capitalize()


TRIED = 500  # samples of each task that the self-test goes through
DRESSED = 100  # of them whose right answer is also judged in messy dress
EXACT = ("exact_match", "text", "label", "choice")  # scorers by which another answer is never right
LENIENT = ("instructions", "promptfoo", "regex")  # scorers that an answer may meet by saying nothing


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
    may_pass: tuple[str, ...] = ()  # as wrong_passes, where the task's scorer may find another's answer right too
    labels_fail: tuple[str, ...] = ()  # labels of a choice asked as text that are not judged as themselves

    @property
    def passed(self) -> bool:
        """Returns whether every verdict was as it must be."""
        return not (self.gold_fails or self.empty_passes or self.wrong_passes or self.unfit or self.labels_fail)

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
        if self.may_pass:
            where = f"sample {', '.join(self.may_pass[:5])}"
            yield f"warning: another sample's answer scores 1 for {len(self.may_pass)}: is it right too? ({where})"
        if self.labels_fail:
            yield f"each label is judged as itself: FAILS for {', '.join(self.labels_fail[:5])}"
        if self.unfit:
            where = f"sample {', '.join(self.unfit[:5])}"
            yield f"right answer may be written: FAILS for {len(self.unfit)}: `constrain` does not allow it ({where})"


def self_test(task: Task) -> SelfTest:
    """Returns how the task judges gold, empty and wrong answers of its first samples, and turns of them."""
    gold_fails, empty_passes, wrong_passes = list[str](), list[str](), list[str]()
    unfit, may_pass, labels = list[str](), list[str](), dict[str, bool]()
    tried = gold_tried = wrong_tried = 0
    for one in _examples(task, TRIED):
        tried += 1
        if one.gold is not None:
            gold_tried += 1
            if _value(one, one.gold, _told(task, best_reply)) != 1.0:
                gold_fails.append(one.sample.id)
        if not one.fit:
            unfit.append(one.sample.id)
        if one.empty is not None and _value(one, one.empty) > 0:
            empty_passes.append(one.sample.id)
        if one.wrong is not None:
            wrong_tried += 1
            if _value(one, one.wrong, _told(task, worst_reply)) == 1.0:
                (wrong_passes if _surely_wrong(one, one.wrong) else may_pass).append(one.sample.id)
        _try_labels(one, labels)
    return SelfTest(
        task=task.name,
        tried=tried,
        gold_tried=gold_tried,
        gold_fails=tuple(gold_fails),
        empty_passes=tuple(empty_passes),
        wrong_passes=tuple(wrong_passes),
        wrong_tried=wrong_tried,
        unfit=tuple(unfit),
        may_pass=tuple(may_pass),
        labels_fail=tuple(label for label, right in labels.items() if not right),
    )


def refuse_failing(task: Task) -> None:
    """Raises TaskError for a task that judges an answer wrongly whose verdict is certain: see SelfTest.passed.

    Neither an answer that `constrain` forbids stops a run, nor nothing said where a scorer may be content with that,
    nor what Python of one's own makes of a conversation: it may judge by what was said before.
    """
    found, names = replace(self_test(task), unfit=()), _scorers(task.config.scores)
    if any(name in LENIENT for name in names):
        found = replace(found, empty_passes=())
    if "python" in names and isinstance(task.config, ConversationTask):
        found = replace(found, gold_fails=())
    if not found.passed:
        failed = "; ".join(line for line in found.lines() if "FAILS" in line)
        what = f"the self-test of task '{task.name}' fails: {failed}"
        fix = (
            "mend the task (`harness check` shows it), or --despite-self-test (in a run file: despite_self_test: true)"
        )
        raise TaskError(what, where=task.where, fix=fix)


def _scorers(specs: tuple[object, ...]) -> list[str]:
    """Returns the names of the scorers in `score:` keys, which may be lists, and may have options."""
    steps = [step for spec in specs for step in (spec if isinstance(spec, list | tuple) else [spec])]
    return [str(next(iter(step), "")) if isinstance(step, Mapping) else str(step) for step in steps]


def _surely_wrong(one: Example, wrong: Response) -> bool:
    """Returns whether a response cannot be right: it says other words than any right answer, to a scorer that compares.

    `contains`, a tolerance, Python of one's own, a judge or a pattern to ignore may find two answers right.
    """
    config = one.config
    if isinstance(config, ChoiceTask):
        return True
    if not isinstance(config, GenerateTask) or config.judged_by is not None:
        return False
    if "ignore" in str(config.score) or not all(name in EXACT for name in _scorers(config.scores)):
        return False
    right = {_words(text) for text in aliases(one.sample.expected)}
    return _words(wrong.text or "") not in right


def _words(text: str) -> str:
    """Returns a text without case, accents, punctuation, English articles and blanks."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(word for word in re.findall(r"\w+", plain) if word not in ("a", "an", "the")) or plain


def _try_labels(one: Example, judged: dict[str, bool]) -> None:
    """Notes of each label of a choice asked as text, once, whether it is judged as itself."""
    sample = one.sample
    if not isinstance(one.config, GenerateTask) or sample.gold is None or sample.expected not in sample.labels:
        return
    for place, label in enumerate(sample.labels):
        if label not in judged:
            of_it = replace(one, sample=replace(sample, gold=place, expected=label))
            judged[label] = _value(of_it, text_response(label.removeprefix(one.config.prefill))) == 1.0


def messy(task: Task) -> dict[str, float]:
    """Returns the share of right answers that still score 1 in each messy dress; empty where no scorer reads them."""
    if task.config.judged_by is not None:
        return {}
    found: dict[str, list[bool]] = {}
    for one in _examples(task, DRESSED):
        if one.gold is None or one.gold.text is None:
            continue
        for name, text in dressed(one.gold.text):
            found.setdefault(name, []).append(_value(one, text_response(text)) == 1.0)
    return {name: sum(passed) / len(passed) for name, passed in found.items()}


def _examples(task: Task, first: int) -> Iterator[Example]:
    """Yields the first samples of a task, or turns of them, with responses whose judgement is known."""
    return kind_of(task.config).examples(task.config, tuple(task.samples[:first]))


def _told(task: Task, reply: Callable[[RubricConfig], tuple[Response, ...]]) -> Told:
    """Returns what stands for a judge in the self-test of a task with a rubric: no model is asked here."""
    rubric = task.config.judged_by
    return NOT_ASKED if rubric is None else Told(reply(rubric))


def _value(one: Example, response: Response, told: Told = NOT_ASKED) -> float:
    score = judge(one.config, one.sample, response, told)
    if score.failure is Failure.SCORER_ERROR:
        return float("nan")
    return score.value or 0.0
