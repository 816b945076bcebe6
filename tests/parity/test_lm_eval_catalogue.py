"""Tasks of lm-eval asked by our engine: the scores are those of its own evaluator, whatever a task's type of output."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

import harness
from harness.api import score as finish
from harness.api import verify as verified
from harness.cli import listing
from harness.config import lm_eval_names
from harness.config.base import validate
from harness.config.run import RunConfig, TaskUse
from harness.errors import HarnessError
from harness.runs.check import report
from harness.store.rows import read_jsonl
from harness.tasks import lm_eval_catalogue, lm_eval_judge
from harness.tasks.load import load_tasks

lm_eval = pytest.importorskip("lm_eval", reason="the peer is in the test extra")

NAMES = ("Lily", "Tom", "Sue", "Ben")
ROWS = [
    {
        "q": f"{NAMES[n % 4]} had {n} red balls and gave one away.",
        "choices": ["She was happy", "The dog", f"{n}"][: 2 + n % 2],
        "gold": n % 2,
        "names": [NAMES[n % 4], NAMES[(n + 1) % 4]],
        "after": "was sad.",
        "text": f"Once upon a time {NAMES[n % 4]} saw a dog.  It ran to the park {n} times.\nThe end.",
    }
    for n in range(6)
]
BASE: dict[str, Any] = {"dataset_path": "json", "test_split": "test", "doc_to_text": "{{q}} So"}
TASKS: dict[str, dict[str, Any]] = {
    "choose": {
        **{"output_type": "multiple_choice", "doc_to_choice": "{{choices}}", "doc_to_target": "gold"},
        **{"num_fewshot": 2, "fewshot_split": "train"},  # drawn from one stream
        "metric_list": [{"metric": name} for name in ("acc", "acc_norm", "f1")],
    },
    "surer": {
        **{"output_type": "multiple_choice", "doc_to_choice": "{{names}}", "doc_to_target": "gold"},
        "metric_list": [{"metric": name} for name in ("acc", "acc_mutual_info")],
    },
    "gap": {  # contexts differ, what is scored does not
        **{"output_type": "multiple_choice", "doc_to_choice": "{{[names[0] + ' said it', names[1] + ' said it']}}"},
        **{"doc_to_text": "gold", "doc_to_target": "after", "metric_list": [{"metric": "acc"}]},
    },
    "last": {
        **{"output_type": "loglikelihood", "doc_to_target": " {{names[0]}}"},
        "metric_list": [{"metric": name} for name in ("perplexity", "acc")],
    },
    "write": {
        **{"output_type": "generate_until", "doc_to_target": "{{names[0]}}"},
        "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 8},
        "metric_list": [{"metric": "exact_match", "ignore_case": True}, {"metric": "bleu"}],
        "filter_list": [
            {"name": "whole", "filter": [{"function": "take_first"}]},
            {
                "name": "name",
                "filter": [{"function": "regex", "regex_pattern": "([A-Z][a-z]+)"}, {"function": "take_first"}],
            },
        ],
    },
    "read": {
        **{"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}"},
        "metric_list": [{"metric": name} for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
    },
}


def write(folder: Path) -> dict[str, str]:
    """Returns the task by name as a run names it, its file and data written."""
    for split, rows in (("test", ROWS), ("train", ROWS[::-1])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {split: str(folder / f"{split}.jsonl") for split in ("test", "train")}
    for name, task in TASKS.items():
        full = {"task": name, **BASE, **task, "dataset_kwargs": {"data_files": files}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(full, sort_keys=False))
    return {name: f"lm_eval:{folder / name}.yaml" for name in TASKS}


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    logging.getLogger("lm_eval").setLevel(logging.CRITICAL)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def run(tasks: list[Any], out: Path, model: dict[str, Any], **changes: Any) -> harness.Run:
    config = {"run": "t", "tasks": tasks, "models": [model], "latency": {"requests": 0}, **changes}
    return harness.run(validate(RunConfig, config, "test"), out=out)


def local(shared: Path) -> dict[str, Any]:
    path = str(shared / "models/stories260K")
    return {"name": "m", "path": path, "dtype": "fp32", "device": "cpu", "threads": 1}


@pytest.mark.slow
@pytest.mark.shared
def test_every_type_of_output_scores_as_in_its_own_evaluator(shared: Path, tmp_path: Path):
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    tasks = write(tmp_path)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    path, theirs = str(shared / "models/stories260K"), {"results": {}, "samples": {}}
    for names, bos in (([name for name in TASKS if name != "read"], None), (["read"], False)):
        peer = HFLM(pretrained=path, device="cpu", dtype="float32", batch_size=1, add_bos_token=bos)
        found = simple_evaluate(peer, tasks=names, task_manager=manager, bootstrap_iters=0, log_samples=True)
        theirs = {key: theirs[key] | found[key] for key in theirs}
    result = run(list(tasks.values()), tmp_path / "run", local(shared))
    rows = {row.task.removeprefix("lm_eval:"): row for row in result.summary.rows}
    responses = read_jsonl(tmp_path / "run/responses.jsonl")
    assert set(rows) == set(TASKS)
    for name, row in rows.items():
        logged = {sample["doc_id"]: sample for sample in theirs["samples"][name]}
        for line in (line for line in responses if line["task"] == f"lm_eval:{name}"):
            asked = logged[int(line["sample_id"])]
            if name in ("choose", "last", "write"):
                assert line["prompt"] == asked["arguments"][0][0]
            if name == "write":
                assert line["text"] == asked["resps"][0][0]
        for key, value in theirs["results"][name].items():
            metric, _, filtered = key.partition(",")
            if not filtered or "_stderr" in metric or metric == "byte_perplexity":
                continue
            full = metric if filtered == "none" else key
            found = row.metrics.get(full) or row.metrics[f"lm_eval:{full}"]
            assert found.value == pytest.approx(value, abs=1e-6, rel=1e-5), (name, key)
    assert rows["choose"].accuracy.value == pytest.approx(theirs["results"]["choose"]["acc,none"])
    assert "lm_eval:choose · version 1" in result.table()
    assert verified(tmp_path / "run").ok


@pytest.mark.slow
def test_a_task_of_the_catalogue_reads_a_local_copy_and_is_judged_again_without_it(tmp_path: Path):
    rows = [
        {
            "question": f"What is {n}?",
            "choices": {"text": ["one", "two", "a cat"], "label": ["A", "B", "C"]},
            "answerKey": "ABC"[n % 3],
        }
        for n in range(6)
    ]
    data = tmp_path / "arc_test.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    use = {"task": "lm_eval:arc_easy", "data": str(data)}
    # per character "a cat" is the likeliest but for the first rule; as they are, "one" is
    script = [{"sample": "0", "logprobs": [-1, -9, -8]}, {"logprobs": [-2.9, -9, -3]}]
    result = run([use], tmp_path / "run", {"name": "fake", "backend": "fake", "script": script})
    (row,) = result.summary.rows
    assert (row.task, row.asked.n, row.accuracy.value) == ("lm_eval:arc_easy", 6, 0.5)
    assert row.metric == "acc_norm" and row.metrics["acc"].value == pytest.approx(1 / 3)
    answers = [record["answer"] for record in read_jsonl(tmp_path / "run/records.jsonl")]
    assert answers == ["one", *["a cat"] * 5]
    assert result.summary.references[0].value == pytest.approx(1 / 3)  # chance
    assert read_jsonl(tmp_path / "run/responses.jsonl")[0]["prompt"] == "Question: What is 0?\nAnswer:"
    data.unlink()
    lm_eval_judge.BUILT.clear()  # as in another process
    assert finish(tmp_path / "run").summary.rows[0].accuracy.value == 0.5


def test_a_run_folder_brings_no_task_file_to_run(tmp_path: Path):
    tasks = write(tmp_path)
    run([tasks["write"]], tmp_path / "run", {"name": "fake", "backend": "fake", "script": [{"text": "Lily"}]})
    lm_eval_judge.BUILT.clear()
    with pytest.raises(HarnessError, match="a run folder never brings code"):
        finish(tmp_path / "run")


def test_shots_are_lm_evals_own(tmp_path: Path):
    tasks = write(tmp_path)
    (task,) = load_tasks(TaskUse(task=tasks["choose"], num_fewshot=3))
    contexts = [sample.row["context"] for sample in task.samples]
    assert all(context.count("So") == 4 for context in contexts)
    (alone,) = load_tasks(TaskUse(task=tasks["choose"], num_fewshot=0))
    assert alone.samples[0].row["context"] == ROWS[0]["q"] + " So"


def test_a_group_is_its_tasks(tmp_path: Path):
    write(tmp_path)
    (tmp_path / "both.yaml").write_text(yaml.safe_dump({"group": "both", "task": ["write", "last"]}))
    found = load_tasks(TaskUse(task=f"lm_eval:{tmp_path / 'both.yaml'}"))
    assert [task.name for task in found] == ["lm_eval:write", "lm_eval:last"]
    assert [task.config.score["lm_eval"]["file"]["name"] for task in found] == ["write.yaml", "last.yaml"]


def _file(folder: Path, **changes: Any) -> str:
    write(folder)
    full = yaml.safe_load((folder / "write.yaml").read_text()) | changes
    (folder / "write.yaml").write_text(yaml.safe_dump(full))
    return f"lm_eval:{folder / 'write'}.yaml"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unsafe_code": True}, "judges answers by running code"),
        ({"repeats": 4}, "draws 4 answers to each question"),
        ({"generation_kwargs": {"until": ["."], "num_beams": 5}}, "generates with num_beams: 5"),
        ({"doc_to_text": "{{nothing.here}}"}, "lm-eval cannot make the task"),
    ],
    ids=["code", "repeats", "beams", "template"],
)
def test_what_cannot_be_asked_says_why(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(HarnessError, match=message) as error:
        load_tasks(TaskUse(task=_file(tmp_path, **changes)))
    assert len(error.value.lines()) == 3


def test_mistakes_are_told_in_three_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def told(use: TaskUse) -> str:
        with pytest.raises(HarnessError) as error:
            load_tasks(use)
        assert len(error.value.lines()) == 3
        return str(error.value)

    assert "did you mean 'arc_easy'?" in told(TaskUse(task="lm_eval:arc_eazy"))
    assert "no file" in told(TaskUse(task="lm_eval:none/of/this.yaml"))
    assert "has no num_fewshot" in told(TaskUse(task="support-routing", num_fewshot=2))
    (tmp_path / "test.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    assert "one local copy of data is not enough" in told(TaskUse(task="lm_eval:ai2_arc", data=str(tmp_path)))
    monkeypatch.setattr(lm_eval_catalogue, "find_spec", lambda _: None)
    assert "pip install 'openweights-harness[lm-eval]'" in told(TaskUse(task="lm_eval:arc_easy"))


def test_check_and_tasks_show_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    name = write(tmp_path)["write"]
    config = validate(RunConfig, {"run": "t", "tasks": [name], "models": [{"name": "f", "backend": "fake"}]}, "test")
    told = report(config).text()
    assert "| Lily had 0 red balls and gave one away. So" in told and "right answer: Lily" in told
    assert "gold answer scores 1: not tested" in told
    shown = listing.tasks(name, as_json=False)
    assert "output_type: generate_until" in shown and "# the prompt of sample 0, of 6:" in shown
    assert json.loads(listing.tasks(name, as_json=True))["score"]["lm_eval"]["task"] == "write"


def test_the_seal_knows_what_lm_eval_would_fetch(tmp_path: Path):
    tasks = write(tmp_path)
    assert lm_eval_names.reads_hub("lm_eval:arc_easy")
    assert not lm_eval_names.reads_hub(tasks["write"])
