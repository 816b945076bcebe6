"""What a run would do, and whether its tasks judge rightly, before anything is asked or spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.backends.remote import PROVIDERS, egress, server, where
from harness.config.machine import read_machine
from harness.config.model import ModelConfig
from harness.config.run import RunConfig
from harness.config.task import RubricConfig, TaskConfig
from harness.forecast import Forecast, forecasts, memory_line
from harness.forms import form_of, is_valid
from harness.judging import foreseen
from harness.lm_tasks import is_judged_by
from harness.measure.device_memory import free_memory
from harness.models.openness import describe
from harness.plan import Cell, Plan, PlannedModel, make_plan
from harness.policy import PolicyConfig, Used, broken
from harness.preview import Tokens, balance, dressed, excerpt, shots, tokens
from harness.prompts import ANSWER, answer_text, render, replied
from harness.rubric import NOT_ASKED, Told, best_reply, texts_of, worst_reply
from harness.score import judge, right_answers, turn_of
from harness.scoring.extractors import extract
from harness.scoring.scorers import own_python
from harness.seal import why_unsealed
from harness.spending import Spending, estimate
from harness.tasks import Task
from harness.values import Failure, Message, Response, Sample
from harness.variants import differences

NO_MODEL = ModelConfig(name="none", backend="fake")  # stands in a plan that only shows its tasks
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


@dataclass(frozen=True, slots=True)
class Report:
    """What a plan would do, for a person and for a program."""

    plan: Plan
    self_tests: tuple[SelfTest, ...]
    policy: PolicyConfig | None = None
    breaks: tuple[str, ...] = ()  # what of the plan breaks the policy
    tokens: tuple[Tokens, ...] = ()  # of each model whose tokenizer is here, on each task
    messy: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # task -> dress -> share judged right
    spending: tuple[Spending, ...] = ()  # of each model at a provider, or with a price
    forecasts: tuple[Forecast, ...] = ()  # of each model on each task: the time
    free: tuple[int, str] = (0, "")  # bytes of memory, and of what
    foreseen: tuple[tuple[Cell, int], ...] = ()  # what a judge is asked, and for how many answers to each sample

    @property
    def passed(self) -> bool:
        """Returns whether every task judges as it must."""
        return all(test.passed for test in self.self_tests)

    def as_json(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        requests = [request for cell in self.plan.cells for request in cell.requests]
        return {
            "passed": self.passed,
            "digest": self.plan.digest,
            "policy": None if self.policy is None else {"name": self.policy.policy, "breaks": self.breaks},
            "requests": len(requests),
            "prompt_characters": sum(len(str(request.prompt)) for request in requests),
            "tasks": [
                {**asdict(test), "messy": self.messy.get(task.name, {}), "format_of": task.format_of or None}
                for task, test in zip(self.plan.tasks, self.self_tests)
            ],
            "tokens": [asdict(one) for one in self.tokens],
            "spending": [asdict(one) for one in self.spending],
            "time": [asdict(one) for one in self.forecasts],
            "memory": {"free_bytes": self.free[0], "free_in": self.free[1]},
            "models": [
                {
                    "model": model.config.name,
                    "runs_on": where(model.config),
                    "leaves_the_machine": f"every prompt, to {host}" if (host := egress(model.config)) else "nothing",
                }
                for model in self.plan.models
            ],
            **({} if self.plan.judge is None else {"judge": self._judge()}),
        }

    def _judge(self) -> dict[str, Any]:
        config = self.plan.judge.config
        leaves = f"every answer it judges, with its question, to {host}" if (host := egress(config)) else "nothing"
        asked = sum(times * len(cell.requests) for cell, times in self.foreseen)
        return {"model": config.name, "runs_on": where(config), "leaves_the_machine": leaves, "asked": asked}

    def text(self) -> str:
        """Returns the report as text."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for task, test in zip(self.plan.tasks, self.self_tests):
            if task.format_of:
                yield from self._format(task, test)
                continue
            cell = next(cell for cell in self.plan.cells if cell.task is task)
            samples = self.plan.samples(task)
            asked = f"{len(samples)} of {len(task.samples)} samples"
            yield f"task {task.name} (version {task.config.version}, {task.config.sensitivity}): {asked}"
            by_place = task.config.data.id is None and task.samples[0].id == "0"
            counted = "; its ids are positions from 0: row 1 is sample 0" if by_place else ""
            yield f"  data: {task.data_origin}{counted}"
            scripts = cell.scripts(replied(task.config, ANSWER, cell.chat))
            yield f"  prompt of sample {samples[0].id}, as sent{' (before the chat template)' if cell.chat else ''}:"
            yield from (f"    | {line}" for line in excerpt(_prompt_text(scripts[0].prompt)))
            yield from (f"  {line}" for line in right_answers(task.config, samples[0]))
            sizes = sorted(len(_prompt_text(request.prompt)) for request in scripts)
            yield f"  prompt length in characters: median {sizes[len(sizes) // 2]}, longest {sizes[-1]}"
            longest = max(scripts, key=lambda request: len(_prompt_text(request.prompt)))
            if longest is not scripts[0]:
                yield f"  the longest prompt, of sample {longest.sample_id}:"
                yield from (f"    | {line}" for line in excerpt(_prompt_text(longest.prompt)))
            yield from (f"  {one.line()}" for one in self.tokens if one.task == task.name)
            lines = (shots(task, samples[0], self.plan.config.seed), balance(samples))
            yield from (f"  {line}" for line in lines if line)
            for function, digest in (one for spec in task.config.scores for one in own_python.functions(spec)):
                yield f"  scorer: Python of this task, {function}, sha256 {digest}"
            yield from (f"  {line}" for line in _of_rubric(task, samples, self.foreseen))
            yield from (f"  self-test: {line}" for line in test.lines())
            wanted, varied = self.plan.config.formats, sum(one.format_of == task.name for one in self.plan.tasks)
            if varied < wanted:
                yield f"  formats: {varied} of {wanted}, its prompt has no more to vary"
            if dress := self.messy.get(task.name):
                yield f"  right answers in messy dress: {', '.join(f'{n} {100 * v:.0f} %' for n, v in dress.items())}"
        for model in self.plan.models:
            if model.config == NO_MODEL:
                yield "model: none named; of one (--model PATH) tokens, memory and time are told too"
                continue
            if model.info is None:
                yield f"model {model.config.name}: {_elsewhere(model.config)}"
                continue
            size = f"{model.info.parameters / 1e6:.3g} M parameters, {model.info.bytes / 1e6:.3g} MB of weights"
            context = f"context {model.info.context_length} tokens"
            yield f"model {model.config.name}: {size}, {context}; runs on this machine, nothing leaves it"
            mine = [one for one in self.tokens if one.model == model.config.name]
            if mine:
                most = max(mine, key=lambda one: one.cache_bytes or 0.0)
                yield memory_line(model, most.weight_bytes, most.cache_bytes, self.free)
        yield from self._judge_lines()
        yield f"{sum(len(cell.requests) for cell in self.plan.cells)} requests in all; nothing was sent"
        yield from (one.line() for one in self.spending)
        yield from _times([one for one in self.forecasts if one.model != NO_MODEL.name])
        why = why_unsealed(self.plan.config)
        yield f"seal: none ({why})" if why else "seal: a run would be kept off the network"
        if self.policy is not None:
            yield f"policy {self.policy.policy}: {f'BROKEN {len(self.breaks)} times' if self.breaks else 'kept'}"
            yield from (f"  {line}" for line in self.breaks)

    def _format(self, task: Task, test: SelfTest) -> Iterator[str]:
        """Yields what another format of a prompt changes, and the question of one sample in it."""
        own_python = next(one for one in self.plan.tasks if one.name == task.format_of)
        yield f"  {task.name}: {'; '.join(differences(own_python.config, task.config))}"
        sample = self.plan.samples(task)[0]
        yield from (f"    | {line}" for line in render(task.config, sample, (), chat=False).split("\n"))
        if not test.passed:
            yield from (f"  self-test: {line}" for line in test.lines())

    def _judge_lines(self) -> Iterator[str]:
        if self.plan.judge is not None:
            told = self._judge()
            leaves = told["leaves_the_machine"]
            sent = "nothing leaves this machine" if leaves == "nothing" else f"sent: {leaves}"
            yield f"judge {told['model']}: runs on {told['runs_on']}; {sent}; {told['asked']} verdicts at most"
        elif any(task.config.rubric is not None for task in self.plan.tasks):
            yield "judge: none named; a run needs one: `judge: MODEL` in the run file, or --judge MODEL"


def _elsewhere(config: ModelConfig) -> str:
    """Returns where a model that has no files here runs, what is sent there, and which key is missing."""
    if config.backend == "recorded":
        return "nothing is asked; its answers are read from a file; nothing leaves this machine"
    host = egress(config)
    leaves = "nothing leaves this machine" if host is None else f"every prompt is sent to {host}"
    missing = server(config).missing_key() if config.backend in PROVIDERS else ""
    return f"runs on {where(config)}; {leaves}" + (f"; MISSING: {missing}" if missing else "")


def _times(forecasts: Sequence[Forecast]) -> Iterator[str]:
    """Yields the time of each model and task that is known, and a line for all that are unknown for the same reason."""
    unknown: dict[str, dict[str, list[str]]] = {}
    for one in forecasts:
        if one.seconds is None:
            unknown.setdefault(one.basis, {}).setdefault(one.task, []).append(one.model)
        else:
            yield one.line()
    for why, tasks in unknown.items():
        alike: dict[str, list[str]] = {}
        for task, models in tasks.items():
            alike.setdefault(", ".join(models), []).append(task)
        yield from (f"time for {models} on {', '.join(named)}: unknown ({why})" for models, named in alike.items())


def _of_rubric(task: Task, samples: Sequence[Sample], foreseen: Sequence[tuple[Cell, int]]) -> Iterator[str]:
    """Yields what a judge is asked, with the right answer in the model's place, and whether people judged too."""
    rubric = task.config.rubric
    if rubric is None:
        return
    asked = next(cell for cell, _ in foreseen if cell.task is task).requests
    placed = ", with the right answer in the model's place" if task.config.answer is not None else ""
    turn = f" turn {samples[0].scored[-1]}" if samples[0].scored else ""
    yield f"judged by a model, which is asked of sample {samples[0].id}{turn}{placed}:"
    prompt = asked[max(0, len(samples[0].scored) - 1)].prompt
    yield from (f"  | {line}" for line in excerpt(_prompt_text(prompt)))
    if rubric.against is not None:
        yield "and the same with A and B in the other order"
    if rubric.human is None:
        yield "people's verdicts: none, so the score will carry a warning"
    else:
        n = sum(sample.row.get(rubric.human) not in (None, "") for sample in samples)
        named = " and ".join(f"'{column}'" for column in texts_of(rubric))
        yield f"people's verdicts: of {n} samples, on what stands in {named}"
    yield "no judge is asked here: in the self-test its best and worst verdicts stand for it"


def report(config: RunConfig, policy: PolicyConfig | None = None, probe: int = 0) -> Report:
    """Returns what a run would do, and whether it keeps a policy. Reads data and model files.

    Weights are loaded only for a `probe` of so many requests of each task, by the models of this machine.
    """
    plan = make_plan(config)
    breaks = () if policy is None else _breaks(policy, plan)
    asked_of_judge = tuple(foreseen(plan))
    cells = (*plan.cells, *(cell for cell, _ in asked_of_judge if plan.judge is not None))
    counted = tuple(found for cell in cells if (found := tokens(cell)) is not None)
    dresses = {task.name: messy(task) for task in plan.tasks if not task.format_of}
    tests = tuple(self_test(task) for task in plan.tasks)
    times = forecasts(plan, read_machine(config.machine), requests=probe)
    return Report(plan, tests, policy, breaks, counted, dresses, estimate(plan), times, free_memory(), asked_of_judge)


def _breaks(policy: PolicyConfig, plan: Plan) -> tuple[str, ...]:
    """Returns what of a plan breaks a policy. A judge sees the tasks that it scores, and no others."""
    why, tasks = why_unsealed(plan.config), [task.config for task in plan.tasks]
    found = broken(policy, [_used(model) for model in plan.models], tasks, why)
    if plan.judge is not None:
        found += broken(policy, [_used(plan.judge)], [task for task in tasks if task.rubric is not None], why)
    return tuple(dict.fromkeys(found))


def _used(model: PlannedModel) -> Used:
    about = None if model.info is None else describe(Path(str(model.config.path)))
    return Used(model.config, tuple(model.files), about)


def _prompt_text(prompt: str | tuple[Message, ...]) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"[{turn.role}] {turn.content}" for turn in prompt)
