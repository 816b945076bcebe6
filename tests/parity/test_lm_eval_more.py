"""Every bundled benchmark that lm-eval has too, beside lm-eval's own task: prompts, log-probabilities, texts, scores.

Rows are those of the shared data where there are any, else a few of our own in the hub's layout: what is compared is
what a row becomes. All tasks of a model run in one call on each side.

Differences that are deliberate:

    task            lm-eval 0.4.13                            here                          why
    bbq             ten more wordings of "unknown" to choose  the three answers of the set  the set's own question
    bbh, mmlu-pro   a task for each subset or subject         one task, `shots: match`      one row in the table
    nq-open         shots drawn from one stream               drawn by the sample's id      alike in any subset
    gpqa-diamond    choices shuffled by a global stream       by the question itself        the same in every process
                    "(A)" is scored                           "A" is scored, as in MMLU     not compared here
    math-500        sympy decides what is equal               forms of setting only         no algebra here
    drop            an answer is one span                     is split where several are    it could never be right
    truthfulqa-mc1  817 questions (hub)                       also the CSV of 790           read alike; compared on both

    ifeval          sentences by NLTK's trained model         sentences by rules            nothing to fetch
                    a symbol to count becomes a random letter is the symbol                 what the prompt asks
    bbq             no biased answer at all scores 0          scores -1                     the paper's formula

HumanEval and MBPP are compared in test_lm_eval_code.py (prompts and stops: nothing is run), IFEval's verdicts in
test_lm_eval_ifeval.py, BBQ's bias scores in tests/test_bias.py. MT-bench is none of lm-eval's tasks.
"""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import harness
from harness.config.base import validate
from harness.config.files import bundled
from harness.config.run import RunConfig
from harness.runs.plan import make_plan
from harness.store.rows import read_jsonl
from tests.support.public_rows import (
    BOOLQ,
    DROP,
    KEYED,
    MMLU_PRO,
    MMLU_PRO_SHOTS,
    NQ,
    NUMBERED,
    PIQA,
    SCIQ,
    SIQA,
    STEMS,
    TRIVIA,
    WINOGRANDE,
    Rows,
)

pytestmark = pytest.mark.shared
lm_eval = pytest.importorskip("lm_eval", reason="the peer is in the test extra")

MODELS = ("stories260K", "TinyStories-656K")
TOKENS = 24  # of a generated answer: the context of the small models is 512


@dataclass(frozen=True)
class Case:
    """One task on both sides. `splits`: rows by split, in the hub's layout."""

    peer: str
    splits: dict[str, Rows]
    changes: dict[str, Any] = field(default_factory=dict)  # to the peer's task
    ours: dict[str, Any] = field(default_factory=dict)  # to our task file
    first: tuple[str, ...] = ()  # the peer's metrics that are compared with our value and metrics


def _few(path: Path, n: int) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:n]]


def _truthful(shared: Path) -> Rows:
    """Returns rows of the CSV in the hub's layout, built on another way than ours."""
    rows = []
    with (shared / "data/truthfulqa.csv").open(newline="", encoding="utf-8") as file:
        for row in list(csv.DictReader(file))[:12]:
            true = [one.strip() for one in row["Correct Answers"].split(";") if one.strip()]
            false = [one.strip() for one in row["Incorrect Answers"].split(";") if one.strip()]
            one = {"choices": [row["Best Answer"], *false], "labels": [1] + [0] * len(false)}
            several = {"choices": true + false, "labels": [1] * len(true) + [0] * len(false)}
            rows.append({"question": row["Question"], "mc1_targets": one, "mc2_targets": several})
    return rows


def _copa(shared: Path) -> Rows:
    rows = []
    for row in _few(shared / "data/copa.jsonl", 20):
        premise, _, word = row["query"].rpartition(" ")
        one, two = (choice[0].upper() + choice[1:] for choice in row["choices"])
        question = {"because": "cause", "therefore": "effect"}[word]
        rows.append({"premise": premise.rstrip(",") + ".", "question": question, "label": row["gold"]})
        rows[-1] |= {"choice1": one, "choice2": two}
    return rows


BBH = ("boolean_expressions", "date_understanding", "word_sorting")


def _cases(shared: Path) -> dict[str, Case]:
    data = shared / "data"
    lambada = [{"text": f"{r['context']} {r['continuation']}"} for r in _few(data / "lambada_openai.jsonl", 15)]
    truthful, gsm8k = _truthful(shared), _few(data / "gsm8k_test.jsonl", 6)
    several = {"changes": {"num_fewshot": 2}, "ours": {"shots": {"n": 2, "from": "train", "pick": "first"}}}
    return {
        "arc-challenge": Case("arc/arc_challenge.yaml", {"test": KEYED + NUMBERED}, first=("acc", "acc_norm")),
        "winogrande": Case("winogrande/default.yaml", {"validation": WINOGRANDE}, first=("acc",)),
        "piqa": Case("piqa/piqa.yaml", {"validation": PIQA}, first=("acc", "acc_norm")),
        "openbookqa": Case("openbookqa/openbookqa.yaml", {"test": STEMS}, first=("acc", "acc_norm")),
        "commonsense-qa": Case("commonsense_qa/default.yaml", {"validation": KEYED}, first=("acc",)),
        "social-iqa": Case("siqa/siqa.yaml", {"validation": SIQA}, first=("acc",)),
        "boolq": Case("super_glue/boolq/default.yaml", {"validation": BOOLQ}, first=("acc",)),
        "copa": Case("super_glue/copa/default.yaml", {"validation": _copa(shared)}, first=("acc",)),
        "sciq": Case("sciq/sciq.yaml", {"test": SCIQ}, first=("acc", "acc_norm")),
        "truthfulqa-mc1": Case("truthfulqa/truthfulqa_mc1.yaml", {"validation": truthful}, first=("acc",)),
        "truthfulqa-mc2": Case("truthfulqa/truthfulqa_mc2.yaml", {"validation": truthful}, first=("acc",)),
        "lambada": Case("lambada/lambada_openai.yaml", {"test": lambada}, first=("acc",)),
        "bbq": Case("bbq/bbq_multiple_choice.yaml", {"test": _few(data / "bbq_sample.jsonl", 8)}),
        "triviaqa": Case("triviaqa/default.yaml", {"validation": TRIVIA}, first=("exact_match",)),
        "nq-open": Case(
            "nq_open/nq_open.yaml", {"validation": NQ[:1], "train": NQ[1:]}, first=("exact_match",), **several
        ),
        "drop": Case("drop/default.yaml", {"validation": DROP}, first=("em", "f1")),
        "mmlu-pro": Case(
            "mmlu_pro/_default_template_yaml",
            {"test": MMLU_PRO, "validation": MMLU_PRO_SHOTS[:2]},
            changes={"num_fewshot": 2},
            ours={"shots": {"n": 2, "from": "validation", "match": "category"}},
            first=("exact_match",),
        ),
        "gsm8k-cot": Case("gsm8k/gsm8k-cot.yaml", {"test": gsm8k}, first=("exact_match", "flexible")),
        **{
            f"bbh {name}": Case(
                f"bbh/cot_fewshot/{name}.yaml", {"test": _few(data / f"bbh/{name}.jsonl", 2)}, first=("exact_match",)
            )
            for name in BBH
        },
    }


NAMES = (
    *("arc-challenge", "winogrande", "piqa", "openbookqa", "commonsense-qa", "social-iqa", "boolq", "copa", "sciq"),
    *("truthfulqa-mc1", "truthfulqa-mc2", "lambada", "bbq", "triviaqa", "nq-open", "drop", "mmlu-pro", "gsm8k-cot"),
    *(f"bbh {name}" for name in BBH),
)


def _write(folder: Path, splits: dict[str, Rows], subset: str = "") -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for split, rows in splits.items():
        path = folder / (f"{subset}.jsonl" if subset else f"{split}.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        files[split] = str(path)
    return files


def _peer_task(name: str, case: Case, files: dict[str, str]) -> Any:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(Path(lm_eval.__file__).parent / "tasks" / case.peer)
    config |= {"task": name, "dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
    for key in ("training", "validation", "test"):
        split = config.get(f"{key}_split")
        config[f"{key}_split"] = split if split in files else None
    if config["output_type"] == "generate_until":
        config["generation_kwargs"] = config["generation_kwargs"] | {"max_gen_toks": TOKENS}
    if case.changes:
        config["fewshot_config"] = (config.get("fewshot_config") or {}) | {"sampler": "first_n"}
    config |= case.changes
    return ConfigurableTask(config={key: value for key, value in config.items() if key not in ("tag", "include")})


def _our_task(name: str, changes: dict[str, Any], folder: Path) -> str:
    task = yaml.safe_load((bundled("tasks") / f"{name}.yaml").read_text(encoding="utf-8")) | changes
    if task["kind"] in ("generate", "conversation"):
        task["max_tokens"] = TOKENS
    if name == "bbh":
        task["data"]["config"] = list(BBH)
    for file in bundled("tasks").glob("*_shots.jsonl"):
        (folder / file.name).write_bytes(file.read_bytes())
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(task), encoding="utf-8")
    return str(path)


@dataclass(frozen=True)
class Sides:
    """What both sides made of one task: the peer's samples by filter, and our requests and records in order."""

    theirs: dict[str, list[dict]]
    requests: list
    records: list[dict]


@pytest.fixture(scope="module", params=MODELS)
def both(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sides]:
    """Every case on both sides, for one model."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    tmp = tmp_path_factory.mktemp(request.param)
    cases = _cases(shared)
    uses, peers = {}, {}
    for name, case in cases.items():
        own, _, subset = name.partition(" ")
        files = _write(tmp / "data" / own, case.splits, subset)
        peers[name] = _peer_task(name, case, files)
        uses[own] = {"task": _our_task(own, case.ours, tmp), "data": str(tmp / "data" / own)}
    model = shared / "models" / request.param
    theirs = _theirs(model, peers)
    requests, records = _ours(model, list(uses.values()), tmp / "out")

    def mine(name: str, by_task: dict[str, list]) -> list:
        own, _, subset = name.partition(" ")
        return [one for id, one in by_task[own] if id.startswith(f"{subset}/" if subset else "")]

    return {name: Sides(theirs[name], mine(name, requests), mine(name, records)) for name in cases}


def _theirs(model: Path, tasks: dict[str, Any]) -> dict[str, dict[str, list[dict]]]:
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as ours; the models are too small for more
    lm = HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=1)
    for task in tasks.values():
        task.set_fewshot_seed(1234)
    samples = evaluate(lm=lm, task_dict=tasks, log_samples=True, bootstrap_iters=0)["samples"]
    torch.set_num_threads(threads)
    found: dict[str, dict[str, list[dict]]] = {}
    for name, several in samples.items():
        for sample in sorted(several, key=lambda one: one["doc_id"]):
            found.setdefault(name, {}).setdefault(sample["filter"], []).append(sample)
    return found


def _ours(model: Path, uses: list[dict], out: Path) -> tuple[dict[str, list], dict[str, list]]:
    settings = {"name": "m", "path": str(model), "dtype": "fp32", "device": "cpu", "threads": 1}
    config = {"run": "parity", "tasks": uses, "models": [settings], "latency": {"requests": 0}}
    run = validate(RunConfig, config, "test")
    requests = {cell.task.name: [(r.sample_id, r) for r in cell.requests] for cell in make_plan(run).cells}
    harness.run(run, out=out)
    by_id = {(record["task"], record["sample_id"]): record for record in read_jsonl(out / "records.jsonl")}
    return requests, {task: [(id, by_id[task, id]) for id, _ in mine] for task, mine in requests.items()}


def test_every_case_is_compared(shared: Path):
    assert set(NAMES) == set(_cases(shared))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_the_peers(both: dict[str, Sides], shared: Path, name: str):
    case, sides = _cases(shared)[name], both[name]
    first = next(iter(sides.theirs.values()))
    assert len(sides.records) == len(first) == len(next(iter(case.splits.values())))
    for request, record, sample in zip(sides.requests, sides.records, first, strict=True):
        if request.mode == "loglikelihood":
            _check_scored(request, record, sample, name)
        else:
            assert sample["arguments"][0][0] == request.prompt.text
            assert sample["resps"][0][0] == record["text"]
    for filter, key in zip(sides.theirs if name == "gsm8k-cot" else [None] * 9, case.first):
        theirs = sides.theirs[filter] if filter else first
        ours = "" if name == "truthfulqa-mc2" else OURS.get(key, key)
        found = [record["metrics"].get(ours, record["value"]) for record in sides.records]
        assert found == pytest.approx([sample[THEIRS.get(key, key)] for sample in theirs], abs=1e-5), key


# the metric in which the peer's figure stands here; it is the value where no metric has that name
OURS = {"acc_norm": "accuracy_norm", "acc": "accuracy", "em": "spans", "exact_match": "strict"}
THEIRS = {"flexible": "exact_match"}


def _check_scored(request: Any, record: dict, sample: dict, name: str) -> None:
    ours = [(request.prompt.text + given, text) for given, text in request.pairs]
    theirs = [tuple(arguments) for arguments in sample["arguments"]]
    logprobs = [float(response[0][0]) for response in sample["resps"]]
    if name == "bbq":  # of the peer's twelve choices, those that are ours
        assert set(ours) - set(theirs) == set()
        logprobs = [logprobs[theirs.index(pair)] for pair in ours]
    else:
        assert ours == theirs
    assert record["choice_logprobs"] == pytest.approx(logprobs, abs=1e-4)
