"""Whole tasks beside lm-eval's own: the same prompts to the byte, log-probabilities, texts and scores.

The peer reads its installed task files, pointed at the local copy of the data. One difference is deliberate: where
lm-eval draws shots from one stream of random numbers (GSM8K), ours are seeded by the sample, so both sides take the
first rows here.
"""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

import harness
from harness.config.base import validate
from harness.config.files import bundled
from harness.config.run import RunConfig
from harness.runs.plan import make_plan
from harness.store.rows import read_jsonl

pytestmark = [pytest.mark.shared, pytest.mark.slow]
lm_eval = pytest.importorskip("lm_eval", reason="the peer is in the test extra")

SUBJECTS = ("abstract_algebra", "anatomy", "business_ethics", "college_computer_science")  # as files are sorted
QUESTIONS = 25  # of each subject


def _peer_task(name: str, **changes: Any):
    """Returns a task of the peer's catalogue with its data read from local files."""
    from lm_eval.api.task import ConfigurableTask

    folder = Path(lm_eval.__file__).parent / "tasks"
    files = {
        "mmlu": "mmlu/default/_default_template_yaml",
        "arc_easy": "arc/arc_easy.yaml",
        "gsm8k": "gsm8k/gsm8k.yaml",
    }
    text = (folder / files[name]).read_text() if name in files else HELLASWAG
    config = yaml.safe_load(text) | {"dataset_path": "json", "dataset_name": None, "task": name} | changes
    return ConfigurableTask(config={key: value for key, value in config.items() if key != "tag"})


# the peer prepares HellaSwag in Python that wants ctx_a and ctx_b; the local copy has them joined and cleaned
HELLASWAG = """
task: hellaswag
output_type: multiple_choice
test_split: test
doc_to_text: "{{activity_label}}: {{ctx}}"
doc_to_target: "{{label}}"
doc_to_choice: "{{endings}}"
metric_list: [{metric: acc}, {metric: acc_norm}]
"""


def _jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def _rows(path: Path, n: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n")[:n]]


def _mmlu(shared: Path, tmp: Path):
    def rows(split: str, subject: str) -> list[dict[str, Any]]:
        with (shared / f"data/mmlu/{split}/{subject}_{split}.csv").open(newline="", encoding="utf-8") as file:
            return [
                {"question": row[0], "choices": row[1:5], "answer": "ABCD".index(row[5]), "subject": subject}
                for row in csv.reader(file)
            ]

    peers = []
    for split in ("dev", "test"):
        (tmp / "ours" / split).mkdir(parents=True, exist_ok=True)
    for subject in SUBJECTS:
        words = subject.replace("_", " ")
        data = {"test": _jsonl(tmp / f"{subject}.jsonl", rows("test", subject)[:QUESTIONS])}
        data["dev"] = _jsonl(tmp / f"{subject}_dev.jsonl", rows("dev", subject))
        head = f"The following are multiple choice questions (with answers) about {words}.\n\n"
        changes = {"dataset_kwargs": {"data_files": data}, "description": head, "num_fewshot": 5}
        peers.append(_peer_task("mmlu", **changes))
        for split, n in (("dev", None), ("test", QUESTIONS)):
            with (shared / f"data/mmlu/{split}/{subject}_{split}.csv").open(newline="", encoding="utf-8") as file:
                kept = list(csv.reader(file))[:n]
            with (tmp / "ours" / split / f"{subject}_{split}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(kept)
    return peers, {"task": "mmlu", "data": str(tmp / "ours")}


def _arc(shared: Path, tmp: Path):
    found = _rows(shared / "data/arc_easy.jsonl", 200)
    letters = "ABCDE"
    rows = [
        {
            "question": row["query"].removeprefix("Question: "),
            "choices": {"text": row["choices"], "label": list(letters[: len(row["choices"])])},
            "answerKey": letters[row["gold"]],
        }
        for row in found
    ]
    path = _jsonl(tmp / "test.jsonl", rows)
    kwargs = {"dataset_kwargs": {"data_files": {"test": path}}, "training_split": None, "validation_split": None}
    return [_peer_task("arc_easy", **kwargs)], {"task": "arc-easy", "data": path}


def _hellaswag(shared: Path, tmp: Path):
    path = _jsonl(tmp / "validation.jsonl", _rows(shared / "data/hellaswag_val_1000.jsonl", 200))
    return [_peer_task("hellaswag", dataset_kwargs={"data_files": {"test": path}})], {"task": "hellaswag", "data": path}


def _gsm8k(shared: Path, tmp: Path):
    test = _jsonl(tmp / "gsm8k_test.jsonl", _rows(shared / "data/gsm8k_test.jsonl", 30))
    train = _jsonl(tmp / "gsm8k_train.jsonl", _rows(shared / "data/gsm8k_train.jsonl", 50))
    # two short shots and 48 tokens: the context of the small models is 512
    changes: dict[str, Any] = {"dataset_kwargs": {"data_files": {"test": test, "train": train}}, "num_fewshot": 2}
    changes["fewshot_config"] = {"sampler": "first_n"}
    peer = _peer_task("gsm8k", **changes)
    peer._config.generation_kwargs["max_gen_toks"] = 48
    task = yaml.safe_load((bundled("tasks") / "gsm8k.yaml").read_text())
    task |= {"shots": {"n": 2, "from": "train"}, "max_tokens": 48}
    (tmp / "gsm8k.yaml").write_text(yaml.safe_dump(task))
    return [peer], {"task": str(tmp / "gsm8k.yaml"), "data": test}


@pytest.fixture(autouse=True)
def _quiet():
    """The peer warns of every prompt it cuts."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)


def _peer(model: Path, tasks: list, batch_size: int):
    """Returns the peer's samples and accuracy: per sample the prompt, the responses and the score."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=batch_size)
    samples = []
    for task in tasks:
        task.set_fewshot_seed(1234)
        name = task.config.task
        results = evaluate(lm=lm, task_dict={name: task}, log_samples=True, bootstrap_iters=0)
        samples += results["samples"][name]
    return samples


def _ours(model: Path, use: dict[str, Any], out: Path) -> tuple[list[dict], list[dict], dict]:
    settings = {"name": "m", "path": str(model), "dtype": "fp32", "device": "cpu", "threads": 1}
    config = {"run": "parity", "tasks": [use], "models": [settings], "latency": {"requests": 0}}
    run = validate(RunConfig, config, "test")
    prompts = [request.prompt.text for request in make_plan(run).cells[0].requests]
    result = harness.run(run, out=out)
    place = {sample["id"]: i for i, sample in enumerate(read_jsonl(out / "samples.jsonl"))}
    records = sorted(read_jsonl(out / "records.jsonl"), key=lambda record: place[record["sample_id"]])
    return records, prompts, result.summary.rows[0]


@pytest.mark.parametrize("model", ["stories260K", "TinyStories-656K"])
@pytest.mark.parametrize("make", [_mmlu, _arc, _hellaswag], ids=["mmlu", "arc-easy", "hellaswag"])
def test_a_choice_task_is_the_peers(shared: Path, tmp_path: Path, make: Any, model: str):
    tasks, use = make(shared, tmp_path)
    theirs = _peer(shared / "models" / model, tasks, batch_size=8)
    records, prompts, row = _ours(shared / "models" / model, use, tmp_path / "out")
    assert len(records) == len(theirs) == (200 if len(tasks) == 1 else QUESTIONS * len(tasks))
    assert [sample["arguments"][0][0] for sample in theirs] == prompts
    for record, sample in zip(records, theirs):
        logprobs = [float(response[0][0]) for response in sample["resps"]]
        assert record["choice_logprobs"] == pytest.approx(logprobs, abs=1e-4)
        metrics = {"accuracy": record["value"], "accuracy_norm": record["value"], **record["metrics"]}
        assert metrics["accuracy"] == sample["acc"]
        if "acc_norm" in sample:
            assert metrics["accuracy_norm"] == sample["acc_norm"]
    published = "acc_norm" if "acc_norm" in theirs[0] else "acc"
    assert row.accuracy.value == pytest.approx(sum(s[published] for s in theirs) / len(theirs), abs=1e-12)


@pytest.mark.parametrize("model", ["stories260K", "TinyStories-656K"])
def test_generated_texts_and_both_extractions_are_the_peers(shared: Path, tmp_path: Path, model: str):
    tasks, use = _gsm8k(shared, tmp_path)
    theirs = _peer(shared / "models" / model, tasks, batch_size=1)
    strict = sorted((s for s in theirs if s["filter"] == "strict-match"), key=lambda s: s["doc_id"])
    flexible = sorted((s for s in theirs if s["filter"] == "flexible-extract"), key=lambda s: s["doc_id"])
    records, prompts, _ = _ours(shared / "models" / model, use, tmp_path / "out")
    assert len(records) == len(strict) == 30
    assert [sample["arguments"][0][0] for sample in strict] == prompts
    assert [record["text"] for record in records] == [sample["resps"][0][0] for sample in strict]
    assert [record["value"] for record in records] == [sample["exact_match"] for sample in strict]
    assert [record["metrics"]["flexible"] for record in records] == [sample["exact_match"] for sample in flexible]
