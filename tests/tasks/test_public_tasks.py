"""Every task that ships with the package: it reads its rows, its gold answers score 1, empty and wrong ones do not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.analysis.expected_loss import best_constant, cost_of
from harness.config.base import validate
from harness.config.files import bundled
from harness.config.run import RunConfig, TaskUse
from harness.errors import TaskError
from harness.runs.plan import make_plan
from harness.tasks.data.prepare import BBH
from harness.tasks.kinds import kind_of, prompt_of, read_task
from harness.tasks.kinds.base import Manner
from harness.tasks.load import load_tasks, task_names
from harness.tasks.prompts import answer_text
from harness.tasks.score_answer import judge
from harness.tasks.self_test import self_test
from harness.tasks.shots import shots_for
from harness.tasks.task import Task
from harness.values import Response, Sampling
from tests.support.public_rows import ROWS, bbh_rows
from tests.support.rows import said

PUBLIC = tuple(name for name in task_names() if name in ROWS or name == "bbh")
OURS = tuple(name for name in task_names() if name not in PUBLIC)
# where the shared data hold the real rows: what of it is the local copy
SHARED = {
    "arc-easy": "arc_easy.jsonl",
    "banking77": "banking77_test.csv",
    "bbq": "bbq_sample.jsonl",
    "copa": "copa.jsonl",
    "humaneval": "humaneval.jsonl",
    "gsm8k": "gsm8k_test.jsonl",
    "gsm8k-cot": "gsm8k_test.jsonl",
    "hellaswag": "hellaswag_val_1000.jsonl",
    "lambada": "lambada_openai.jsonl",
    "mmlu": "mmlu",
    "mt-bench": "mt_bench_questions.jsonl",
    "restaurant8k": "restaurant8k_slots_test.jsonl",
    "truthfulqa-mc1": "truthfulqa.csv",
    "truthfulqa-mc2": "truthfulqa.csv",
    "wnut17": "wnut17_dev.jsonl",
    "xstest": "xstest_prompts.csv",
}


def load(name: str, folder: Path) -> tuple[Task, ...]:
    """Returns a bundled task; a public one with a few rows in the hub's layout."""
    if name in OURS:
        return load_tasks(TaskUse(task=name))
    if name == "bbh":
        for subset, rows in bbh_rows().items():
            write(folder / f"{subset}.jsonl", rows)
    else:
        for split, rows in ROWS[name].items():
            write(folder / f"{split}.jsonl", rows)
    return load_tasks(TaskUse(task=name, data=str(folder)))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def asked(task: Task, row: int = 0) -> str:
    sample = task.samples[row]
    return prompt_of(task.config, sample, shots_for(task, sample, 0), chat=False).text


@pytest.mark.parametrize("name", task_names())
def test_gold_scores_1_and_empty_and_wrong_do_not(name: str, tmp_path: Path):
    for task in load(name, tmp_path):
        test = self_test(task)
        assert test.tried == sum(len(sample.scored) or 1 for sample in task.samples[:500]) > 0
        assert test.passed, list(test.lines())


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", SHARED)
def test_gold_scores_1_on_the_real_rows(name: str, shared: Path):
    for task in load_tasks(TaskUse(task=name, data=str(shared / "data" / SHARED[name]))):
        assert self_test(task).passed, list(self_test(task).lines())


@pytest.mark.parametrize("name", task_names())
def test_a_task_file_says_what_a_reader_must_know(name: str):
    path = bundled("tasks") / f"{name}.yaml"
    config, _ = read_task(path)
    assert path.read_text(encoding="utf-8").startswith(f"# harness run --task {name} --model PATH")
    assert config.task == name and config.asks and config.source and config.licence
    if name in PUBLIC:
        assert config.citation.startswith("https://")
        assert config.data.hub is not None or "--data is needed" in path.read_text(encoding="utf-8")
        unpinned = config.data.hub is not None and config.data.revision is None
        assert not unpinned or "no revision: none could be verified" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in OURS if name not in ("invoice-fields", "support-routing")])
def test_our_own_rows_are_enough_to_show_a_kind_of_work_and_none_stands_twice(name: str):
    task = load_tasks(TaskUse(task=name))[0]
    prompts = [asked(task, row) for row in range(len(task.samples))]
    assert len(prompts) >= 30
    assert len(set(prompts)) == len(prompts)


def test_a_gap_is_judged_by_the_rest_of_the_sentence(tmp_path: Path):
    (task,) = load("winogrande", tmp_path)
    sample = task.samples[0]
    assert asked(task) == "Tom lent Ben a coat because "
    request = next(kind_of(task.config).requests(task.config, sample, (), Manner("", False, Sampling())))
    assert request.given == ("Tom", "Ben")
    assert request.continuations == (" was cold.", " was cold.")
    shots = task.config.model_copy(update={"shots": None})
    shown = prompt_of(shots, sample, [task.samples[1]], chat=False).text
    assert shown.startswith("The ball did not fit in the box, the ball is too big .\n\nTom lent")


def test_the_examples_of_a_subset_are_its_own(tmp_path: Path):
    (task,) = load("bbh", tmp_path)
    assert len(task.samples) == len(bbh_rows())
    prompt = asked(task)
    assert prompt.startswith("Evaluate the result of a random Boolean expression.\n\nQ: not ( ( not not True ) ) is\n")
    assert prompt.count("So the answer is") == 3
    assert [sample.id for sample in task.samples][:2] == ["boolean_expressions/0", "causal_judgement/0"]


def test_the_question_decides_the_order_of_its_choices(tmp_path: Path):
    (task,) = load("gpqa-diamond", tmp_path)
    for sample, row in zip(task.samples, ROWS["gpqa-diamond"]["train"], strict=True):
        assert sample.choices[sample.gold] == row["Correct Answer"]
    assert len({sample.gold for sample in task.samples}) > 1


def test_each_prompt_is_a_row_and_they_share_samples_and_shots():
    short, cot = load_tasks(TaskUse(task="shop-weights"))
    assert (short.name, cot.name) == ("shop-weights[short]", "shop-weights[cot]")
    assert {sample.task for sample in cot.samples} == {cot.name}
    assert (short.config.max_tokens, cot.config.max_tokens) == (16, 96)
    assert answer_text(short.config, short.samples[0]) == cot.samples[0].expected
    ids = [[shot.id for shot in shots_for(task, task.samples[3], 0)] for task in (short, cot)]
    assert ids[0] == ids[1]


FAKE = {"name": "fake", "backend": "fake"}


def run(task: str, out: Path, script: list[dict[str, Any]], **changes: Any) -> harness.Run:
    config = {"run": "t", "tasks": [task], "models": [FAKE | {"script": script}], "latency": {"requests": 0}}
    return harness.run(validate(RunConfig, config | changes, "test"), out=out)


def test_prompts_are_rows_of_the_table_and_are_asked_about_the_same_samples(tmp_path: Path):
    result = run("shop-weights", tmp_path / "run", [{"text": "The weight is 9 kg"}], limit=10)
    rows = result.summary.rows
    assert [row.task for row in rows] == ["shop-weights[short]", "shop-weights[cot]"]
    records = result.records()
    asked_about = [set(records[records.task == row.task].sample_id) for row in rows]
    assert asked_about[0] == asked_about[1] and len(asked_about[0]) == 10
    assert "shop-weights[cot]" in result.table()


def test_the_expected_loss_stands_beside_accuracy(tmp_path: Path):
    result = run("costly-routing", tmp_path / "run", [{"text": "greeting"}])  # says greeting to everything
    row = result.summary.rows[0]
    # nine of 36 each: greeting costs nothing, refund 5, safety 100, technical 4
    assert row.accuracy.value == 0.25
    assert row.expected_loss.estimate.value == pytest.approx((5 + 100 + 4) / 4)
    assert row.expected_loss.always_answer == "safety" and row.expected_loss.always_value == pytest.approx(0.75)
    assert "27.25 [" in result.table()
    assert any("always answering 'safety' would cost 0.75" in note for note in said(result.summary))


def test_a_mistake_without_a_price_costs_1_and_no_answer_has_its_own():
    costs = {"refund": {"greeting": 10, "no_answer": 2}}
    asked = (("refund", "refund"), ("refund", "greeting"), ("refund", "other"), ("refund", None), ("other", None))
    assert [cost_of(costs, right, answer) for right, answer in asked] == [0, 10, 1, 2, 1]
    assert best_constant(costs, ["refund", "greeting"], ["greeting", "refund"]) == ("refund", 0.5)


def test_more_probable_truths_score_more(tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    (task,) = load("truthfulqa-mc2", folder)
    n = len(task.samples[0].choices)
    assert len(task.samples[0].right) == 2
    script = [{"logprobs": [-1.0, -1.0] + [-1.0] * (n - 2)}]
    use = {"task": "truthfulqa-mc2", "data": str(folder)}
    records = run("x", tmp_path / "run", script, tasks=[use], first=1).records()
    assert records.value[0] == pytest.approx(2 / n)
    assert records.metrics[0] == {"accuracy": 1.0}


def test_the_last_word_counts_if_the_model_would_have_written_it(tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    load("lambada", folder)
    script = [{"sample": "0", "logprobs": [-0.1]}, {"logprobs": [-3.0]}]  # the fake is greedy above -0.5
    use = {"task": "lambada", "data": str(folder)}
    records = run("x", tmp_path / "run", script, tasks=[use]).records().sort_values("sample_id")
    assert list(records.value) == [1.0, 0.0]
    assert [m["probability"] for m in records.metrics] == pytest.approx([0.9048, 0.0498], abs=1e-4)


def test_a_bundled_prompt_is_planned_for_every_public_task(tmp_path: Path):
    uses = []
    for name in PUBLIC:
        (tmp_path / name).mkdir()
        load(name, tmp_path / name)
        uses.append({"task": name, "data": str(tmp_path / name)})
    config = {"run": "t", "tasks": uses, "models": [FAKE], "responses_only": True}
    plan = make_plan(validate(RunConfig, config, "test"))
    assert len(plan.cells) == len(PUBLIC)
    assert all(
        request.mode == "generate" or len(request.pairs) != 1 or cell.task.name == "lambada"
        for cell in plan.cells
        for request in cell.requests
    )


CODEX = {  # the share of right answers that the data's own page gives
    "boolean_expressions": 0.928,
    "date_understanding": 0.872,
    "multistep_arithmetic_two": 0.476,
    "object_counting": 0.932,
    "word_sorting": 0.404,
}


@pytest.mark.shared
@pytest.mark.parametrize("subset", CODEX)
def test_published_answers_to_bbh_get_their_published_scores(subset: str, shared: Path, tmp_path: Path):
    write(tmp_path / f"{subset}.jsonl", read(shared / f"data/bbh/{subset}.jsonl"))
    for other in BBH.keys() - {subset}:
        write(tmp_path / f"{other}.jsonl", [{"input": "?", "target": "!"}])
    (task,) = load_tasks(TaskUse(task="bbh", data=str(tmp_path)))
    assert self_test(task).passed
    answers = {row["input"].strip(): row for row in read(shared / f"data/scored_outputs/bbh_codex_cot/{subset}.jsonl")}
    samples = [sample for sample in task.samples if sample.row["subset"] == subset]
    responses = [(sample, answers.get(sample.row["input"].strip())) for sample in samples]
    assert sum(answer is None for _, answer in responses) == 0
    scores = [
        judge(task.config, sample, Response(key="", prompt=None, text=answer["prediction"], finish_reason="stop"))
        for sample, answer in responses
    ]
    assert sum(score.value or 0 for score in scores) / len(scores) == pytest.approx(CODEX[subset], abs=1e-9)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_prompts_instructions_are_judged_together_and_each(tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    load("ifeval", folder)
    script = [{"sample": "0", "text": "black, green"}, {"text": "so, green tea is good"}]
    use = {"task": "ifeval", "data": str(folder)}
    result = run("x", tmp_path / "run", script, tasks=[use])
    (row,) = result.summary.rows
    assert row.accuracy.value == 0.0
    assert {name: row.metrics[name].value for name in ("loose", "instructions")} == {
        "loose": 0.0,
        "instructions": pytest.approx(1 / 3),
    }
    assert "loose" in result.table()


def test_an_instruction_nobody_knows_is_an_error_that_names_the_row(tmp_path: Path):
    row = {"key": 1, "prompt": "p", "instruction_id_list": ["keywords:exist"], "kwargs": [{}]}
    write(tmp_path / "train.jsonl", [row])
    with pytest.raises(TaskError, match=r"unknown instructions \['keywords:exist'\]"):
        load_tasks(TaskUse(task="ifeval", data=str(tmp_path)))


CODE = ("humaneval", "mbpp")


@pytest.mark.parametrize("name", CODE)
def test_a_task_whose_answers_are_code_says_that_there_is_no_sandbox(name: str, tmp_path: Path):
    load(name, tmp_path)
    config = {"run": "t", "tasks": [{"task": name, "data": str(tmp_path)}], "models": [FAKE]}
    with pytest.raises(TaskError, match="no sandbox") as error:
        make_plan(validate(RunConfig, config, "test"))
    assert len(error.value.lines()) == 3 and "--responses-only" in error.value.fix
    make_plan(validate(RunConfig, config | {"responses_only": True}, "test"))


def test_code_is_written_down_and_never_run(tmp_path: Path):
    (tmp_path / "data").mkdir()
    load("mbpp", tmp_path / "data")
    marker = tmp_path / "ran"
    program = f"open({str(marker)!r}, 'w')"
    use = {"task": "mbpp", "data": str(tmp_path / "data")}
    script = [{"sample": "11", "text": f"Here:\n```python\n{program}\n```"}, {"text": program}]
    result = run("x", tmp_path / "run", script, tasks=[use], responses_only=True)
    records = result.records()
    assert list(records.answer) == [program, program]
    assert set(records.failure) == {"unscored"} and records.value.isna().all()
    (row,) = result.summary.rows
    assert row.accuracy.value is None and row.asked.failures == {"unscored": 2}
    assert "unscored" in result.table()
    assert not marker.exists()


def test_programs_are_asked_for_after_the_same_three_examples(tmp_path: Path):
    (task,) = load("mbpp", tmp_path)
    prompt = asked(task)
    assert prompt.startswith(
        "You are an expert Python programmer, and here is your task: Write a function that adds 2. "
    )
    assert prompt.count("[BEGIN]") == 4 and prompt.count("\n[DONE]\n\nYou are") == 3
    assert prompt.endswith("assert add(0) == 11\nassert add(1) == 12\nassert add(2) == 13\n[BEGIN]\n")


def test_slots_are_read_from_the_original_files_too(tmp_path: Path):
    (task,) = load("restaurant8k", tmp_path)
    assert task.samples[3].expected == {"people": "ten", "time": "noon"}
    assert asked(task).startswith("A caller who books a table, asked for people, says: 13\n")
    assert asked(task, 1).startswith("A caller who books a table says: hello there\n")


@pytest.mark.parametrize("name", PUBLIC)
def test_a_published_score_says_where_it_stands(name: str):
    text = (bundled("tasks") / f"{name}.yaml").read_text(encoding="utf-8")
    told = [line for line in text.splitlines()[1:] if re.match(r"# .*: \d+\.\d", line)]
    assert all(re.search(r"arXiv:\d{4}\.\d{5}|model card of |et al. \d{4}, table|unverified", line) for line in told), (
        told
    )


def test_bias_stands_beside_accuracy(tmp_path: Path):
    folder = tmp_path / "data"
    folder.mkdir()
    load("bbq", folder)
    script = [{"logprobs": [-1.0, -2.0, -3.0]}]  # always the old man
    result = run("x", tmp_path / "run", script, tasks=[{"task": "bbq", "data": str(folder)}])
    (row,) = result.summary.rows
    assert row.accuracy.value == 0.5
    assert row.metrics["bias_ambiguous"].value == 0.0  # one question blames, one praises
    assert {part.value for part in row.slices if part.column == "context_condition"} == {"ambig", "disambig"}
    assert not {"named", "biased", "ambiguous"} & set(row.metrics)
