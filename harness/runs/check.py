"""What a run would do, and whether its tasks judge rightly, before anything is asked or spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.config.machine import read_machine
from harness.config.model import ScriptedModel
from harness.config.run import RunConfig
from harness.measure.device_memory import free_memory
from harness.runs.forecast import Forecast, forecasts, memory_line
from harness.runs.foreseen import Foreseen, cells, foreseen
from harness.runs.given import NOTHING, Given
from harness.runs.house_rules import breaks_of
from harness.runs.plan import Plan, make_plan
from harness.runs.planned_model import PlannedModel
from harness.runs.preview import Tokens, balance, excerpt, sent, shots, tokens
from harness.runs.requests import Cell
from harness.runs.spending import Spending, estimate
from harness.scoring.scorers import own_python
from harness.security.egress import FILE
from harness.security.policy import PolicyConfig, read_policy
from harness.security.seal import why_unsealed
from harness.tasks.kinds import kind_of, prompt_of
from harness.tasks.prompt_layouts import differences
from harness.tasks.prompts import ANSWER
from harness.tasks.rubric import texts_of
from harness.tasks.score_answer import right_answers
from harness.tasks.self_test import SelfTest, messy, self_test
from harness.tasks.task import Task, never_first, respelled
from harness.values import Prompt, Request, Sample

NO_MODEL = ScriptedModel(name="none")  # stands in a plan that only shows its tasks


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
    foreseen: tuple[Foreseen, ...] = ()  # what a judge is asked

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
            "prompt_characters": sum(request.prompt.characters for request in requests),
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
                    "runs_on": model.place.name,
                    "leaves_the_machine": f"every prompt, to {host}" if (host := model.place.egress) else "nothing",
                }
                for model in self.plan.models
            ],
            **({} if self.plan.judge is None else {"judge": self._judge(self.plan.judge)}),
        }

    def _judge(self, judge: PlannedModel) -> dict[str, Any]:
        leaves = f"every answer it judges, with its question, to {host}" if (host := judge.place.egress) else "nothing"
        asked = sum(one.times * len(one.requests) for one in self.foreseen)
        return {"model": judge.config.name, "runs_on": judge.place.name, "leaves_the_machine": leaves, "asked": asked}

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
            left_out = f"; `without` leaves out {task.left_out} rows" if task.left_out else ""
            yield f"  data: {task.data_origin}{counted}{left_out}"
            yield from _readings(task, samples)
            scripts = cell.scripts(kind_of(task.config).replied(task.config, ANSWER, cell.chat))
            yield from _first_prompt(cell, scripts[0])
            yield from (f"  {line}" for line in right_answers(task.config, samples[0]))
            sizes = sorted(request.prompt.characters for request in scripts)
            yield f"  prompt length in characters: median {sizes[len(sizes) // 2]}, longest {sizes[-1]}"
            longest = max(scripts, key=lambda request: request.prompt.characters)
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
                yield f"model {model.config.name}: {_elsewhere(model)}"
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
        yield from (f"    | {line}" for line in prompt_of(task.config, sample, (), chat=False).content.split("\n"))
        if not test.passed:
            yield from (f"  self-test: {line}" for line in test.lines())

    def _judge_lines(self) -> Iterator[str]:
        if self.plan.judge is not None:
            told = self._judge(self.plan.judge)
            leaves = told["leaves_the_machine"]
            sent = "nothing leaves this machine" if leaves == "nothing" else f"sent: {leaves}"
            yield f"judge {told['model']}: runs on {told['runs_on']}; {sent}; {told['asked']} verdicts at most"
        elif any(task.config.judged_by is not None for task in self.plan.tasks):
            yield "judge: none named; a run needs one: `judge: MODEL` in the run file, or --judge MODEL"


def _readings(task: Task, samples: Sequence[Sample]) -> Iterator[str]:
    """Yields how answers are read that are not written as the choices are."""
    if n := never_first(task.config, samples):
        yield f"  warning: none of {n} answers is place 0: from 1? then write `answer_is: index_from_1`"
    if other := respelled(task.config, samples):
        yield f"  {other} right answers are written in another case or with other blanks than the choice"


def _first_prompt(cell: Cell, request: Request) -> Iterator[str]:
    """Yields the prompt of one sample as it is sent; where its chat template is not on this machine, the messages."""
    whole = sent(cell, request) if cell.chat else None
    untold = " (before the chat template)" if cell.chat and whole is None else ""
    by = f" (after the chat template of {cell.model.config.name})" if whole is not None else untold
    yield f"  prompt of sample {request.sample_id}, as sent{by}:"
    yield from (f"    | {line}" for line in excerpt(_prompt_text(request.prompt) if whole is None else whole))


def _elsewhere(model: PlannedModel) -> str:
    """Returns where a model that has no files here runs, what is sent there, and which key is missing."""
    if model.place == FILE:
        return "nothing is asked; its answers are read from a file; nothing leaves this machine"
    host = model.place.egress
    leaves = "nothing leaves this machine" if host is None else f"every prompt is sent to {host}"
    lacks = f"; MISSING: {model.place.lacks}" if model.place.lacks else ""
    return f"runs on {model.place.name}; {leaves}{lacks}"


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


def _of_rubric(task: Task, samples: Sequence[Sample], foreseen: Sequence[Foreseen]) -> Iterator[str]:
    """Yields what a judge is asked, with the right answer in the model's place, and whether people judged too."""
    rubric = task.config.judged_by
    if rubric is None:
        return
    asked = next(one for one in foreseen if one.task is task).requests
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


def report(config: RunConfig, policy: PolicyConfig | None = None, probe: int = 0, given: Given = NOTHING) -> Report:
    """Returns what a run would do, and whether it keeps a policy. Reads data and model files.

    Weights are loaded only for a `probe` of so many requests of each task, by the models of this machine.
    """
    plan = make_plan(config, given)
    if policy is None and config.policy is not None:
        policy = read_policy(config.policy)
    breaks = () if policy is None else breaks_of(policy, plan, why_unsealed(config))
    counted = tuple(found for cell in (*plan.cells, *cells(plan)) if (found := tokens(cell)) is not None)
    dresses = {task.name: messy(task) for task in plan.tasks if not task.format_of}
    tests = tuple(self_test(task) for task in plan.tasks)
    times = forecasts(plan, read_machine(config.machine), requests=probe)
    return Report(
        plan, tests, policy, breaks, counted, dresses, estimate(plan), times, free_memory(), tuple(foreseen(plan))
    )


def _prompt_text(prompt: Prompt) -> str:
    if prompt.text is not None:
        return prompt.text
    return "\n".join(f"[{turn.role}] {turn.content}" for turn in prompt.messages)
